/** Finds invoice ids that one chunk of a drop names under several keys. */
import { randomInt } from "node:crypto";
import { type Chunk, UUID_BYTES } from "./chunk.ts";

const WORDS = UUID_BYTES / 4;

/** Odd numbers that nobody knows: else a file could be made whose ids all meet in one slot. */
const [FACTOR_A, FACTOR_B, FACTOR_C, FACTOR_D] = [
  oddNumber(),
  oddNumber(),
  oddNumber(),
  oddNumber(),
] as const;

function oddNumber(): number {
  return 2 * randomInt(2 ** 31) + 1;
}

/**
 * The ids that stand under several keys, in hexadecimal. A hash table in one typed array holds the first line of
 * each id; so the lines that have a key are gone through once, in their order, without an object for each.
 */
export function findUnderTwoKeys({ lines, taken, invoice, day, venueKey }: Chunk): readonly string[] {
  const words = new Int32Array(invoice.buffer, invoice.byteOffset, invoice.length / 4);
  // At most half of the slots are taken.
  const bits = Math.ceil(Math.log2(Math.max(lines, 1))) + 1;
  const last = 2 ** bits - 1;
  /** The number of a line, from 1 on; 0 in an empty slot. */
  const slots = new Int32Array(2 ** bits);
  const found = new Set<string>();
  for (let line = 0; line < lines; line++) {
    if (taken[line] !== 1) continue;
    let slot = hashOf(words, WORDS * line) >>> (32 - bits);
    let first = slots[slot] ?? 0;
    while (first !== 0 && !isSame(words, WORDS * (first - 1), WORDS * line)) {
      slot = (slot + 1) & last;
      first = slots[slot] ?? 0;
    }
    if (first === 0) slots[slot] = line + 1;
    else if (day[first - 1] !== day[line] || venueKey[first - 1] !== venueKey[line]) {
      found.add(invoice.toString("hex", line * UUID_BYTES, (line + 1) * UUID_BYTES));
    }
  }
  return [...found];
}

function isSame(words: Int32Array, one: number, other: number): boolean {
  return (
    words[one] === words[other] &&
    words[one + 1] === words[other + 1] &&
    words[one + 2] === words[other + 2] &&
    words[one + 3] === words[other + 3]
  );
}

/** Mixes all bits of an id, so that ids that count up spread over the slots, too. */
function hashOf(words: Int32Array, at: number): number {
  const low = Math.imul(words[at] ?? 0, FACTOR_A) + Math.imul(words[at + 1] ?? 0, FACTOR_B);
  const high = Math.imul(words[at + 2] ?? 0, FACTOR_C) + Math.imul(words[at + 3] ?? 0, FACTOR_D);
  const sum = (low + high) | 0;
  const mixed = Math.imul(sum ^ (sum >>> 16), FACTOR_A);
  return mixed ^ (mixed >>> 13);
}
