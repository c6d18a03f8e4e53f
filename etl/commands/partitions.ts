import { type Command, Option } from "commander";
import { withSession } from "../../db/client.ts";
import { describeUnknown } from "../../db/partitions/catalog.ts";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { type DateRange, intersects, type PartitionRange, partitionOf } from "../../db/partitions/ranges.ts";
import { listDetachable } from "../../db/partitions/tables.ts";
import type { Granularity, PartitionState } from "../../db/schema.ts";
import { writeJson, writeLine } from "../output.ts";
import { awaitsRefresh, readFreshness } from "../reports/status.ts";
import { readToday } from "../reports/zone.ts";
import { attachRebuilt, detachRefreshed, dropVerified } from "../retire.ts";
import { formatCount } from "../terminal/format.ts";
import type { Warehouse } from "../warehouse.ts";
import {
  type Context,
  EXIT,
  jsonOption,
  parseDate,
  parseWhole,
  refuseEmptyRange,
  usageError,
  withWarehouse,
} from "./context.ts";
import { declareKind } from "./kind.ts";
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
  declareKind(partitions.command("list"), "reads")
    .description(
      "All partitions, or those with dates of a range: state, bounds, invoices, total, what is pending, and the last refresh.",
    )
    .option("--from <date>", "only those with creation dates from this one on (inclusive)", parseDate)
    .option("--to <date>", "only those with creation dates before this one (exclusive)", parseDate)
    .option("--pending", "only those that a refresh would bring up to date")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions list --pending --json\n")
    .action(async (flags: ListFlags) => context.finish(await list(context, flags)));
  declareKind(partitions.command("ensure"), "works")
    .description("Make the partitions of a range of dates ahead. A load makes those that it needs by itself.")
    .option("--from <date>", "first creation date (inclusive)", parseDate)
    .option("--to <date>", "end of the creation dates (exclusive)", parseDate)
    .addOption(
      new Option(
        "--ahead <n>",
        "instead of a range: today's partition, in the warehouse's zone, and so many after it",
      )
        .argParser(parseWhole(0))
        .conflicts(["from", "to"]),
    )
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions ensure --from 2027-01-01 --to 2027-04-01\n")
    .action(async (flags: EnsureFlags) => context.finish(await ensure(context, flags)));
  declareKind(partitions.command("detach"), "works")
    .description(
      "Take partitions out of the live tables and the reports, without blocking readers. Rows for them are rejected until they are attached again. After a crash, run it again.",
    )
    .argument("[partition...]", "names, for example 2019-03")
    .option("--before <date>", "instead of names: all that end on or before this date", parseDate)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions detach --before 2019-04-01\n")
    .action(async (names: string[], flags: DetachFlags) =>
      context.finish(await detachNamed(context, names, flags)),
    );
  declareKind(partitions.command("attach"), "works")
    .description(
      "Put detached partitions back; also tables of a partition that were dropped or detached by hand. A rollup that is gone is made anew and rebuilt; invoices and deltas that are gone must be restored from a backup first.",
    )
    .argument("<partition...>", "names, for example 2019-03")
    .option("--anew", "there is no backup: make invoices and deltas that are gone anew, empty")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions attach 2019-03\n")
    .action(async (names: string[], flags: Flags & { readonly anew?: boolean }) =>
      context.finish(await change(context, names, flags, attach(flags.anew === true))),
    );
  declareKind(partitions.command("drop"), "works")
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

interface ListFlags extends Flags, DateRange {
  readonly pending?: boolean;
}

async function list(
  context: Context,
  { json = false, pending = false, ...range }: ListFlags,
): Promise<number> {
  refuseEmptyRange(range);
  return withWarehouse(context, { reportsOnly: true }, async ({ database, settings }) => {
    const all = await readFreshness({ database, settings, signal: context.signal });
    const partitions = all.filter(
      (partition) => intersects(partition, range) && (!pending || awaitsRefresh(partition)),
    );
    if (json) {
      for (const partition of partitions) await writeJson(context, partition);
    } else {
      await writeLine(context, partitions.length === 0 ? "No partitions." : formatPartitions(partitions));
    }
    return EXIT.done;
  });
}

interface EnsureFlags extends Flags, DateRange {
  readonly ahead?: number;
}

