import type { Command } from "commander";
import { type DateRange, intersects } from "../../../db/partitions/ranges.ts";
import { writeJson, writeLine } from "../../output.ts";
import { awaitsRefresh, readFreshness } from "../../reports/status.ts";
import { formatPartitions } from "../../terminal/partitions.ts";
import { widthOf } from "../../terminal/width.ts";
import { type Context, EXIT } from "../context.ts";
import { jsonOption, parseDate, refuseEmptyRange } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { withWarehouse } from "../open.ts";

interface ListFlags extends DateRange {
  readonly json?: boolean;
  readonly pending?: boolean;
}

export function defineList(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description(
      "All partitions, or those with dates of a range: state, bounds, invoices, total, what is pending, and the last refresh.",
    )
    .option("--from <date>", "only those with creation dates from this one on (inclusive)", parseDate)
    .option("--to <date>", "only those with creation dates before this one (exclusive)", parseDate)
    .option("--pending", "only those that a refresh would bring up to date")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions list --pending --json\n")
    .action(async (flags: ListFlags) => context.finish(await list(context, flags)));
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
      await writeLine(
        context,
        partitions.length === 0 ? "No partitions." : formatPartitions(partitions, widthOf(context.stdout)),
      );
    }
    return EXIT.done;
  });
}
