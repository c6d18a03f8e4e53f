/**
 * Part of the format model: what the texts of `invoice_id` and `datetime_created` say. Blanks around them are
 * taken off before.
 */
import { dayOf } from "./clocks.ts";

/**
 * Source: PostgreSQL's documentation, "UUID Type". Digits may be upper-case, the whole may stand in braces,
 * hyphens may be left out, and one may stand after any group of four digits.
 */
export function readUuid(source: string): string | undefined {
  let text = source;
  if (text.startsWith("{")) {
    if (!text.endsWith("}")) return undefined;
    text = text.slice(1, -1);
  }
  let hex = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? "";
    if (char === "-") {
      const isAfterGroup = hex.length % 4 === 0 && hex.length > 0 && hex.length < 32;
      if (!isAfterGroup || text[at - 1] === "-") return undefined;
    } else if ("0123456789abcdefABCDEF".includes(char)) hex += char.toLowerCase();
    else return undefined;
  }
  if (hex.length !== 32) return undefined;
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export interface Time {
  /** Seconds since 1970-01-01 on the clock that the text shows, and microseconds beyond them. */
  readonly wall: number;
  readonly micros: number;
  /** Seconds from UTC; undefined: none is said. */
  readonly offset: number | undefined;
  /** A date and no more. */
  readonly isDate: boolean;
}

/**
 * `YYYY-MM-DD` or `DD.MM.YYYY`, or that with `T` or one blank and `HH:MM[:SS[.1 to 9 digits]]` and, after at
 * most one blank, `Z`, `z`, `UTC`, `GMT`, `±HH`, `±HHMM` or `±HH:MM`.
 */
export function readTime(text: string): Time | undefined {
  const reader = { text, at: 0 };
  const day = readDate(reader);
  if (day === undefined) return undefined;
  if (isAtEnd(reader)) return { wall: day * 86_400, micros: 0, offset: undefined, isDate: true };
  const clock = skip(reader, "T") || skip(reader, " ") ? readClock(reader) : undefined;
  if (clock === undefined) return undefined;
  const { seconds, micros } = clock;
  const time = { wall: day * 86_400 + seconds, micros, isDate: false };
  if (isAtEnd(reader)) return { ...time, offset: undefined };
  skip(reader, " ");
  const offset = readOffset(reader);
  return offset !== undefined && isAtEnd(reader) ? { ...time, offset } : undefined;
}

/** The day, counted from 1970-01-01. Points show that the day of the month comes first. */
function readDate(reader: Reader): number | undefined {
  const isDayFirst = reader.text[2] === ".";
  const mark = isDayFirst ? "." : "-";
  const first = readNumber(reader, isDayFirst ? 2 : 4);
  const month = skip(reader, mark) ? readNumber(reader, 2) : undefined;
  const last = skip(reader, mark) ? readNumber(reader, isDayFirst ? 4 : 2) : undefined;
  if (first === undefined || month === undefined || last === undefined) return undefined;
  return isDayFirst ? dayOf(last, month, first) : dayOf(first, month, last);
}

/** Seconds since midnight, and microseconds beyond them. */
function readClock(reader: Reader): { readonly seconds: number; readonly micros: number } | undefined {
  const hour = readNumber(reader, 2);
  const minute = skip(reader, ":") ? readNumber(reader, 2) : undefined;
  if (hour === undefined || minute === undefined) return undefined;
  let second = 0;
  let micros = 0;
  if (skip(reader, ":")) {
    const given = readNumber(reader, 2);
    if (given === undefined) return undefined;
    second = given;
    if (skip(reader, ".")) {
      const fraction = readDigits(reader);
      if (fraction.length < 1 || fraction.length > 9) return undefined;
      // What is past microseconds is cut off.
      micros = Number(`${fraction}000000`.slice(0, 6));
    }
  }
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  return { seconds: hour * 3600 + minute * 60 + second, micros };
}

/** In seconds. */
function readOffset(reader: Reader): number | undefined {
  if (["Z", "z", "UTC", "GMT"].some((name) => skip(reader, name))) return 0;
  const sign = skip(reader, "+") ? 1 : skip(reader, "-") ? -1 : undefined;
  const hours = readNumber(reader, 2);
  if (sign === undefined || hours === undefined || hours > 15) return undefined;
  if (isAtEnd(reader)) return sign * hours * 3600;
  skip(reader, ":");
  const minutes = readNumber(reader, 2);
  if (minutes === undefined || minutes > 59) return undefined;
  return sign * (hours * 3600 + minutes * 60);
}

/** A text and how far it is read. */
interface Reader {
  readonly text: string;
  at: number;
}

function isAtEnd({ text, at }: Reader): boolean {
  return at === text.length;
}

/** Takes this text if it is next. */
function skip(reader: Reader, next: string): boolean {
  if (!reader.text.startsWith(next, reader.at)) return false;
  reader.at += next.length;
  return true;
}

/** Takes so many digits. */
function readNumber(reader: Reader, length: number): number | undefined {
  let value = 0;
  for (let count = 0; count < length; count++) {
    if (!isDigitNext(reader)) return undefined;
    value = value * 10 + Number(reader.text[reader.at++]);
  }
  return value;
}

/** Takes all digits that are next. */
function readDigits(reader: Reader): string {
  const from = reader.at;
  while (isDigitNext(reader)) reader.at++;
  return reader.text.slice(from, reader.at);
}

function isDigitNext({ text, at }: Reader): boolean {
  return at < text.length && "0123456789".includes(text[at] ?? "");
}
