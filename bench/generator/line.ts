import { toDate } from "../../db/dates.ts";
import { type Invoice, word } from "./invoice.ts";
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
  const dates = Array.from({ length: endDay - firstDay }, (_, k) => toDate(firstDay + k)).join("");
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

/** Whole cents as a decimal string with two decimals. */
export function euros(cents: number | bigint): string {
  const digits = String(cents < 0 ? -cents : cents).padStart(3, "0");
  return `${cents < 0 ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
