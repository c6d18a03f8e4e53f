import type { Command } from "commander";
import {
  addDays,
  attachPartition,
  detachPartition,
  dropPartition,
  ensurePartitions,
  partitionOf,
} from "../../db/partitions.ts";
import { writeJson, writeLine } from "../output.ts";
import { refreshPartitions } from "../refresh.ts";
import { readStatus } from "../status.ts";
import { verifyWarehouse } from "../verify.ts";
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
    .description("All partitions with state, size and freshness.")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions list\n")
    .action(async (flags: Flags) => context.finish(await list(context, flags)));
  partitions
    .command("ensure")
    .description("Make the partitions of a range of dates ahead. A load makes those that it needs by itself.")
    .requiredOption("--from <date>", "first creation date", parseDate)
    .requiredOption("--to <date>", "creation date to stop before", parseDate)
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
        throw usageError(`this deletes the invoices of ${names.join(", ")} for good. Say --yes to do it.`);
      }
      context.finish(await change(context, names, flags, drop));
    });
}

async function list(context: Context, { json = false }: Flags): Promise<number> {
  return withWarehouse(context, {}, async ({ database, settings }) => {
    const { partitions } = await readStatus({ database, settings, signal: context.signal });
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
    for (let date = from; date < to; date = partitionOf(granularity, date).upper) dates.push(date);
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

type Change = (context: Context, warehouse: Warehouse, partition: string) => Promise<string>;

async function change(
  context: Context,
  names: readonly string[],
  { json = false }: Flags,
  carryOut: Change,
): Promise<number> {
  return withWarehouse(context, {}, async (warehouse) => {
    for (const partition of names) {
      const state = await carryOut(context, warehouse, partition);
      if (json) await writeJson(context, { partition, state });
      else await writeLine(context, `${partition}: ${state}`);
    }
    return EXIT.done;
  });
}

const detach: Change = async (context, { database }, partition) => {
  await refreshPartitions({ database, partitions: [partition], signal: context.signal });
  await detachPartition({ database, partition, signal: context.signal });
  return "detached";
};

const attach: Change = async (context, { database }, partition) => {
  await attachPartition({ database, partition, signal: context.signal });
  return "attached";
};

const drop: Change = async (context, { database, settings }, partition) => {
  await refreshPartitions({ database, partitions: [partition], signal: context.signal });
  const { divergences } = await verifyWarehouse({ database, settings, partition, signal: context.signal });
  if (divergences > 0) {
    throw usageError(
      `partition ${partition} does not verify, so its invoices are kept: after the drop nothing could prove the rollup. Run: rollbook verify --partition ${partition}`,
    );
  }
  await dropPartition({ database, partition, signal: context.signal });
  return "dropped: invoices gone, totals kept";
};
