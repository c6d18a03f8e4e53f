/**
 * The direct way of a load, for drops in which nothing conflicts: lines are keyed and sorted in memory, some 256 k at a time, and copied straight
 * into `invoices`; what they add to each group is counted on the way. It has one way out, a surprise: then nothing of it stays, and the careful
 * way (stage.ts, merge.ts) decides. DESIGN: docs/design.md, "The direct way".
 */
import { type Session, type Transaction, withSession } from "../db/client.ts";
import { errorState, SQLSTATE } from "../db/errors.ts";
import { listPartitions, partitionOf } from "../db/partitions.ts";
import { readOffsets } from "./calendar.ts";
import { type Copy, openCopy } from "./copy.ts";
import type { CopyLayout } from "./dialect.ts";
import {
  BINARY_HEADER,
  BINARY_TRAILER,
  COPY_INVOICES,
  encodeInvoices,
  type InvoiceRows,
} from "./direct/binary.ts";
import {
  type Chunk,
  createChunk,
  fillChunk,
  UUID_BYTES,
  type Venues,
  writeCents,
  writeRow,
} from "./direct/chunk.ts";
import { type Group, sortChunk } from "./direct/order.ts";
import { createRepeats, type Repeats } from "./direct/repeats.ts";
import { addStagedVenues, insertNew, readStagedDates } from "./merge.ts";
import { addVenues, openPartitions, type Preparation } from "./prepare.ts";
import { readDrop } from "./read.ts";
import type { LineCounts } from "./report.ts";
import { copyRejects, openRowCopy, sizeOfReject, takeStagingSlot } from "./stage.ts";
import { dayNumber, type LineRules, type Reject } from "./validate.ts";

export interface DirectOptions extends Preparation {
  readonly tx: Transaction;
  readonly loadId: number;
  readonly syncedOn: string;
  readonly path: string;
  /** The file's size. */
  readonly bytes: number;
  readonly gzip: boolean;
  readonly rules: LineRules;
  /** Lines sorted and written at a time. */
  readonly chunkLines: number;
  /** Whether so many rejects among so many lines are too many. */
  readonly refuses: (rejected: number, read: number) => boolean;
  readonly onProgress?: ((done: { readonly bytes: number; readonly rows: number }) => void) | undefined;
}

export interface Inserted {
  readonly rows: LineCounts;
  /** Partitions with new invoices, oldest first. */
  readonly partitions: readonly string[];
  /** Of the file's bytes as they were read. */
  readonly sha256: Buffer;
}

/** Something that the direct way is not made for. */
class Surprise extends Error {}

/** Lines that are left to staging, beyond which the careful way does all: a share of those read, and so many in any case. */
const ODD_SHARE = 0.1;
const ODD_LINES = 1000;
/** Rejects are kept in memory until a chunk is written, up to so many bytes. */
const MAX_REJECT_BYTES = 1024 * 1024;
/** Keys looked up beforehand: of the first lines, which the reader hands over together, one of so many, at most so many. */
const LINES_PER_SAMPLE = 4;
const SAMPLE_LINES = 500;
/** A file of no more bytes is not sampled: to find the first conflict by writing takes less time than to plan the probe. */
const BYTES_WITHOUT_SAMPLE = 256 * 1024;
const SAMPLE_LAYOUT: CopyLayout = {
  delimiter: "\t",
  columns: ["venue_id", "invoice_id", "datetime_created", "total"],
};
/** A line has a venue, a UUID, a time, a total, three delimiters and its end. */
const LEAST_LINE_BYTES = 1 + 32 + 10 + 1 + 4;
/** From so many lines on, of those of a full chunk one in so many, a chunk is written as soon as the server has nothing to do. */
const EARLY_SHARE = 16;
/** Groups whose changes are held back to be entered together; beyond, those so far are entered. Some 100 bytes each. */
const MOST_GROUPS = 200_000;
const DAY_MS = 86_400_000;
const DAY_SECONDS = 86_400;
/** Text handed to the socket at a time. */
const TEXT_LENGTH = 128 * 1024;

