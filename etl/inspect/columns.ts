/** Where the columns of a file are, in words. */
import { splitRecord } from "../drop/cells.ts";
import { type Dialect, nameOf } from "../drop/dialect.ts";
import type { Form } from "../drop/form.ts";
import { COLUMNS, type Column } from "../drop/row.ts";
import { trimBlanks } from "../drop/value/text.ts";

/** Of each column the cells that it is read from, by their names in the header, or as `number 3`; a constant as `"Mitte"`. */
export type NamedColumns = Readonly<Record<Column, readonly string[]>>;

/** @param head the beginning of the file's text */
export function nameColumns(dialect: Dialect, head: string, form: Form | undefined): NamedColumns {
  const names = dialect.header ? findHeader(dialect, head, form) : [];
  const nameAt = (index: number) => trimBlanks(names[index] ?? "") || `number ${index + 1}`;
  const columns = COLUMNS.map((column) => [column, cellsOf(dialect, column, nameAt)] as const);
  return Object.fromEntries(columns) as NamedColumns;
}

function cellsOf(
  { positions, fields }: Dialect,
  column: Column,
  nameAt: (index: number) => string,
): readonly string[] {
  if (fields === undefined) return [nameAt(positions[column])];
  if (column === "venue_id" && fields.venueConstant !== undefined)
    return [JSON.stringify(fields.venueConstant)];
  const { venueId, invoiceId, created, total } = fields;
  const indexes = { venue_id: venueId, invoice_id: invoiceId, datetime_created: created, total };
  return indexes[column].map(nameAt);
}

/** The cells of the header; none where it lies further on, or has line breaks in it. */
function findHeader(dialect: Dialect, head: string, form: Form | undefined): readonly string[] {
  const lines = head.split("\n").map((line) => line.replace(/\r$/, ""));
  for (const line of lines.slice(form?.skip ?? 0)) {
    if (line === "" || line.startsWith("sep=")) continue;
    const cells = splitRecord(line, dialect.delimiter) ?? [];
    if (form !== undefined) return cells;
    const names = cells.map(nameOf);
    if (COLUMNS.every((column) => names.includes(column))) return cells;
  }
  return [];
}
