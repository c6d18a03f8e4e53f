/**
 * Part of the format model: times in a form that a source gives, and numbers of seconds or milliseconds. The
 * tokens are those of Luxon's documentation ("Parsing", "Table of tokens"), as many as files are made with.
 */
import { dayOf } from "./clocks.ts";
import type { Time } from "./values.ts";

type Part = "year" | "month" | "day" | "hour" | "minute" | "second" | "fraction" | "half" | "offset";

interface Token {
  readonly part: Part;
  readonly pattern: string;
  readonly read: (text: string) => number;
}

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const number = (part: Part, pattern: string): Token => ({ part, pattern, read: Number });

const TOKENS: Readonly<Record<string, Token>> = {
  yyyy: number("year", "[0-9]{4}"),
  // Of the years 1961 to 2060; a year that is written in full is that year.
  yy: {
    part: "year",
    pattern: "[0-9]{2,4}",
    read: (text) => Number(text) + (Number(text) > 99 ? 0 : Number(text) > 60 ? 1900 : 2000),
  },
  MMM: {
    part: "month",
    pattern: MONTHS.join("|"),
    read: (text) => MONTHS.indexOf(text.toLowerCase()) + 1,
  },
  MM: number("month", "[0-9]{2}"),
  M: number("month", "[0-9]{1,2}"),
  dd: number("day", "[0-9]{2}"),
  d: number("day", "[0-9]{1,2}"),
  HH: number("hour", "[0-9]{2}"),
  H: number("hour", "[0-9]{1,2}"),
  hh: number("hour", "[0-9]{2}"),
  h: number("hour", "[0-9]{1,2}"),
  mm: number("minute", "[0-9]{2}"),
  m: number("minute", "[0-9]{1,2}"),
  ss: number("second", "[0-9]{2}"),
  SSS: { part: "fraction", pattern: "[0-9]{3}", read: (text) => Number(text) * 1000 },
  a: { part: "half", pattern: "am|pm", read: (text) => (text.toLowerCase() === "pm" ? 1 : 0) },
  Z: { part: "offset", pattern: "[+-][0-9]{1,2}(?::[0-9]{2})?", read: offsetOf },
  ZZ: { part: "offset", pattern: "[+-][0-9]{1,2}(?::[0-9]{2})?", read: offsetOf },
  ZZZ: { part: "offset", pattern: "[+-][0-9]{1,2}(?:[0-9]{2})?", read: offsetOf },
};

/** In seconds; NaN where it is too great to be one. */
function offsetOf(text: string): number {
  const [, hours = "", minutes = "0"] = /^.([0-9]{1,2}):?([0-9]{2})?$/.exec(text) ?? [];
  if (Number(hours) > 15 || Number(minutes) > 59) return Number.NaN;
  return (text.startsWith("-") ? -1 : 1) * (Number(hours) * 3600 + Number(minutes) * 60);
}

/** Reads a time as the format has it; letter case of words plays no part. */
export function readFormatted(text: string, format: string): Time | undefined {
  const tokens: Token[] = [];
  const pattern = format.replace(/'([^']*)'|([a-zA-Z])\2*|[\s\S]/g, (piece, literal?: string) => {
    const token = TOKENS[piece];
    if (token === undefined) return (literal ?? piece).replace(/[.+*?()|[\]{}^$\\/]/g, "\\$&");
    tokens.push(token);
    return `(${token.pattern})`;
  });
  const found = new RegExp(`^${pattern}$`, "i").exec(text);
  if (found === null) return undefined;
  const parts = new Map(tokens.map(({ part, read }, at) => [part, read(found[at + 1] ?? "")]));
  return timeOf(parts);
}

function timeOf(parts: ReadonlyMap<Part, number>): Time | undefined {
  const day = dayOf(parts.get("year") ?? 0, parts.get("month") ?? 0, parts.get("day") ?? 0);
  if (day === undefined) return undefined;
  const isDate = !parts.has("hour");
  const hour = hourOf(parts.get("hour") ?? 0, parts.get("half"));
  const [minute, second] = [parts.get("minute") ?? 0, parts.get("second") ?? 0];
  const offset = parts.get("offset");
  if (hour === undefined || minute > 59 || second > 59 || Number.isNaN(offset)) return undefined;
  const wall = day * 86_400 + hour * 3600 + minute * 60 + second;
  return { wall, micros: parts.get("fraction") ?? 0, offset, isDate };
}

/** `half`: 0 before noon, 1 after it. */
function hourOf(hour: number, half: number | undefined): number | undefined {
  if (half === undefined) return hour < 24 ? hour : undefined;
  return hour >= 1 && hour <= 12 ? (hour % 12) + 12 * half : undefined;
}

/** A number since 1970-01-01, UTC. What is past microseconds is cut off. */
export function readEpoch(text: string, unit: "seconds" | "milliseconds"): Time | undefined {
  const [, minus, digits = "", fraction = ""] = /^(-?)([0-9]{1,15})(?:\.([0-9]{1,9}))?$/.exec(text) ?? [];
  if (minus === undefined) return undefined;
  const places = unit === "seconds" ? 6 : 3;
  const size = BigInt(digits + `${fraction}000000`.slice(0, places));
  const micros = minus === "-" ? -size : size;
  const rest = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const second = Number((micros - rest) / 1_000_000n);
  // Of the years 1 to 9999.
  if (second < -62_135_596_800 || second > 253_402_300_799) return undefined;
  return { wall: second, micros: Number(rest), offset: 0, isDate: false };
}
