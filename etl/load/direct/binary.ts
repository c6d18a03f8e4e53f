/**
 * Rows of invoices and of changed groups in COPY's binary format, which spares the server the parsing of
 * texts. Source: PostgreSQL 18 documentation, COPY, "Binary Format"; for the values `date_recv`,
 * `timestamptz_recv`, `uuid_recv` and `numeric_recv`.
 */
import { type Column, ROW, VALUES } from "../../drop/row.ts";
import { type AllTexts, type Cells, type Chunk, POSTGRES_EPOCH, type Texts, UUID_BYTES } from "./chunk.ts";
import type { Group } from "./order.ts";

/** The columns of a row that a correction may change. */
const VALUE_COLUMNS = Object.keys(VALUES) as readonly (keyof typeof VALUES)[];
const INVOICE_COLUMNS = [
  ...["created_on", "venue_key", "load_id", "synced_on", "invoice_id"],
  ...VALUE_COLUMNS.map((column) => VALUES[column]),
];

export const COPY_INVOICES = `copy warehouse.invoices (${INVOICE_COLUMNS.join(", ")}) from stdin with (format binary)`;
export const COPY_DELTAS =
  "copy warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total) from stdin with (format binary)";
export const COPY_PENDING =
  "copy warehouse.venue_day_pending (epoch, created_on, venue_key, invoices, total) from stdin with (format binary)";

/** Signature, no flags, no extension. */
const BINARY_HEADER = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
const BINARY_TRAILER = Buffer.from([0xff, 0xff]);

/** Days from 1970-01-01 to 2000-01-01. */
const EPOCH_DAY = POSTGRES_EPOCH / 86_400;
/**
 * A number of cents in a double has at most 14 digits before the point, four to the base of 10,000, and one
 * behind it.
 */
const MAX_NUMERIC_BYTES = 4 + 8 + 5 * 2;
/** A row's bytes, at most, with a length of 4 bytes for each field. */
const MAX_INVOICE_BYTES =
  2 +
  4 * (4 + 4) +
  (4 + UUID_BYTES) +
  VALUE_COLUMNS.map(maxValueBytes).reduce((sum, bytes) => sum + bytes, 0);
const MAX_GROUP_BYTES = 2 + 3 * (4 + 4) + (4 + 8) + MAX_NUMERIC_BYTES;
/** Handed to the socket at a time. */
const PIECE_ROWS = 1024;
const TWO_TO_32 = 2 ** 32;
const NEGATIVE = 0x4000;

function maxValueBytes(column: Column): number {
  const rule = ROW[column];
  switch (rule.type) {
    case "text":
      return 4 + 4 * rule.maxLength;
    case "uuid":
      return 4 + UUID_BYTES;
    case "timestamp with time zone":
      return 4 + 8;
    case "numeric(14,2)":
      return MAX_NUMERIC_BYTES;
  }
}

export interface InvoiceRows {
  readonly chunk: Chunk;
  readonly texts: AllTexts;
  /** Lines of the chunk, in the order in which they are to be written. */
  readonly lines: Int32Array;
  readonly loadId: number;
  /** Days since 1970-01-01. */
  readonly syncedOn: number;
}

/** All bytes of {@link COPY_INVOICES}. */
export function encodeInvoices(rows: InvoiceRows): Generator<Buffer, void, undefined> {
  const { chunk, texts, lines } = rows;
  const ids = viewOf(chunk.invoice);
  // Looked up once, because a row is written in the innermost loop.
  const values = VALUE_COLUMNS.map((column): Value => ({ cells: chunk.cells[column], texts: texts[column] }));
  const source = { rows, ids, values };
  return encodeRows(lines.length, MAX_INVOICE_BYTES, (out, at, index) =>
    writeInvoice(out, at, source, lines[index] ?? 0),
  );
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset);
}

/** All bytes of {@link COPY_DELTAS}. */
export function encodeDeltas(groups: readonly Group[], loadId: number): Generator<Buffer, void, undefined> {
  return encodeNumbered(groups, loadId);
}

/** All bytes of {@link COPY_PENDING}. */
export function encodePending(groups: readonly Group[], epoch: number): Generator<Buffer, void, undefined> {
  return encodeNumbered(groups, epoch);
}

/** Rows of a number, which is the same for all, and a group. */
function encodeNumbered(groups: readonly Group[], number: number): Generator<Buffer, void, undefined> {
  return encodeRows(groups.length, MAX_GROUP_BYTES, (out, at, index) => {
    out.setInt16(at, 5);
    return writeGroup(out, writeInt32(out, at + 2, number), groups[index] as Group);
  });
}

/**
 * Rows in pieces of some 80 KiB. Each piece has memory of its own, because the socket may still hold the one
 * before.
 *
 * `encodeRow` writes a row at an offset and returns the offset after it. It writes through a DataView: V8
 * compiles its methods in place, while those of a Buffer are calls.
 */
