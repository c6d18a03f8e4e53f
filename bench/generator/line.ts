import { type Invoice, word } from "./invoice.ts";
import { isoDate } from "./pattern.ts";
import { mix32 } from "./random.ts";
import type { Venues } from "./venues.ts";

/** How the lines of a drop are written: as bytes into a large buffer, without a string per field. */

/** The buffer that lines are written to, and how far it is filled. */
export interface Page {
  bytes: Buffer;
  at: number;
}

/** No line is longer, in bytes. */
export const LONGEST_LINE = 512;

export const HEADER = "venue_id,invoice_id,datetime_created,total\n";

/** What lines need to know of the plan. */
export interface LineStyle {
  readonly venues: Venues;
  /** `YYYY-MM-DD` of every day from `firstDay` on, one after the other. */
  readonly dateBytes: Uint8Array;
  readonly firstDay: number;
}

export function createLineStyle(venues: Venues, firstDay: number, endDay: number): LineStyle {
  const dates = Array.from({ length: endDay - firstDay }, (_, k) => isoDate(firstDay + k)).join("");
  return { venues, dateBytes: Buffer.from(dates, "latin1"), firstDay };
}

const COMMA = 0x2c;
const DASH = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const LETTER_T = 0x54;
const LINE_FEED = 0x0a;

const HEX = Buffer.from(
  Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0")).join(""),
  "latin1",
);

/** Writes `venue-00042,6f1c….-uuid,2026-10-05T19:31:07,23.40` and a line feed. */
export function writeCanonical(page: Page, style: LineStyle, invoice: Invoice, cents: number): void {
  const { bytes } = page;
  let at = copy(style.venues.nameBytes, invoice.venue, style.venues.nameLength + 1, bytes, page.at);
  at = writeUuid(bytes, at, invoice);
  bytes[at] = COMMA;
  at = copy(style.dateBytes, invoice.day - style.firstDay, 10, bytes, at + 1);
  at = writeTime(bytes, at, invoice.second);
  bytes[at] = COMMA;
  at = writeTotal(bytes, at + 1, cents);
  bytes[at] = LINE_FEED;
  page.at = at + 1;
}

function copy(from: Uint8Array, index: number, width: number, bytes: Buffer, at: number): number {
  const start = index * width;
  for (let k = 0; k < width; k += 1) bytes[at + k] = from[start + k] as number;
  return at + width;
}

function writeByte(bytes: Buffer, at: number, byte: number): void {
  bytes[at] = HEX[byte * 2] as number;
  bytes[at + 1] = HEX[byte * 2 + 1] as number;
}

function writeUuid(bytes: Buffer, at: number, invoice: Invoice): number {
  const { high, low } = invoice;
  const second = versioned(invoice);
  const third = variant(invoice);
  writeByte(bytes, at, high >>> 24);
  writeByte(bytes, at + 2, (high >>> 16) & 255);
  writeByte(bytes, at + 4, (high >>> 8) & 255);
  writeByte(bytes, at + 6, high & 255);
  bytes[at + 8] = DASH;
  writeByte(bytes, at + 9, second >>> 24);
  writeByte(bytes, at + 11, (second >>> 16) & 255);
  bytes[at + 13] = DASH;
  writeByte(bytes, at + 14, (second >>> 8) & 255);
  writeByte(bytes, at + 16, second & 255);
  bytes[at + 18] = DASH;
  writeByte(bytes, at + 19, third >>> 24);
  writeByte(bytes, at + 21, (third >>> 16) & 255);
  bytes[at + 23] = DASH;
  writeByte(bytes, at + 24, (third >>> 8) & 255);
  writeByte(bytes, at + 26, third & 255);
  writeByte(bytes, at + 28, low >>> 24);
  writeByte(bytes, at + 30, (low >>> 16) & 255);
  writeByte(bytes, at + 32, (low >>> 8) & 255);
  writeByte(bytes, at + 34, low & 255);
  return at + 36;
}

