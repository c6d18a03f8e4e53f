/**
 * Part of the format model: the rules of the drop format (docs/design.md, "The drop format") for one record.
 * It is written from that text alone, slow and plain, and shares no code with the product. Where the product
 * decides otherwise, one of the two has a bug.
 */
import { dateOf, dayOfDate, offsetAt, offsetOfWall, ZONES, type ZoneName } from "./clocks.ts";
import { readTotal } from "./money.ts";
import { readTime, readUuid, type Time } from "./values.ts";

/** What the records of a drop are held against. */
export interface World {
  readonly timeZone: ZoneName;
  /** When a business day begins, `HH:MM` on the wall clock. */
  readonly dayStarts: string;
  /** The first date of the warehouse, and the sync date. */
  readonly earliest: string;
  readonly syncedOn: string;
  /** How many days after the sync date are taken, too. */
  readonly syncSlack: number;
  /** Ranges of dates, the second not included, whose partitions take no rows. */
  readonly closed: readonly (readonly [from: string, to: string])[];
  /** The same of periods that are closed, where the warehouse refuses changes of them. Default: none. */
  readonly closedPeriods?: readonly (readonly [from: string, to: string])[];
  readonly decimalComma: boolean;
}

export type Column = "venue_id" | "invoice_id" | "datetime_created" | "total";

/** Where the columns stand among the cells of a record. */
export interface Layout {
  readonly delimiter: Delimiter;
  readonly cells: number;
  readonly positions: Readonly<Record<Column, number>>;
}

export type Delimiter = "," | ";" | "\t" | "|";

/** What a record that is taken says. */
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

/**
 * Decides a record; `record`: its bytes without its end, line breaks inside quotes and all. Returns undefined
 * of one that counts for nothing.
 */
export function decideRecord(record: Uint8Array, layout: Layout, world: World): Decision | undefined {
  const text = decode(record);
  if (text === undefined || hasControls(record)) return rejected("bad_encoding", null);
  const cells = splitCells(text, layout.delimiter);
  if (cells === undefined) return rejected("broken_quotes", null);
  const places = Object.values(layout.positions);
  const mayBreak = (index: number) => index < layout.cells && !places.includes(index);
  if (cells.some((cell, index) => cell.includes("\n") && !mayBreak(index)))
    return rejected("bad_encoding", null);
  if (!fits(cells, layout.cells)) return rejected("wrong_column_count", null);
  if (places.every((place) => trim(cells[place] ?? "") === "")) return undefined;
  return decideCells(cells, layout, world);
}

/** So many cells, or one more that is empty. */
export function fits(cells: readonly string[], count: number): boolean {
  return cells.length === count || (cells.length === count + 1 && cells[count] === "");
}

function decideCells(cells: readonly string[], { positions }: Layout, world: World): Decision {
  const venue = cells[positions.venue_id] ?? "";
  if (trim(venue) === "") return rejected("missing_venue", "venue_id");
  if (countCharacters(venue) > 200) return rejected("venue_too_long", "venue_id");
  const uuid = readUuid(trim(cells[positions.invoice_id] ?? ""));
  if (uuid === undefined) return rejected("bad_uuid", "invoice_id");
  const time = readTime(trim(cells[positions.datetime_created] ?? ""));
  if (time === undefined) return rejected("bad_timestamp", "datetime_created");
  const cents = readTotal(trim(cells[positions.total] ?? ""), world.decimalComma);
  if (typeof cents === "string") return rejected(cents, "total");
  return decideDate({ venue, uuid, time, cents }, world);
}

/** The last step: the dates that are taken. `zone`: of times without an offset; default: the warehouse's. */
export function decideDate(
  read: {
    readonly venue: string;
    readonly uuid: string;
    readonly time: Time;
    readonly cents: bigint;
  },
  world: World,
  zone: ZoneName = world.timeZone,
): Decision {
  const { venue, uuid, time, cents } = read;
  const { second, day } = placeTime(time, world, zone);
  if (day < dayOfDate(world.earliest)) return rejected("created_before_earliest", "datetime_created");
  if (day > dayOfDate(world.syncedOn) + world.syncSlack)
    return rejected("created_after_sync", "datetime_created");
  const isIn = ([from, to]: readonly [string, string]) => day >= dayOfDate(from) && day < dayOfDate(to);
  if (world.closed.some(isIn)) return rejected("partition_closed", "datetime_created");
  if (world.closedPeriods?.some(isIn)) return rejected("period_closed", "datetime_created");
  const instant = BigInt(second) * 1_000_000n + BigInt(time.micros);
  return { kind: "taken", invoice: { venue, uuid, instant, createdOn: dateOf(day), cents } };
}

/** The second since 1970-01-01, UTC, and the business day, counted from 1970-01-01. */
function placeTime(time: Time, { timeZone, dayStarts }: World, zoneOfTimes: ZoneName) {
  const zone = ZONES[timeZone];
  const start = Number(dayStarts.slice(0, 2)) * 3600 + Number(dayStarts.slice(3)) * 60;
  // A date without a time is that business day: the beginning of it.
  const said = time.isDate ? time.wall + start : time.wall;
  const clock = time.isDate ? zone : ZONES[zoneOfTimes];
  const second = said - (time.offset ?? offsetOfWall(clock, said));
  const wall = second + offsetAt(zone, second);
  return { second, day: Math.floor((wall - start) / 86_400) };
}

export function rejected(reason: string, column: Column | null): Decision {
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

/**
 * U+0000 to U+001F other than tab and what makes line breaks, and U+007F. In UTF-8 each is the byte of that
 * number, and no other character holds such a byte. A carriage return alone is no line break.
 */
export function hasControls(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    const isBreak = byte === 0x0a || (byte === 0x0d && bytes[at + 1] === 0x0a);
    if ((byte < 0x20 && byte !== 0x09 && !isBreak) || byte === 0x7f) return true;
  }
  return false;
}

/** The cells of a line or record, quotes taken off; undefined when its quotes are broken. */
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
export function countCharacters(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0xdc00 || unit > 0xdfff) count++;
  }
  return count;
}
