/**
 * How a drop is written: its delimiter, whether its first line is a header, and where its columns are. Also
 * how a line is split into cells. The rules: docs/design.md, "The drop format".
 */
import { CsvError, parse } from "csv-parse/sync";
import { COLUMNS, type Column, type CopyLayout } from "./row.ts";
import { trimBlanks } from "./value/text.ts";

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

export type DialectResult =
  | { readonly kind: "dialect"; readonly dialect: Dialect }
  | { readonly kind: "refused"; readonly code: "bad_header"; readonly message: string };

/** The dialect of a file without lines. */
export const DEFAULT_DIALECT: Dialect = withoutHeader(",");

/**
 * Reads the dialect from the first line that is not empty.
 *
 * A header in which one of the names is missing, or there twice, is refused. The names are ASCII, so the line
 * need not be UTF-8.
 *
 * @param options.firstLine its bytes, without byte order mark and terminator
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
 * How the rows of a drop go to COPY. When the file has these columns and no others, its own delimiter and
 * order are kept, so that canonical lines pass as they are. Otherwise every row is written anew.
 */
export function copyLayout(dialect: Dialect): CopyLayout {
  if (dialect.cells !== COLUMNS.length) return { delimiter: ",", columns: COLUMNS };
  const columns = [...COLUMNS].sort((a, b) => dialect.positions[a] - dialect.positions[b]);
  return { delimiter: dialect.delimiter, columns };
}

/**
 * Splits a line into its cells, quotes taken off; undefined when its quotes are broken.
 *
 * A field that begins with a quote must be closed on the same line, with nothing after it. Any other field
 * may hold no quote (RFC 4180, and csv-parse without its relaxations).
 *
 * @param limit cells beyond this number may be left out of the result
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
    positions: positionsIn(COLUMNS),
  };
}

/** The cells of a first line, without blanks around them and in lower case. */
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
    "divided by commas, semicolons or tabs, or leave the header out"
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
 * Parses one line by csv-parse, which throws at the first broken quote. To collect its errors would take
 * quadratic time.
 */
function parseQuoted(text: string, delimiter: Delimiter): string[] | undefined {
  try {
    const records: string[][] = parse(text, { delimiter, record_delimiter: "\n", relax_column_count: true });
    return records[0];
  } catch (error) {
    if (error instanceof CsvError) return undefined;
    throw error;
  }
}