function* encodeRows(
  rows: number,
  maxRowBytes: number,
  encodeRow: (out: DataView, at: number, index: number) => number,
): Generator<Buffer, void, undefined> {
  yield BINARY_HEADER;
  for (let from = 0; from < rows; from += PIECE_ROWS) {
    const to = Math.min(from + PIECE_ROWS, rows);
    const piece = Buffer.allocUnsafeSlow((to - from) * maxRowBytes);
    const out = new DataView(piece.buffer);
    let at = 0;
    for (let index = from; index < to; index++) at = encodeRow(out, at, index);
    yield piece.subarray(0, at);
  }
  yield BINARY_TRAILER;
}

/** What a chunk has of a column that a correction may change. */
interface Value {
  readonly cells: Cells;
  readonly texts: Texts;
}

function writeInvoice(
  out: DataView,
  from: number,
  source: { readonly rows: InvoiceRows; readonly ids: DataView; readonly values: readonly Value[] },
  line: number,
): number {
  const { rows, ids, values } = source;
  const { chunk } = rows;
  out.setInt16(from, INVOICE_COLUMNS.length);
  let at = writeInt32(out, from + 2, (chunk.day[line] ?? 0) - EPOCH_DAY);
  at = writeInt32(out, at, chunk.venueKey[line] ?? 0);
  at = writeInt32(out, at, rows.loadId);
  at = writeInt32(out, at, rows.syncedOn - EPOCH_DAY);
  at = writeUuid(out, at, ids, line);
  for (let value = 0; value < values.length; value++)
    at = writeValue(out, at, values[value] as Value, chunk.instant[line] ?? 0, line);
  return at;
}

function writeValue(
  out: DataView,
  at: number,
  { cells, texts }: Value,
  instant: number,
  line: number,
): number {
  switch (cells.type) {
    case "text":
      return writeText(out, at, texts.ids[cells.text[line] ?? 0] ?? "");
    case "uuid":
      return writeUuid(out, at, viewOf(cells.bytes), line);
    case "timestamp with time zone":
      return writeInt64(out, at, (instant - POSTGRES_EPOCH) * 1_000_000 + (cells.micros[line] ?? 0));
    case "numeric(14,2)":
      return writeNumeric(out, at, cells.cents[line] ?? 0);
  }
}

function writeText(out: DataView, at: number, text: string): number {
  const length = Buffer.from(out.buffer).write(text, at + 4);
  out.setInt32(at, length);
  return at + 4 + length;
}

function writeUuid(out: DataView, at: number, ids: DataView, line: number): number {
  out.setInt32(at, UUID_BYTES);
  const id = line * UUID_BYTES;
  for (let byte = 0; byte < UUID_BYTES; byte += 4) out.setInt32(at + 4 + byte, ids.getInt32(id + byte));
  return at + 4 + UUID_BYTES;
}

function writeGroup(out: DataView, from: number, { day, venueKey, invoices, cents }: Group): number {
  let at = writeInt32(out, from, day - EPOCH_DAY);
  at = writeInt32(out, at, venueKey);
  at = writeInt64(out, at, invoices);
  return writeNumeric(out, at, cents);
}

function writeInt32(out: DataView, at: number, value: number): number {
  out.setInt32(at, 4);
  out.setInt32(at + 4, value);
  return at + 8;
}

function writeInt64(out: DataView, at: number, value: number): number {
  const high = Math.floor(value / TWO_TO_32);
  out.setInt32(at, 8);
  out.setInt32(at + 4, high);
  out.setUint32(at + 8, value - high * TWO_TO_32);
  return at + 12;
}

/** numeric: count of digits to the base of 10,000, power of the first, sign, decimals shown, digits. */
function writeNumeric(out: DataView, from: number, cents: number): number {
  const size = Math.abs(cents);
  const whole = Math.floor(size / 100);
  const wholeDigits = whole === 0 ? 0 : whole < 1e4 ? 1 : whole < 1e8 ? 2 : whole < 1e12 ? 3 : 4;
  const fraction = (size - whole * 100) * 100;
  const count = wholeDigits + (fraction === 0 ? 0 : 1);
  out.setInt32(from, 8 + 2 * count);
  out.setInt16(from + 4, count);
  out.setInt16(from + 6, wholeDigits - 1);
  out.setUint16(from + 8, cents < 0 ? NEGATIVE : 0);
  out.setUint16(from + 10, 2);
  let at = from + 12;
  if (wholeDigits > 3) at = writeDigit(out, at, Math.floor(whole / 1e12));
  if (wholeDigits > 2) at = writeDigit(out, at, Math.floor(whole / 1e8) % 1e4);
  if (wholeDigits > 1) at = writeDigit(out, at, Math.floor(whole / 1e4) % 1e4);
  if (wholeDigits > 0) at = writeDigit(out, at, whole % 1e4);
  return fraction === 0 ? at : writeDigit(out, at, fraction);
}

function writeDigit(out: DataView, at: number, digit: number): number {
  out.setUint16(at, digit);
  return at + 2;
}
