/** Totals as a table, as CSV and as JSON. */
import { type Streams, write, writeJson, writeLine } from "../output.ts";
import type { Grouping, Total } from "../reports/totals.ts";
import { totalsCsv } from "../reports/totals_csv.ts";
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

function csvPrinter(streams: Streams, by: Grouping, guarded: boolean): TotalsPrinter {
  const columns = columnsOf(by);
  let rows: Total[] = [];
  const flush = async () => {
    await write(streams, totalsCsv(rows, { columns, guarded }));
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
