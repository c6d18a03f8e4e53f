/**
 * The careful path: the rules for the fields of one line (DESIGN.md section 8). A line is either written
 * anew as a row of COPY text, or rejected for the first reason that applies.
 */
import { isUtf8 } from "node:buffer";
import { type Column, type CopyLayout, copyLayout, type Dialect, splitLine, trimBlanks } from "./dialect.ts";

export { COLUMNS, type Column } from "./dialect.ts";

/** Why a line is refused; of several that apply, the first in this order. */
export const REJECT_REASONS = [
  "bad_encoding",
  "broken_quotes",
  "wrong_column_count",
  "missing_venue",
  "venue_too_long",
  "bad_uuid",
  "bad_timestamp",
  "bad_total",
  "sub_cent_total",
  "created_before_earliest",
  "created_after_sync",
  "partition_closed",
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

/** A refused line, as it goes to the quarantine. */
export interface Reject {
  /** As an editor numbers it, from 1. */
  readonly line: number;
  readonly reason: RejectReason;
  /** The column at fault; null when the line as a whole is. */
  readonly column: Column | null;
  /** The line's bytes without its terminator: a copy of their own. */
  readonly raw: Buffer;
}

/**
 * One date of the warehouse's calendar, as thresholds asked of PostgreSQL, so that one time-zone database
 * decides: `created_on >= date` holds from `instants[0]` on, no more from `instants[1]` on, again from
 * `instants[2]` on, and so forth; likewise for wall-clock times. Whole seconds since 1970-01-01, ascending;
 * `walls` reads the wall clock as if it were UTC. Always an odd number of entries, nearly always one.
 */
export interface DateThreshold {
  /** `YYYY-MM-DD`. */
  readonly date: string;
  readonly instants: readonly number[];
  readonly walls: readonly number[];
}

/** What a line is held against. Fixed for a drop. */
export interface LineRules {
  /** The first date of the warehouse. */
  readonly earliest: DateThreshold;
  /** The day after the sync date. */
  readonly afterSync: DateThreshold;
  /** The ranges of dates, `to` not included, whose partitions take no rows. */
  readonly closed: readonly { readonly from: DateThreshold; readonly to: DateThreshold }[];
  /** True when totals may have a comma for a point. */
  readonly decimalComma: boolean;
}

/** How a time is to be read: without an offset it is on the warehouse's wall clock, with one an instant. */
export type Clock = "walls" | "instants";

/** All that the lines of one drop are decided by, prepared once. */
export interface LineFormat {
  readonly dialect: Dialect;
  readonly copy: CopyLayout;
  readonly rules: LineRules;
  /** The seconds whose `created_on` is taken, as alternating starts and ends of spans: see `openSpans`. */
  readonly open: Readonly<Record<Clock, readonly number[]>>;
}

export function lineFormat(options: { readonly dialect: Dialect; readonly rules: LineRules }): LineFormat {
  const { dialect, rules } = options;
  const open = { walls: openSpans(rules, "walls"), instants: openSpans(rules, "instants") };
  return { dialect, copy: copyLayout(dialect), rules, open };
}

/** The bytes of a line within a batch, without its terminator. */
export interface LineBytes {
  readonly batch: Buffer;
  /** Offsets in the batch: the first byte, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** True when the whole batch is known to be UTF-8. */
  readonly utf8: boolean;
  /** The line's number, from 1. */
  readonly line: number;
}

/** Decides one line that is not empty: its row as COPY text (LF ended, in the layout of the format), or the reject. */
export function validateLine(options: {
  readonly bytes: LineBytes;
  readonly format: LineFormat;
}): string | Reject {
  const { bytes, format } = options;
  const text = decodeLine(bytes);
  if (text === undefined) return reject(bytes, "bad_encoding", null);
  const { delimiter, cells: width, positions } = format.dialect;
  const cells = splitLine(text, delimiter, width + 1);
  if (cells === undefined) return reject(bytes, "broken_quotes", null);
  if (cells.length !== width) return reject(bytes, "wrong_column_count", null);

  const venue = cells[positions.venue_id] ?? "";
  const venueFault = checkVenue(venue);
  if (venueFault !== undefined) return reject(bytes, venueFault, "venue_id");
  const invoice = readUuid(trimBlanks(cells[positions.invoice_id] ?? ""));
  if (invoice === undefined) return reject(bytes, "bad_uuid", "invoice_id");
  const created = readTimestamp(trimBlanks(cells[positions.datetime_created] ?? ""));
  if (created === undefined) return reject(bytes, "bad_timestamp", "datetime_created");
  const total = readTotal(trimBlanks(cells[positions.total] ?? ""), format.rules.decimalComma);
  if (total === "bad_total" || total === "sub_cent_total") return reject(bytes, total, "total");
  const createdFault = checkCreated(created, format);
  if (createdFault !== undefined) return reject(bytes, createdFault, "datetime_created");
  return writeRow(format.copy, venue, invoice, created.text, total);
}

function reject(bytes: LineBytes, reason: RejectReason, column: Column | null): Reject {
  // A copy: rejects outlive the batch, and a slice would keep all of it in memory.
  const raw = Buffer.from(bytes.batch.subarray(bytes.from, bytes.to));
  return { line: bytes.line, reason, column, raw };
}

const CONTROL = 1;
const NOT_ASCII = 2;
/** For each byte: CONTROL for U+0000 to U+001F other than tab and for U+007F, NOT_ASCII from 0x80 on, else 0. */
const BYTE_KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x80) return NOT_ASCII;
  return (byte < 0x20 && byte !== 0x09) || byte === 0x7f ? CONTROL : 0;
});

