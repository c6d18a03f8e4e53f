/** Packs rows of COPY text into a chunk, and writes single lines of it as text again. */
import { COLUMNS, type Column, type CopyLayout, writeRow } from "../../drop/row.ts";
import { dayNumber, TIME_LENGTH } from "../../drop/value/timestamp.ts";
import {
  type AllTexts,
  type Cells,
  type CellsOf,
  type Chunk,
  POSTGRES_EPOCH,
  type Texts,
  UUID_BYTES,
} from "./chunk.ts";

const LF = 0x0a;
const BACKSLASH = 0x5c;
const PLUS = 0x2b;
const HYPHEN = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const UPPER_Z = 0x5a;
/** More seconds from it, and a double of microseconds is not exact any more. */
const EXACT_SECONDS = 9e9;

const NIBBLE = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(digit) ? 0 : digit;
});

/**
 * Takes rows of COPY text from `from` on, as the reader writes them, until the chunk is full. Rows that it
 * cannot take (an escaped text, a time centuries away) are handed to `onOdd`.
 *
 * @returns the offset after the last row taken
 */
export function fillChunk(options: {
  readonly chunk: Chunk;
  readonly texts: AllTexts;
  readonly layout: CopyLayout;
  readonly rows: Buffer;
  readonly from: number;
  readonly onOdd: (row: Buffer) => void;
}): number {
  const { chunk, layout, rows, onOdd } = options;
  const delimiter = layout.delimiter.charCodeAt(0);
  const fields = layout.columns.map((column) => ({
    cells: chunk.cells[column] as Cells,
    texts: options.texts[column],
  }));
  /** Where each field begins, and the next row. */
  const starts = [...fields.map(() => 0), 0];
  const limit = chunk.taken.length;
  let line = options.from;
  while (line < rows.length && chunk.lines < limit) {
    let field = 0;
    let escaped = false;
    let at = line;
    starts[0] = line;
    for (let byte = rows[at] ?? LF; byte !== LF; byte = rows[++at] ?? LF) {
      if (byte === delimiter && !escaped) starts[++field] = at + 1;
      else if (byte === BACKSLASH) escaped = true;
    }
    const next = at + 1;
    starts[fields.length] = next;
    if (escaped || !takeRow(fields, chunk.lines, rows, starts)) onOdd(rows.subarray(line, next));
    else chunk.lines++;
    line = next;
  }
  return line;
}

/** False when a time cannot be taken. */
function takeRow(
  fields: readonly { readonly cells: Cells; readonly texts: Texts }[],
  index: number,
  rows: Buffer,
  starts: readonly number[],
): boolean {
  for (let field = 0; field < fields.length; field++) {
    const { cells, texts } = fields[field] as (typeof fields)[number];
    const from = starts[field] ?? 0;
    const to = (starts[field + 1] ?? 0) - 1;
    switch (cells.type) {
      case "text":
        cells.text[index] = findText(texts, rows, from, to);
        break;
      case "uuid":
        takeUuid(cells.bytes, index * UUID_BYTES, rows, from);
        break;
      case "timestamp with time zone":
        if (!takeTime(cells, index, rows, from, to)) return false;
        break;
      case "numeric(14,2)":
        cells.cents[index] = readCents(rows, from, to);
        break;
    }
  }
  return true;
}

function findText(texts: Texts, rows: Buffer, from: number, to: number): number {
  const bytes = rows.toString("latin1", from, to);
  const known = texts.byBytes.get(bytes);
  if (known !== undefined) return known;
  const index = texts.ids.push(rows.toString("utf8", from, to)) - 1;
  texts.byBytes.set(bytes, index);
  return index;
}

function takeUuid(out: Buffer, to: number, rows: Buffer, from: number): void {
  let at = from;
  for (let index = 0; index < UUID_BYTES; index++) {
    if (rows[at] === HYPHEN) at++;
    out[to + index] = ((NIBBLE[rows[at] ?? 0] ?? 0) << 4) | (NIBBLE[rows[at + 1] ?? 0] ?? 0);
    at += 2;
  }
}

function readCents(rows: Buffer, from: number, to: number): number {
  const negative = rows[from] === HYPHEN;
  let cents = 0;
  for (let at = negative ? from + 1 : from; at < to; at++) {
    const byte = rows[at] ?? 0;
    if (byte !== POINT) cents = cents * 10 + (byte - ZERO);
  }
  return negative ? -cents : cents;
}

