/** Finds lines of a drop that may repeat the key of a line in an earlier chunk of it. */
import { type Chunk, UUID_BYTES } from "./chunk.ts";

/** Of so many lines of earlier chunks 8 bytes each are kept. */
const MAX_LINES = 4 * 1024 * 1024;
const TWO_TO_20 = 2 ** 20;

export interface Repeats {
  /**
   * Finds the lines whose invoice id may be that of a line in an earlier call: all that have one, and very
   * few others. After some four million lines it finds none.
   */
  readonly find: (chunk: Chunk, lines: Int32Array) => readonly number[];
  /** Of these ids (in hexadecimal), those that may be of a line in a call of `find`. */
  readonly findIds: (ids: readonly string[]) => readonly string[];
}

export function createRepeats(): Repeats {
  const earlier: Float64Array[] = [];
  let kept = 0;
  return {
    find: (chunk, lines) => {
      if (kept + lines.length > MAX_LINES) return [];
      kept += lines.length;
      const markAt = marksIn(chunk.invoice);
      const sorted = new Float64Array(lines.length);
      for (let at = 0; at < lines.length; at++) sorted[at] = markAt(lines[at] ?? 0);
      sorted.sort();
      const common = new Set(earlier.flatMap((others) => intersect(sorted, others)));
      earlier.push(sorted);
      if (common.size === 0) return [];
      return Array.from(lines.filter((line) => common.has(markAt(line))));
    },
    findIds: (ids) => {
      // A copy, because a Buffer need not begin where a word of its memory does.
      const markAt = marksIn(new Uint8Array(Buffer.from(ids.join(""), "hex")));
      const sorted = Float64Array.from(ids, (_, at) => markAt(at)).sort();
      const common = new Set(earlier.flatMap((others) => intersect(sorted, others)));
      return ids.filter((_, at) => common.has(markAt(at)));
    },
  };
}

/** The mark of each of the ids in these bytes. */
function marksIn({ buffer, byteOffset, length }: Uint8Array): (index: number) => number {
  const words = new Int32Array(buffer, byteOffset, length / 4);
  return (index) => markOf(words, (index * UUID_BYTES) / 4);
}

/**
 * 52 bits of a UUID's 128. Ids that differ in one of their four words only, as time-based ones may, have
 * different marks.
 */
function markOf(words: Int32Array, at: number): number {
  const a = words[at] ?? 0;
  const b = words[at + 1] ?? 0;
  const c = words[at + 2] ?? 0;
  const d = words[at + 3] ?? 0;
  const high = a ^ Math.imul(b, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35) ^ Math.imul(d, 0x9e3779b1);
  const low = d ^ Math.imul(c, 0x85ebca6b) ^ Math.imul(b, 0xc2b2ae35) ^ Math.imul(a, 0x9e3779b1);
  return (high >>> 0) * TWO_TO_20 + (low >>> 12);
}

/** What two ascending lists have in common. */
function intersect(left: Float64Array, right: Float64Array): number[] {
  const common: number[] = [];
  for (let i = 0, j = 0; i < left.length && j < right.length; ) {
    const [a, b] = [left[i] ?? 0, right[j] ?? 0];
    if (a === b) common.push(a);
    if (a <= b) i++;
    if (b <= a) j++;
  }
  return common;
}
