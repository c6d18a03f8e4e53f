/**
 * The fast path: a byte scanner that knows the canonical line and lets it pass as it is. It never refuses:
 * what it does not know goes the careful way (validate.ts), and a test holds the two against each other.
 *
 * A canonical line has the four columns and ends with LF or CRLF. Its venue is plain (1 to 200 bytes, no blank in
 * front, no quote, backslash, delimiter or control byte), its UUID lower case with four hyphens, its time
 * `YYYY-MM-DDTHH:MM:SS` or that with `Z`, of a date that is taken, its total one to twelve digits and two decimals.
 */
import { COLUMNS, type Column } from "./dialect.ts";
import { dayNumber, type LineFormat, secondOfDay, spanAt } from "./validate.ts";

/** What a recogniser answers to a line that it does not know. */
export const NOT_CANONICAL = -1;

/**
 * The offset after the line's terminator when the line at `from` is canonical, else NOT_CANONICAL.
 *
 * `batch` ends with LF. `utf8` tells that all of it is UTF-8; without it only ASCII is recognised.
 */
export type Recogniser = (batch: Buffer, from: number, utf8: boolean) => number;

const LF = 0x0a;
const CR = 0x0d;
const BLANK = 0x20;
const HYPHEN = 0x2d;
const POINT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;
const UPPER_T = 0x54;
const UPPER_Z = 0x5a;

const UUID_LENGTH = 36;
const TIME_LENGTH = 19;
const MAX_VENUE_BYTES = 200;
const MAX_WHOLE_DIGITS = 12;

/** 1 for the lower-case hexadecimal digits. */
const HEX = Uint8Array.from({ length: 256 }, (_, byte) =>
  /^[0-9a-f]$/.test(String.fromCharCode(byte)) ? 1 : 0,
);

/** A scanner for the lines of one drop. Files with further columns have no canonical lines: their rows are written anew. */
export function createRecogniser(options: { readonly format: LineFormat }): Recogniser {
  const { dialect, copy, open } = options.format;
  if (dialect.cells !== COLUMNS.length) return () => NOT_CANONICAL;
  const delimiter = dialect.delimiter.charCodeAt(0);
  const [first = "venue_id", second = "invoice_id", third = "datetime_created", fourth = "total"] =
    copy.columns;
  const skipVenue = venueSkipper(delimiter);
  const skipTime = timeSkipper(open);

  const skip = (column: Column, batch: Buffer, at: number, utf8: boolean): number => {
    if (column === "venue_id") return skipVenue(batch, at, utf8);
    if (column === "invoice_id") return skipUuid(batch, at);
    if (column === "datetime_created") return skipTime(batch, at);
    return skipTotal(batch, at);
  };

  return (batch, from, utf8) => {
    let at = skip(first, batch, from, utf8);
    if (at < 0 || batch[at] !== delimiter) return NOT_CANONICAL;
    at = skip(second, batch, at + 1, utf8);
    if (at < 0 || batch[at] !== delimiter) return NOT_CANONICAL;
    at = skip(third, batch, at + 1, utf8);
    if (at < 0 || batch[at] !== delimiter) return NOT_CANONICAL;
    at = skip(fourth, batch, at + 1, utf8);
    if (at < 0) return NOT_CANONICAL;
    if (batch[at] === CR) at++;
    return batch[at] === LF ? at + 1 : NOT_CANONICAL;
  };
}

// Each of the following answers the offset after the field that begins at `at`, or NOT_CANONICAL. They read at
// most to the end of the batch, whose last byte, an LF, is part of no field. `?? 0` is there for the types: V8
// folds it away, since a read within the bounds is always a number.

function venueSkipper(delimiter: number): (batch: Buffer, at: number, utf8: boolean) => number {
  const ascii = plainBytes(delimiter, 0x80);
  const any = plainBytes(delimiter, 0x100);
  return (batch, at, utf8) => {
    const plain = utf8 ? any : ascii;
    let end = at;
    while (plain[batch[end] ?? 0] === 1) end++;
    const length = end - at;
    return length === 0 || length > MAX_VENUE_BYTES || batch[at] === BLANK ? NOT_CANONICAL : end;
  };
}

