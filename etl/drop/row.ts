/**
 * The layout of a row: the columns of a drop in the order of a file without a header, the type that each has
 * in staging, and the text in which COPY gets it. All that reads, stages, keeps or writes rows follows {@link
 * ROW}: the dialect, the rules (validate.ts, recognise.ts), staging, the merge, and the chunks of the direct
 * way.
 *
 * To add a column, for example `currency`:
 * 1. Add `currency: { type: "text", maxLength: 3, missing: "missing_currency", tooLong: "bad_currency" }` to
 *    ROW, and its place in `invoices` to {@link VALUES}; its new reasons to reject a line go to reject.ts.
 * 2. Write a migration that adds `currency` to the staging tables and to `invoices`, and `old_currency` to
 *    `corrections`; and add them to db/schema.ts.
 * 3. Add it to the views in which it is to be seen.
 *
 * A column of another type needs that type: how it is read and recognised (value/), and how the direct way
 * keeps it (load/direct/chunk.ts, pack.ts) and writes it (load/direct/binary.ts). The compiler names each of these
 * places.
 */
import { escapeText, type TextRule } from "./value/text.ts";

/** The types of the columns, each with what its rules need besides. */
type ColumnType =
  | ({ readonly type: "text" } & TextRule)
  | { readonly type: "uuid" }
  | { readonly type: "timestamp with time zone" }
  | { readonly type: "numeric(14,2)" };

export const ROW = {
  venue_id: { type: "text", maxLength: 200, missing: "missing_venue", tooLong: "venue_too_long" },
  invoice_id: { type: "uuid" },
  datetime_created: { type: "timestamp with time zone" },
  total: { type: "numeric(14,2)" },
} as const satisfies Readonly<Record<string, ColumnType>>;

export type Column = keyof typeof ROW;
/** The columns, in their order. */
export const COLUMNS = Object.keys(ROW) as readonly Column[];

/** Where `invoices` keeps what a correction may change. The other columns make the key of an invoice. */
export const VALUES = {
  datetime_created: "created_at",
  total: "total",
} as const satisfies Partial<Record<Column, string>>;

/** How rows are written for COPY: text format, this delimiter, these columns. */
export interface CopyLayout {
  readonly delimiter: string;
  readonly columns: readonly Column[];
}

/** A row of COPY text, with its LF. `texts`: the canonical text of each column. */
export function writeRow(layout: CopyLayout, texts: Readonly<Record<Column, string>>): string {
  const { delimiter } = layout;
  let row = "";
  for (const column of layout.columns) {
    if (row !== "") row += delimiter;
    row += ROW[column].type === "text" ? escapeText(texts[column], delimiter) : texts[column];
  }
  return `${row}\n`;
}

/** The total of a line that says that its invoice is void: null, as COPY reads it. */
export const NO_TOTAL = "\\N";

/** The statement that takes rows of this layout. `table`: schema-qualified. */
export function copyStatement(table: string, layout: CopyLayout): string {
  const delimiter = layout.delimiter === "\t" ? "" : `, delimiter '${layout.delimiter}'`;
  return `copy ${table} (${layout.columns.join(", ")}) from stdin with (format text${delimiter})`;
}
