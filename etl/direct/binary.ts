/**
 * Rows of `warehouse.invoices` in COPY's binary format, which spares the server the parsing of six texts a row.
 * Source: PostgreSQL 18 documentation, COPY, "Binary Format"; for the values `date_recv`, `timestamptz_recv`, `uuid_recv` and `numeric_recv`.
 */
import { type Chunk, POSTGRES_EPOCH, UUID_BYTES } from "./chunk.ts";

export const COPY_INVOICES =
  "copy warehouse.invoices (created_at, created_on, venue_key, load_id, synced_on, invoice_id, total) from stdin with (format binary)";

/** Signature, no flags, no extension. */
export const BINARY_HEADER = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
export const BINARY_TRAILER = Buffer.from([0xff, 0xff]);

/** Days from 1970-01-01 to 2000-01-01. */
const EPOCH_DAY = POSTGRES_EPOCH / 86_400;
const FIELDS = 7;
/** A row's bytes, at most: a total of twelve digits and two decimals has four digits to the base of 10,000. */
const MAX_ROW_BYTES = 2 + FIELDS * 4 + 8 + 4 + 4 + 4 + 4 + UUID_BYTES + 8 + 4 * 2;
/** Handed to the socket at a time. */
const PIECE_ROWS = 1024;
const TWO_TO_32 = 2 ** 32;
const NEGATIVE = 0x4000;

export interface InvoiceRows {
  readonly chunk: Chunk;
  /** Lines of the chunk, in the order in which they are to be written. */
  readonly lines: Int32Array;
  readonly loadId: number;
  /** Days since 1970-01-01. */
  readonly syncedOn: number;
}

/** The rows, some 80 KiB at a time, each in memory of its own, because the socket may still hold the one before. */
export function* encodeInvoices(rows: InvoiceRows): Generator<Buffer, void, undefined> {
  const { lines } = rows;
  const { buffer, byteOffset } = rows.chunk.invoice;
  const ids = new DataView(buffer, byteOffset);
  for (let from = 0; from < lines.length; from += PIECE_ROWS) {
    const to = Math.min(from + PIECE_ROWS, lines.length);
    const piece = Buffer.allocUnsafeSlow((to - from) * MAX_ROW_BYTES);
    const out = new DataView(piece.buffer);
    let at = 0;
    for (let index = from; index < to; index++) at = writeInvoice(out, at, rows, ids, lines[index] ?? 0);
    yield piece.subarray(0, at);
  }
}

/** Through views, because V8 has code for them in place, and calls a function for each number that a buffer writes. */
function writeInvoice(out: DataView, at: number, rows: InvoiceRows, ids: DataView, line: number): number {
  const { chunk } = rows;
  const micros = ((chunk.instant[line] ?? 0) - POSTGRES_EPOCH) * 1_000_000 + (chunk.micros[line] ?? 0);
  const high = Math.floor(micros / TWO_TO_32);
  out.setInt16(at, FIELDS);
  out.setInt32(at + 2, 8);
  out.setInt32(at + 6, high);
  out.setUint32(at + 10, micros - high * TWO_TO_32);
  out.setInt32(at + 14, 4);
  out.setInt32(at + 18, (chunk.day[line] ?? 0) - EPOCH_DAY);
  out.setInt32(at + 22, 4);
  out.setInt32(at + 26, chunk.venueKey[line] ?? 0);
  out.setInt32(at + 30, 4);
  out.setInt32(at + 34, rows.loadId);
  out.setInt32(at + 38, 4);
  out.setInt32(at + 42, rows.syncedOn - EPOCH_DAY);
  out.setInt32(at + 46, UUID_BYTES);
  const id = line * UUID_BYTES;
  for (let byte = 0; byte < UUID_BYTES; byte += 4) out.setInt32(at + 50 + byte, ids.getInt32(id + byte));
  return writeNumeric(out, at + 50 + UUID_BYTES, chunk.cents[line] ?? 0);
}

/** numeric: count of digits to the base of 10,000, power of the first, sign, decimals shown, digits. */
function writeNumeric(out: DataView, from: number, cents: number): number {
  const size = Math.abs(cents);
  const whole = Math.floor(size / 100);
  const wholeDigits = whole === 0 ? 0 : whole < 1e4 ? 1 : whole < 1e8 ? 2 : 3;
  const fraction = (size - whole * 100) * 100;
  const count = wholeDigits + (fraction === 0 ? 0 : 1);
  out.setInt32(from, 8 + 2 * count);
  out.setInt16(from + 4, count);
  out.setInt16(from + 6, wholeDigits - 1);
  out.setUint16(from + 8, cents < 0 ? NEGATIVE : 0);
  out.setUint16(from + 10, 2);
  let at = from + 12;
  if (wholeDigits > 2) at = writeDigit(out, at, Math.floor(whole / 1e8));
  if (wholeDigits > 1) at = writeDigit(out, at, Math.floor(whole / 1e4) % 1e4);
  if (wholeDigits > 0) at = writeDigit(out, at, whole % 1e4);
  return fraction === 0 ? at : writeDigit(out, at, fraction);
}

function writeDigit(out: DataView, at: number, digit: number): number {
  out.setUint16(at, digit);
  return at + 2;
}
