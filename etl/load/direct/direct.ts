/**
 * The direct way of a load, for drops in which nothing conflicts: lines are keyed and sorted in memory, some 256 k at a time, and copied straight
 * into `invoices`; what they add to each group is counted on the way. A drop that needs many new venues or partitions is read twice: once to make
 * them. It has one way out, a surprise: then nothing of it stays, and the careful way (stage.ts, merge.ts) decides. DESIGN: docs/design.md, "The
 * direct way".
 */
import { type Session, withSession } from "../../../db/client.ts";
import { toDate, toDay } from "../../../db/dates.ts";
import { errorState, SQLSTATE } from "../../../db/errors.ts";
import { listPartitions } from "../../../db/partitions/catalog.ts";
import { partitionOf } from "../../../db/partitions/ranges.ts";
import { readDrop } from "../../drop/read.ts";
import type { Reject } from "../../drop/reject.ts";
import { type CopyLayout, copyStatement } from "../../drop/row.ts";
import { copyAll } from "../copy.ts";
import { addStagedVenues, insertNew, readStagedDates } from "../merge.ts";
import { openPartitions } from "../prepare.ts";
import type { LineCounts } from "../report.ts";
import { sizeOfReject, takeStagingSlot } from "../stage.ts";
import { type Background, createBackground } from "./background.ts";
import { type Chunk, type Chunks, fillChunk, writeRow } from "./chunk.ts";
import { addGroups } from "./groups.ts";
import {
  createKeyMaps,
  findOffsets,
  findVenues,
  type KeyMaps,
  makeVenues,
  type OpenPartitions,
  rangeOf,
  readOpenPartitions,
  resolveKeys,
} from "./keys.ts";
import { createChunksFor, type DirectOptions } from "./options.ts";
import { type Group, sortChunk } from "./order.ts";
import { createRepeats, type Repeats } from "./repeats.ts";
import { sampleIsKnown } from "./sample.ts";
import { prepareBySurvey } from "./survey.ts";
import { enterGroups, type Target, writeInvoices } from "./write.ts";

export interface Inserted {
  readonly rows: LineCounts;
  /** Partitions with new invoices, oldest first. */
  readonly partitions: readonly string[];
  /** Of the file's bytes as they were read. */
  readonly sha256: Buffer;
}

/** Something that the direct way is not made for. */
class Surprise extends Error {}

/** More lines need new venues or partitions than are left to staging. */
class Unprepared extends Surprise {}

/** Lines that are left to staging, beyond which the careful way does all: a share of those read, and so many in any case. */
const ODD_SHARE = 0.1;
const ODD_LINES = 1000;
/** Rejects are kept in memory until a chunk is written, up to so many bytes. */
const MAX_REJECT_BYTES = 1024 * 1024;
/** A file of no more bytes is not sampled: to find the first conflict by writing takes less time than to plan the probe. */
const BYTES_WITHOUT_SAMPLE = 256 * 1024;
/** From so many lines on, of those of a full chunk one in so many, a chunk is written as soon as the server has nothing to do. */
const EARLY_SHARE = 16;

/**
 * Reads the drop and inserts its lines as new invoices, with their deltas and pending changes. Venues and partitions are made only when all of the
 * drop was read before; of a drop longer than a chunk the lines that need new ones are staged, as are other rare ones. Are they many, the drop is
 * surveyed, and read again.
 *
 * @returns undefined after a surprise: the transaction is as it was before
 */
export async function insertDirectly(options: DirectOptions): Promise<Inserted | undefined> {
  const { tx } = options;
  const memory = { maps: createKeyMaps(options.settings), chunks: createChunksFor(options) };
  await tx.client.query("savepoint direct");
  try {
    // The savepoint is left to the end of the transaction: to release it would take a round trip, and change nothing.
    return await insertPrepared(options, memory);
  } catch (error) {
    if (!(error instanceof Surprise) && errorState(error) !== SQLSTATE.uniqueViolation) throw error;
    await tx.client.query("rollback to savepoint direct");
    return undefined;
  }
}

/** What one reading of the drop leaves to the next. */
interface Memory {
  readonly maps: KeyMaps;
  readonly chunks: Chunks;
}

async function insertPrepared(options: DirectOptions, memory: Memory): Promise<Inserted> {
  try {
    return await readAndInsert(options, memory, null);
  } catch (error) {
    if (!(error instanceof Unprepared)) throw error;
    await options.tx.client.query("rollback to savepoint direct");
    const open = await prepareBySurvey(options, memory.maps, memory.chunks);
    if (open === undefined) throw new Surprise("a drop that is refused, or spread too wide");
    return await readAndInsert(options, memory, open);
  }
}

