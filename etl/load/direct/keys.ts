/**
 * What a line needs for its key besides its invoice id: its venue's key, its creation date, and a partition
 * for it. Each is looked up once per drop.
 */
import { sql } from "drizzle-orm";
import type { Session } from "../../../db/client.ts";
import { toDate } from "../../../db/dates.ts";
import { isOpen } from "../../../db/partitions/catalog.ts";
import { type PartitionRange, partitionOf } from "../../../db/partitions/ranges.ts";
import { partitions, type Settings } from "../../../db/schema.ts";
import { readOffsets } from "../../drop/calendar.ts";
import { addVenues, type Preparation } from "../prepare.ts";
import { type AllTexts, type Chunk, createTexts, type Texts } from "./chunk.ts";

const DAY_SECONDS = 86_400;

export interface KeyMaps {
  readonly settings: Settings;
  /** When a day of the warehouse starts, in seconds of the wall clock. */
  readonly dayStartsAt: number;
  readonly texts: AllTexts;
  /** Of these, the venues' ids. */
  readonly venues: Texts;
  /** Of each venue met: its key; 0 where the dimension has none yet. */
  readonly venueKeys: number[];
  /** Seconds from UTC of each day met; null where the clock changes. */
  readonly offsets: Map<number, number | null>;
  readonly ranges: Map<number, PartitionRange>;
}

/** Partitions that take rows, each with its first date. */
export type OpenPartitions = ReadonlyMap<string, string>;

export function createKeyMaps(settings: Settings): KeyMaps {
  const texts = createTexts();
  const [hours, minutes] = settings.dayStarts.split(":");
  return {
    settings,
    dayStartsAt: 3600 * Number(hours) + 60 * Number(minutes),
    texts,
    venues: texts.venue_id,
    venueKeys: [],
    offsets: new Map(),
    ranges: new Map(),
  };
}

export async function readOpenPartitions(session: Session): Promise<OpenPartitions> {
  const { partition, lower, state } = partitions;
  const all = await session.db.select({ partition, lower, state }).from(partitions).orderBy(lower);
  return new Map(all.filter(isOpen).map(({ partition, lower }) => [partition, lower]));
}

/** Looks up the keys of the venues that were met since the last call. */
export async function findVenues({ venues, venueKeys }: KeyMaps, session: Session): Promise<void> {
  const fresh = venues.ids.slice(venueKeys.length);
  if (fresh.length > 0) for (const key of await readVenueKeys(session, fresh)) venueKeys.push(key);
}

/** Makes the venues that were met and are not in the dimension. */
export async function makeVenues(
  { venues, venueKeys }: KeyMaps,
  session: Session,
  options: Preparation,
): Promise<void> {
  const missing = venues.ids.filter((_, index) => venueKeys[index] === 0).toSorted(byBytes);
  if (missing.length === 0) return;
  await addVenues(options, missing);
  const keys = await readVenueKeys(session, missing);
  const made = new Map(missing.map((id, index) => [id, keys[index] ?? 0]));
  for (const [index, id] of venues.ids.entries()) venueKeys[index] ||= made.get(id) ?? 0;
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/**
 * The key of each venue, in the order of the ids; 0 where the dimension has none. The result is one text,
 * because thousands of rows would cost more than the query.
 */
async function readVenueKeys(session: Session, ids: readonly string[]): Promise<readonly number[]> {
  const { rows } = await session.db.execute<{ keys: string }>(sql`
    select string_agg(coalesce(venue_key, 0)::text, ',' order by position) as keys
    from unnest(${sql.param(ids)}::text[]) with ordinality as wanted (venue_id, position)
    left join lateral (
      select v.venue_key from warehouse.venues v where v.venue_id = wanted.venue_id limit 1
    ) found on true`);
  return (rows[0]?.keys ?? "").split(",").map(Number);
}

/**
 * Asks for the offsets of the days that are new in this chunk: UTC days for instants, days of the wall clock
 * for others.
 */
export async function findOffsets(
  { offsets, settings: { timeZone } }: KeyMaps,
  session: Session,
  chunk: Chunk,
): Promise<void> {
  const days = new Set<number>();
  for (let line = 0; line < chunk.lines; line++) {
    const day = Math.floor((chunk.second[line] ?? 0) / DAY_SECONDS);
    if (!offsets.has(day)) days.add(day);
  }
  if (days.size === 0) return;
  if (timeZone === "UTC") {
    for (const day of days) offsets.set(day, 0);
    return;
  }
  const dates = [...days].map(toDate);
  const found = await readOffsets({ session, timeZone, dates });
  for (const day of days) offsets.set(day, found.get(toDate(day)) ?? null);
}

/** The days on which lines of the chunk were created, without those that need the careful calendar. */
export function createdOn(maps: KeyMaps, chunk: Chunk): ReadonlySet<number> {
  const days = new Set<number>();
  for (let line = 0; line < chunk.lines; line++) {
    const offset = offsetOf(maps, chunk, line);
    if (offset !== null) days.add(dayOf(maps, chunk, line, offset));
  }
  return days;
}

export interface Resolved {
  /** The lines without a key. */
  readonly missing: readonly number[];
  /** How many of these only need a venue or a partition. */
  readonly unprepared: number;
}

/** Finds the keys of the chunk's lines. `open`: partitions that take rows; null: all do. */
export function resolveKeys(maps: KeyMaps, chunk: Chunk, open: OpenPartitions | null): Resolved {
  const { taken, day, venueKey, instant } = chunk;
  const missing: number[] = [];
  let unprepared = 0;
  for (let line = 0; line < chunk.lines; line++) {
    taken[line] = 0;
    const offset = offsetOf(maps, chunk, line);
    if (offset === null) {
      missing.push(line);
      continue;
    }
    const key = maps.venueKeys[chunk.venue[line] ?? 0] ?? 0;
    const created = dayOf(maps, chunk, line, offset);
    if (key === 0 || (open !== null && !open.has(rangeOf(maps, created).partition))) {
      missing.push(line);
      unprepared++;
      continue;
    }
    const second = chunk.second[line] ?? 0;
    day[line] = created;
    venueKey[line] = key;
    instant[line] = chunk.wall[line] === 1 ? second - offset : second;
    taken[line] = 1;
  }
  return { missing, unprepared };
}

function offsetOf({ offsets }: KeyMaps, chunk: Chunk, line: number): number | null {
  return offsets.get(Math.floor((chunk.second[line] ?? 0) / DAY_SECONDS)) ?? null;
}

function dayOf({ dayStartsAt }: KeyMaps, chunk: Chunk, line: number, offset: number): number {
  const second = chunk.second[line] ?? 0;
  const wall = chunk.wall[line] === 1 ? second : second + offset;
  return Math.floor((wall - dayStartsAt) / DAY_SECONDS);
}

/** The partition of a day. */
export function rangeOf({ ranges, settings }: KeyMaps, day: number): PartitionRange {
  const known = ranges.get(day);
  if (known !== undefined) return known;
  const range = partitionOf(settings.granularity, toDate(day));
  ranges.set(day, range);
  return range;
}
