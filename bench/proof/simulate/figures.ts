/** What histories were made of, in numbers. */

/** Counts by name, e.g. of acts, or of faults that struck. */
export type Counts = Record<string, number>;

export interface Figures {
  readonly steps: number;
  /** Acts by kind. */
  readonly acts: Counts;
  /** Faults that struck, by kind: one that was planned for a step that never came is not counted. */
  readonly faults: Counts;
  /** What became of the loads. */
  readonly outcomes: Counts;
  /** Attempts of loads that were tried again, by SQLSTATE. */
  readonly retries: Counts;
  /** Reads made while acts went on, each compared with the model. */
  readonly reads: number;
  /** Lines that were read by loads. */
  readonly lines: number;
}

export interface Tally {
  readonly count: (what: "acts" | "faults" | "outcomes" | "retries", name: string, times?: number) => void;
  readonly add: (what: "steps" | "reads" | "lines", times: number) => void;
  readonly figures: () => Figures;
}

export function startTally(): Tally {
  const counts = { acts: {}, faults: {}, outcomes: {}, retries: {} } as Record<
    "acts" | "faults" | "outcomes" | "retries",
    Counts
  >;
  const sums = { steps: 0, reads: 0, lines: 0 };
  return {
    count(what, name, times = 1) {
      counts[what][name] = (counts[what][name] ?? 0) + times;
    },
    add(what, times) {
      sums[what] += times;
    },
    figures: () => structuredClone({ ...sums, ...counts }),
  };
}

export const NO_FIGURES: Figures = startTally().figures();

export function addFigures(one: Figures, other: Figures): Figures {
  return {
    steps: one.steps + other.steps,
    reads: one.reads + other.reads,
    lines: one.lines + other.lines,
    acts: addCounts(one.acts, other.acts),
    faults: addCounts(one.faults, other.faults),
    outcomes: addCounts(one.outcomes, other.outcomes),
    retries: addCounts(one.retries, other.retries),
  };
}

function addCounts(one: Counts, other: Counts): Counts {
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])].sort();
  return Object.fromEntries(names.map((name) => [name, (one[name] ?? 0) + (other[name] ?? 0)]));
}
