/** Finds the columns of a form in a file: by the names in its header, or by their numbers. */
import { DELIMITERS, type Delimiter, splitRecord } from "./cells.ts";
import {
  type Detection,
  type Dialect,
  type DialectResult,
  nameOf,
  positionsIn,
  readSeparator,
} from "./dialect.ts";
import type { Fields } from "./fields.ts";
import type { ColumnRef, Form } from "./form.ts";
import { COLUMNS, type Column } from "./row.ts";
import { trimBlanks } from "./value/text.ts";
import { createTimeReader } from "./value/time_reader.ts";

/**
 * Looks at the next line that is not empty, after those that the form skips. The first one decides, but for a
 * line `sep=X`.
 *
 * @param line its text, without terminator
 */
export function findColumns(line: string, form: Form, before: Detection): DialectResult {
  const lines = before.lines + 1;
  const separator = before.lines === 0 ? readSeparator(line) : undefined;
  if (separator !== undefined) {
    return { kind: "undecided", isSeparator: true, lines, delimiter: form.delimiter ?? separator };
  }
  const given = form.delimiter ?? before.delimiter;
  const candidates = given === undefined ? DELIMITERS : [given];
  const readings = candidates.map((delimiter) => readColumns(line, delimiter, form));
  const [best, ...others] = readings;
  if (best === undefined) throw new Error("there are delimiters");
  if (form.header && readings.every(({ isBroken }) => isBroken)) {
    return { kind: "refused", code: "bad_header", message: BROKEN };
  }
  const found = readings.find(({ missing, repeated }) => missing.length + repeated.length === 0);
  if (found !== undefined) return { kind: "dialect", dialect: dialectOf(found, form) };
  const nearest = others.reduce((one, other) => (other.cells.length > one.cells.length ? other : one), best);
  return { kind: "refused", code: "bad_header", message: explain(nearest, form) };
}

interface Reading {
  readonly delimiter: Delimiter;
  readonly cells: readonly string[];
  readonly names: readonly string[];
  /** Whether its quotes are broken, or it goes on in the next line. */
  readonly isBroken: boolean;
  /** Columns that the form names and the file lacks, or has more than once. */
  readonly missing: readonly ColumnRef[];
  readonly repeated: readonly ColumnRef[];
}

function readColumns(line: string, delimiter: Delimiter, form: Form): Reading {
  const split = splitRecord(line, delimiter);
  const cells = split ?? [];
  const names = form.header ? cells.map(nameOf) : [];
  const wanted = columnsOf(form);
  const indexesOf = (ref: ColumnRef) => {
    if (typeof ref === "number") return ref <= cells.length ? [ref - 1] : [];
    return names.flatMap((name, index) => (name === nameOf(ref) ? [index] : []));
  };
  return {
    delimiter,
    cells,
    names,
    isBroken: split === undefined,
    missing: wanted.filter((ref) => indexesOf(ref).length === 0),
    repeated: wanted.filter((ref) => indexesOf(ref).length > 1),
  };
}

/** The columns that a form names, each once. */
function columnsOf(form: Form): readonly ColumnRef[] {
  const conditions = form.conditions.map(({ column }) => column);
  const read = COLUMNS.flatMap((column) => refsOf(form, column));
  return [...new Set([...read, ...conditions])];
}

function refsOf({ venueId, invoiceId, created, total }: Form, column: Column): readonly ColumnRef[] {
  switch (column) {
    case "venue_id":
      return "constant" in venueId ? [] : [venueId.column];
    case "invoice_id":
      return "uuid5Of" in invoiceId ? invoiceId.uuid5Of : [invoiceId.column];
    case "datetime_created":
      return created.columns;
    case "total":
      return total.columns;
  }
}

function dialectOf({ delimiter, cells, names }: Reading, form: Form): Dialect {
  const indexOf = (ref: ColumnRef) => (typeof ref === "number" ? ref - 1 : names.indexOf(nameOf(ref)));
  const indexes = (column: Column) => refsOf(form, column).map(indexOf);
  const dialect = { delimiter, header: form.header, cells: cells.length };
  if (isPlain(form)) {
    const columns = COLUMNS.map((column) => [column, indexes(column)[0] ?? -1] as const);
    return { ...dialect, positions: Object.fromEntries(columns) as Record<Column, number> };
  }
  const { venueId, invoiceId, created, total } = form;
  const fields: Fields = {
    venueId: indexes("venue_id"),
    venueConstant: "constant" in venueId ? venueId.constant : undefined,
    invoiceId: indexes("invoice_id"),
    makesUuid: "uuid5Of" in invoiceId,
    created: indexes("datetime_created"),
    readTime: ({ dayStarts }) => createTimeReader({ ...created, dayStarts }),
    total: indexes("total"),
    notation: total,
    conditions: form.conditions.map(({ column, ...condition }) => ({ ...condition, at: indexOf(column) })),
  };
  return { ...dialect, positions: positionsIn([]), fields };
}

/** Whether rows are made as in the drop format, only of cells in other places. */
function isPlain({ venueId, invoiceId, created, total, conditions }: Form): boolean {
  const { columns, format, epoch, zone } = created;
  const isTimePlain =
    columns.length === 1 && format === undefined && epoch === undefined && zone === undefined;
  const isTotalPlain = total.columns.length === 1 && total.thousands === undefined && total.cents !== true;
  return (
    "column" in venueId && "column" in invoiceId && isTimePlain && isTotalPlain && conditions.length === 0
  );
}

const BROKEN =
  "the header has broken quotes, or a name with a line break: save the file with each name on one line, or leave out the header's lines with skip, header: false, and columns by number";

/** So many names are shown. */
const SHOWN = 40;

function explain({ cells, missing, repeated }: Reading, { header }: Form): string {
  const list = (refs: readonly ColumnRef[]) =>
    refs.map((ref) => (typeof ref === "number" ? `number ${ref}` : ref));
  const faults = [
    ...(missing.length > 0 ? [`lacks ${list(missing).join(", ")}`] : []),
    ...(repeated.length > 0 ? [`repeats ${list(repeated).join(", ")}`] : []),
  ];
  const shown = cells.slice(0, SHOWN).map((cell) => trimBlanks(cell));
  const more = cells.length > SHOWN ? ` and ${cells.length - SHOWN} more` : "";
  const there = header
    ? `it has the columns ${shown.join(", ")}${more}`
    : `the first line has ${cells.length} cells`;
  return `the ${header ? "header" : "file"} ${faults.join(" and ")}, which the source names: ${there}. Mend the source, or the file`;
}