/** What is known of the drop so far. */
interface Course {
  readonly options: DirectOptions;
  readonly maps: KeyMaps;
  readonly chunks: Chunks;
  readonly target: Target;
  readonly background: Background;
  readonly repeats: Repeats;
  layout: CopyLayout;
  /** Partitions that take rows, and are held open until the end. Null: none is held yet. */
  open: OpenPartitions | null;
  /** The names of those that are held. */
  readonly held: Set<string>;
  /** Partitions that got rows, each with its first date. */
  readonly partitions: Map<string, string>;
  odd: Buffer[];
  oddLines: number;
  rejects: Reject[];
  rejectBytes: number;
  rejected: number;
  taken: number;
  /** Of the odd lines, those that only want a venue or a partition. */
  unprepared: number;
  inserted: number;
  /** Chunks written so far. */
  written: number;
  /** A sample was looked up, or none is needed. */
  sampled: boolean;
  /** Whether a chunk may be written before it is full. */
  early: boolean;
}

/** `open`: the partitions that the drop needs, when it was surveyed. */
async function readAndInsert(
  options: DirectOptions,
  { maps, chunks }: Memory,
  open: OpenPartitions | null,
): Promise<Inserted> {
  const stop = new AbortController();
  const course: Course = {
    options,
    maps,
    chunks,
    target: { tx: options.tx, loadId: options.loadId, groups: new Map(), stop: stop.signal },
    background: createBackground(),
    repeats: createRepeats(),
    layout: { delimiter: ",", columns: [] },
    open,
    held: new Set(open?.keys()),
    partitions: new Map(),
    odd: [],
    oddLines: 0,
    rejects: [],
    rejectBytes: 0,
    rejected: 0,
    taken: 0,
    unprepared: 0,
    inserted: 0,
    written: 0,
    sampled: open !== null || options.bytes <= BYTES_WITHOUT_SAMPLE,
    early: true,
  };
  try {
    const sha256 = await readAll(course);
    await writeOdd(course);
    const { taken, oddLines, rejected, inserted, partitions } = course;
    const rows = {
      read: taken + oddLines + rejected,
      inserted,
      corrected: 0,
      unchanged: 0,
      superseded: taken + oddLines - inserted,
      rejected,
    };
    return { rows, sha256, partitions: [...partitions].sort(byLower).map(([name]) => name) };
  } finally {
    stop.abort();
    await course.background.end();
  }
}

function byLower([, a]: readonly [string, string], [, b]: readonly [string, string]): number {
  return a < b ? -1 : 1;
}

/**
 * Reads the drop to its end and writes each chunk while the next is read. So that the server need not wait long for the first, a chunk may be
 * written before it is full.
 */
async function readAll(course: Course): Promise<Buffer> {
  const { options, background, maps, chunks } = course;
  let chunk = chunks();
  let bytes = 0;
  const onBytes = (read: number) => {
    bytes = read;
  };
  const onOdd = (row: Buffer) => addOdd(course, row);
  const handOver = async (occasion: Occasion) => {
    sampleOnce(course, chunk);
    // The one before is written by then.
    if (await writeChunk(course, chunk, occasion)) chunk = chunks();
  };
  for await (const event of readDrop({ ...options, onBytes })) {
    switch (event.kind) {
      case "dialect":
        course.layout = event.copy;
        break;
      case "rows":
        for (let from = 0; from < event.copy.length; ) {
          if (chunk.lines === chunk.venue.length) await handOver("full");
          const before = chunk.lines;
          const { layout } = course;
          from = fillChunk({ chunk, venues: maps.venues, layout, rows: event.copy, from, onOdd });
          course.taken += chunk.lines - before;
        }
        sampleOnce(course, chunk);
        keepRejects(course, event.rejects);
        if (course.early && background.isIdle() && chunk.lines * EARLY_SHARE >= options.chunkLines)
          await handOver("early");
        options.onProgress?.({ bytes, rows: course.taken + course.oddLines + course.rejected });
        break;
      case "refused":
        throw new Surprise(event.code);
      case "end":
        if (options.refuses(course.rejected, course.taken + course.oddLines + course.rejected))
          throw new Surprise("too many rejects");
        await writeChunk(course, chunk, "last");
        await background.settle();
        await enterGroups(course.target);
        return event.sha256;
    }
  }
  throw new Error("the reader ended without an end event");
}

/** Has the server look up a sample of the first lines, while others are read: a drop that sends much again would break off in the middle. */
function sampleOnce(course: Course, chunk: Chunk): void {
  if (course.sampled) return;
  course.sampled = true;
  const look = async () => {
    if (await sampleIsKnown(course.options.tx, course.maps.venues, chunk))
      throw new Surprise("invoices that are there already");
  };
  course.background.begin(look());
}

