/**
 * Random numbers by position instead of by turn: every number is a pure function of a key and a counter, so
 * that invoice number i of file d can be computed again at any time without a memory of what came before. A
 * stateful generator from a package would have to be replayed up to that point; what is needed instead is a
 * few lines of integer mixing, the same on every machine. For the same reason nothing here or in the files
 * that use it calls `Math.exp`, `log`, `pow` or `sin`: their last bits differ between engines. `+ - * /` and
 * `sqrt` do not (IEEE 754).
 */

const GOLDEN = 0x9e3779b9;

/** Scatters 32 bits over 32 bits, one to one: "lowbias32" of github.com/skeeto/hash-prospector, 2023. */
export function mix32(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0xd35a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}

/** A 32-bit key for one use (`role`) of a seed; the seed is an integer from 0 to 2^53 - 1. */
export function deriveKey(seed: number, role: number): number {
  const low = mix32((seed >>> 0) + GOLDEN);
  const high = mix32(low ^ Math.floor(seed / 2 ** 32));
  return mix32(high + Math.imul(role + 1, GOLDEN));
}

/** A shuffle of 0 … size - 1 that needs no memory and can be asked both ways. */
export interface Permutation {
  readonly size: number;
  at(position: number): number;
  positionOf(element: number): number;
}

/**
 * A Feistel network over the next power of two, walked until it lands below `size` (cycle walking; Black and
 * Rogaway, "Ciphers with Arbitrary Finite Domains", 2002): less than two steps on average. `size` is at most
 * 2^31.
 */
export function createPermutation(size: number, key: number): Permutation {
  const bits = Math.max(2, 32 - Math.clz32(Math.max(1, size - 1)));
  const rightBits = bits >>> 1;
  const rightMask = 2 ** rightBits - 1;
  const leftMask = 2 ** (bits - rightBits) - 1;
  const keys = Array.from({ length: 6 }, (_, round) => mix32(key + Math.imul(round + 1, GOLDEN)));
  const [k0 = 0, k1 = 0, k2 = 0, k3 = 0, k4 = 0, k5 = 0] = keys;

  const forth = (value: number): number => {
    let left = value >>> rightBits;
    let right = value & rightMask;
    left ^= mix32(right + k0) & leftMask;
    right ^= mix32(left + k1) & rightMask;
    left ^= mix32(right + k2) & leftMask;
    right ^= mix32(left + k3) & rightMask;
    left ^= mix32(right + k4) & leftMask;
    right ^= mix32(left + k5) & rightMask;
    return (left << rightBits) | right;
  };
  const back = (value: number): number => {
    let left = value >>> rightBits;
    let right = value & rightMask;
    right ^= mix32(left + k5) & rightMask;
    left ^= mix32(right + k4) & leftMask;
    right ^= mix32(left + k3) & rightMask;
    left ^= mix32(right + k2) & leftMask;
    right ^= mix32(left + k1) & rightMask;
    left ^= mix32(right + k0) & leftMask;
    return (left << rightBits) | right;
  };
  const walk = (step: (value: number) => number, start: number): number => {
    let value = step(start);
    while (value >= size) value = step(value);
    return value;
  };
  return {
    size,
    at: (position) => walk(forth, position),
    positionOf: (element) => walk(back, element),
  };
}

/** Draws an index by weight in constant time. `word` and `fraction` are 32-bit random numbers. */
export type Picker = (word: number, fraction: number) => number;

/** Walker's alias method, as Vose sets it up (1991). Weights are positive. */
export function createPicker(weights: Float64Array): Picker {
  const size = weights.length;
  const mean = weights.reduce((sum, weight) => sum + weight, 0) / size;
  const keep = new Float64Array(size);
  const alias = new Uint32Array(size);
  const small: number[] = [];
  const large: number[] = [];
  weights.forEach((weight, index) => {
    keep[index] = weight / mean;
    (weight < mean ? small : large).push(index);
  });
  while (small.length > 0 && large.length > 0) {
    const less = small.pop() as number;
    const more = large[large.length - 1] as number;
    alias[less] = more;
    keep[more] = (keep[more] as number) - (1 - (keep[less] as number));
    if ((keep[more] as number) < 1) small.push(large.pop() as number);
  }
  for (const index of [...small, ...large]) keep[index] = 1;
  const limits = Float64Array.from(keep, (share) => share * 2 ** 32);
  return (word, fraction) => {
    const index = Math.floor((word * size) / 2 ** 32);
    return fraction < (limits[index] as number) ? index : (alias[index] as number);
  };
}

/**
 * Splits `count` into whole parts by weight, so that they add up to it exactly and each is within one of its
 * share. `offset` (0 to below 1) shifts the rounding, so that small counts do not always fall on the same
 * parts.
 */
export function apportion(count: number, weights: Float64Array, offset: number): Uint32Array {
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  const parts = new Uint32Array(weights.length);
  let sum = 0;
  let given = 0;
  weights.forEach((weight, index) => {
    sum += weight;
    // Near 2^21 and above, the sum of a whole number and an offset just below 1 may round up.
    const upTo = Math.min(count, Math.floor(count * (sum / whole) + offset));
    parts[index] = upTo - given;
    given = upTo;
  });
  return parts;
}

/** `(a * b) mod m` without losing bits, for whole numbers below 2^31. */
export function multiplyModulo(a: number, b: number, m: number): number {
  const high = Math.floor(b / 2 ** 16);
  const low = b % 2 ** 16;
  return (((a * high) % m) * 2 ** 16 + a * low) % m;
}

/**
 * A whole number below `size` and without a common divisor with it, near the golden section: multiples of it,
 * taken modulo `size`, visit every number once and any run of them is spread evenly.
 */
export function goldenStep(size: number): number {
  if (size < 3) return 1;
  let step = Math.floor(size * 0.6180339887498949);
  while (greatestCommonDivisor(step, size) !== 1) step += 1;
  return step;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** The number that gives 1 when multiplied with `value`, modulo `size`; the two have no common divisor. */
export function invertModulo(value: number, size: number): number {
  let [rest, next, inverse, step] = [size, value, 0, 1];
  while (next !== 0) {
    const times = Math.floor(rest / next);
    [rest, next] = [next, rest - times * next];
    [inverse, step] = [step, inverse - times * step];
  }
  return ((inverse % size) + size) % size;
}
