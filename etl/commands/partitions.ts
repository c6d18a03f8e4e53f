import type { Command } from "commander";
import { addDays, attachPartition, ensurePartitions, partitionOf } from "../../db/partitions.ts";
import type { PartitionState } from "../../db/schema.ts";
import { formatCount, writeJson, writeLine } from "../output.ts";
import { detachRefreshed, dropVerified } from "../partitions.ts";
import { readFreshness } from "../status.ts";
import type { Warehouse } from "../warehouse.ts";
import { type Context, EXIT, jsonOption, parseDate, usageError, withWarehouse } from "./context.ts";
import { formatPartitions } from "./status.ts";

interface Flags {
  readonly json?: boolean;
}

export function addPartitions(program: Command, context: Context): void {
  const partitions = program
    .command("partitions")
    .summary("list, ensure, detach, attach or drop partitions")
    .description(
      "Partitions: list them, make them ahead, take them out of the live tables, put them back, drop their invoices.",
    );
  partitions
    .command("list")
    .description("All partitions: state, bounds, invoices, total, what is pending, and the last refresh.")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions list\n")
    .action(async (flags: Flags) => context.finish(await list(context, flags)));
  partitions
    .command("ensure")
    .description("Make the partitions of a range of dates ahead. A load makes those that it needs by itself.")
    .requiredOption("--from <date>", "first creation date (inclusive)", parseDate)
    .requiredOption("--to <date>", "end of the creation dates (exclusive)", parseDate)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions ensure --from 2027-01-01 --to 2027-04-01\n")
    .action(async (flags: Flags & { readonly from: string; readonly to: string }) =>
      context.finish(await ensure(context, flags)),
    );
  partitions
    .command("detach")
    .description(
      "Take partitions out of the live tables and the reports, without blocking readers. Rows for them are rejected until they are attached again. After a crash, run it again.",
    )
    .argument("<partition...>", "names, for example 2019-03")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions detach 2019-03\n")
    .action(async (names: string[], flags: Flags) =>
      context.finish(await change(context, names, flags, detach)),
    );
  partitions
    .command("attach")
    .description("Put detached partitions back.")
    .argument("<partition...>", "names, for example 2019-03")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions attach 2019-03\n")
    .action(async (names: string[], flags: Flags) =>
      context.finish(await change(context, names, flags, attach)),
    );
  partitions
    .command("drop")
    .description(
      "Drop the invoices of partitions for good. Rollup, deltas and corrections stay, and the reports still show them; rows for them are rejected from then on. Refuses a partition that does not verify.",
    )
    .argument("<partition...>", "names, for example 2019-03")
    .option("--yes", "really drop the invoices")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions drop 2019-03 --yes\n")
    .action(async (names: string[], flags: Flags & { readonly yes?: boolean }) => {
      if (flags.yes !== true) {
        throw usageError(
          `this deletes the invoices of ${names.join(", ")} for good; the totals stay. Say --yes to do it.`,
        );
      }
      context.finish(await change(context, names, flags, drop));
    });
}

async function list(context: Context, { json = false }: Flags): Promise<number> {
  return withWarehouse(context, {}, async ({ database, settings }) => {
    const partitions = await readFreshness({ database, settings, signal: context.signal });
    if (json) {
      for (const partition of partitions) await writeJson(context, partition);
    } else {
      await writeLine(context, partitions.length === 0 ? "No partitions." : formatPartitions(partitions));
    }
    return EXIT.done;
  });
}

async function ensure(
  context: Context,
  { from, to, json = false }: Flags & { readonly from: string; readonly to: string },
): Promise<number> {
  if (from >= to)
    throw usageError(
      `--from ${from} is not before --to ${to}; --to is the first date that no longer counts.`,
    );
  return withWarehouse(context, {}, async ({ database, settings }) => {
    const { granularity } = settings;
    const dates: string[] = [];
    for (let date = from; date < to; date = partitionOf(granularity, date).upper) {
      dates.push(date);
      if (dates.length > MOST_AT_ONCE) {
        throw usageError(
          `from ${from} to ${to} are more than ${formatCount(MOST_AT_ONCE)} partitions of a ${granularity}. Make fewer at a time.`,
        );
      }
    }
    const created = await ensurePartitions({ database, granularity, dates, signal: context.signal });
    if (json) await writeJson(context, { from, to, created });
    else {
      const last = partitionOf(granularity, addDays(to, -1)).partition;
      const range = `from ${partitionOf(granularity, from).partition} to ${last}`;
      await writeLine(
        context,
        created.length === 0 ? `All ${range} are there.` : `Made: ${created.join(", ")}`,
      );
    }
    return EXIT.done;
  });
}

/** More than anybody wants, less than a server can take: ten years of days. */
const MOST_AT_ONCE = 4000;

/** Returns the state that the partition has now. */
type Change = (context: Context, warehouse: Warehouse, partition: string) => Promise<PartitionState>;

const SAYING: Readonly<Record<PartitionState, string>> = {
  open: "attached",
  stale: "attached; stale",
  detached: "detached; the reports are without it until it is attached again",
  dropped: "dropped: its invoices are gone, its totals stay",
};

async function change(
  context: Context,
  names: readonly string[],
  { json = false }: Flags,
  carryOut: Change,
): Promise<number> {
  return withWarehouse(context, {}, async (warehouse) => {
    await refuseUnknown(context, warehouse, names);
    for (const partition of names) {
      const state = await carryOut(context, warehouse, partition);
      if (json) await writeJson(context, { partition, state });
      else await writeLine(context, `${partition}: ${SAYING[state]}`);
    }
    return EXIT.done;
  });
}

/** Of several partitions nothing is changed when one is not there. */
async function refuseUnknown(
  context: Context,
  { database, settings }: Warehouse,
  names: readonly string[],
): Promise<void> {
  const known = await readFreshness({ database, settings, signal: context.signal });
  const missing = names.find((name) => !known.some(({ partition }) => partition === name));
  if (missing === undefined) return;
  throw usageError(
    `there is no partition ${JSON.stringify(missing)}; nothing was changed. List them with: rollbook partitions list`,
  );
}

const detach: Change = async (context, { database }, partition) => {
  await detachRefreshed({ database, partition, signal: context.signal });
  return "detached";
};

const attach: Change = async (context, { database }, partition) => {
  await attachPartition({ database, partition, signal: context.signal });
  return "open";
};

const drop: Change = async (context, { database, settings }, partition) => {
  await dropVerified({ database, settings, partition, signal: context.signal });
  return "dropped";
};