function addOdd(course: Course, row: Buffer | string): void {
  // A copy: the reader's batch would be kept in memory as a whole.
  course.odd.push(Buffer.from(row));
  course.oddLines++;
  if (isTooOften(course.oddLines, course))
    throw new Surprise("too many lines that the direct way does not take");
}

function isTooOften(lines: number, { taken }: Course): boolean {
  return lines > ODD_LINES && lines > ODD_SHARE * taken;
}

function keepRejects(course: Course, rejects: readonly Reject[]): void {
  course.rejected += rejects.length;
  course.rejects.push(...rejects);
  for (const reject of rejects) course.rejectBytes += sizeOfReject(reject);
  if (course.rejectBytes > MAX_REJECT_BYTES) throw new Surprise("too many rejects to hold");
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
  const { options, maps, target, background } = course;
  const { tx } = options;
  const first = course.written === 0;
  const unsurveyed = first && course.open === null;
  // All of the drop was read, and it is not refused: now it may leave venues and partitions behind.
  const whole = unsurveyed && occasion === "last";
  // Before the first chunk it is at most busy with the sample.
  const free = background.isIdle() || first;
  if (free) await background.settle();
  const session = <T>(work: (session: Session) => Promise<T>) =>
    free ? work(tx) : withSession(options, work);
  await session((reading) => findVenues(maps, reading));
  if (whole) await makeVenues(maps, tx, options);
  await session((reading) => findOffsets(maps, reading, chunk));
  const held = course.open ?? (whole ? null : await session(readOpenPartitions));
  const { missing, unprepared } = resolveKeys(maps, chunk, held);
  if (unsurveyed && occasion === "early" && missing.length > 0) {
    course.early = false;
    return false;
  }
  course.written++;
  course.taken -= missing.length;
  course.unprepared += unprepared;
  if (isTooOften(course.unprepared, course))
    throw new Unprepared("too many lines without venue or partition");
  for (const line of missing) addOdd(course, writeRow(chunk, maps.venues, course.layout, line));
  const sorted = sortChunk(chunk);
  if (sorted === undefined) throw new Surprise("numbers that are too large");
  const rejects = course.rejects;
  course.rejects = [];
  course.rejectBytes = 0;
  const repeated = whole ? [] : course.repeats.find(chunk, sorted.lines);
  await background.settle();
  if (held === null) {
    await holdOpen(course, [...new Set(sorted.groups.map(({ day }) => day))].map(toDate));
  } else if (course.open === null) {
    await holdOpen(course, [...held.values()]);
    course.open = held;
  }
  noteGroups(course, sorted.groups);
  course.inserted += sorted.lines.length;
  const { loadId } = options;
  const rows = { chunk, lines: sorted.lines, loadId, syncedOn: toDay(options.syncedOn) };
  const write = async () => {
    const replaced = await writeInvoices(target, rows, { rejects, repeated });
    course.inserted -= replaced;
  };
  background.begin(write());
  return true;
}

/** Those that are held already are not asked for again: who closes one may be waiting for this load, and let nobody in. */
async function holdOpen({ options, held }: Course, dates: readonly string[]): Promise<void> {
  const nameOf = (date: string) => partitionOf(options.settings.granularity, date).partition;
  const wanted = dates.filter((date) => !held.has(nameOf(date)));
  await openPartitions(options.tx, options, wanted);
  for (const date of wanted) held.add(nameOf(date));
}

function noteGroups({ target, maps, partitions }: Course, groups: readonly Group[]): void {
  let day: number | undefined;
  for (const group of groups) {
    if (group.day === day) continue;
    day = group.day;
    const { partition, lower } = rangeOf(maps, day);
    partitions.set(partition, lower);
  }
  if (!addGroups(target.groups, groups)) throw new Surprise("a group's total that is too large");
}

/** The few lines that memory could not key: by way of staging, as new invoices, too. */
async function writeOdd(course: Course): Promise<void> {
  if (course.oddLines === 0) return;
  const { options, layout } = course;
  const { tx, loadId, syncedOn } = options;
  const staging = await takeStagingSlot(tx, options.signal);
  await copyAll(tx, copyStatement(staging, layout), course.odd);
  await addStagedVenues(tx, staging, options);
  await holdOpen(course, await readStagedDates(tx, staging));
  const { inserted, partitions } = await insertNew({ tx, staging, loadId, syncedOn });
  await tx.client.query(`truncate ${staging}`);
  course.inserted += inserted;
  const known = new Map((await listPartitions(tx)).map(({ partition, lower }) => [partition, lower]));
  for (const partition of partitions) course.partitions.set(partition, known.get(partition) ?? "");
}
