/** Totals as a table, as CSV and as JSON. */
import { stringify } from "csv-stringify/sync";
import { type Streams, write, writeJson, writeLine } from "../output.ts";
import type { Grouping, Total } from "../reports/totals.ts";
import { countOf, formatCount, formatEuros } from "./format.ts";
import { formatTable } from "./table.ts";
import { widthOf } from "./width.ts";

/** A table is for reading: of more rows than this it shows the first, and says so. */
const TABLE_ROWS = 1000;

/** Rows of CSV formatted at a time. */
const CSV_BATCH = 1000;

export const TOTALS_FORMATS = ["table", "csv", "json"] as const;
export type TotalsFormat = (typeof TOTALS_FORMATS)[number];

/** Takes totals one by one, and prints them. `end` prints what is left. */
interface TotalsPrinter {
  readonly add: (total: Total) => Promise<void>;
  readonly end: () => Promise<void>;
}

export function openTotalsPrinter(options: {
  readonly streams: Streams;
  readonly format: TotalsFormat;
  readonly by: Grouping;
  /** With csv: guard venue ids that a spreadsheet program would run. */
  readonly guarded: boolean;
}): TotalsPrinter {
  const { streams, format, by, guarded } = options;
  switch (format) {
    case "table":
      return tablePrinter(streams, by);
    case "csv":
      return csvPrinter(streams, by, guarded);
    case "json":
      return jsonPrinter(streams);
  }
}

function columnsOf(by: Grouping): readonly (keyof Total)[] {
  const keys = by.split(",").map((key): keyof Total => (key === "venue" ? "venue_id" : "created_on"));
  return [...keys, "invoices", "total"];
}

function jsonPrinter(streams: Streams): TotalsPrinter {
  return { add: (total) => writeJson(streams, total), end: async () => {} };
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

function csvPrinter(streams: Streams, by: Grouping, guarded: boolean): TotalsPrinter {
  const columns = columnsOf(by);
  const cast = {
    string: (value: string, { column }: { readonly column?: string | number }) =>
      column === "venue_id" ? { value: guardFormula(value), quoted: true } : value,
  };
  let rows: Total[] = [];
  const flush = async () => {
    await write(
      streams,
      stringify(rows, { columns: [...columns], record_delimiter: "\n", ...(guarded && { cast }) }),
    );
    rows = [];
  };
  let started = false;
  return {
    add: async (total) => {
      if (!started) await writeLine(streams, columns.join(","));
      started = true;
      rows.push(total);
      if (rows.length === CSV_BATCH) await flush();
    },
    end: async () => {
      if (!started) await writeLine(streams, columns.join(","));
      await flush();
    },
  };
}

function tablePrinter(streams: Streams, by: Grouping): TotalsPrinter {
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
      if (count === 0) return writeLine(streams, "No invoices.");
      await writeLine(streams, formatTable(head, rows, widthOf(streams.stdout)));
      const hidden = count - rows.length;
      if (hidden > 0) {
        await writeLine(streams, `... and ${countOf(hidden, "more row")}; --format csv gives all.`);
      }
    },
  };
}

function formatCell(column: keyof Total, value: string | number = ""): string {
  if (typeof value === "number") return formatCount(value);
  return column === "total" ? formatEuros(value) : value;
}