/** The line as text; undefined when it is not UTF-8 or holds control characters. */
function decodeLine({ batch, from, to, utf8 }: LineBytes): string | undefined {
  let kinds = 0;
  for (let at = from; at < to; at++) kinds |= BYTE_KINDS[batch[at] ?? 0] ?? 0;
  if (kinds & CONTROL) return undefined;
  if (!(kinds & NOT_ASCII)) return batch.toString("latin1", from, to);
  return utf8 || isUtf8(batch.subarray(from, to)) ? batch.toString("utf8", from, to) : undefined;
}

/** The most characters (code points) of a `venue_id`. */
export const MAX_VENUE_LENGTH = 200;

function checkVenue(venue: string): "missing_venue" | "venue_too_long" | undefined {
  if (trimBlanks(venue) === "") return "missing_venue";
  if (venue.length <= MAX_VENUE_LENGTH) return undefined;
  // A code point takes one or two of the units that `length` counts.
  if (venue.length > 2 * MAX_VENUE_LENGTH) return "venue_too_long";
  return [...venue].length > MAX_VENUE_LENGTH ? "venue_too_long" : undefined;
}

const CANONICAL_UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Hyphens are free after each group of four digits but the last. Source: `string_to_uuid` in PostgreSQL's uuid.c. */
const ANY_UUID = /^[0-9a-f]{4}(?:-?[0-9a-f]{4}){7}$/i;
/** Braces and seven hyphens around 32 digits. */
const LONGEST_UUID = 41;

/** Any form of a UUID that PostgreSQL takes, in the form that it prints; undefined for what it refuses. */
export function readUuid(text: string): string | undefined {
  if (text.length > LONGEST_UUID) return undefined;
  const bare = text.startsWith("{") && text.endsWith("}") ? text.slice(1, -1) : text;
  if (bare.length === 36) {
    const lower = bare.toLowerCase();
    if (CANONICAL_UUID.test(lower)) return lower;
  }
  if (!ANY_UUID.test(bare)) return undefined;
  const digits = bare.replaceAll("-", "").toLowerCase();
  const [a, b, c, d] = [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20)];
  return `${a}-${b}-${c}-${d}-${digits.slice(20)}`;
}

/** A `datetime_created`: as PostgreSQL is to read it, and where it stands on its clock. */
export interface Timestamp {
  /** `YYYY-MM-DDTHH:MM:SS`, at most six digits of a fraction, and `Z` or `±HH:MM` for an instant. */
  readonly text: string;
  readonly clock: Clock;
  /** Whole seconds since 1970-01-01, rounded down. */
  readonly second: number;
}

const TIMESTAMP = /^\d{4}-\d\d-\d\d(?:[T ](\d\d:\d\d)(:\d\d)?(\.\d{1,9})?(?:(Z)|([+-]\d\d)(?::?(\d\d))?)?)?$/;

