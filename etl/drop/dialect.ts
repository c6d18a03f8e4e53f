/**
 * How a drop is written: its delimiter, whether a line names the columns, and where these are. The rules: docs/design.md, "The drop format".
 */
import { DELIMITERS, type Delimiter, hasWidth, splitRecord } from "./cells.ts";
import type { Fields } from "./fields.ts";
import { COLUMNS, type Column, type CopyLayout } from "./row.ts";
import { trimBlanks } from "./value/text.ts";

export interface Dialect {
  readonly delimiter: Delimiter;
  /** True when a line names the columns, and so is no record. */
  readonly header: boolean;
  /** How many cells each record has. */
  readonly cells: number;
  /** The index of each column's cell, from 0; of files whose rows are made otherwise, `fields` says how. */
  readonly positions: Readonly<Record<Column, number>>;
  readonly fields?: Fields | undefined;
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
  const separator = before.lines === 0 ? readSeparator(line) : undefined;
  if (separator !== undefined) return { kind: "undecided", isSeparator: true, lines, delimiter: separator };
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

/** The delimiter that a line `sep=X` names; undefined for any other line. */
export function readSeparator(line: string): Delimiter | undefined {
  return /^sep=([,;\t|])$/i.exec(line)?.[1] as Delimiter | undefined;
}

const OTHER_COLUMNS = "A file with other columns needs a source: rollbook inspect --suggest FILE";

/** The dialect of a drop whose lines, as far as they are looked at, hold no header. */
export function dialectWithoutHeader(
  delimiter: Delimiter | undefined,
): Exclude<DialectResult, { readonly kind: "undecided" }> {
  if (delimiter !== undefined) return { kind: "dialect", dialect: withoutHeader(delimiter) };
  const message =
    `none of the first ${HEAD_LINES} lines has four cells or the names ${COLUMNS.join(", ")}, ` +
    `divided by commas, semicolons, tabs or |: is this a file of invoices? ${OTHER_COLUMNS}`;
  return { kind: "refused", code: "bad_header", message };
}

/** Whether the lines of a file can go to COPY as they are: it has the columns of a row, and no others. */
export function keepsLines({ cells, fields }: Dialect): boolean {
  return cells === COLUMNS.length && fields === undefined;
}

/**
 * How the rows of a drop go to COPY. When the file has these columns and no others, its own delimiter and
 * order are kept, so that canonical lines pass as they are. Otherwise every row is written anew.
 */
export function copyLayout(dialect: Dialect): CopyLayout {
  if (!keepsLines(dialect)) return { delimiter: ",", columns: COLUMNS };
  const columns = [...COLUMNS].sort((a, b) => dialect.positions[a] - dialect.positions[b]);
  return { delimiter: dialect.delimiter, columns };
}

function withoutHeader(delimiter: Delimiter): Dialect {
  return {
    delimiter,
    header: false,
    cells: COLUMNS.length,
    positions: positionsIn(COLUMNS),
  };
}

/** The names of columns as they are compared: without blanks around them, in lower case. */
export function nameOf(cell: string): string {
  return trimBlanks(cell).toLowerCase();
}

/** The cells of a line, as names; none when its quotes are broken. */
function readNames(line: string, delimiter: Delimiter) {
  const cells = splitRecord(line, delimiter) ?? [];
  const names = cells.map(nameOf);
  const fits = hasWidth(cells, COLUMNS.length) || COLUMNS.every((column) => names.includes(column));
  return { delimiter, names, fits };
}

function isColumn(name: string): boolean {
  return (COLUMNS as readonly string[]).includes(name);
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

export function positionsIn(names: readonly string[]): Dialect["positions"] {
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
    `divided by commas, semicolons, tabs or |, or leave the header out. ${OTHER_COLUMNS}`
  );
}