/** The second and third word of a random UUID (version 4, RFC 9562). */
function versioned(invoice: Invoice): number {
  return ((word(invoice, 7) & 0xffff0fff) | 0x4000) >>> 0;
}

function variant(invoice: Invoice): number {
  return ((word(invoice, 8) & 0x3fffffff) | 0x80000000) >>> 0;
}

function writeTwo(bytes: Buffer, at: number, value: number): void {
  const tens = (value / 10) | 0;
  bytes[at] = ZERO + tens;
  bytes[at + 1] = ZERO + value - tens * 10;
}

function writeTime(bytes: Buffer, at: number, second: number): number {
  const minutes = (second / 60) | 0;
  const hours = (minutes / 60) | 0;
  bytes[at] = LETTER_T;
  writeTwo(bytes, at + 1, hours);
  bytes[at + 3] = COLON;
  writeTwo(bytes, at + 4, minutes - hours * 60);
  bytes[at + 6] = COLON;
  writeTwo(bytes, at + 7, second - minutes * 60);
  return at + 9;
}

function writeTotal(bytes: Buffer, start: number, cents: number): number {
  let at = start;
  let rest = cents;
  if (rest < 0) {
    bytes[at] = DASH;
    at += 1;
    rest = -rest;
  }
  const euros = Math.floor(rest / 100);
  let digits = 1;
  for (let limit = 10; euros >= limit; limit *= 10) digits += 1;
  let left = euros;
  for (let k = at + digits - 1; k >= at; k -= 1) {
    const tenth = Math.floor(left / 10);
    bytes[k] = ZERO + left - tenth * 10;
    left = tenth;
  }
  at += digits;
  bytes[at] = POINT;
  writeTwo(bytes, at + 1, rest - euros * 100);
  return at + 3;
}

/** A line's four fields as text, for the lines that are not canonical. */
interface Fields {
  readonly venue: string;
  readonly id: string;
  readonly created: string;
  readonly total: string;
}

