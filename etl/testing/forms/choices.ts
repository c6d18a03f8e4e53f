/** What files are made by; bench/generator/choices.ts has such choices, too. */

export interface Choices {
  /** A whole number from 0 to below `limit`. */
  readonly below: (limit: number) => number;
  /** A whole number from `from` to `to`, both included. */
  readonly between: (from: number, to: number) => number;
  /** True in one of `times` cases. */
  readonly once: (times: number) => boolean;
  readonly pick: <T>(items: readonly T[]) => T;
}

/** The same choices for the same seed. Source: the generator mulberry32, in the public domain. */
export function createChoices(seed: number): Choices {
  let state = seed | 0;
  const below = (limit: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
  return {
    below,
    between: (from, to) => from + below(to - from + 1),
    once: (times) => below(times) === 0,
    pick: <T>(items: readonly T[]): T => {
      if (items.length === 0) throw new Error("nothing to pick from");
      return items[below(items.length)] as T;
    },
  };
}

export function digits(random: Choices, length: number): string {
  return Array.from({ length }, () => (random.once(3) ? random.pick(["0", "9"]) : random.below(10))).join("");
}

export function replaceAt(text: string, at: number, char: string): string {
  return text.slice(0, at) + char + text.slice(at + 1);
}
