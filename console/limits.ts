/** How often somebody may do something, and how much of it at once. */
import { isIP } from "node:net";

/** Work that comes again rests for so many times as long as it took: so it costs a twentieth of a connection at most. */
export const REST = 20;

export interface Rate {
  /** At once. */
  readonly burst: number;
  /** For ever. */
  readonly perSecond: number;
}

export interface Limit {
  /** Takes one from what an address has left; false where nothing is. */
  readonly take: (address: string) => boolean;
  /** Whether there is something left. */
  readonly has: (address: string) => boolean;
}

/** Addresses that are remembered at most: a stranger with many must not fill the memory. */
const MOST = 10_000;

/**
 * A bucket for each address.
 *
 * @param options.now the clock, in milliseconds
 */
export function createLimit(options: Rate & { readonly now?: () => number }): Limit {
  const { burst, perSecond, now = () => performance.now() } = options;
  const buckets = new Map<string, { left: number; at: number }>();
  const leftOf = (address: string) => {
    const bucket = buckets.get(address);
    return bucket === undefined
      ? burst
      : Math.min(burst, bucket.left + ((now() - bucket.at) / 1000) * perSecond);
  };
  return {
    has: (address) => leftOf(address) >= 1,
    take: (address) => {
      const left = leftOf(address);
      // The oldest is first, because each use puts an address at the end.
      buckets.delete(address);
      if (buckets.size >= MOST) buckets.delete(buckets.keys().next().value ?? "");
      buckets.set(address, { left: left >= 1 ? left - 1 : left, at: now() });
      return left >= 1;
    },
  };
}

/** How much of something is open at once. */
export interface Places {
  /** Takes a place, and returns what gives it back; undefined where there is none left. */
  readonly take: (who: string) => (() => void) | undefined;
}

/**
 * @param options.most in all
 * @param options.mostOfOne for each, so that nobody keeps all others out
 */
export function createPlaces({
  most,
  mostOfOne,
}: {
  readonly most: number;
  readonly mostOfOne: number;
}): Places {
  const taken = new Map<string, number>();
  let all = 0;
  const add = (who: string, places: number) => {
    const left = (taken.get(who) ?? 0) + places;
    all += places;
    if (left === 0) taken.delete(who);
    else taken.set(who, left);
  };
  return {
    take: (who) => {
      if (all >= most || (taken.get(who) ?? 0) >= mostOfOne) return undefined;
      add(who, 1);
      let isOpen = true;
      return () => {
        if (isOpen) add(who, -1);
        isOpen = false;
      };
    },
  };
}

/**
 * Who is behind an address. A household or a server has 64 bits of IPv6 for itself, and a stranger could take another address for each
 * request: these count as one.
 */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = [], tail = []] = address
    .replace(/%.*/, "")
    .split("::")
    .map((part) => (part === "" ? [] : part.split(":")));
  const zeros = Array<string>(Math.max(0, 8 - head.length - tail.length)).fill("0");
  const groups = [...head, ...zeros, ...tail].slice(0, 4);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/64`;
}