/**
 * Reads the drop and inserts its lines as new invoices, with their deltas and pending changes. Venues and partitions are made only when all of the
 * drop was read before; of a longer drop the lines that need new ones are staged, as are other rare ones.
 *
 * @returns undefined after a surprise: the transaction is as it was before
 */
export async function insertDirectly(options: DirectOptions): Promise<Inserted | undefined> {
  const { tx } = options;
  await tx.client.query("savepoint direct");
  try {
    const inserted = await readAndInsert(options);
    await tx.client.query("release savepoint direct");
    return inserted;
  } catch (error) {
    if (!(error instanceof Surprise) && errorState(error) !== SQLSTATE.uniqueViolation) throw error;
    await tx.client.query("rollback to savepoint direct");
    return undefined;
  }
}

/** What is known of the drop so far. */
interface Course {
  readonly options: DirectOptions;
  layout: CopyLayout;
  readonly venues: Venues;
  /** Of each venue met: its key; 0 where the dimension has none yet. */
  readonly venueKeys: number[];
  /** Seconds from UTC of each day met; null where the clock changes. */
  readonly offsets: Map<number, number | null>;
  /** Partitions that take rows, and are held open until the end, each with its first date. Null: none is held yet. */
  open: ReadonlyMap<string, string> | null;
  readonly partitionOfDay: Map<number, { readonly partition: string; readonly lower: string }>;
  readonly partitions: Map<string, string>;
  odd: (Buffer | string)[];
  oddLines: number;
  rejects: Reject[];
  rejectBytes: number;
  rejected: number;
  taken: number;
  inserted: number;
  chunks: number;
  /** A sample was looked up, or none is needed. */
  sampled: boolean;
  /** Whether a chunk may be written before it is full. */
  early: boolean;
  readonly repeats: Repeats;
  /** What the chunks written so far add to each group, by {@link groupKey}. */
  readonly groups: Map<number, Group>;
  /** What the server is doing; settles with its error, if it had one. */
  writing: Promise<unknown> | undefined;
  /** The server has done it. */
  idle: boolean;
  stopped: boolean;
}

async function readAndInsert(options: DirectOptions): Promise<Inserted> {
  const course = startCourse(options);
  try {
    const sha256 = await readAll(course);
    await writeOdd(course);
    const { taken, rejected, inserted, partitions } = course;
    const read = taken + course.oddLines + rejected;
    const staged = course.oddLines;
    const rows = {
      read,
      inserted,
      corrected: 0,
      unchanged: 0,
      superseded: taken + staged - inserted,
      rejected,
    };
    return { rows, sha256, partitions: [...partitions].sort(byLower).map(([name]) => name) };
  } finally {
    course.stopped = true;
    await course.writing;
  }
}

function byLower([, a]: readonly [string, string], [, b]: readonly [string, string]): number {
  return a < b ? -1 : 1;
}

function startCourse(options: DirectOptions): Course {
  return {
    options,
    layout: { delimiter: ",", columns: [] },
    venues: { byBytes: new Map(), ids: [] },
    venueKeys: [],
    offsets: new Map(),
    open: null,
    partitionOfDay: new Map(),
    partitions: new Map(),
    odd: [],
    oddLines: 0,
    rejects: [],
    rejectBytes: 0,
    rejected: 0,
    taken: 0,
    inserted: 0,
    chunks: 0,
    sampled: options.bytes <= BYTES_WITHOUT_SAMPLE,
    early: true,
    repeats: createRepeats(),
    groups: new Map(),
    writing: undefined,
    idle: true,
    stopped: false,
  };
}

/**
 * Reads the drop to its end and writes each chunk while the next is read. So that the server need not wait long for the first, a chunk may be
 * written before it is full.
 */
