import type { Command } from "commander";
import { writeJson, writeLine } from "../output.ts";
import { explainTotal, type TotalsFilter } from "../reports/totals.ts";
import { countOf, formatCount, formatEuros, shorten } from "../terminal/format.ts";
import { formatTable } from "../terminal/table.ts";
import { widthOf } from "../terminal/width.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption, refuseEmptyRange } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";
import { addTotalsFilter } from "./totals_filter.ts";

/** A table is for reading: of more rows than this it shows the first, and says so. */
const TABLE_ROWS = 1000;

export function defineExplainTotal(verb: Command, context: Context): void {
  const command = declareKind(verb, "reads").description(
    "The loads that made a total, in the order in which the reports showed them; their changes add up to it.",
  );
  addTotalsFilter(command)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExample:\n  rollbook explain-total --venue venue-0042 --from 2026-10-05 --to 2026-10-06\n",
    )
    .action(async (flags: TotalsFilter & { readonly json?: boolean }) =>
      context.finish(await explain(context, flags)),
    );
}

async function explain(context: Context, flags: TotalsFilter & { readonly json?: boolean }): Promise<number> {
  refuseEmptyRange(flags);
  const { json = false, ...filter } = flags;
  return withWarehouse(context, { reportsOnly: true }, async ({ database, settings }) => {
    const rows: string[][] = [];
    let count = 0;
    let invoices = 0;
    let cents = 0n;
    await explainTotal({ database, settings, ...filter, signal: context.signal }, async (change) => {
      if (json) return writeJson(context, change);
      count += 1;
      invoices += change.invoices;
      cents += BigInt(change.total.replace(".", ""));
      const { loadId, fileName, syncedOn, knownAt, total } = change;
      if (rows.length === TABLE_ROWS) return;
      const name = shorten(fileName);
      rows.push([
        String(loadId),
        name,
        syncedOn ?? "",
        knownAt,
        formatCount(change.invoices),
        formatEuros(total),
      ]);
    });
    if (json) return EXIT.done;
    if (count === 0) return writeLine(context, "No load changed this total.").then(() => EXIT.done);
    const left = count - rows.length;
    if (left > 0) rows.push(["", `... and ${countOf(left, "more load")}; --json gives all`, "", "", "", ""]);
    rows.push(["", "total", "", "", formatCount(invoices), formatEuros(formatCents(cents))]);
    await writeLine(
      context,
      formatTable(
        [
          { title: "load", align: "right" },
          { title: "drop" },
          { title: "synced on", leftOut: 1 },
          { title: "known at" },
          { title: "invoices", align: "right" },
          { title: "total", align: "right" },
        ],
        rows,
        widthOf(context.stdout),
      ),
    );
    return EXIT.done;
  });
}

function formatCents(cents: bigint): string {
  const digits = (cents < 0n ? -cents : cents).toString().padStart(3, "0");
  return `${cents < 0n ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