async function ensure(context: Context, flags: EnsureFlags): Promise<number> {
  const { from, to, ahead, json = false } = flags;
  refuseEmptyRange(flags);
  if (ahead === undefined && (from === undefined || to === undefined)) {
    throw usageError("which partitions? Give --from <date> and --to <date>, or --ahead <n>.");
  }
  return withWarehouse(context, {}, async ({ database, settings }) => {
    const { granularity } = settings;
    const ranges =
      from !== undefined && to !== undefined
        ? partitionsOf(granularity, from, (next) => next.lower < to)
        : partitionsOf(
            granularity,
            await readToday({ database, settings, signal: context.signal }),
            (_, index) => index <= (ahead ?? 0),
          );
    const dates = ranges.map(({ lower }) => lower);
    if (from !== undefined && (ranges[0]?.upper ?? from) <= settings.earliest) {
      throw usageError(
        `--from ${from}: the warehouse takes invoices from ${settings.earliest} on, so there are no partitions before.`,
      );
    }
    const created = await ensurePartitions({ database, granularity, dates, signal: context.signal });
    const [first, last] = [ranges.at(0), ranges.at(-1)];
    if (json) {
      await writeJson(context, { from: from ?? first?.lower, to: to ?? last?.upper, created });
    } else {
      const range = `from ${first?.partition} to ${last?.partition}`;
      await writeLine(
        context,
        created.length === 0 ? `All ${range} are there.` : `Made: ${created.join(", ")}`,
      );
    }
    return EXIT.done;
  });
}

/** The partitions from that of a date on, as long as they are wanted. */
function partitionsOf(
  granularity: Granularity,
  from: string,
  isWanted: (next: PartitionRange, index: number) => boolean,
): readonly PartitionRange[] {
  const ranges: PartitionRange[] = [];
  let next = partitionOf(granularity, from);
  while (isWanted(next, ranges.length)) {
    ranges.push(next);
    if (ranges.length > MOST_AT_ONCE) {
      throw usageError(
        `from ${from} on these are more than ${formatCount(MOST_AT_ONCE)} partitions of a ${granularity}. Make fewer at a time.`,
      );
    }
    next = partitionOf(granularity, next.upper);
  }
  return ranges;
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
  flags: Flags,
  carryOut: Change,
): Promise<number> {
  return withWarehouse(context, {}, async (warehouse) => {
    await refuseUnknown(context, warehouse, names);
    return changeEach(context, warehouse, names, flags, carryOut);
  });
}

async function changeEach(
  context: Context,
  warehouse: Warehouse,
  names: readonly string[],
  { json = false }: Flags,
  carryOut: Change,
): Promise<number> {
  for (const partition of names) {
    const state = await carryOut(context, warehouse, partition);
    if (json) await writeJson(context, { partition, state });
    else await writeLine(context, `${partition}: ${SAYING[state]}`);
  }
  return EXIT.done;
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
  throw usageError(describeUnknown(missing, "; nothing was changed"));
}

interface DetachFlags extends Flags {
  readonly before?: string;
}

async function detachNamed(
  context: Context,
  names: readonly string[],
  { before, ...flags }: DetachFlags,
): Promise<number> {
  if ((before === undefined) === (names.length === 0)) {
    throw usageError("which partitions? Give their names, or --before <date>.");
  }
  if (before === undefined) return change(context, names, flags, detach);
  return withWarehouse(context, {}, async (warehouse) => {
    const old = await withSession({ database: warehouse.database, signal: context.signal }, (session) =>
      listDetachable(session, before),
    );
    if (old.length === 0 && flags.json !== true) {
      await writeLine(context, `No attached partition ends on or before ${before}.`);
    }
    return changeEach(context, warehouse, old, flags, detach);
  });
}

const detach: Change = async (context, { database }, partition) => {
  await detachRefreshed({ database, partition, signal: context.signal });
  return "detached";
};

const attach =
  (anew: boolean): Change =>
  (context, { database, settings }, partition) =>
    attachRebuilt({ database, settings, partition, anew, signal: context.signal });

const drop: Change = async (context, { database, settings }, partition) => {
  await dropVerified({ database, settings, partition, signal: context.signal });
  return "dropped";
};
