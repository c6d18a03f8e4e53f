/** Lines of a drop by column, as the direct way keeps them in memory: numbers and bytes, no object per line. */
import { type CopyLayout, writeRow } from "../../drop/row.ts";
import { dayNumber } from "../../drop/value/timestamp.ts";
import type { LoadTask } from "../task.ts";

/** Lines that are sorted and written at a time, at most. Some 70 bytes of memory each, twice. */
export const CHUNK_LINES = 256 * 1024;
export const UUID_BYTES = 16;

/** The first `lines` entries of each column are in use. */
export interface Chunk {
  lines: number;
  /** Index into `venues`. */
  readonly venue: Int32Array;
  /** 16 bytes for each line. */
  readonly invoice: Buffer;
  /** Whole seconds since 1970-01-01 on the clock that the line shows, and microseconds beyond them. */
  readonly second: Float64Array;
  readonly micros: Int32Array;
  /** 1 where the line shows the warehouse's wall clock, 0 where it shows an instant. */
  readonly wall: Uint8Array;
  readonly cents: Float64Array;
  /** 1 for the lines that have a key (keys.ts), which is in the columns below. */
  readonly taken: Uint8Array;
  /** Creation date, in days since 1970-01-01. */
  readonly day: Int32Array;
  readonly venueKey: Int32Array;
  /** Seconds since 1970-01-01, without the microseconds. */
  readonly instant: Float64Array;
  /** What the sort works on, two words for each line, and what comes of it (order.ts). */
  readonly words: Uint32Array;
  readonly order: Int32Array;
}

/** The venue ids met so far: their bytes, one character (latin1) each, and as text. */
export interface Venues {
  readonly byBytes: Map<string, number>;
  readonly ids: string[];
}

/** Two chunks in turn, empty: while one is filled, the other may still be written. */
export type Chunks = () => Chunk;

/** `lines`: of each, at most. Both are used again and again, because what is thrown away stays in memory for a while. */
export function createChunks(lines: number): Chunks {
  let [given, free]: [Chunk?, Chunk?] = [];
  return () => {
    [given, free] = [free ?? createChunk(lines), given];
    given.lines = 0;
    return given;
  };
}

/** A line has a venue, a UUID, a time, a total, three delimiters and its end. */
const LEAST_LINE_BYTES = 1 + 32 + 10 + 1 + 4;

/** No larger than the drop may need: memory has to be cleared, which would take longer than to load a small drop. */
export function createChunksFor({ chunkLines, bytes, gzip }: LoadTask): Chunks {
  return createChunks(gzip ? chunkLines : Math.min(chunkLines, Math.ceil(bytes / LEAST_LINE_BYTES) + 1));
}

function createChunk(lines: number): Chunk {
  return {
    lines: 0,
    venue: new Int32Array(lines),
    invoice: Buffer.alloc(lines * UUID_BYTES),
    second: new Float64Array(lines),
    micros: new Int32Array(lines),
    wall: new Uint8Array(lines),
    cents: new Float64Array(lines),
    taken: new Uint8Array(lines),
    day: new Int32Array(lines),
    venueKey: new Int32Array(lines),
    instant: new Float64Array(lines),
    words: new Uint32Array(2 * lines),
    order: new Int32Array(lines),
  };
}

const LF = 0x0a;
const BACKSLASH = 0x5c;
const PLUS = 0x2b;
const HYPHEN = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const UPPER_Z = 0x5a;
const TIME_LENGTH = 19;
/** 2000-01-01, from which PostgreSQL counts microseconds; beyond so many seconds from it a double is not exact any more. */
export const POSTGRES_EPOCH = 946_684_800;
const EXACT_SECONDS = 9e9;

const NIBBLE = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(digit) ? 0 : digit;
});

/**
 * Takes rows of COPY text from `from` on, as the reader writes them, until the chunk is full. Rows that it cannot take (an escaped venue, a time
 * centuries away) are handed to `onOdd`.
 *
 * @returns the offset after the last row taken
 */
