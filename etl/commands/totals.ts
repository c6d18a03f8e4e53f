import { type Command, Option } from "commander";
import { stringify } from "csv-stringify/sync";
import { write, writeJson, writeLine } from "../output.ts";
import {
  explainTotal,
  GROUPINGS,
  type Grouping,
  readTotals,
  type Total,
  type TotalsFilter,
} from "../reports/totals.ts";
import { countOf, formatCount, formatEuros, shorten } from "../terminal/format.ts";
import { formatTable } from "../terminal/table.ts";
import {
  type Context,
  EXIT,
  jsonOption,
  parseDate,
  refuseEmptyRange,
  usageError,
  withWarehouse,
} from "./context.ts";
import { declareKind } from "./kind.ts";

interface TotalsFlags extends TotalsFilter {
  readonly by: Grouping;
  readonly format?: "table" | "csv" | "json";
  readonly guardFormulas?: boolean;
  readonly json?: boolean;
}

/** A table is for reading: of more rows than this it shows the first, and says so. */
const TABLE_ROWS = 1000;
/** Rows of CSV formatted at a time. */
const CSV_BATCH = 1000;

function addFilter(command: Command): Command {
  return command
    .option("--from <date>", "first creation date (inclusive)", parseDate)
    .option("--to <date>", "end of the creation dates (exclusive)", parseDate)
    .option("--venue <id>", "only this venue")
    .option(
      "--as-known-on <moment>",
      "what the reports showed then: a date (means its end) or a timestamp, in the warehouse's zone unless it has an offset",
    );
}

export function addTotals(program: Command, context: Context): void {
  const command = declareKind(program.command("totals"), "reads")
    .summary("query the totals")
    .description(
      "Totals of the invoices by venue and creation date. Exact at all times, also while a refresh is pending.",
    )
    .addOption(new Option("--by <columns>", "grouping").choices(GROUPINGS).default("venue,day"));
  addFilter(command)
    .addOption(
      new Option(
        "--format <format>",
        "table: for people; csv: with a header, sorted, venue ids exactly as they are, also those that a spreadsheet program would run as formulas; json: an object per line",
      ).choices(["table", "csv", "json"]),
    )
    .option(
      "--guard-formulas",
      "with csv, for spreadsheet programs: put an apostrophe in front of venue ids that begin with = + - @ or an apostrophe, and quote all venue ids",
    )
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExample:\n  rollbook totals --by venue,month --from 2026-01-01 --to 2027-01-01 --format csv\n",
    )
    .action(async (flags: TotalsFlags) => context.finish(await totals(context, flags)));
}

async function totals(context: Context, flags: TotalsFlags): Promise<number> {
  refuseEmptyRange(flags);
  const { by, json, format = json ? "json" : "table", guardFormulas = false, ...filter } = flags;
  if (guardFormulas && format !== "csv") throw usageError("--guard-formulas goes with --format csv only.");
  return withWarehouse(context, { reportsOnly: true }, async ({ database, settings }) => {
    const printer = { table: tablePrinter, csv: csvPrinter, json: jsonPrinter }[format](
      context,
      by,
      guardFormulas,
    );
    await readTotals({ database, settings, by, ...filter, signal: context.signal }, printer.add);
    await printer.end();
    return EXIT.done;
  });
}

interface Printer {
  readonly add: (total: Total) => Promise<void>;
  readonly end: () => Promise<void>;
}

function columnsOf(by: Grouping): readonly (keyof Total)[] {
  const keys = by.split(",").map((key): keyof Total => (key === "venue" ? "venue_id" : "created_on"));
  return [...keys, "invoices", "total"];
}

function jsonPrinter(context: Context): Printer {
  return { add: (total) => writeJson(context, total), end: async () => {} };
}

/** The start of a cell that some spreadsheet program takes for a formula, also after blanks and what has no width. */
const FORMULA = /^[\s\p{Cf}]*[=+\-@'＝＋－＠]|^\t/u;

/**
 * A venue id that no spreadsheet program runs. The ones that begin with an apostrophe get another: who takes one away has the id. Always in quotes:
 * else a semicolon in it would begin a new cell where that is the delimiter. Source: OWASP, "CSV Injection".
 */
function guardFormula(venueId: string): string {
  return FORMULA.test(venueId) ? `'${venueId}` : venueId;
}

function csvPrinter(context: Context, by: Grouping, guarded: boolean): Printer {
  const columns = columnsOf(by);
  const cast = {
    string: (value: string, { column }: { readonly column?: string | number }) =>
      column === "venue_id" ? { value: guardFormula(value), quoted: true } : value,
  };
  let rows: Total[] = [];
  const flush = async () => {
    await write(
      context,
      stringify(rows, { columns: [...columns], record_delimiter: "\n", ...(guarded && { cast }) }),
    );
    rows = [];
  };
  let started = false;
  return {
    add: async (total) => {
      if (!started) await writeLine(context, columns.join(","));
      started = true;
      rows.push(total);
      if (rows.length === CSV_BATCH) await flush();
    },
    end: async () => {
      if (!started) await writeLine(context, columns.join(","));
      await flush();
    },
  };
}

function tablePrinter(context: Context, by: Grouping): Printer {
  const columns = columnsOf(by);
  const rows: string[][] = [];
  let count = 0;
  return {
    add: async (total) => {
      count += 1;
      if (rows.length < TABLE_ROWS) rows.push(columns.map((column) => formatCell(column, total[column])));
    },
    end: async () => {
      const head = columns.map((title) => ({
        title,
        align: title === "invoices" || title === "total" ? ("right" as const) : ("left" as const),
      }));
      if (count === 0) return writeLine(context, "No invoices.");
      await writeLine(context, formatTable(head, rows));
      const hidden = count - rows.length;
      if (hidden > 0) {
        await writeLine(context, `... and ${countOf(hidden, "more row")}; --format csv gives all.`);
      }
    },
  };
}

function formatCell(column: keyof Total, value: string | number = ""): string {
  if (typeof value === "number") return formatCount(value);
  return column === "total" ? formatEuros(value) : value;
}

export function addExplainTotal(program: Command, context: Context): void {
  const command = declareKind(program.command("explain-total"), "reads")
    .summary("which drops made a total")
    .description(
      "The loads that made a total, in the order in which the reports showed them; their changes add up to it.",
    );
  addFilter(command)
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
          { title: "synced on" },
          { title: "known at" },
          { title: "invoices", align: "right" },
          { title: "total", align: "right" },
        ],
        rows,
      ),
    );
    return EXIT.done;
  });
}

function formatCents(cents: bigint): string {
  const digits = (cents < 0n ? -cents : cents).toString().padStart(3, "0");
  return `${cents < 0n ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