/** A timestamp in a form of section 8; undefined for any other, and for what no calendar or clock shows. */
export function readTimestamp(text: string): Timestamp | undefined {
  const match = TIMESTAMP.exec(text);
  if (match === null || (match[3] !== undefined && match[2] === undefined)) return undefined;
  const time = `${match[1] ?? "00:00"}${match[2] ?? ":00"}`;
  const day = dayNumber(numberAt(text, 0) * 100 + numberAt(text, 2), numberAt(text, 5), numberAt(text, 8));
  const second = secondOfDay(numberAt(time, 0), numberAt(time, 3), numberAt(time, 6));
  const offset = match[4] === undefined ? readOffset(match[5], match[6]) : ZULU;
  if (day === undefined || second === undefined || offset === undefined) return undefined;
  const fraction = match[3]?.slice(0, 7) ?? "";
  return {
    text: `${text.slice(0, 10)}T${time}${fraction}${offset.text}`,
    clock: offset.clock,
    second: day * 86_400 + second - offset.seconds,
  };
}

/** The number that the two digits at `at` write. */
function numberAt(text: string, at: number): number {
  return text.charCodeAt(at) * 10 + text.charCodeAt(at + 1) - 11 * 0x30;
}

interface Offset {
  readonly text: string;
  readonly clock: Clock;
  readonly seconds: number;
}
const ZULU: Offset = { text: "Z", clock: "instants", seconds: 0 };
const NO_OFFSET: Offset = { text: "", clock: "walls", seconds: 0 };

/** An offset of at most 15:59, as PostgreSQL allows; undefined when it is beyond that. `hours`: with their sign. */
function readOffset(hours: string | undefined, minutes = "00"): Offset | undefined {
  if (hours === undefined) return NO_OFFSET;
  const size = numberAt(hours, 1) * 3600 + numberAt(minutes, 0) * 60;
  if (numberAt(hours, 1) > 15 || numberAt(minutes, 0) > 59) return undefined;
  const seconds = hours.startsWith("-") ? -size : size;
  return { text: `${hours}:${minutes}`, clock: "instants", seconds };
}

/** Seconds since midnight; undefined for a time that no clock shows: 24:00 and leap seconds are not taken. */
export function secondOfDay(hours: number, minutes: number, seconds: number): number | undefined {
  if (hours > 23 || minutes > 59 || seconds > 59) return undefined;
  return hours * 3600 + minutes * 60 + seconds;
}

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
  return [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month] ?? 0;
}

/** Days since 1970-01-01 of a date of the years 1 to 9999; undefined when the calendar has no such date. `month`: from 1. */
export function dayNumber(year: number, month: number, date: number): number | undefined {
  if (year < 1 || year > 9999 || month < 1 || month > 12 || date < 1) return undefined;
  const start = MONTH_STARTS[year * 12 + month - 1] ?? 0;
  const next = MONTH_STARTS[year * 12 + month] ?? 0;
  return date > next - start ? undefined : start + date - 1;
}

const PLAIN_TOTAL = /^(?:0|-?[1-9]\d{0,11})\.\d\d$/;
const TOTAL_WITH_POINT = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;
const TOTAL_WITH_POINT_OR_COMMA = /^([+-]?)(\d*)(?:[.,](\d*))?(?:[eE]([+-]?\d{1,4}))?$/;

/**
 * A total in whole cents: `-?digits.dd`, no minus before zero. Exact, by its digits alone, in linear time.
 *
 * `bad_total`: no number, or its size is 10^12 or more, as it stands or as the whole cent that it means.
 * `sub_cent_total`: more than 0.000001 away from a whole cent.
 */
export function readTotal(text: string, decimalComma: boolean): string {
  if (PLAIN_TOTAL.test(text)) return text;
  const match = (decimalComma ? TOTAL_WITH_POINT_OR_COMMA : TOTAL_WITH_POINT).exec(text);
  if (match === null) return "bad_total";
  const whole = match[2] ?? "";
  const fraction = match[3] ?? "";
  if (whole === "" && fraction === "") return "bad_total";
  const digits = stripZeros(whole + fraction);
  // How many of the digits stand before the point once the number is counted in cents; may be negative.
  const inCents = digits.length - fraction.length + Number(match[4] ?? 0) + 2;
  const cents = digits === "" ? "" : wholeCents(digits, inCents);
  if (cents === "bad_total" || cents === "sub_cent_total") return cents;
  return writeTotal(match[1] === "-", cents);
}

/** The greatest total, in cents: 999999999999.99. */
const MAX_CENTS = "99999999999999";

