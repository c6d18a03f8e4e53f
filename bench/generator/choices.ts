/** Random choices by turn, the same for the same seed on every machine. */
import { deriveKey, mix32 } from "./random.ts";

export interface Random {
  /** From 0 to below 1. */
  readonly next: () => number;
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
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    return mix32(state) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    next,
    below,
    between: (from, to) => from + below(to - from + 1),
    once: (times) => below(times) === 0,
    pick: <T>(items: readonly T[]): T => {
      if (items.length === 0) throw new Error("nothing to pick from");
      return items[below(items.length)] as T;
    },
  };
}

export function shuffle<T>(random: Random, items: readonly T[]): T[] {
  const left = [...items];
  const shuffled: T[] = [];
  while (left.length > 0) shuffled.push(...left.splice(random.below(left.length), 1));
  return shuffled;
}

/** Each item as often as its weight says. */
export function weighted<T>(entries: readonly (readonly [weight: number, item: T])[]): readonly T[] {
  return entries.flatMap(([weight, item]) => Array.from({ length: weight }, () => item));
}

/** Texts to pick from, written with a middle dot between them; a line may end after one. */
export function list(texts: string): readonly string[] {
  return texts.split(/·\n?/);
}

export function digits(random: Random, length: number): string {
  let text = "";
  for (let left = length; left > 0; left--)
    text += random.once(3) ? random.pick(["0", "9"]) : String(random.below(10));
  return text;
}

export function replaceAt(text: string, at: number, char: string): string {
  return text.slice(0, at) + char + text.slice(at + 1);
}
