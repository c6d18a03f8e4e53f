/** Keys, sorts and writes the chunks of a drop, one while the next is read. */
import type { Session } from "../../../db/client.ts";
import { toDate, toDay } from "../../../db/dates.ts";
import { besideTransaction } from "../../../db/locks.ts";
import { partitionOf } from "../../../db/partitions/ranges.ts";
import type { Reject } from "../../drop/reject.ts";
import { mayBeCovered } from "../absence.ts";
import { openPartitions } from "../prepare.ts";
import type { LoadTask } from "../task.ts";
import { type Background, createBackground } from "./background.ts";
import type { Chunk } from "./chunk.ts";
import { addGroups } from "./groups.ts";
import { enterGroups, insertInvoices, MOST_GROUPS, type Target } from "./insert.ts";
import {
  findOffsets,
  findVenues,
  type KeyMaps,
  makeVenues,
  type OpenPartitions,
  type Resolved,
  rangeOf,
  readOpenPartitions,
  resolveKeys,
} from "./keys.ts";
import { type Group, sortChunk } from "./order.ts";
import { createRepeats, type Repeats } from "./repeats.ts";
import { Surprise } from "./surprise.ts";
import { findUnderTwoKeys } from "./two_keys.ts";

/** If a drop holds more ids under two keys, the careful way loads it, and counts them. */
const MOST_UNDER_TWO_KEYS = 100_000;

/** What the writer knows of the warehouse, and what it wrote. */
export interface Writer {
  readonly task: LoadTask;
  readonly maps: KeyMaps;
  readonly target: Target;
  readonly background: Background;
  readonly repeats: Repeats;
  /** Partitions that take rows and are held open until the end. Null while none is held. */
  open: OpenPartitions | null;
  /** The names of those that are held. */
  readonly held: Set<string>;
  /** Partitions that got rows, each with its first date. */
  readonly partitions: Map<string, string>;
  inserted: number;
  /** Ids that the drop holds under several keys, in hexadecimal. */
  readonly underTwoKeys: Set<string>;
  /** Chunks written so far. */
  written: number;
}

/**
 * @param open the partitions that the drop needs, when a survey has made them
 * @param stop ends what is being written
 */
export function createWriter(
  task: LoadTask,
  maps: KeyMaps,
  { open, stop }: { readonly open: OpenPartitions | null; readonly stop: AbortSignal },
): Writer {
  return {
    task,
    maps,
    target: { tx: task.tx, loadId: task.loadId, groups: new Map(), stop },
    background: createBackground(),
    repeats: createRepeats(),
    open,
    held: new Set(open?.keys()),
    partitions: new Map(),
    inserted: 0,
    underTwoKeys: new Set(),
    written: 0,
  };
}

/**
 * Why a chunk is written: it is full; or not yet, but the server has nothing to do; or the drop has no
 * further lines.
 */
export type Occasion = "full" | "early" | "last";

/** A chunk whose lines have their keys. */
export interface KeyedChunk extends Resolved {
  readonly chunk: Chunk;
  /** Whether it is the whole drop. */
  readonly whole: boolean;
  /** The partitions that may take its rows; null: all. */
  readonly open: OpenPartitions | null;
}

/**
 * Finds the keys of a chunk's lines.
 *
 * @returns undefined for a first chunk that is early and needs venues or partitions that are not there: they
 *   may be made if it turns out to be the whole drop
 */
export async function keyChunk(
  writer: Writer,
  chunk: Chunk,
  occasion: Occasion,
): Promise<KeyedChunk | undefined> {
  const { task, maps, background, open } = writer;
  const first = writer.written === 0;
  const unsurveyed = first && open === null;
  // All of the drop was read, and it is not refused: now it may leave venues and partitions behind.
  const whole = unsurveyed && occasion === "last";
  // Before the first chunk the server is busy with the sample at most.
  const free = background.isIdle() || first;
  if (free) await background.settle();
  const session = <T>(work: (session: Session) => Promise<T>) =>
    free ? work(task.tx) : besideTransaction(task, work);
  await session((reading) => findVenues(maps, reading));
  if (whole) await makeVenues(maps, task.tx, task);
  await session((reading) => findOffsets(maps, reading, chunk));
  const usable = open ?? (whole ? null : await session(readOpenPartitions));
  const resolved = resolveKeys(maps, chunk, usable);
  if (unsurveyed && occasion === "early" && resolved.missing.length > 0) return undefined;
  writer.written++;
  return { chunk, whole, open: usable, ...resolved };
}