/** 1 for the bytes below `limit` that stand for themselves, both in the file and in COPY's text format. */
function plainBytes(delimiter: number, limit: number): Uint8Array {
  const special = new Set([delimiter, '"'.charCodeAt(0), "\\".charCodeAt(0), 0x7f]);
  return Uint8Array.from({ length: 256 }, (_, byte) =>
    byte >= BLANK && byte < limit && !special.has(byte) ? 1 : 0,
  );
}

function skipUuid(batch: Buffer, at: number): number {
  const end = at + UUID_LENGTH;
  if (end >= batch.length) return NOT_CANONICAL;
  if (batch[at + 8] !== HYPHEN || batch[at + 13] !== HYPHEN) return NOT_CANONICAL;
  if (batch[at + 18] !== HYPHEN || batch[at + 23] !== HYPHEN) return NOT_CANONICAL;
  const digits =
    countHex(batch, at, at + 8) +
    countHex(batch, at + 9, at + 13) +
    countHex(batch, at + 14, at + 18) +
    countHex(batch, at + 19, at + 23) +
    countHex(batch, at + 24, end);
  return digits === 32 ? end : NOT_CANONICAL;
}

function countHex(batch: Buffer, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; at++) count += HEX[batch[at] ?? 0] ?? 0;
  return count;
}

/** `open`: the spans of seconds that are taken. Times are nearly always of one span, so that it is looked up once. */
function timeSkipper(open: LineFormat["open"]): (batch: Buffer, at: number) => number {
  const isOpenWall = spanCheck(open.walls);
  const isOpenInstant = spanCheck(open.instants);
  return (batch, at) => {
    const end = at + TIME_LENGTH;
    if (end >= batch.length) return NOT_CANONICAL;
    const second = readSecond(batch, at);
    if (second === undefined) return NOT_CANONICAL;
    if (batch[end] === UPPER_Z) return isOpenInstant(second) ? end + 1 : NOT_CANONICAL;
    return isOpenWall(second) ? end : NOT_CANONICAL;
  };
}

function spanCheck(spans: readonly number[]): (second: number) => boolean {
  let start = Number.POSITIVE_INFINITY;
  let end = Number.POSITIVE_INFINITY;
  return (second) => {
    if (second >= start && second < end) return true;
    const before = spanAt(spans, second);
    if (before % 2 === 0) return false;
    start = spans[before - 1] ?? Number.POSITIVE_INFINITY;
    end = spans[before] ?? Number.POSITIVE_INFINITY;
    return true;
  };
}

/** Seconds since 1970-01-01 of `YYYY-MM-DDTHH:MM:SS`, read as UTC; undefined for other text and for no real time. */
function readSecond(batch: Buffer, at: number): number | undefined {
  if (batch[at + 4] !== HYPHEN || batch[at + 7] !== HYPHEN || batch[at + 10] !== UPPER_T) return undefined;
  if (batch[at + 13] !== COLON || batch[at + 16] !== COLON) return undefined;
  const year = twoDigits(batch, at) * 100 + twoDigits(batch, at + 2);
  const day = dayNumber(year, twoDigits(batch, at + 5), twoDigits(batch, at + 8));
  const second = secondOfDay(twoDigits(batch, at + 11), twoDigits(batch, at + 14), twoDigits(batch, at + 17));
  return day === undefined || second === undefined ? undefined : day * 86_400 + second;
}

/** Larger than any part of a date or time, so that the range check that follows refuses it. */
const NO_DIGITS = 1_000_000;

function twoDigits(batch: Buffer, at: number): number {
  const tens = (batch[at] ?? 0) - ZERO;
  const ones = (batch[at + 1] ?? 0) - ZERO;
  return tens >>> 0 > 9 || ones >>> 0 > 9 ? NO_DIGITS : tens * 10 + ones;
}

function skipTotal(batch: Buffer, at: number): number {
  let point = at;
  while (isDigit(batch[point])) point++;
  const whole = point - at;
  if (whole === 0 || whole > MAX_WHOLE_DIGITS || batch[point] !== POINT) return NOT_CANONICAL;
  return isDigit(batch[point + 1]) && isDigit(batch[point + 2]) ? point + 3 : NOT_CANONICAL;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && (byte - ZERO) >>> 0 <= 9;
}
