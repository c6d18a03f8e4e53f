/** Sorts a chunk by the key of `invoices`, and adds its lines up by venue and creation date. */
import { endianness } from "node:os";
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
  /**
   * Indexes of the chunk's lines, in the order of their keys; of several lines with one key the last alone.
   */
  readonly lines: Int32Array;
  /** In the same order. */
  readonly groups: readonly Group[];
}

/**
 * Sorts those lines of a chunk that have a key.
 *
 * @returns undefined when there are too many groups to number, or the cents of one are too many for a double
 *   to count exactly
 */
export function sortChunk(chunk: Chunk): Sorted | undefined {
  const lines = orderLines(chunk);
  if (lines === undefined) return undefined;
  const { day: days, venueKey: venueKeys } = chunk;
  const groups: Group[] = [];
  let group: Group | undefined;
  for (const line of lines) {
    const [day, venueKey] = [days[line] ?? 0, venueKeys[line] ?? 0];
    if (group === undefined || group.venueKey !== venueKey || group.day !== day) {
      if (!Number.isSafeInteger(group?.cents ?? 0)) return undefined;
      group = { day, venueKey, invoices: 0, cents: 0 };
      groups.push(group);
    }
    group.invoices++;
    group.cents += chunk.cents[line] ?? 0;
  }
  return Number.isSafeInteger(group?.cents ?? 0) ? { lines, groups } : undefined;
}

/** Where the halves of a 64-bit number are in memory. */
const HIGH = endianness() === "LE" ? 1 : 0;
const LOW = 1 - HIGH;
const WORD_BITS = 32;
/** Bits of an invoice id that are read at once: a double holds no more whole bytes. */
const ID_BITS = 48;

/**
 * Sorts the lines that have a key, without those that a later line of the same key replaces. Each line
 * becomes a number of 64 bits. The high half holds its group and the beginning of its invoice id; the low
 * half holds more of the id, and the line. A typed array of numbers is sorted without calls into JavaScript.
 *
 * @returns undefined when there are more than 2 ** 32 pairs of a date and a venue
 */
function orderLines(chunk: Chunk): Int32Array | undefined {
  const days = rankDays(chunk);
  const venues = rankVenues(chunk);
  const lineBits = bitsOf(chunk.lines);
  const highBits = WORD_BITS - bitsOf(days.count * venues.count);
  if (highBits < 0) return undefined;
  const lowBits = Math.min(WORD_BITS - lineBits, ID_BITS - highBits);
  const [highUnit, lowUnit, lineUnit] = [2 ** highBits, 2 ** lowBits, 2 ** lineBits];
  const [highScale, lowScale] = [2 ** (ID_BITS - highBits), 2 ** (ID_BITS - highBits - lowBits)];
  const { taken, words } = chunk;
  const ids = new DataView(chunk.invoice.buffer, chunk.invoice.byteOffset);
  let count = 0;
  for (let line = 0; line < chunk.lines; line++) {
    if (taken[line] !== 1) continue;
    const day = days.ranks[(chunk.day[line] ?? 0) - days.least] ?? 0;
    const group = day * venues.count + (venues.ranks[chunk.venue[line] ?? 0] ?? 0);
    const id = ids.getUint32(line * UUID_BYTES) * 0x10000 + ids.getUint16(line * UUID_BYTES + 4);
    words[2 * count + HIGH] = group * highUnit + Math.floor(id / highScale);
    words[2 * count + LOW] = (Math.floor(id / lowScale) % lowUnit) * lineUnit + line;
    count++;
  }
  new BigUint64Array(words.buffer, 0, count).sort();
  return settleTies(chunk, count, lineUnit);
}

/**
 * Reads the lines from the sorted 64-bit numbers: each is the remainder of the low half, divided by
 * `lineUnit`. A few lines differ only in the rest of their ids. These are compared by their whole ids.
 */
function settleTies({ words, order, invoice }: Chunk, count: number, lineUnit: number): Int32Array {
  let kept = 0;
  for (let from = 0; from < count; ) {
    const [high, low] = [words[2 * from + HIGH] ?? 0, words[2 * from + LOW] ?? 0];
    const start = low - (low % lineUnit);
    let to = from + 1;
    while (to < count && words[2 * to + HIGH] === high && (words[2 * to + LOW] ?? 0) - start < lineUnit) to++;
    if (to === from + 1) order[kept++] = low - start;
    else {
      const tied = Array.from(
        { length: to - from },
        (_, index) => (words[2 * (from + index) + LOW] ?? 0) - start,
      );
      for (const line of lastOfEach(tied, invoice)) order[kept++] = line;
    }
    from = to;
  }
  return order.subarray(0, kept);
}

/** Lines of one group, given in the order of the file, by invoice id; of several with one id the last. */
function lastOfEach(lines: number[], ids: Buffer): readonly number[] {
  const idOf = (line: number) => ids.subarray(line * UUID_BYTES, (line + 1) * UUID_BYTES);
  // Stable: lines of one id stay in the order of the file.
  lines.sort((a, b) => idOf(a).compare(idOf(b)));
  return lines.filter((line, at) => {
    const next = lines[at + 1];
    return next === undefined || !idOf(line).equals(idOf(next));
  });
}

/** How many bits are needed to number so many things. */
function bitsOf(count: number): number {
  return Math.ceil(Math.log2(Math.max(count, 1)));
}

/** The place of each date among those of the marked lines, by its distance from the first. */
function rankDays({ lines, day, taken }: Chunk): {
  readonly least: number;
  readonly count: number;
  readonly ranks: Int32Array;
} {
  let [least, greatest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let line = 0; line < lines; line++) {
    if (taken[line] !== 1) continue;
    least = Math.min(least, day[line] ?? 0);
    greatest = Math.max(greatest, day[line] ?? 0);
  }
  const ranks = new Int32Array(Math.max(0, greatest - least + 1));
  for (let line = 0; line < lines; line++) if (taken[line] === 1) ranks[(day[line] ?? 0) - least] = 1;
  let count = 0;
  for (let at = 0; at < ranks.length; at++) ranks[at] = ranks[at] === 1 ? count++ : 0;
  return { least, count, ranks };
}

/** The place of each venue's key among those of the marked lines, by the venue's index in the chunk. */
function rankVenues({ lines, venue: venueOf, venueKey, taken }: Chunk): {
  readonly count: number;
  readonly ranks: Int32Array;
} {
  const met = 1 + venueOf.subarray(0, lines).reduce((most, venue) => Math.max(most, venue), -1);
  // Keys begin at 1.
  const keyOf = new Int32Array(met);
  for (let line = 0; line < lines; line++)
    if (taken[line] === 1) keyOf[venueOf[line] ?? 0] = venueKey[line] ?? 0;
  const venues = Array.from(keyOf.keys()).filter((venue) => keyOf[venue] !== 0);
  venues.sort((a, b) => (keyOf[a] ?? 0) - (keyOf[b] ?? 0));
  const ranks = new Int32Array(met);
  for (const [rank, venue] of venues.entries()) ranks[venue] = rank;
  return { count: venues.length, ranks };
}
