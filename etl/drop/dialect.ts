/**
 * How a drop is written: its delimiter, whether a line names the columns, and where these are. Also how a
 * record is split into cells. The rules: docs/design.md, "The drop format".
 */
import { CsvError, parse } from "csv-parse/sync";
import { COLUMNS, type Column, type CopyLayout } from "./row.ts";
import { trimBlanks } from "./value/text.ts";

/** The delimiters, in the order in which they are tried. */
const DELIMITERS = [",", ";", "\t", "|"] as const;
export type Delimiter = (typeof DELIMITERS)[number];

export interface Dialect {
  readonly delimiter: Delimiter;
  /** True when a line names the columns, and so is no record. */
  readonly header: boolean;
  /** How many cells each record has. */
  readonly cells: number;
  /** The index of each column's cell, from 0. */
  readonly positions: Readonly<Record<Column, number>>;
}

/** The dialect of a file without lines. */
export const DEFAULT_DIALECT: Dialect = withoutHeader(",");

/** How many lines, empty ones not counted, are looked at to find delimiter and header. */
export const HEAD_LINES = 20;

/** What is known after some lines of a drop. */
export interface Detection {
  /** Lines looked at so far, empty ones not counted. */
  readonly lines: number;
  /** Undefined as long as no delimiter fits. */
  readonly delimiter: Delimiter | undefined;
}

export type DialectResult =
  /** The next line is needed. `isSeparator`: this one names the delimiter, and so is no record. */
  | ({ readonly kind: "undecided"; readonly isSeparator: boolean } & Detection)
  /** `dialect.header`: whether this line is the header. */
  | { readonly kind: "dialect"; readonly dialect: Dialect }
  | { readonly kind: "refused"; readonly code: "bad_header"; readonly message: string };

export const NOTHING_DETECTED: Detection = { lines: 0, delimiter: undefined };

/**
 * Looks at the next line that is not empty, for delimiter and header.
 *
 * A header in which one of the names is missing, or there twice, is refused. The names are ASCII, so the line
 * need not be UTF-8.
 *
 * @param line its bytes, without terminator, as latin1
 */
export function detectDialect(line: string, before: Detection): DialectResult {
  const lines = before.lines + 1;
  const separator = before.lines === 0 ? /^sep=([,;\t|])$/i.exec(line)?.[1] : undefined;
  if (separator !== undefined) {
    return { kind: "undecided", isSeparator: true, lines, delimiter: separator as Delimiter };
  }
  const candidates = before.delimiter === undefined ? DELIMITERS : [before.delimiter];
  const readings = candidates.map((delimiter) => readNames(line, delimiter));
  const fitting = readings.find(({ fits }) => fits);
  const named = (fitting ? [fitting] : readings).find(({ names }) => names.some(isColumn));
  if (named !== undefined) return readHeader(named.names, named.delimiter);
  const delimiter = before.delimiter ?? fitting?.delimiter;
  const isRecord = fitting?.names.some((name) => name !== "") === true;
  if (isRecord || lines === HEAD_LINES) return dialectWithoutHeader(delimiter);
  return { kind: "undecided", isSeparator: false, lines, delimiter };
}

/** The dialect of a drop whose lines, as far as they are looked at, hold no header. */
export function dialectWithoutHeader(
  delimiter: Delimiter | undefined,
): Exclude<DialectResult, { readonly kind: "undecided" }> {
  if (delimiter !== undefined) return { kind: "dialect", dialect: withoutHeader(delimiter) };
  const message =
    `none of the first ${HEAD_LINES} lines has four cells or the names ${COLUMNS.join(", ")}, ` +
    "divided by commas, semicolons, tabs or |: is this a file of invoices?";
  return { kind: "refused", code: "bad_header", message };
}

/**
 * How the rows of a drop go to COPY. When the file has these columns and no others, its own delimiter and
 * order are kept, so that canonical lines pass as they are. Otherwise every row is written anew.
 */
