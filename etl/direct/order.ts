/** Sorts a chunk by the key of `invoices`, and adds its lines up by venue and creation date. */
import { type Chunk, UUID_BYTES } from "./chunk.ts";

/** Lines of one venue and creation date. */
export interface Group {
  /** Days since 1970-01-01. */
  readonly day: number;
  readonly venueKey: number;
  invoices: number;
  cents: number;
}

export interface Sorted {
  /** Indexes of the chunk's lines, in the order of their keys; of several lines with one key the last alone. */
  readonly lines: Int32Array;
  /** In the same order. */
  readonly groups: readonly Group[];
}

/** Of a line: its creation date as days since 1970-01-01 and its venue's key. */
export interface Keys {
  readonly day: Int32Array;
  readonly venueKey: Int32Array;
}

/**
 * Sorts those lines of a chunk that `taken` marks with 1.
 *
 * @returns undefined when a double cannot count them, or the cents of a group, exactly
 */
export function sortChunk(chunk: Chunk, keys: Keys, taken: Uint8Array): Sorted | undefined {
  const lines = orderByGroup(chunk, keys, taken);
  if (lines === undefined) return undefined;
  const groups: Group[] = [];
  const prefix = readPrefixes(chunk);
  let kept = 0;
  for (let from = 0; from < lines.length; ) {
    const first = lines[from] ?? 0;
    const group = { day: keys.day[first] ?? 0, venueKey: keys.venueKey[first] ?? 0, invoices: 0, cents: 0 };
    let to = from + 1;
    while (
      keys.day[lines[to] ?? 0] === group.day &&
      keys.venueKey[lines[to] ?? 0] === group.venueKey &&
      to < lines.length
    )
      to++;
    const unique = sortByInvoice(lines.subarray(from, to), chunk, prefix);
    for (const line of unique) {
      lines[kept++] = line;
      group.invoices++;
      group.cents += chunk.cents[line] ?? 0;
    }
    if (!Number.isSafeInteger(group.cents)) return undefined;
    groups.push(group);
    from = to;
  }
  return { lines: lines.subarray(0, kept), groups };
}

/**
 * The marked lines by date and venue, in the file's order within a group. One number for each line, date and venue by their rank and then the line,
 * because a typed array of numbers is sorted without calls into JavaScript.
 */
function orderByGroup(chunk: Chunk, keys: Keys, taken: Uint8Array): Int32Array | undefined {
  const days = rank(keys.day, chunk.lines);
  const venues = rank(keys.venueKey, chunk.lines);
  if (days.size * venues.size * chunk.lines > Number.MAX_SAFE_INTEGER) return undefined;
  const marks = new Float64Array(chunk.lines);
  let count = 0;
  for (let line = 0; line < chunk.lines; line++) {
    if (taken[line] !== 1) continue;
    const day = days.get(keys.day[line] ?? 0) ?? 0;
    const venue = venues.get(keys.venueKey[line] ?? 0) ?? 0;
    marks[count++] = (day * venues.size + venue) * chunk.lines + line;
  }
  return Int32Array.from(marks.subarray(0, count).sort(), (mark) => mark % chunk.lines);
}

/** The distinct values, each with its place among them. */
function rank(values: Int32Array, count: number): ReadonlyMap<number, number> {
  const distinct = Int32Array.from(new Set(values.subarray(0, count))).sort();
  return new Map(Array.from(distinct, (value, index) => [value, index]));
}

/** The first six bytes of each invoice id: nearly always enough to tell two apart. */
function readPrefixes(chunk: Chunk): Float64Array {
  const prefixes = new Float64Array(chunk.lines);
  for (let line = 0; line < chunk.lines; line++)
    prefixes[line] = chunk.invoice.readUIntBE(line * UUID_BYTES, 6);
  return prefixes;
}

/** Above so many lines a group is sorted by the library: insertion takes the square of them. */
const SMALL_GROUP = 48;

/** Sorts lines of one group in place by invoice id; returns the first of them, without those that a later line of the file replaces. */
function sortByInvoice(lines: Int32Array, chunk: Chunk, prefix: Float64Array): Int32Array {
  const compare = (a: number, b: number): number => {
    const difference = (prefix[a] ?? 0) - (prefix[b] ?? 0);
    if (difference !== 0) return difference;
    const [left, right] = [a * UUID_BYTES, b * UUID_BYTES];
    return chunk.invoice.compare(chunk.invoice, right, right + UUID_BYTES, left, left + UUID_BYTES);
  };
  // Both are stable, and the lines come in the order of the file.
  if (lines.length > SMALL_GROUP) lines.sort(compare);
  else insertionSort(lines, compare);
  let kept = 0;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? 0;
    if (kept > 0 && compare(lines[kept - 1] ?? 0, line) === 0) kept--;
    lines[kept++] = line;
  }
  return lines.subarray(0, kept);
}

function insertionSort(lines: Int32Array, compare: (a: number, b: number) => number): void {
  for (let at = 1; at < lines.length; at++) {
    const line = lines[at] ?? 0;
    let to = at;
    for (; to > 0 && compare(lines[to - 1] ?? 0, line) > 0; to--) lines[to] = lines[to - 1] ?? 0;
    lines[to] = line;
  }
}