export function fillChunk(options: {
  readonly chunk: Chunk;
  readonly venues: Venues;
  readonly layout: CopyLayout;
  readonly rows: Buffer;
  readonly from: number;
  readonly onOdd: (row: Buffer) => void;
}): number {
  const { chunk, venues, layout, rows, onOdd } = options;
  const delimiter = layout.delimiter.charCodeAt(0);
  const positions = {
    venue: layout.columns.indexOf("venue_id"),
    invoice: layout.columns.indexOf("invoice_id"),
    created: layout.columns.indexOf("datetime_created"),
    total: layout.columns.indexOf("total"),
  };
  const starts = [0, 0, 0, 0, 0];
  const limit = chunk.venue.length;
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
    starts[4] = at + 1;
    const next = at + 1;
    if (escaped || !takeRow(chunk, venues, rows, starts, positions)) onOdd(rows.subarray(line, next));
    line = next;
  }
  return line;
}

interface Positions {
  readonly venue: number;
  readonly invoice: number;
  readonly created: number;
  readonly total: number;
}

function takeRow(
  chunk: Chunk,
  venues: Venues,
  rows: Buffer,
  starts: readonly number[],
  positions: Positions,
): boolean {
  const index = chunk.lines;
  if (!takeTime(chunk, index, rows, starts[positions.created] ?? 0, endOf(starts, positions.created)))
    return false;
  takeUuid(chunk.invoice, index * UUID_BYTES, rows, starts[positions.invoice] ?? 0);
  chunk.cents[index] = readCents(rows, starts[positions.total] ?? 0, endOf(starts, positions.total));
  chunk.venue[index] = findVenue(venues, rows, starts[positions.venue] ?? 0, endOf(starts, positions.venue));
  chunk.lines++;
  return true;
}

/** The offset after a field. No closure, because a row is the innermost loop. */
function endOf(starts: readonly number[], field: number): number {
  return (starts[field + 1] ?? 0) - 1;
}

function findVenue(venues: Venues, rows: Buffer, from: number, to: number): number {
  const bytes = rows.toString("latin1", from, to);
  const known = venues.byBytes.get(bytes);
  if (known !== undefined) return known;
  const index = venues.ids.push(rows.toString("utf8", from, to)) - 1;
  venues.byBytes.set(bytes, index);
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

function digits(rows: Buffer, at: number): number {
  return ((rows[at] ?? 0) - ZERO) * 10 + (rows[at + 1] ?? 0) - ZERO;
}

/** `YYYY-MM-DDTHH:MM:SS`, at most six digits of a fraction, and nothing, `Z` or `±HH:MM`. */
function takeTime(chunk: Chunk, index: number, rows: Buffer, from: number, to: number): boolean {
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
  chunk.second[index] = second;
  chunk.micros[index] = micros;
  chunk.wall[index] = mark === undefined ? 1 : 0;
  return true;
}

/** A line as a row of COPY text, as {@link fillChunk} took it. */
export function writeLine(chunk: Chunk, venues: Venues, layout: CopyLayout, index: number): string {
  const hex = chunk.invoice.toString("hex", index * UUID_BYTES, (index + 1) * UUID_BYTES);
  const time = new Date((chunk.second[index] ?? 0) * 1000).toISOString().slice(0, TIME_LENGTH);
  const micros = String(chunk.micros[index]).padStart(6, "0");
  const cells = {
    venue_id: venues.ids[chunk.venue[index] ?? 0] ?? "",
    invoice_id: hex,
    datetime_created: `${time}.${micros}${chunk.wall[index] === 1 ? "" : "Z"}`,
    total: writeCents(chunk.cents[index] ?? 0),
  };
  return writeRow(layout, cells);
}

/** Cents as euros with two decimals. */
export function writeCents(cents: number): string {
  const size = String(Math.abs(cents)).padStart(3, "0");
  return `${cents < 0 ? "-" : ""}${size.slice(0, -2)}.${size.slice(-2)}`;
}
