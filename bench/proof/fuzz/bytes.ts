/** Blind mutations of bytes: nothing of what they hit is known. */
import { type Random, weighted } from "../../generator/choices.ts";

/**
 * Bytes that matter to some rule: delimiters, quotes, blanks, ends, controls, digits, and parts of UTF-8
 * sequences, right and wrong.
 */
const BYTES: readonly number[] = [
  ...Buffer.from(',,;\t|""  \\\r\0\u0001\u001f\u007f-+:.TZzeE0129afFg{}()\'_'),
  ...[0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff],
];

/** Sequences: overlong forms, surrogates, beyond U+10FFFF, cut ones, byte order marks, line ends. */
const SEQUENCES = [
  "c080",
  "c1bf",
  "e08080",
  "e09fbf",
  "f0808080",
  "f08fbfbf",
  "eda080",
  "edbfbf",
  "eda0bdedb880",
  "f4908080",
  "f5808080",
  "e282",
  "f09f98",
  "efbbbf",
  "efbfbf",
  "ed9fbf",
  "ee8080",
  "f48fbfbf",
  "c280",
  "e280a8",
  "0d",
  "0d0d",
  "0d0a",
  "0a",
  "0a0a",
  "2222",
  "222c22",
  "220a22",
  "2c220a",
  "0a22",
  "e282ac",
  "e28892",
  "fffe",
  "feff",
  "00",
].map((hex) => Buffer.from(hex, "hex"));

type Mutation = (random: Random, bytes: Buffer, other: Buffer) => Buffer;

const MUTATIONS: readonly Mutation[] = weighted<Mutation>([
  // A bit turned over.
  [
    3,
    (random, bytes) => {
      const copy = Buffer.from(bytes);
      const at = random.below(copy.length);
      copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
      return copy;
    },
  ],
  [3, (random, bytes) => splice(bytes, random.below(bytes.length + 1), 0, Buffer.of(random.pick(BYTES)))],
  [2, (random, bytes) => splice(bytes, random.below(bytes.length), 1, Buffer.of(random.pick(BYTES)))],
  [1, (random, bytes) => splice(bytes, random.below(bytes.length), 1, Buffer.of(random.below(256)))],
  [2, (random, bytes) => splice(bytes, random.below(bytes.length), random.between(1, 3), NOTHING)],
  [1, (random, bytes) => splice(bytes, random.below(bytes.length), random.below(40), NOTHING)],
  [2, (random, bytes) => splice(bytes, random.below(bytes.length + 1), 0, random.pick(SEQUENCES))],
  // The beginning of one and the end of another.
  [
    1,
    (random, bytes, other) =>
      Buffer.concat([
        bytes.subarray(0, random.below(bytes.length + 1)),
        other.subarray(random.below(other.length + 1)),
      ]),
  ],
  // A piece once more, or many times.
  [
    1,
    (random, bytes) => {
      const from = random.below(bytes.length);
      const piece = bytes.subarray(from, from + random.between(1, 30));
      const times = random.once(8) ? random.below(50) : random.between(1, 3);
      return splice(bytes, from, 0, Buffer.concat(Array.from({ length: times }, () => piece)));
    },
  ],
]);

const NOTHING = Buffer.alloc(0);

function splice(bytes: Buffer, at: number, removed: number, added: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);
}

/** The bytes, changed once to three times; `other` is what pieces are taken from. */
export function mutate(random: Random, bytes: Buffer, other: Buffer): Buffer {
  let mutated = bytes;
  for (let times = random.pick([1, 1, 1, 2, 3]); times > 0 && mutated.length > 0; times--) {
    mutated = random.pick(MUTATIONS)(random, mutated, other);
  }
  return mutated;
}
