/** The steps of a load: their names, their times, and how far they are. */

/** Steps of a load, in their order. `committed` is reported when the transaction has ended. */
export const LOAD_STEPS = [
  "hash",
  "claim",
  "insert",
  "stage",
  "prepare",
  "merge",
  "commit",
  "committed",
] as const;
export type LoadStep = (typeof LOAD_STEPS)[number];

export interface LoadProgress {
  readonly step: LoadStep;
  /** Bytes of the file read in this step, of `totalBytes`. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Lines read so far. */
  readonly rows: number;
}

/** Measures the steps of a load and reports its progress. */
export interface Stopwatch {
  /** Size of the file. */
  totalBytes: number;
  readonly enter: (step: LoadStep) => void;
  readonly progress: (done: { readonly bytes?: number; readonly rows?: number }) => void;
  readonly timings: () => Readonly<Partial<Record<LoadStep, number>>>;
}

/** `onProgress` is called at the beginning of each step, and as its work goes on. */
export function startStopwatch(onProgress: ((progress: LoadProgress) => void) | undefined): Stopwatch {
  const timings: Partial<Record<LoadStep, number>> = {};
  let current: LoadStep | undefined;
  let since = performance.now();
  let rows = 0;
  const stopwatch: Stopwatch = {
    totalBytes: 0,
    enter(step) {
      const now = performance.now();
      if (current !== undefined) timings[current] = Math.round(now - since);
      current = step;
      since = now;
      stopwatch.progress({ bytes: 0 });
    },
    progress(done) {
      if (current === undefined) return;
      rows = done.rows ?? rows;
      onProgress?.({ step: current, bytes: done.bytes ?? 0, totalBytes: stopwatch.totalBytes, rows });
    },
    timings() {
      const now = performance.now();
      return { ...timings, ...(current !== undefined && { [current]: Math.round(now - since) }) };
    },
  };
  return stopwatch;
}