/** The cents nearest to `0.digits × 10^inCents`. `digits` begins with none that is zero. */
function wholeCents(digits: string, inCents: number): string {
  if (inCents > MAX_CENTS.length) return "bad_total";
  const whole = digits.slice(0, Math.max(inCents, 0)).padEnd(inCents, "0");
  const rest = fractionOf(digits, inCents);
  // 0.000001 of a euro is 0.0001 of a cent.
  if (rest.head === "0000" || (rest.head === "0001" && rest.exact)) return whole;
  if (rest.head !== "9999") return "sub_cent_total";
  return whole === MAX_CENTS ? "bad_total" : String(BigInt(whole) + 1n);
}

/** What stands after the point: its first four digits, and whether they are all of it but zeros. */
function fractionOf(digits: string, inCents: number): { readonly head: string; readonly exact: boolean } {
  const lead = Math.min(Math.max(-inCents, 0), 4);
  const from = Math.max(inCents, 0);
  const head = ("0".repeat(lead) + digits.slice(from, from + 4 - lead)).padEnd(4, "0");
  return { head, exact: stripZeros(digits.slice(from + 4 - lead)) === "" };
}

/** The digits without the zeros in front; empty for zero. */
function stripZeros(digits: string): string {
  let from = 0;
  while (digits.charCodeAt(from) === 0x30) from++;
  return from === 0 ? digits : digits.slice(from);
}

function writeTotal(negative: boolean, cents: string): string {
  if (stripZeros(cents) === "") return "0.00";
  const padded = cents.padStart(3, "0");
  return `${negative ? "-" : ""}${padded.slice(0, -2)}.${padded.slice(-2)}`;
}

function checkCreated(created: Timestamp, format: LineFormat): RejectReason | undefined {
  const { clock, second } = created;
  if (spanAt(format.open[clock], second) % 2 === 1) return undefined;
  if (!holds(format.rules.earliest[clock], second)) return "created_before_earliest";
  if (holds(format.rules.afterSync[clock], second)) return "created_after_sync";
  return "partition_closed";
}

function holds(threshold: readonly number[], second: number): boolean {
  return spanAt(threshold, second) % 2 === 1;
}

/** How many entries of the ascending list are at or before the second. Odd means: within a span. */
export function spanAt(ascending: readonly number[], second: number): number {
  let from = 0;
  let to = ascending.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((ascending[middle] ?? 0) <= second) from = middle + 1;
    else to = middle;
  }
  return from;
}

/**
 * The seconds at which no rule about `created_on` refuses: `[start, end, start, end, …]`, ends not included.
 *
 * Counts at each threshold how many reasons to refuse hold: one before the earliest date, one after the sync
 * date, one within each closed range (from its start on, less from its end on).
 */
function openSpans(rules: LineRules, clock: Clock): number[] {
  const changes = [
    ...alternate(rules.earliest[clock], -1),
    ...alternate(rules.afterSync[clock], 1),
    ...rules.closed.flatMap(({ from, to }) => [...alternate(from[clock], 1), ...alternate(to[clock], -1)]),
  ].sort((a, b) => a.second - b.second);
  const spans: number[] = [];
  let reasons = 1;
  for (const { second, change } of changes) {
    reasons += change;
    if ((reasons === 0) !== (spans.length % 2 === 1)) spans.push(second);
  }
  return spans;
}

function alternate(threshold: readonly number[], first: 1 | -1): { second: number; change: number }[] {
  return threshold.map((second, index) => ({ second, change: index % 2 === 0 ? first : -first }));
}

function writeRow(copy: CopyLayout, venue: string, invoice: string, created: string, total: string): string {
  const { delimiter } = copy;
  let row = "";
  for (const column of copy.columns) {
    if (row !== "") row += delimiter;
    if (column === "venue_id") row += escapeVenue(venue, delimiter);
    else if (column === "invoice_id") row += invoice;
    else if (column === "datetime_created") row += created;
    else row += total;
  }
  return `${row}\n`;
}

/** Source: PostgreSQL 18 documentation, COPY, text format: these three must not stand bare in a value. */
function escapeVenue(venue: string, delimiter: string): string {
  if (!venue.includes("\\") && !venue.includes("\t") && !venue.includes(delimiter)) return venue;
  const escaped = venue.replaceAll("\\", "\\\\").replaceAll("\t", "\\t");
  return delimiter === "\t" ? escaped : escaped.replaceAll(delimiter, `\\${delimiter}`);
}
