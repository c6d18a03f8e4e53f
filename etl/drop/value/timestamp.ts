/**
 * Timestamps. The canonical form is `YYYY-MM-DDTHH:MM:SS`, at most six digits of a fraction, and `Z` or
 * `±HH:MM` for an instant.
 */

/**
 * How a time is to be read: without an offset it is on the warehouse's wall clock, with one it is an instant.
 */
export type TimeKind = "walls" | "instants";

/** A `datetime_created`: as PostgreSQL is to read it, and where it stands on its time line. */
export interface Timestamp {
  /** `YYYY-MM-DDTHH:MM:SS`, at most six digits of a fraction, and `Z` or `±HH:MM` for an instant. */
  readonly text: string;
  readonly kind: TimeKind;
  /** Whole seconds since 1970-01-01, rounded down. */
  readonly second: number;
}

const DATE = /(\d{4}-\d\d-\d\d|\d\d\.\d\d\.\d{4})/;
const TIME = /(\d\d:\d\d)(?:(:\d\d)(\.\d{1,9})?)?/;
const OFFSET = /(?: ?(?:([Zz]|UTC|GMT)|([+-]\d\d)(?::?(\d\d))?))?/;
const TIMESTAMP = new RegExp(`^${DATE.source}(?:[T ]${TIME.source}${OFFSET.source})?$`);

/**
 * Reads a timestamp in any form that the drop format allows; undefined for other text, and for a date or time
 * that does not exist.
 *
 * @param dayStarts `HH:MM`, the time of a date without one
 */
export function readTimestamp(text: string, dayStarts: string): Timestamp | undefined {
  const match = TIMESTAMP.exec(text);
  if (match === null) return undefined;
  const written = match[1] ?? "";
  const date =
    written[2] === "." ? `${written.slice(6)}-${written.slice(3, 5)}-${written.slice(0, 2)}` : written;
  const time = `${match[2] ?? dayStarts}${match[3] ?? ":00"}`;
  const day = dayNumber(numberAt(date, 0) * 100 + numberAt(date, 2), numberAt(date, 5), numberAt(date, 8));
  const second = secondOfDay(numberAt(time, 0), numberAt(time, 3), numberAt(time, 6));
  const offset = match[5] === undefined ? readOffset(match[6], match[7]) : ZULU;
  if (day === undefined || second === undefined || offset === undefined) return undefined;
  const fraction = match[4]?.slice(0, 7) ?? "";
  return {
    text: `${date}T${time}${fraction}${offset.text}`,
    kind: offset.kind,
    second: day * 86_400 + second - offset.seconds,
  };
}

/** The number that two digits write. */
function numberAt(text: string, at: number): number {
  return text.charCodeAt(at) * 10 + text.charCodeAt(at + 1) - 11 * 0x30;
}

interface Offset {
  readonly text: string;
  readonly kind: TimeKind;
  readonly seconds: number;
}
const ZULU: Offset = { text: "Z", kind: "instants", seconds: 0 };
const NO_OFFSET: Offset = { text: "", kind: "walls", seconds: 0 };

/**
 * An offset of at most 15:59, as PostgreSQL allows; undefined when it is beyond that. `hours`: with their
 * sign.
 */
function readOffset(hours: string | undefined, minutes = "00"): Offset | undefined {
  if (hours === undefined) return NO_OFFSET;
  const size = numberAt(hours, 1) * 3600 + numberAt(minutes, 0) * 60;
  if (numberAt(hours, 1) > 15 || numberAt(minutes, 0) > 59) return undefined;
  const seconds = hours.startsWith("-") ? -size : size;
  return { text: `${hours}:${minutes}`, kind: "instants", seconds };
}

/** Seconds since midnight; undefined for a time that no clock shows: 24:00 and leap seconds are not taken. */
export function secondOfDay(hours: number, minutes: number, seconds: number): number | undefined {
  if (hours > 23 || minutes > 59 || seconds > 59) return undefined;
  return hours * 3600 + minutes * 60 + seconds;
}

const MONTH_LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Days from 1970-01-01 to the first of each month from 0000-01 to 10000-01, proleptic Gregorian. */
const MONTH_STARTS = firstDays();

function firstDays(): Int32Array {
  const starts = new Int32Array(10_000 * 12 + 1);
  let day = -719_528;
  for (let month = 0; month < starts.length; month++) {
    starts[month] = day;
    day += daysIn(Math.floor(month / 12), month % 12);
  }
  return starts;
}

/** `month`: from 0. */
function daysIn(year: number, month: number): number {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return leap && month === 1 ? 29 : (MONTH_LENGTHS[month] ?? 0);
}

/**
 * Days since 1970-01-01 of a date of the years 1 to 9999; undefined when the calendar has no such date.
 * `month`: from 1.
 */
export function dayNumber(year: number, month: number, date: number): number | undefined {
  if (year < 1 || year > 9999 || month < 1 || month > 12 || date < 1) return undefined;
  const start = MONTH_STARTS[year * 12 + month - 1] ?? 0;
  const next = MONTH_STARTS[year * 12 + month] ?? 0;
  return date > next - start ? undefined : start + date - 1;
}

const HYPHEN = 0x2d;
const COLON = 0x3a;
const ZERO = 0x30;
const UPPER_T = 0x54;
/** Of `YYYY-MM-DDTHH:MM:SS`. */
export const TIME_LENGTH = 19;

/**
 * Seconds since 1970-01-01 of `YYYY-MM-DDTHH:MM:SS`, read as UTC; undefined for other text, and for a date or
 * time that does not exist.
 */
export function scanSecond(batch: Buffer, at: number): number | undefined {
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
