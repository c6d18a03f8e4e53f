/** Random choices by turn, the same for the same seed on every machine. */
import { deriveKey, mix32 } from "../../generator/random.ts";

export interface Random {
  /** A whole number from 0 to below `limit`. */
  readonly below: (limit: number) => number;
  /** A whole number from `from` to `to`, both included. */
  readonly between: (from: number, to: number) => number;
  /** True in one of `times` cases. */
  readonly once: (times: number) => boolean;
  readonly pick: <T>(items: readonly T[]) => T;
}

/** `role`: one seed serves several uses that must not be alike. */
export function createRandom(seed: number, role: number): Random {
  let state = deriveKey(seed, role);
  const below = (limit: number) => {
    state = (state + 0x6d2b79f5) | 0;
    return Math.floor((mix32(state) / 2 ** 32) * limit);
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

/** Each item as often as its weight says. */
export function weighted<T>(entries: readonly (readonly [weight: number, item: T])[]): readonly T[] {
  return entries.flatMap(([weight, item]) => Array.from({ length: weight }, () => item));
}