export function copyLayout(dialect: Dialect): CopyLayout {
  if (dialect.cells !== COLUMNS.length) return { delimiter: ",", columns: COLUMNS };
  const columns = [...COLUMNS].sort((a, b) => dialect.positions[a] - dialect.positions[b]);
  return { delimiter: dialect.delimiter, columns };
}

/**
 * Splits a record into its cells, quotes taken off; undefined when its quotes are broken.
 *
 * A field that begins with a quote must be closed, with nothing after it. Any other field may hold no quote
 * (RFC 4180, and csv-parse without its relaxations).
 *
 * @param limit cells beyond this number may be left out of the result
 */
export function splitRecord(text: string, delimiter: Delimiter, limit?: number): string[] | undefined {
  if (!text.includes('"')) return text.split(delimiter, limit);
  const cells = text.split(delimiter);
  return unquoteAll(cells) ? cells : parseQuoted(text, delimiter);
}

function withoutHeader(delimiter: Delimiter): Dialect {
  return {
    delimiter,
    header: false,
    cells: COLUMNS.length,
    positions: positionsIn(COLUMNS),
  };
}

/** The cells of a line, without blanks around them and in lower case; none when its quotes are broken. */
function readNames(line: string, delimiter: Delimiter) {
  const cells = splitRecord(line, delimiter) ?? [];
  const names = cells.map((cell) => trimBlanks(cell).toLowerCase());
  const fits = hasWidth(cells, COLUMNS.length) || COLUMNS.every((column) => names.includes(column));
  return { delimiter, names, fits };
}

function isColumn(name: string): boolean {
  return (COLUMNS as readonly string[]).includes(name);
}

/** Whether a record has so many cells, or one more at its end that is empty. */
export function hasWidth(cells: readonly string[], width: number): boolean {
  return cells.length === width || (cells.length === width + 1 && cells[width] === "");
}

function readHeader(
  names: readonly string[],
  delimiter: Delimiter,
): Exclude<DialectResult, { readonly kind: "undecided" }> {
  const missing = COLUMNS.filter((column) => !names.includes(column));
  const repeated = COLUMNS.filter((column) => names.indexOf(column) !== names.lastIndexOf(column));
  if (missing.length > 0 || repeated.length > 0) {
    return { kind: "refused", code: "bad_header", message: explainHeader(missing, repeated) };
  }
  const dialect = { delimiter, header: true, cells: names.length, positions: positionsIn(names) };
  return { kind: "dialect", dialect };
}

function positionsIn(names: readonly string[]): Dialect["positions"] {
  const positions = COLUMNS.map((column) => [column, names.indexOf(column)] as const);
  return Object.fromEntries(positions) as Record<Column, number>;
}

function explainHeader(missing: readonly Column[], repeated: readonly Column[]): string {
  const faults = [
    ...(missing.length > 0 ? [`lacks ${missing.join(", ")}`] : []),
    ...(repeated.length > 0 ? [`repeats ${repeated.join(", ")}`] : []),
  ];
  return (
    `the header ${faults.join(" and ")}: name each of ${COLUMNS.join(", ")} once, ` +
    "divided by commas, semicolons, tabs or |, or leave the header out"
  );
}

/**
 * Takes off the quotes in place, when each cell either has none or is one quoted field without quotes inside.
 * False means that the line needs the parser. This is ten times as fast as the parser, and nearly all quoted
 * drops are like this.
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

/**
 * Parses one record by csv-parse, which throws at the first broken quote. To collect its errors would take
 * quadratic time.
 */
function parseQuoted(text: string, delimiter: Delimiter): string[] | undefined {
  try {
    const records: string[][] = parse(text, {
      delimiter,
      record_delimiter: "\n",
      relax_column_count: true,
    });
    return records[0];
  } catch (error) {
    if (error instanceof CsvError) return undefined;
    throw error;
  }
}