/**
 * Sorts a chunk, and begins to write it when the one before is written.
 *
 * @param more.alone whether the drop has no other line with a key, nor an odd one
 */
export async function writeChunk(
  writer: Writer,
  { chunk, open }: KeyedChunk,
  more: { readonly rejects: readonly Reject[]; readonly alone: boolean },
): Promise<void> {
  const { task, target, background } = writer;
  const sorted = sortChunk(chunk);
  if (sorted === undefined) throw new Surprise("numbers that are too large");
  const { lines, groups } = sorted;
  // Nearly a group for each line. The careful way sorts all of them at once, and takes less memory.
  if (groups.length > MOST_GROUPS) throw new Surprise("more groups in a chunk than are held");
  const repeated = more.alone ? [] : writer.repeats.find(chunk, lines);
  noteUnderTwoKeys(writer, findUnderTwoKeys(chunk));
  await background.settle();
  if (open === null) {
    await holdOpen(writer, [...new Set(groups.map(({ day }) => day))].map(toDate));
  } else if (writer.open === null) {
    await holdOpen(writer, [...open.values()]);
    writer.open = open;
  }
  // The server has nothing to do just now, and what was written so far is complete.
  if (target.groups.size + groups.length > MOST_GROUPS) await enterGroups(target);
  noteGroups(writer, groups);
  writer.inserted += lines.length;
  const rows = {
    chunk,
    texts: writer.maps.texts,
    lines,
    loadId: task.loadId,
    syncedOn: toDay(task.syncedOn),
  };
  const write = async () => {
    const { replaced, moved } = await insertInvoices(target, rows, { rejects: more.rejects, repeated });
    writer.inserted -= replaced;
    noteUnderTwoKeys(writer, moved);
  };
  background.begin(write());
}

/** Waits until all chunks are written, and enters what they changed. */
export async function finishChunks({ background, target }: Writer): Promise<void> {
  await background.settle();
  await enterGroups(target);
}

/**
 * Holds the partitions of these dates open. Those that are held already are not asked for again: somebody who
 * closes one may be waiting for this load, and lets no further load in.
 */
export async function holdOpen({ task, held }: Writer, dates: readonly string[]): Promise<void> {
  const nameOf = (date: string) => partitionOf(task.settings.granularity, date).partition;
  const wanted = dates.filter((date) => !held.has(nameOf(date)));
  refuseAbsences(await openPartitions(task.tx, task, wanted), task);
  for (const date of wanted) held.add(nameOf(date));
}

/** The lines that a newer absence is about must be left out. */
export function refuseAbsences(absentUntil: string | null, task: LoadTask): void {
  if (mayBeCovered(absentUntil, task)) throw new Surprise("partitions with newer absences");
}

export function noteUnderTwoKeys({ underTwoKeys }: Writer, ids: readonly string[]): void {
  for (const id of ids) underTwoKeys.add(id);
  if (underTwoKeys.size > MOST_UNDER_TWO_KEYS) throw new Surprise("too many ids under two keys to hold");
}

function noteGroups({ target, maps, partitions }: Writer, groups: readonly Group[]): void {
  let day: number | undefined;
  for (const group of groups) {
    if (group.day === day) continue;
    day = group.day;
    const { partition, lower } = rangeOf(maps, day);
    partitions.set(partition, lower);
  }
  if (!addGroups(target.groups, groups)) throw new Surprise("a group's total that is too large");
}
