/**
 * Part of the format model: what the texts of the last three columns say. Blanks around them are taken off
 * before.
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

interface Time {
  /** Seconds since 1970-01-01 on the clock that the text shows, and microseconds beyond them. */
  readonly wall: number;
  readonly micros: number;
  /** Seconds from UTC; undefined: none is said. */
  readonly offset: number | undefined;
}

/** `YYYY-MM-DD`, or that with `T` or one blank and `HH:MM[:SS[.1 to 9 digits]][Z|±HH|±HHMM|±HH:MM]`. */
export function readTime(text: string): Time | undefined {
  const reader = { text, at: 0 };
  const year = readNumber(reader, 4);
  const month = skip(reader, "-") ? readNumber(reader, 2) : undefined;
  const date = skip(reader, "-") ? readNumber(reader, 2) : undefined;
  if (year === undefined || month === undefined || date === undefined) return undefined;
  const day = dayOf(year, month, date);
  if (day === undefined) return undefined;
  if (isAtEnd(reader)) return { wall: day * 86_400, micros: 0, offset: undefined };

  if (!skip(reader, "T") && !skip(reader, " ")) return undefined;
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
  const wall = day * 86_400 + hour * 3600 + minute * 60 + second;
  if (isAtEnd(reader)) return { wall, micros, offset: undefined };
  if (skip(reader, "Z")) return isAtEnd(reader) ? { wall, micros, offset: 0 } : undefined;

  const sign = skip(reader, "+") ? 1 : skip(reader, "-") ? -1 : undefined;
  const hours = readNumber(reader, 2);
  if (sign === undefined || hours === undefined || hours > 15) return undefined;
  let minutes = 0;
  if (!isAtEnd(reader)) {
    skip(reader, ":");
    const given = readNumber(reader, 2);
    if (given === undefined || given > 59) return undefined;
    minutes = given;
  }
  if (!isAtEnd(reader)) return undefined;
  return { wall, micros, offset: sign * (hours * 3600 + minutes * 60) };
}

/** A text and how far it is read. */
interface Reader {
  readonly text: string;
  at: number;
}

function isAtEnd({ text, at }: Reader): boolean {
  return at === text.length;
}

/** Takes this character if it is next. */
function skip(reader: Reader, char: string): boolean {
  if (reader.text[reader.at] !== char) return false;
  reader.at++;
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

/**
 * `[+-]digits[.digits][e[+-]1 to 4 digits]`, `.5` and `5.` too. Returns whole cents, or the reason why it is
 * refused. A total must be below 10^12 as it stands, and as the whole cent that it means. One that is at most
 * 0.000001 away from a whole cent is that cent.
 */
export function readTotal(text: string, decimalComma: boolean): bigint | "bad_total" | "sub_cent_total" {
  const reader = { text, at: 0 };
  const isNegative = skip(reader, "-");
  if (!isNegative) skip(reader, "+");
  const whole = readDigits(reader);
  const fraction = skip(reader, ".") || (decimalComma && skip(reader, ",")) ? readDigits(reader) : "";
  if (whole.length + fraction.length === 0) return "bad_total";
  let exponent = 0;
  if (skip(reader, "e") || skip(reader, "E")) {
    const isSmall = skip(reader, "-");
    if (!isSmall) skip(reader, "+");
    const given = readDigits(reader);
    if (given.length < 1 || given.length > 4) return "bad_total";
    exponent = isSmall ? -Number(given) : Number(given);
  }
  if (!isAtEnd(reader)) return "bad_total";

  // The size of the total is above / below, exactly.
  const power = exponent - fraction.length;
  const above = BigInt(whole + fraction) * (power > 0 ? 10n ** BigInt(power) : 1n);
  const below = power < 0 ? 10n ** BigInt(-power) : 1n;
  if (above >= 1_000_000_000_000n * below) return "bad_total";
  const down = (above * 100n) / below;
  const rest = above * 100n - down * below;
  // In parts of a cent, 0.000001 of a euro is one of 10,000.
  let cents: bigint;
  if (rest * 10_000n <= below) cents = down;
  else if ((below - rest) * 10_000n <= below) cents = down + 1n;
  else return "sub_cent_total";
  if (cents >= 100_000_000_000_000n) return "bad_total";
  return isNegative ? -cents : cents;
}

/** Cents as PostgreSQL writes euros. */
export function euros(cents: bigint | number): string {
  const digits = String(cents < 0 ? -cents : cents).padStart(3, "0");
  return `${cents < 0 ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
