/** What to do about a rejected line, by what its cell looks like. */
import type { Settings } from "../../db/schema.ts";
import { usesComma } from "../drop/lines.ts";
import type { Reject, RejectReason } from "../drop/reject.ts";
import type { Column } from "../drop/row.ts";
import type { LineRules } from "../drop/rules.ts";
import { trimBlanks } from "../drop/value/text.ts";
import type { FileSource } from "../sources/source.ts";

/** The looks of a cell that cannot be read, by its column. The first one that fits counts. */
const LOOKS = {
  venue_id: [],
  invoice_id: [
    ["nothing", /^$/],
    ["number", /^\d+$/],
  ],
  datetime_created: [
    ["nothing", /^$/],
    ["spreadsheet date", /^\d{5}(?:[.,]\d+)?$/],
    ["epoch", /^(?:\d{10}|\d{13})(?:\.\d+)?$/],
    ["twelve hours", /\d\s*[ap]\.?m\.?$/i],
    ["other date", /^(?:\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./]\d{1,2}[./]\d{1,2}|\d{8})(?!\d)/],
    ["zone by name", /\d\s*\[?[A-Z][A-Za-z_/]+\]?$/],
  ],
  total: [
    ["nothing", /^$/],
    ["other currency", /[$£¥]|\b(?!EUR\b)[A-Z]{3}\b/],
    ["decimal comma", /^[^\d.,]*(?:\d{1,3}(?:\.\d{3})+|\d+),(?:\d{0,2}|\d{4,})[^\d.,]*$/],
    ["decimal point", /^[^\d.,]*(?:\d{1,3}(?:,\d{3})+|\d+)\.\d{0,2}[^\d.,]*$/],
  ],
} as const satisfies Readonly<Record<Column, readonly (readonly [string, RegExp])[]>>;
export type Look = "header" | (typeof LOOKS)[Column][number][0];

/** Reasons of cells that could not be read. */
const UNREAD: ReadonlySet<RejectReason> = new Set(["bad_uuid", "bad_timestamp", "bad_total"]);

/** How the cell at fault looks; undefined for a cell that was read, and for a look that says nothing. */
export function lookOf({ reason, line, column, cell }: Reject): Look | undefined {
  if (!UNREAD.has(reason) || column === null || cell === null) return undefined;
  const text = trimBlanks(cell);
  if (line === 1 && /^[^\d]*\p{L}[^\d]*$/u.test(text)) return "header";
  return LOOKS[column].find(([, pattern]) => pattern.test(text))?.[0];
}

const LOOK_REMEDIES: Readonly<Record<Exclude<Look, "decimal comma" | "decimal point">, string>> = {
  header:
    "if it is a header, name the columns venue_id, invoice_id, datetime_created and total in it, or leave it out",
  nothing: "the cell is empty",
  number: "an invoice_id is a UUID; where receipts are numbered, a source makes one of them (uuid5_of)",
  "spreadsheet date":
    "a spreadsheet wrote it as a number of days: format the column as YYYY-MM-DD HH:MM:SS there",
  epoch:
    "write seconds since 1970 as a date and time, such as 2026-10-05T14:30:00Z, or say epoch_seconds or epoch_milliseconds in a source",
  "twelve hours": "write the time with 24 hours, such as 2026-10-05 14:30:00, or say its format in a source",
  "other date": "write the date as YYYY-MM-DD, such as 2026-10-05, or say its format in a source",
  "zone by name": "write the offset, such as +02:00 or Z, and not the name of a zone",
  "other currency": "totals are euros without another currency, such as 12.50",
};

const REASON_REMEDIES: Readonly<Partial<Record<RejectReason, string>>> = {
  bad_encoding: "save the file as UTF-8, without control characters, or say its encoding in a source",
  broken_quotes: "close each quoted field, and double the quotes in it",
  wrong_column_count: "quote fields that hold the delimiter",
  venue_too_long: "a venue_id has at most 200 characters",
  bad_uuid: "an invoice_id is a UUID",
  bad_timestamp: "write times as 2026-10-05T14:30:00, with Z or an offset such as +02:00 if there is one",
  bad_total: "write totals as 1234.50 or -1234.50",
  ambiguous_total:
    "it can be read in two ways: write it without thousands, such as 1234.00, or say in a source what separates thousands",
  sub_cent_total: "totals are whole cents",
  partition_closed:
    "its partition is detached or dropped; if it comes back (rollbook partitions attach): rollbook rejects retry",
  period_closed:
    "its period is closed, and the warehouse refuses changes of it; to restate it: rollbook init --no-refuse-closed, then rollbook rejects retry",
};

/** What lines must be like, as far as a remedy speaks of it. */
interface FormatOfLines {
  readonly rules: Pick<LineRules, "decimalComma">;
  readonly settings: Pick<Settings, "earliest">;
  readonly source?: FileSource | undefined;
}

/** What to do about the lines of one reason; null where nothing can be said. */
export function findRemedy(
  { reason, looks }: { readonly reason: RejectReason; readonly looks: ReadonlyMap<Look, number> },
  { rules, settings, source }: FormatOfLines,
): string | null {
  const form = source?.form;
  const [look] = [...looks].toSorted(([, a], [, b]) => b - a)[0] ?? [];
  const comma = usesComma(rules, form);
  if (look === "decimal comma" && !comma) {
    return source === undefined
      ? "if the comma is the decimal mark: --decimal-comma (ROLLBOOK_DECIMAL_COMMA=true)"
      : `if the comma is the decimal mark: total: {decimal: ","} in source ${source.name}`;
  }
  if (look === "decimal point" && comma) {
    return form?.total.decimal === undefined
      ? "if the point is the decimal mark: leave out --decimal-comma (ROLLBOOK_DECIMAL_COMMA)"
      : `if the point is the decimal mark: total: {decimal: "."} in source ${source?.name}`;
  }
  if (reason === "bad_timestamp" && form?.created.format !== undefined && look !== "nothing") {
    return `times are read by the format ${form.created.format} of source ${source?.name}`;
  }
  if (look !== undefined && look !== "decimal comma" && look !== "decimal point") return LOOK_REMEDIES[look];
  if (reason === "created_before_earliest") return `the warehouse begins on ${settings.earliest}`;
  return REASON_REMEDIES[reason] ?? null;
}