async function readAll(course: Course): Promise<Buffer> {
  const { options } = course;
  let chunk: Chunk | undefined;
  let spare: Chunk | undefined;
  let bytes = 0;
  const onBytes = (read: number) => {
    bytes = read;
  };
  const onOdd = (row: Buffer) => addOdd(course, row);
  const begin = async (full: Chunk, occasion: Occasion) => {
    if (!(await writeChunk(course, full, occasion))) return;
    // The one before is written by now.
    [chunk, spare] = [spare, full];
    if (chunk !== undefined) chunk.lines = 0;
  };
  for await (const event of readDrop({ ...options, onBytes })) {
    switch (event.kind) {
      case "dialect":
        course.layout = event.copy;
        break;
      case "rows":
        for (let from = 0; from < event.copy.length; ) {
          chunk ??= createChunk(capacityFor(options));
          if (chunk.lines === chunk.venue.length) {
            sampleOnce(course, chunk);
            await begin(chunk, "full");
            continue;
          }
          const before = chunk.lines;
          from = fillChunk({ ...course, chunk, rows: event.copy, from, onOdd });
          course.taken += chunk.lines - before;
        }
        if (chunk !== undefined) sampleOnce(course, chunk);
        keepRejects(course, event.rejects);
        if (
          chunk !== undefined &&
          course.early &&
          course.idle &&
          chunk.lines * EARLY_SHARE >= options.chunkLines
        )
          await begin(chunk, "early");
        options.onProgress?.({ bytes, rows: course.taken + course.oddLines + course.rejected });
        break;
      case "refused":
        throw new Surprise(event.code);
      case "end":
        if (options.refuses(course.rejected, course.taken + course.oddLines + course.rejected))
          throw new Surprise("too many rejects");
        await writeChunk(course, chunk ?? createChunk(0), "last");
        await settle(course);
        await enterGroups(course);
        return event.sha256;
    }
  }
  throw new Error("the reader ended without an end event");
}

/** No larger than the drop may need: memory has to be cleared, which would take longer than to load a small drop. */
function capacityFor({ chunkLines, bytes, gzip }: DirectOptions): number {
  return gzip ? chunkLines : Math.min(chunkLines, Math.ceil(bytes / LEAST_LINE_BYTES) + 1);
}

function addOdd(course: Course, row: Buffer | string): void {
  // A copy: the reader's batch would be kept in memory as a whole.
  course.odd.push(typeof row === "string" ? row : Buffer.from(row));
  course.oddLines++;
  if (course.oddLines > ODD_LINES && course.oddLines > ODD_SHARE * course.taken)
    throw new Surprise("too many lines that the direct way does not take");
}

function keepRejects(course: Course, rejects: readonly Reject[]): void {
  course.rejected += rejects.length;
  course.rejects.push(...rejects);
  for (const reject of rejects) course.rejectBytes += sizeOfReject(reject);
  if (course.rejectBytes > MAX_REJECT_BYTES) throw new Surprise("too many rejects to hold");
}

/** Has the server begin something, for which {@link settle} waits. */
function begin(course: Course, work: Promise<void>): void {
  course.idle = false;
  const done = () => {
    course.idle = true;
  };
  course.writing = work.then(done, (error: unknown) => {
    done();
    return error;
  });
}

/** Waits for what the server is doing. */
async function settle(course: Course): Promise<void> {
  const error = await course.writing;
  course.writing = undefined;
  if (error !== undefined) throw error;
}

/** Why a chunk is written: it is full; or not yet, but the server waits; or the drop has no further lines. */
type Occasion = "full" | "early" | "last";

/**
 * Keys and sorts a chunk, and begins to write it once the one before is written.
 *
 * @returns false, and nothing is begun, for a first chunk that is early and needs venues or partitions that are not there: they may be made when it
 * turns out to be the whole drop
 */
