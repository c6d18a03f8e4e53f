/** Reads times that are not written as the drop format has it. */
import { DateTime } from "luxon";
import { readTimestamp, type TimeKind, type Timestamp } from "./timestamp.ts";
import { createWallClock } from "./zone.ts";

/** Undefined for text that is no such time, and for a date or time that does not exist. */
export type TimeReader = (text: string) => Timestamp | undefined;

/**
 * @param options.format Luxon's tokens; undefined: the forms of the drop format
 * @param options.epoch the text is a number, since 1970-01-01 UTC
 * @param options.zone of wall-clock times; undefined: the warehouse's. A date without a time is that business
 *   day, in whatever zone.
 * @param options.dayStarts `HH:MM`, the time of a date without one
 */
export function createTimeReader(options: {
  readonly format?: string | undefined;
  readonly epoch?: "seconds" | "milliseconds" | undefined;
  readonly zone?: string | undefined;
  readonly dayStarts: string;
}): TimeReader {
  const { format, epoch, zone, dayStarts } = options;
  if (epoch !== undefined) return (text) => readEpoch(text, epoch);
  const read =
    format === undefined
      ? (text: string) => withTime(readTimestamp(text, dayStarts), text.length > DATE_LENGTH)
      : createFormatReader(format, dayStarts);
  const clock = zone === undefined ? undefined : createWallClock(zone);
  return (text) => {
    const found = read(text);
    if (found === undefined || clock === undefined || !found.timed) return found?.time;
    const { kind, second, text: written } = found.time;
    if (kind === "instants") return found.time;
    return makeTimestamp(clock(second), "instants", fractionIn(written));
  };
}

/** Of `YYYY-MM-DD` and `DD.MM.YYYY`. */
const DATE_LENGTH = 10;

interface Read {
  readonly time: Timestamp;
  /** Whether there is a time, and not only a date. */
  readonly timed: boolean;
}

function withTime(time: Timestamp | undefined, timed: boolean): Read | undefined {
  return time && { time, timed };
}

const fractionIn = (text: string): string => /\.\d+/.exec(text)?.[0] ?? "";

/** The years that the drop format has. */
const FIRST_SECOND = Date.parse("0001-01-01T00:00:00Z") / 1000;
const LAST_SECOND = Date.parse("9999-12-31T23:59:59Z") / 1000;

/** @param fraction of the second, with its point; empty for none */
function makeTimestamp(second: number, kind: TimeKind, fraction: string): Timestamp | undefined {
  if (second < FIRST_SECOND || second > LAST_SECOND) return undefined;
  const text = new Date(second * 1000).toISOString().slice(0, -".000Z".length);
  return { text: `${text}${fraction}${kind === "instants" ? "Z" : ""}`, kind, second };
}

const EPOCH = /^(-?\d{1,15})(?:\.(\d{1,9}))?$/;

function readEpoch(text: string, unit: "seconds" | "milliseconds"): Timestamp | undefined {
  const [, digits, behind = ""] = EPOCH.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const whole = BigInt(digits) * (unit === "seconds" ? 1_000_000n : 1000n);
  const rest = BigInt(behind.padEnd(6, "0").slice(0, unit === "seconds" ? 6 : 3));
  const micros = whole + (digits.startsWith("-") ? -rest : rest);
  const within = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const second = Number((micros - within) / 1_000_000n);
  const fraction = within === 0n ? "" : `.${String(within).padStart(6, "0")}`;
  return makeTimestamp(second, "instants", fraction);
}

/** Names of months and of halves of the day are English, whatever the machine speaks. */
export const TIME_LOCALE = "en-US";

/** Luxon's tokens of hours and minutes, of offsets, and what stands between apostrophes. */
const TIME_TOKEN = /[Hh]/;
const OFFSET_TOKEN = /[zZ]/;
const LITERAL = /'[^']*'/g;

function createFormatReader(format: string, dayStarts: string): (text: string) => Read | undefined {
  const options = { locale: TIME_LOCALE };
  const tokens = DateTime.expandFormat(format, options).replaceAll(LITERAL, "");
  const [timed, hasOffset] = [TIME_TOKEN.test(tokens), OFFSET_TOKEN.test(tokens)];
  const parser = DateTime.buildFormatParser(format, options);
  const isInRange = createRangeCheck(format, options);
  return (text) => {
    const found = DateTime.fromFormatParser(text, parser, { ...options, zone: "utc" });
    if (!found.isValid || !isInRange(text)) return undefined;
    if (!timed && !hasOffset) return withTime(readTimestamp(found.toISODate() ?? "", dayStarts), false);
    const { milliseconds, second } = splitMillis(found.toMillis());
    const fraction = milliseconds === 0 ? "" : `.${String(milliseconds).padStart(3, "0")}`;
    return withTime(makeTimestamp(second, hasOffset ? "instants" : "walls", fraction), true);
  };
}

/**
 * Luxon takes some times that no clock shows, and that two programs read differently: 24:00, the midnight before
 * a date or after it; 13 PM and 0 AM; offsets such as +01:90.
 *
 * The groups of its pattern: one for each token and each literal; for an offset three, the second its hours and
 * the third its minutes.
 */
function createRangeCheck(format: string, options: { readonly locale: string }): (text: string) => boolean {
  const { tokens, regex } = DateTime.fromFormatExplain("", format, options);
  const ranges: { readonly group: number; readonly from: number; readonly to: number }[] = [];
  let group = 1;
  for (const { literal, val } of tokens) {
    if (!literal && /^Z+$/.test(val)) {
      ranges.push({ group: group + 1, from: -15, to: 15 }, { group: group + 2, from: 0, to: 59 });
      group += 3;
      continue;
    }
    if (!literal && /^H+$/.test(val)) ranges.push({ group, from: 0, to: 23 });
    if (!literal && /^h+$/.test(val)) ranges.push({ group, from: 1, to: 12 });
    group++;
  }
  if (ranges.length === 0 || regex === undefined) return () => true;
  return (text) => {
    const found = regex.exec(text);
    return ranges.every(({ group, from, to }) => {
      const value = Number(found?.[group] ?? from);
      return value >= from && value <= to;
    });
  };
}

function splitMillis(millis: number): { readonly second: number; readonly milliseconds: number } {
  const second = Math.floor(millis / 1000);
  return { second, milliseconds: millis - second * 1000 };
}