/** Whole cents as a decimal string with two decimals. */
export function euros(cents: number | bigint): string {
  const digits = String(cents < 0 ? -cents : cents).padStart(3, "0");
  return `${cents < 0 ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

function fieldsOf(style: LineStyle, invoice: Invoice, cents: number): Fields {
  const scratch = { bytes: Buffer.alloc(LONGEST_LINE), at: 0 };
  writeCanonical(scratch, style, invoice, cents);
  const [venue = "", id = "", created = "", total = ""] = scratch.bytes
    .toString("latin1", 0, scratch.at - 1)
    .split(",");
  return { venue, id, created, total };
}

type Change = (fields: Fields) => string;

const join = ({ venue, id, created, total }: Fields) => `${venue},${id},${created},${total}`;

/** Every way says the same as the canonical line, in every time zone. None gives an offset. */
const ODD: readonly Change[] = [
  (row) => join({ ...row, id: row.id.toUpperCase() }),
  (row) => join({ ...row, id: row.id.replaceAll("-", "") }),
  (row) => join({ ...row, id: `{${row.id}}` }),
  (row) => join({ ...row, created: row.created.replace("T", " ") }),
  (row) => join({ ...row, created: `${row.created}.000` }),
  (row) => join({ ...row, created: row.created.replace(/:00$/, "") }),
  (row) => join({ ...row, venue: `"${row.venue}"`, total: `"${row.total}"` }),
  (row) => `"${row.venue}","${row.id}","${row.created}","${row.total}"`,
  (row) => `${join(row)}\r`,
  (row) => join({ ...row, total: `${row.total.replace(".", "")}e-2` }),
  (row) => join({ ...row, total: `${row.total}0000001` }),
  (row) => join({ ...row, total: row.total.startsWith("-") ? row.total : `+${row.total}` }),
  (row) => join({ ...row, total: row.total.replace(/0$/, "") }),
  (row) => join({ ...row, id: ` ${row.id}`, total: `${row.total}\t` }),
];

/** Writes the line in one of the forms that are valid but not canonical. `random` is a 32-bit random number. */
export function writeOdd(
  page: Page,
  style: LineStyle,
  invoice: Invoice,
  cents: number,
  random: number,
): void {
  const change = ODD[random % ODD.length] as Change;
  writeText(page, change(fieldsOf(style, invoice, cents)));
}

/** Reason codes of the lines that a generated drop may hold, and the ways to earn each. Latin-1, so that bytes can be wrong. */
const BAD = {
  bad_encoding: [
    (row) => join({ ...row, venue: `${row.venue}\xff` }),
    (row) => join({ ...row, venue: `Caf\xe9 ${row.venue}` }),
    (row) => join({ ...row, venue: `${row.venue}\x07` }),
    (row) => join({ ...row, total: `${row.total}\x00` }),
  ],
  broken_quotes: [
    (row) => join({ ...row, venue: `"${row.venue}` }),
    (row) => join({ ...row, venue: `"${row.venue}"x` }),
    (row) => join({ ...row, total: `${row.total}"` }),
  ],
  wrong_column_count: [
    (row) => `${row.venue},${row.id},${row.created}`,
    (row) => `${join(row)},EUR`,
    (row) => `${row.venue};${row.id};${row.created};${row.total}`,
  ],
  missing_venue: [
    (row) => join({ ...row, venue: "" }),
    (row) => join({ ...row, venue: "  " }),
    (row) => join({ ...row, venue: '""' }),
  ],
  venue_too_long: [(row) => join({ ...row, venue: row.venue.padEnd(201, "x") })],
  bad_uuid: [
    (row) => join({ ...row, id: row.id.slice(0, -1) }),
    (row) => join({ ...row, id: `${row.id}0` }),
    (row) => join({ ...row, id: `g${row.id.slice(1)}` }),
    (row) => join({ ...row, id: "" }),
  ],
  bad_timestamp: [
    (row) => join({ ...row, created: "" }),
    (row) => join({ ...row, created: "yesterday" }),
    (row) => join({ ...row, created: `${row.created.slice(0, 4)}-02-30${row.created.slice(10)}` }),
    (row) => join({ ...row, created: `${row.created.slice(0, 11)}24:00:00` }),
    (row) => join({ ...row, created: row.created.split("T")[0]?.split("-").reverse().join(".") ?? "" }),
  ],
  bad_total: [
    (row) => join({ ...row, total: "" }),
    (row) => join({ ...row, total: "NaN" }),
    (row) => join({ ...row, total: `1_${row.total.replace("-", "")}` }),
    (row) => join({ ...row, total: `${row.total} EUR` }),
    (row) => join({ ...row, total: "1e12" }),
  ],
  sub_cent_total: [
    (row) => join({ ...row, total: `${row.total}5` }),
    (row) => join({ ...row, total: "0.001" }),
  ],
  created_before_earliest: [
    (row) => join({ ...row, created: `1999-12-31${row.created.slice(10)}` }),
    (row) => join({ ...row, created: "1970-01-01T00:00:00" }),
  ],
  // Sync dates end with 2099.
  created_after_sync: [
    (row) => join({ ...row, created: `22${row.created.slice(2, 5)}06-15${row.created.slice(10)}` }),
    (row) => join({ ...row, created: "9999-12-31T23:59:59" }),
  ],
} as const satisfies Record<string, readonly Change[]>;

export type BadReason = keyof typeof BAD;

export const BAD_REASONS = Object.keys(BAD) as BadReason[];

/** Writes a line that any warehouse with the default earliest date rejects, and returns the reason. */
export function writeBad(page: Page, style: LineStyle, invoice: Invoice, random: number): BadReason {
  const reason = BAD_REASONS[random % BAD_REASONS.length] as BadReason;
  const ways: readonly Change[] = BAD[reason];
  const change = ways[mix32(random) % ways.length] as Change;
  writeText(page, change(fieldsOf(style, invoice, invoice.cents)));
  return reason;
}

function writeText(page: Page, text: string): void {
  page.at += page.bytes.write(`${text}\n`, page.at, "latin1");
}
