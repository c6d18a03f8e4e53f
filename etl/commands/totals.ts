import { type Command, Option } from "commander";
import { GROUPINGS, type Grouping, readTotals, type TotalsFilter } from "../reports/totals.ts";
import { openTotalsPrinter, TOTALS_FORMATS, type TotalsFormat } from "../terminal/totals.ts";
import { type Context, EXIT, usageError } from "./context.ts";
import { jsonOption, refuseEmptyRange } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";
import { addTotalsFilter } from "./totals_filter.ts";

interface TotalsFlags extends TotalsFilter {
  readonly by: Grouping;
  readonly format?: TotalsFormat;
  readonly guardFormulas?: boolean;
  readonly json?: boolean;
}

export function defineTotals(verb: Command, context: Context): void {
  const command = declareKind(verb, "reads")
    .description(
      "Totals of the invoices by venue and creation date. Exact at all times, also while a refresh is pending.",
    )
    .addOption(new Option("--by <columns>", "grouping").choices(GROUPINGS).default("venue,day"));
  addTotalsFilter(command)
    .addOption(
      new Option(
        "--format <format>",
        "table: for people; csv: with a header, sorted, venue ids exactly as they are, also those that a spreadsheet program would run as formulas; json: an object per line",
      ).choices(TOTALS_FORMATS),
    )
    .option(
      "--guard-formulas",
      "with csv, for spreadsheet programs: put an apostrophe in front of venue ids that begin with = + - @ or an apostrophe, and quote all venue ids",
    )
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExample:\n  rollbook totals --by month --from 2026-01-01 --to 2027-01-01 --format csv\n",
    )
    .action(async (flags: TotalsFlags) => context.finish(await totals(context, flags)));
}

async function totals(context: Context, flags: TotalsFlags): Promise<number> {
  refuseEmptyRange(flags);
  const { by, json, format = json ? "json" : "table", guardFormulas = false, ...filter } = flags;
  if (guardFormulas && format !== "csv") throw usageError("--guard-formulas goes with --format csv only.");
  return withWarehouse(context, { reportsOnly: true }, async ({ database, settings }) => {
    const printer = openTotalsPrinter({ streams: context, format, by, guarded: guardFormulas });
    await readTotals({ database, settings, by, ...filter, signal: context.signal }, printer.add);
    await printer.end();
    return EXIT.done;
  });
}
