/**
 * How a drop is written: its delimiter, whether its first line is a header, and where the four columns
 * stand. Also the one place that splits a line into cells. Rules: DESIGN.md section 8.
 */
import { CsvError, parse } from "csv-parse/sync";

/** The columns of an invoice, in the order of a file without a header. */
export const COLUMNS = ["venue_id", "invoice_id", "datetime_created", "total"] as const;
export type Column = (typeof COLUMNS)[number];

/** The delimiters, in the order in which they are tried. */
const DELIMITERS = [",", ";", "\t"] as const;
export type Delimiter = (typeof DELIMITERS)[number];

export interface Dialect {
  readonly delimiter: Delimiter;
  /** True when the first line that is not empty names the columns, and so is no record. */
  readonly header: boolean;
  /** How many cells each record has. */
  readonly cells: number;
  /** The index of each column's cell, from 0. */
  readonly positions: Readonly<Record<Column, number>>;
}

/** What COPY is told about the rows: text format, this delimiter, these columns. */
export interface CopyLayout {
  readonly delimiter: Delimiter;
  readonly columns: readonly Column[];
}

export type DialectResult =
  | { readonly kind: "dialect"; readonly dialect: Dialect }
  | { readonly kind: "refused"; readonly code: "bad_header"; readonly message: string };

/** The dialect of a file without a header, and of a file without lines. */
export const DEFAULT_DIALECT: Dialect = withoutHeader(",");

/**
 * Reads the dialect from the first line that is not empty.
 *
 * `firstLine`: its bytes, without byte order mark and terminator. Whether they are UTF-8 plays no part: the
 * names are ASCII. Refused is a header in which one of the four names is missing or there twice.
 */
export function detectDialect(options: { readonly firstLine: Buffer }): DialectResult {
  const text = options.firstLine.toString("latin1");
  const delimiter = DELIMITERS.find((candidate) => fits(namesIn(text, candidate))) ?? ",";
  const names = namesIn(text, delimiter) ?? [];
  if (!COLUMNS.some((column) => names.includes(column))) {
    return { kind: "dialect", dialect: withoutHeader(delimiter) };
  }
  return readHeader(names, delimiter);
}

/**
 * How the rows of a drop go to COPY: as the file has them when it has the four columns and no others, so that
 * canonical lines pass as they are; otherwise every row is written anew.
 */
export function copyLayout(dialect: Dialect): CopyLayout {
  if (dialect.cells !== COLUMNS.length) return { delimiter: ",", columns: COLUMNS };
  const columns = [...COLUMNS].sort((a, b) => dialect.positions[a] - dialect.positions[b]);
  return { delimiter: dialect.delimiter, columns };
}

/**
 * Splits a line into its cells, quotes taken off; undefined when its quotes are broken.
 *
 * `limit`: cells past this number may be left out of the answer. A field that begins with a quote is closed
 * on the same line with nothing after it, any other field holds none (RFC 4180, and csv-parse without its
 * relaxations).
 */
export function splitLine(text: string, delimiter: Delimiter, limit?: number): string[] | undefined {
  if (!text.includes('"')) return text.split(delimiter, limit);
  const cells = text.split(delimiter);
  return unquoteAll(cells) ? cells : parseQuoted(text, delimiter);
}

function withoutHeader(delimiter: Delimiter): Dialect {
  return {
    delimiter,
    header: false,
    cells: COLUMNS.length,
    positions: { venue_id: 0, invoice_id: 1, datetime_created: 2, total: 3 },
  };
}

/** The cells of a first line as column names are compared: without blanks around them, in lower case. */
function namesIn(text: string, delimiter: Delimiter): string[] | undefined {
  const cells = splitLine(text, delimiter);
  return cells?.map((cell) => trimBlanks(cell).toLowerCase());
}

function fits(names: readonly string[] | undefined): boolean {
  if (names === undefined) return false;
  return names.length === COLUMNS.length || COLUMNS.every((column) => names.includes(column));
}

function readHeader(names: readonly string[], delimiter: Delimiter): DialectResult {
  const missing = COLUMNS.filter((column) => !names.includes(column));
  const repeated = COLUMNS.filter((column) => names.indexOf(column) !== names.lastIndexOf(column));
  if (missing.length > 0 || repeated.length > 0) {
    return { kind: "refused", code: "bad_header", message: explainHeader(missing, repeated) };
  }
  const positions = {
    venue_id: names.indexOf("venue_id"),
    invoice_id: names.indexOf("invoice_id"),
    datetime_created: names.indexOf("datetime_created"),
    total: names.indexOf("total"),
  };
  return { kind: "dialect", dialect: { delimiter, header: true, cells: names.length, positions } };
}

function explainHeader(missing: readonly Column[], repeated: readonly Column[]): string {
  const faults = [
    ...(missing.length > 0 ? [`lacks ${missing.join(", ")}`] : []),
    ...(repeated.length > 0 ? [`repeats ${repeated.join(", ")}`] : []),
  ];
  return (
    `the header ${faults.join(" and ")}: name each of ${COLUMNS.join(", ")} once, ` +
    "divided by commas, semicolons or tabs, or leave the header out"
  );
}

/** The text without the blanks and tabs around it. Other white space is content. */
export function trimBlanks(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return from === 0 && to === text.length ? text : text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/**
 * Takes the quotes off in place when each cell of a plain split either holds none or is one quoted field
 * without quotes inside; false means that only a parser can tell. Ten times as fast as the parser, and
 * nearly all quoted drops are like this.
 */
function unquoteAll(cells: string[]): boolean {
  for (const [index, cell] of cells.entries()) {
    const quote = cell.indexOf('"');
    if (quote < 0) continue;
    const last = cell.length - 1;
    if (quote !== 0 || cell.indexOf('"', 1) !== last) return false;
    cells[index] = cell.slice(1, last);
  }
  return true;
}

/** One line through csv-parse. It throws at the first broken quote; collecting its errors takes quadratic time. */
function parseQuoted(text: string, delimiter: Delimiter): string[] | undefined {
  try {
    const records: string[][] = parse(text, { delimiter, record_delimiter: "\n", relax_column_count: true });
    return records[0];
  } catch (error) {
    if (error instanceof CsvError) return undefined;
    throw error;
  }
}
