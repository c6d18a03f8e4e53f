/**
 * The model: the rules of the drop format (docs/design.md, "The drop format") for one line, written from that text alone, slow and plain.
 * Shares no code with etl/; what the product does and this does not is a bug in one of them.
 */
import { dateOf, dayOf, dayOfDate, offsetAt, offsetOfWall, ZONES, type ZoneName } from "./calendar.ts";

/** What the lines of a drop are held against. */
export interface World {
  readonly timeZone: ZoneName;
  /** The first date of the warehouse, and the sync date. */
  readonly earliest: string;
  readonly syncedOn: string;
  /** Ranges of dates, the second not included, whose partitions take no rows. */
  readonly closed: readonly (readonly [from: string, to: string])[];
  readonly decimalComma: boolean;
}

export type Column = "venue_id" | "invoice_id" | "datetime_created" | "total";

/** Where the columns stand among the cells of a line. */
export interface Layout {
  readonly delimiter: "," | ";" | "\t";
  readonly cells: number;
  readonly positions: Readonly<Record<Column, number>>;
}

/** What a line that is taken says. */
export interface Invoice {
  readonly venue: string;
  /** Lower case, four hyphens. */
  readonly uuid: string;
  /** Microseconds since 1970-01-01, UTC. */
  readonly instant: bigint;
  readonly createdOn: string;
  readonly cents: bigint;
}

export type Decision =
  | { readonly kind: "taken"; readonly invoice: Invoice }
  | { readonly kind: "rejected"; readonly reason: string; readonly column: Column | null };

/** Decides a line that is not empty; `line`: its bytes without its terminator. */
export function decideLine(line: Uint8Array, layout: Layout, world: World): Decision {
  const text = decode(line);
  if (text === undefined || hasControls(line)) return rejected("bad_encoding", null);
  const cells = splitCells(text, layout.delimiter);
  if (cells === undefined) return rejected("broken_quotes", null);
  if (cells.length !== layout.cells) return rejected("wrong_column_count", null);
  const { positions } = layout;
  const venue = cells[positions.venue_id] ?? "";
  if (trim(venue) === "") return rejected("missing_venue", "venue_id");
  if (countCharacters(venue) > 200) return rejected("venue_too_long", "venue_id");
  const uuid = readUuid(trim(cells[positions.invoice_id] ?? ""));
  if (uuid === undefined) return rejected("bad_uuid", "invoice_id");
  const time = readTime(trim(cells[positions.datetime_created] ?? ""));
  if (time === undefined) return rejected("bad_timestamp", "datetime_created");
  const total = readTotal(trim(cells[positions.total] ?? ""), world.decimalComma);
  if (typeof total === "string") return rejected(total, "total");

  const zone = ZONES[world.timeZone];
  const second =
    time.offset === undefined ? time.wall - offsetOfWall(zone, time.wall) : time.wall - time.offset;
  const day = Math.floor((second + offsetAt(zone, second)) / 86_400);
  if (day < dayOfDate(world.earliest)) return rejected("created_before_earliest", "datetime_created");
  if (day > dayOfDate(world.syncedOn)) return rejected("created_after_sync", "datetime_created");
  for (const [from, to] of world.closed) {
    if (day >= dayOfDate(from) && day < dayOfDate(to))
      return rejected("partition_closed", "datetime_created");
  }
  const instant = BigInt(second) * 1_000_000n + BigInt(time.micros);
  return { kind: "taken", invoice: { venue, uuid, instant, createdOn: dateOf(day), cents: total } };
}

function rejected(reason: string, column: Column | null): Decision {
  return { kind: "rejected", reason, column };
}

/** UTF-8 by the table of RFC 3629, section 4; undefined for anything else. */
export function decode(bytes: Uint8Array): string | undefined {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at] ?? 0;
    if (first < 0x80) {
      text += String.fromCharCode(first);
      at++;
      continue;
    }
    const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || at + length > bytes.length) return undefined;
    const second = bytes[at + 1] ?? 0;
    if (first === 0xe0 && second < 0xa0) return undefined;
    if (first === 0xed && second > 0x9f) return undefined;
    if (first === 0xf0 && second < 0x90) return undefined;
    if (first === 0xf4 && second > 0x8f) return undefined;
    let point = first & (length === 2 ? 0x1f : length === 3 ? 0x0f : 0x07);
    for (let next = 1; next < length; next++) {
      const byte = bytes[at + next] ?? 0;
      if (byte < 0x80 || byte > 0xbf) return undefined;
      point = point * 64 + (byte - 0x80);
    }
    text += String.fromCodePoint(point);
    at += length;
  }
  return text;
}

/** U+0000 to U+001F other than tab, and U+007F: in UTF-8 each is the byte of that number, and no other character holds such a byte. */
function hasControls(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if ((byte < 0x20 && byte !== 0x09) || byte === 0x7f) return true;
  }
  return false;
}

/** The cells of a line, quotes taken off; undefined when its quotes are broken. */
export function splitCells(text: string, delimiter: string): string[] | undefined {
  const cells: string[] = [];
  let at = 0;
  for (;;) {
    let cell = "";
    if (text[at] === '"') {
      at++;
      for (;;) {
        if (at >= text.length) return undefined;
        if (text[at] !== '"') cell += text[at++];
        else if (text[at + 1] === '"') {
          cell += '"';
          at += 2;
        } else break;
      }
      at++;
      if (at < text.length && text[at] !== delimiter) return undefined;
    } else {
      while (at < text.length && text[at] !== delimiter) {
        if (text[at] === '"') return undefined;
        cell += text[at++];
      }
    }
    cells.push(cell);
    if (at >= text.length) return cells;
    at++;
  }
}

/** Without the blanks and tabs around it. */
export function trim(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && (text[from] === " " || text[from] === "\t")) from++;
  while (to > from && (text[to - 1] === " " || text[to - 1] === "\t")) to--;
  return text.slice(from, to);
}

/** A character beyond U+FFFF takes two units of a string, the second of which is a low surrogate. */
function countCharacters(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0xdc00 || unit > 0xdfff) count++;
  }
  return count;
}

/**
 * PostgreSQL's documentation, "UUID Type": upper-case digits too, the whole in braces or not, hyphens left out in any number, or one after any
 * group of four digits.
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
 * `[+-]digits[.digits][e[+-]1 to 4 digits]`, `.5` and `5.` too: in whole cents, or the reason why not. Below 10^12 as it stands and as the whole cent
 * that it means; at most 0.000001 from a whole cent it is that cent.
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