async function writeChunk(course: Course, chunk: Chunk, occasion: Occasion): Promise<boolean> {
  const { options } = course;
  const { tx } = options;
  const first = course.chunks === 0;
  // All of the drop was read, and it is not refused: now it may leave venues and partitions behind.
  const whole = first && occasion === "last";
  // Before the first chunk it is at most busy with the sample.
  if (course.idle || first) await settle(course);
  const session = <T>(work: (session: Session) => Promise<T>) =>
    course.writing === undefined ? work(tx) : withSession(options, work);
  await session((reading) => findVenues(course, reading, whole));
  await session((reading) => findOffsets(course, reading, chunk));
  const held = course.open ?? (whole ? null : await session(readOpenPartitions));
  const { keys, taken, missing } = resolveKeys(course, chunk, held);
  if (first && occasion === "early" && missing.length > 0) {
    course.early = false;
    return false;
  }
  course.chunks++;
  course.taken -= missing.length;
  for (const line of missing) addOdd(course, writeRow(chunk, course.venues, course.layout, line));
  const sorted = sortChunk(chunk, keys, taken);
  if (sorted === undefined) throw new Surprise("numbers that are too large");
  const rejects = course.rejects;
  course.rejects = [];
  course.rejectBytes = 0;
  const repeated = whole ? [] : course.repeats.find(chunk, sorted.lines);
  await settle(course);
  if (held === null) {
    await openPartitions(tx, options, [...new Set(sorted.groups.map(({ day }) => day))].map(toDate));
  } else if (course.open === null) {
    await openPartitions(tx, options, [...held.values()]);
    course.open = held;
  }
  course.inserted += sorted.lines.length;
  addGroups(course, sorted.groups);
  const syncedOn = toDay(options.syncedOn);
  const rows = { chunk, ...keys, lines: sorted.lines, loadId: options.loadId, syncedOn };
  begin(course, write(course, rows, { rejects, repeated }));
  return true;
}

/** The partitions that take rows, each with its first date. */
async function readOpenPartitions(session: Session): Promise<ReadonlyMap<string, string>> {
  const open = (await listPartitions(session)).filter(({ state }) => state === "open" || state === "stale");
  return new Map(open.map(({ partition, lower }) => [partition, lower]));
}

