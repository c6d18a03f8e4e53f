/** Figures from many measurements. */
import type { Growth, Times } from "./results.ts";

/**
 * @param sorted ascending @param share 0 to 1; the smallest value that so many are not above (nearest rank)
 */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

export function summarizeTimes(what: string, measured: readonly number[]): Times {
  const sorted = measured.toSorted((a, b) => a - b);
  const rounded = (share: number) => Math.round(percentile(sorted, share) * 10) / 10;
  return {
    what,
    count: sorted.length,
    p50: rounded(0.5),
    p90: rounded(0.9),
    p99: rounded(0.99),
    max: rounded(1),
  };
}

/** A size at a time, in milliseconds since the start. */
export interface SizeSample {
  readonly at: number;
  readonly bytes: number;
}

/** In a shorter run all that happens is that processes warm up. */
export const LEAST_MS_TO_JUDGE = 240_000;
/** What may come and go, garbage and caches: so many bytes, or that share of the size. */
const TOLERATED_BYTES = 64 * 1024 * 1024;
const TOLERATED_SHARE = 0.25;

/** Whether a size is flat in the second half of a run, when it has warmed up. */
export function summarizeGrowth(what: string, samples: readonly SizeSample[], runMs: number): Growth {
  const sizes = samples.map(({ bytes }) => bytes);
  const half = samples.filter(({ at }) => at >= runMs / 2);
  const judged = runMs >= LEAST_MS_TO_JUDGE && half.length >= 10;
  const grown = judged ? Math.round(slopeOf(half) * (runMs / 2)) : null;
  const mean = half.reduce((sum, { bytes }) => sum + bytes, 0) / Math.max(1, half.length);
  return {
    what,
    samples: samples.length,
    first: sizes[0] ?? 0,
    last: sizes.at(-1) ?? 0,
    max: sizes.reduce((most, bytes) => Math.max(most, bytes), 0),
    grown,
    flat: grown === null ? null : grown <= Math.max(TOLERATED_BYTES, TOLERATED_SHARE * mean),
  };
}

/** Of the least-squares line, in bytes per millisecond. */
function slopeOf(samples: readonly SizeSample[]): number {
  const mean = (of: (sample: SizeSample) => number) =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const at = mean((sample) => sample.at);
  const bytes = mean((sample) => sample.bytes);
  const spread = mean((sample) => (sample.at - at) ** 2);
  return spread === 0 ? 0 : mean((sample) => (sample.at - at) * (sample.bytes - bytes)) / spread;
}
