/**
 * The model: what a gzip file (RFC 1952) holds, by an inflater (RFC 1951) of its own, slow and plain, so that what is whole and what is
 * damaged does not rest on zlib, which the product uses.
 */

export interface Unpacked {
  /** All that comes out before the end, or before the fault. */
  readonly bytes: Buffer;
  /** True of one member or several, complete, with nothing after them. */
  readonly isWhole: boolean;
}

class Damage extends Error {}

export function unpack(file: Uint8Array): Unpacked {
  const out: number[] = [];
  let at = 0;
  try {
    do at = readMember(file, at, out);
    while (at < file.length);
    return { bytes: Buffer.from(out), isWhole: true };
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    return { bytes: Buffer.from(out), isWhole: false };
  }
}

/** Reads the member at `from`; returns where it ends. */
function readMember(file: Uint8Array, from: number, out: number[]): number {
  let at = from;
  const byte = () => {
    if (at >= file.length) throw new Damage("cut");
    return file[at++] ?? 0;
  };
  if (byte() !== 0x1f || byte() !== 0x8b || byte() !== 8) throw new Damage("no gzip");
  const flags = byte();
  if (flags & 0xe0) throw new Damage("reserved flags");
  for (let skipped = 0; skipped < 6; skipped++) byte();
  if (flags & 4) {
    const length = byte() + byte() * 256;
    for (let skipped = 0; skipped < length; skipped++) byte();
  }
  if (flags & 8) while (byte() !== 0);
  if (flags & 16) while (byte() !== 0);
  if (flags & 2) {
    const sum = crc32(file, from, at) & 0xffff;
    if (byte() + byte() * 256 !== sum) throw new Damage("check sum of the header");
  }
  const start = out.length;
  at = inflate(file, at, out);
  const word = () => byte() + byte() * 2 ** 8 + byte() * 2 ** 16 + byte() * 2 ** 24;
  if (word() !== crc32(out, start, out.length)) throw new Damage("check sum");
  if (word() !== (out.length - start) % 2 ** 32) throw new Damage("length");
  return at;
}

function crc32(bytes: ArrayLike<number>, from: number, to: number): number {
  let crc = 0xffffffff;
  for (let at = from; at < to; at++) {
    crc ^= bytes[at] ?? 0;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

const LENGTH_BASE = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
  227, 258,
];
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
  6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_BITS = [
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];
const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** How many codes there are of each length, and their symbols in order. */
interface Code {
  readonly counts: readonly number[];
  readonly symbols: readonly number[];
}

/** Inflates the stream at `from`; returns where it ends. */
function inflate(file: Uint8Array, from: number, out: number[]): number {
  const start = out.length;
  let at = from;
  let held = 0;
  let heldBits = 0;
  const bits = (count: number): number => {
    let value = 0;
    for (let bit = 0; bit < count; bit++) {
      if (heldBits === 0) {
        if (at >= file.length) throw new Damage("cut");
        held = file[at++] ?? 0;
        heldBits = 8;
      }
      value |= (held & 1) << bit;
      held >>>= 1;
      heldBits--;
    }
    return value;
  };
  const symbol = ({ counts, symbols }: Code): number => {
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= 15; length++) {
      code |= bits(1);
      const count = counts[length] ?? 0;
      if (code - count < first) return symbols[index + (code - first)] ?? 0;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new Damage("no such code");
  };
  const codes = (lengths: Code, distances: Code): void => {
    for (;;) {
      const next = symbol(lengths);
      if (next === 256) return;
      if (next < 256) {
        out.push(next);
        continue;
      }
      const row = next - 257;
      if (row >= LENGTH_BASE.length) throw new Damage("no such length");
      const length = (LENGTH_BASE[row] ?? 0) + bits(LENGTH_BITS[row] ?? 0);
      const way = symbol(distances);
      if (way >= DISTANCE_BASE.length) throw new Damage("no such distance");
      const distance = (DISTANCE_BASE[way] ?? 0) + bits(DISTANCE_BITS[way] ?? 0);
      if (distance > out.length - start) throw new Damage("too far back");
      for (let copied = 0; copied < length; copied++) out.push(out[out.length - distance] ?? 0);
    }
  };
  const stored = (): void => {
    heldBits = 0;
    const length = bits(16);
    if (bits(16) !== (~length & 0xffff)) throw new Damage("length of a stored block");
    for (let copied = 0; copied < length; copied++) out.push(bits(8));
  };
  const dynamic = (): void => {
    const lengthCount = bits(5) + 257;
    const distanceCount = bits(5) + 1;
    const codeCount = bits(4) + 4;
    if (lengthCount > 286 || distanceCount > 30) throw new Damage("too many codes");
    const sizes = new Array<number>(19).fill(0);
    for (const place of CODE_ORDER.slice(0, codeCount)) sizes[place] = bits(3);
    const sizeCode = makeCode(sizes, "complete");
    const all: number[] = [];
    while (all.length < lengthCount + distanceCount) {
      const next = symbol(sizeCode);
      if (next < 16) {
        all.push(next);
        continue;
      }
      const last = all.at(-1);
      if (next === 16 && last === undefined) throw new Damage("nothing to repeat");
      const times = next === 16 ? 3 + bits(2) : next === 17 ? 3 + bits(3) : 11 + bits(7);
      for (let repeated = 0; repeated < times; repeated++) all.push(next === 16 ? (last ?? 0) : 0);
    }
    if (all.length > lengthCount + distanceCount) throw new Damage("too many lengths");
    if (all[256] === 0) throw new Damage("no end of block");
    codes(makeCode(all.slice(0, lengthCount), "or one"), makeCode(all.slice(lengthCount), "or one"));
  };
  for (let isLast = false; !isLast; ) {
    isLast = bits(1) === 1;
    const type = bits(2);
    if (type === 0) stored();
    else if (type === 1) codes(FIXED.lengths, FIXED.distances);
    else if (type === 2) dynamic();
    else throw new Damage("no such block");
  }
  return at;
}

/** `or one`: an incomplete code is right only when it has one code, of one bit, or none. */
function makeCode(sizes: readonly number[], wanted: "complete" | "or one" | "any"): Code {
  const counts = new Array<number>(16).fill(0);
  for (const size of sizes) counts[size] = (counts[size] ?? 0) + 1;
  let left = 1;
  for (let length = 1; length <= 15; length++) {
    left = left * 2 - (counts[length] ?? 0);
    if (left < 0) throw new Damage("too many codes of a length");
  }
  const used = sizes.length - (counts[0] ?? 0);
  const isOne = used === 0 || (used === 1 && counts[1] === 1);
  if (left > 0 && (wanted === "complete" || (wanted === "or one" && !isOne))) {
    throw new Damage("an incomplete code");
  }
  const symbols: number[] = [];
  for (let length = 1; length <= 15; length++) {
    for (const [value, size] of sizes.entries()) if (size === length) symbols.push(value);
  }
  return { counts, symbols };
}

const FIXED = {
  lengths: makeCode(
    Array.from({ length: 288 }, (_, value) => (value < 144 ? 8 : value < 256 ? 9 : value < 280 ? 7 : 8)),
    "any",
  ),
  distances: makeCode(new Array<number>(30).fill(5), "any"),
};
