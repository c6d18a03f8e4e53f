/** How often somebody may do something. */

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