/** Looks up the keys of the venues met since; with `add` makes those that the dimension has not. */
async function findVenues(course: Course, session: Session, add: boolean): Promise<void> {
  const { venues, venueKeys, options } = course;
  const fresh = venues.ids.slice(venueKeys.length);
  if (fresh.length > 0) for (const key of await readVenueKeys(session, fresh)) venueKeys.push(key);
  const missing = add ? venues.ids.filter((_, index) => venueKeys[index] === 0).toSorted(byBytes) : [];
  if (missing.length === 0) return;
  await addVenues(options, missing);
  const keys = await readVenueKeys(session, missing);
  const made = new Map(missing.map((id, index) => [id, keys[index] ?? 0]));
  for (const [index, id] of venues.ids.entries()) venueKeys[index] ||= made.get(id) ?? 0;
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The key of each venue, in the order of the ids; 0 where the dimension has none. As one text: thousands of rows would cost more than the query. */
async function readVenueKeys(session: Session, ids: readonly string[]): Promise<readonly number[]> {
  const { rows } = await session.client.query<{ keys: string }>(
    `select string_agg(coalesce(venue_key, 0)::text, ',' order by position) as keys
     from unnest($1::text[]) with ordinality as wanted (venue_id, position)
     left join warehouse.venues using (venue_id)`,
    [ids],
  );
  return (rows[0]?.keys ?? "").split(",").map(Number);
}

/** Asks for the clock of the days that the chunk has and none before had: by UTC for instants, by the wall clock for others. */
async function findOffsets(course: Course, session: Session, chunk: Chunk): Promise<void> {
  const { offsets, options } = course;
  const { timeZone } = options.settings;
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

interface Resolved {
  readonly keys: Pick<InvoiceRows, "day" | "venueKey" | "instant">;
  /** 1 for the lines that have a key. */
  readonly taken: Uint8Array;
  /** The lines without. */
  readonly missing: readonly number[];
}

/** The keys of the chunk's lines. `open`: partitions that take rows; null: all do. */
function resolveKeys(course: Course, chunk: Chunk, open: ReadonlyMap<string, string> | null): Resolved {
  const { venueKeys, offsets } = course;
  const day = new Int32Array(chunk.lines);
  const venueKey = new Int32Array(chunk.lines);
  const instant = new Float64Array(chunk.lines);
  const taken = new Uint8Array(chunk.lines);
  const missing: number[] = [];
  for (let line = 0; line < chunk.lines; line++) {
    const second = chunk.second[line] ?? 0;
    const offset = offsets.get(Math.floor(second / DAY_SECONDS)) ?? null;
    const key = venueKeys[chunk.venue[line] ?? 0] ?? 0;
    if (offset !== null && key !== 0) {
      const wall = chunk.wall[line] === 1 ? second : second + offset;
      const createdOn = Math.floor(wall / DAY_SECONDS);
      if (open === null || open.has(partitionOfDay(course, createdOn).partition)) {
        day[line] = createdOn;
        venueKey[line] = key;
        instant[line] = wall - offset;
        taken[line] = 1;
        continue;
      }
    }
    missing.push(line);
  }
  return { keys: { day, venueKey, instant }, taken, missing };
}

function partitionOfDay(course: Course, day: number): { readonly partition: string; readonly lower: string } {
  const known = course.partitionOfDay.get(day);
  if (known !== undefined) return known;
  const range = partitionOf(course.options.settings.granularity, toDate(day));
  course.partitionOfDay.set(day, range);
  return range;
}

/** Groups are told apart by date and venue in one number: up to 4 million days, 2 ** 31 venues. */
function groupKey(day: number, venueKey: number): number {
  return day * 2 ** 31 + venueKey;
}

function addGroups(course: Course, groups: readonly Group[]): void {
  let day: number | undefined;
  for (const group of groups) {
    if (group.day !== day) {
      day = group.day;
      const { partition, lower } = partitionOfDay(course, day);
      course.partitions.set(partition, lower);
    }
    const key = groupKey(day, group.venueKey);
    const known = course.groups.get(key);
    if (known === undefined) course.groups.set(key, group);
    else {
      known.invoices += group.invoices;
      known.cents += group.cents;
      if (!Number.isSafeInteger(known.cents)) throw new Surprise("a group's total that is too large");
    }
  }
}

function toDate(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

function toDay(date: string): number {
  const [year, month, day] = date.split("-").map(Number);
  return dayNumber(year ?? 0, month ?? 0, day ?? 0) ?? 0;
}

/** Has the server look up a sample of the first lines, while others are read. */
function sampleOnce(course: Course, chunk: Chunk): void {
  if (course.sampled) return;
  course.sampled = true;
  begin(course, lookUpSample(course, chunk));
}

/**
 * Where a sample of the first lines is known the drop sends much again, or corrects it: the direct way would break off in the middle. The probe is
 * lateral, so that each goes by the key.
 */
async function lookUpSample({ options, venues }: Course, chunk: Chunk): Promise<void> {
  const step = Math.max(LINES_PER_SAMPLE, Math.ceil(chunk.lines / SAMPLE_LINES));
  const rows: string[][] = [];
  for (let line = 0; line < chunk.lines; line += step) {
    rows.push(writeRow(chunk, venues, SAMPLE_LAYOUT, line).trimEnd().split(SAMPLE_LAYOUT.delimiter));
  }
  const column = (index: number) => rows.map((cells) => cells[index]);
  const result = await options.tx.client.query<{ known: boolean }>(
    `select exists (
       select
       from unnest($1::text[], $2::uuid[], $3::timestamptz[]) as sample (venue_id, invoice_id, created_at)
       join warehouse.venues v on v.venue_id = sample.venue_id
       cross join lateral (
         select
         from warehouse.invoices i
         where i.created_on = sample.created_at::date and i.venue_key = v.venue_key and i.invoice_id = sample.invoice_id
         limit 1
       ) stored
     ) as known`,
    [column(0), column(1), column(2)],
  );
  if (result.rows[0]?.known === true) throw new Surprise("invoices that are there already");
}

async function write(
  course: Course,
  rows: InvoiceRows,
  more: {
    readonly rejects: readonly Reject[];
    /** Lines that may replace others of the drop. */
    readonly repeated: readonly number[];
  },
): Promise<void> {
  const { tx, loadId } = course.options;
  await copyRejects(tx, loadId, more.rejects);
  if (rows.lines.length === 0) return;
  await removeReplaced(course, rows, more.repeated);
  await copyAll(course, COPY_INVOICES, binaryInvoices(rows));
  if (course.groups.size > MOST_GROUPS) await enterGroups(course);
}

/** Enters what the chunks so far changed, sorted by group, in the ledger and in the queue of the refresh. */
async function enterGroups(course: Course): Promise<void> {
  const changed = [...course.groups.values()].filter(({ invoices, cents }) => invoices !== 0 || cents !== 0);
  course.groups.clear();
  if (changed.length === 0) return;
  changed.sort((a, b) => a.day - b.day || a.venueKey - b.venueKey);
  const columns = "created_on, venue_key, invoices, total";
  await copyAll(
    course,
    `copy warehouse.venue_day_deltas (${columns}, load_id) from stdin`,
    groupLines(changed, `\t${course.options.loadId}\n`),
  );
  await copyAll(
    course,
    `copy warehouse.venue_day_pending (${columns}) from stdin`,
    groupLines(changed, "\n"),
  );
}

/** Of two lines with one key the later counts: takes out those of earlier chunks that are about to be written again. */
async function removeReplaced(
  course: Course,
  { chunk, day, venueKey, loadId }: InvoiceRows,
  repeated: readonly number[],
): Promise<void> {
  if (repeated.length === 0) return;
  const { rows } = await course.options.tx.client.query<{ date: string; venue_key: number; cents: string }>(
    `delete from warehouse.invoices i
     using unnest($1::date[], $2::integer[], $3::uuid[]) as again (created_on, venue_key, invoice_id)
     where i.created_on = again.created_on and i.venue_key = again.venue_key and i.invoice_id = again.invoice_id
       and i.load_id = $4
     returning i.created_on::text as date, i.venue_key, (i.total * 100)::bigint as cents`,
    [
      repeated.map((line) => toDate(day[line] ?? 0)),
      repeated.map((line) => venueKey[line]),
      repeated.map((line) => chunk.invoice.toString("hex", line * UUID_BYTES, (line + 1) * UUID_BYTES)),
      loadId,
    ],
  );
  for (const { date, venue_key, cents } of rows) {
    const group = course.groups.get(groupKey(toDay(date), venue_key));
    if (group === undefined) throw new Error("a line was replaced in a group that has none");
    group.invoices--;
    group.cents -= Number(cents);
  }
  course.inserted -= rows.length;
}

function* binaryInvoices(rows: InvoiceRows): Generator<Buffer> {
  yield BINARY_HEADER;
  yield* encodeInvoices(rows);
  yield BINARY_TRAILER;
}

function* groupLines(groups: readonly Group[], end: string): Generator<string> {
  let text = "";
  let date = "";
  let dateOf: number | undefined;
  for (const { day, venueKey, invoices, cents } of groups) {
    if (day !== dateOf) {
      date = toDate(day);
      dateOf = day;
    }
    text += `${date}\t${venueKey}\t${invoices}\t${writeCents(cents)}${end}`;
    if (text.length < TEXT_LENGTH) continue;
    yield text;
    text = "";
  }
  yield text;
}

async function copyAll(course: Course, statement: string, pieces: Iterable<Buffer | string>): Promise<void> {
  const copy: Copy = openCopy(course.options.tx, statement);
  try {
    for (const piece of pieces) {
      if (course.stopped) throw new Surprise("the reader stopped");
      if (piece.length > 0) await copy.write(piece);
    }
    await copy.close();
  } catch (error) {
    // An open COPY would keep the rollback waiting for ever.
    await copy.abandon();
    throw error;
  }
}

/** The few lines that memory could not key: by way of staging, as new invoices, too. */
async function writeOdd(course: Course): Promise<void> {
  if (course.oddLines === 0) return;
  const { options, layout } = course;
  const { tx, loadId, syncedOn } = options;
  const staging = await takeStagingSlot(tx, options.signal);
  const copy = openRowCopy(tx, staging, layout);
  try {
    for (const row of course.odd) await copy.write(row);
    await copy.close();
  } catch (error) {
    await copy.abandon();
    throw error;
  }
  await addStagedVenues(tx, staging, options);
  await openPartitions(tx, options, await readStagedDates(tx, staging));
  const { inserted, partitions } = await insertNew({ tx, staging, loadId, syncedOn });
  await tx.client.query(`truncate ${staging}`);
  course.inserted += inserted;
  for (const partition of partitions) {
    const range = (await listPartitions(tx)).find((known) => known.partition === partition);
    course.partitions.set(partition, range?.lower ?? "");
  }
}
