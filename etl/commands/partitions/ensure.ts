import { type Command, Option } from "commander";
import { ensurePartitions } from "../../../db/partitions/create.ts";
import { type DateRange, type PartitionRange, partitionOf } from "../../../db/partitions/ranges.ts";
import type { Granularity } from "../../../db/schema.ts";
import { writeJson, writeLine } from "../../output.ts";
import { readToday } from "../../reports/zone.ts";
import { formatCount } from "../../terminal/format.ts";
import { type Context, EXIT, usageError } from "../context.ts";
import { jsonOption, parseDate, parseWhole, refuseEmptyRange } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { withWarehouse } from "../open.ts";

interface EnsureFlags extends DateRange {
  readonly json?: boolean;
  readonly ahead?: number;
}

/** More than anybody wants, less than a server can take: ten years of days. */
const MOST_AT_ONCE = 4000;

export function defineEnsure(verb: Command, context: Context): void {
  declareKind(verb, "works")
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