/** Up to here one more total of a line leaves a double exact. */
const EXACT_CENTS = 2 ** 52;

/** The sum of the sizes of cents, from one index to before another. */
export function sumSizes(cents: Float64Array, from: number, to: number): bigint {
  let sum = 0n;
  let part = 0;
  for (let index = from; index < to; index++) {
    part += Math.abs(cents[index] ?? 0);
    if (part < EXACT_CENTS) continue;
    sum += BigInt(part);
    part = 0;
  }
  return sum + BigInt(part);
}

/** The size of the total of a row of COPY text, in cents. */
export function sizeOfTotal(row: Buffer, { delimiter, columns }: CopyLayout): bigint {
  const end = delimiter.charCodeAt(0);
  const index = columns.indexOf("total");
  let from = 0;
  for (let at = 0, field = 0; at < row.length; at++) {
    if (row[at] === BACKSLASH) at++;
    else if (row[at] === end || row[at] === LF) {
      if (field++ === index) return BigInt(Math.abs(readCents(row, from, at)));
      from = at + 1;
    }
  }
  throw new Error("a row without a total");
}

function digits(rows: Buffer, at: number): number {
  return ((rows[at] ?? 0) - ZERO) * 10 + (rows[at + 1] ?? 0) - ZERO;
}

/** `YYYY-MM-DDTHH:MM:SS`, at most six digits of a fraction, and nothing, `Z` or `±HH:MM`. */
function takeTime(
  cells: CellsOf<"datetime_created">,
  index: number,
  rows: Buffer,
  from: number,
  to: number,
): boolean {
  const year = digits(rows, from) * 100 + digits(rows, from + 2);
  const day = dayNumber(year, digits(rows, from + 5), digits(rows, from + 8));
  if (day === undefined) return false;
  let second =
    day * 86_400 + digits(rows, from + 11) * 3600 + digits(rows, from + 14) * 60 + digits(rows, from + 17);
  if (Math.abs(second - POSTGRES_EPOCH) > EXACT_SECONDS) return false;
  let at = from + TIME_LENGTH;
  let micros = 0;
  if (rows[at] === POINT) {
    let unit = 100_000;
    for (at++; at < to && ((rows[at] ?? 0) - ZERO) >>> 0 <= 9; at++, unit /= 10)
      micros += ((rows[at] ?? 0) - ZERO) * unit;
  }
  const mark = at < to ? rows[at] : undefined;
  if (mark === PLUS || mark === HYPHEN) {
    const offset = digits(rows, at + 1) * 3600 + digits(rows, at + 4) * 60;
    second += mark === PLUS ? -offset : offset;
  } else if (mark !== undefined && mark !== UPPER_Z) return false;
  cells.second[index] = second;
  cells.micros[index] = micros;
  cells.wall[index] = mark === undefined ? 1 : 0;
  return true;
}

/** A line as a row of COPY text, as {@link fillChunk} took it. */
export function writeLine(chunk: Chunk, texts: AllTexts, layout: CopyLayout, index: number): string {
  const row = COLUMNS.map((column) => [column, writeCell(chunk.cells[column], texts[column], index)]);
  return writeRow(layout, Object.fromEntries(row) as Record<Column, string>);
}

function writeCell(cells: Cells, texts: Texts, index: number): string {
  switch (cells.type) {
    case "text":
      return texts.ids[cells.text[index] ?? 0] ?? "";
    case "uuid":
      return cells.bytes.toString("hex", index * UUID_BYTES, (index + 1) * UUID_BYTES);
    case "timestamp with time zone": {
      const time = new Date((cells.second[index] ?? 0) * 1000).toISOString().slice(0, TIME_LENGTH);
      const micros = String(cells.micros[index]).padStart(6, "0");
      return `${time}.${micros}${cells.wall[index] === 1 ? "" : "Z"}`;
    }
    case "numeric(14,2)":
      return writeCents(cells.cents[index] ?? 0);
  }
}

/** Cents as euros with two decimals. */
export function writeCents(cents: number): string {
  const size = String(Math.abs(cents)).padStart(3, "0");
  return `${cents < 0 ? "-" : ""}${size.slice(0, -2)}.${size.slice(-2)}`;
}
