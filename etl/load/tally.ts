/** What is kept of the reports of any number of loads. */
import type { LoadReport } from "./report.ts";

export interface Tally {
  readonly tried: number;
  readonly touched: ReadonlySet<string>;
  readonly rejectedLines: number;
  /** A load that has rejects, the newest one. */
  readonly withRejects: number | null;
  readonly add: (report: LoadReport) => void;
  /** A drop that is not there any more counts as tried. */
  readonly passOver: () => void;
  /** `failed` if any failed, else `rejected` if any was rejected. */
  readonly outcome: () => "done" | "rejected" | "failed";
}

export function startTally(): Tally {
  const outcomes = new Set<LoadReport["outcome"]>();
  const touched = new Set<string>();
  let tried = 0;
  let rejectedLines = 0;
  let withRejects: number | null = null;
  return {
    touched,
    get tried() {
      return tried;
    },
    get rejectedLines() {
      return rejectedLines;
    },
    get withRejects() {
      return withRejects;
    },
    add(report) {
      tried += 1;
      outcomes.add(report.outcome);
      for (const partition of report.touched) touched.add(partition);
      rejectedLines += report.rows.rejected;
      if (report.rows.rejected > 0) withRejects = report.loadId;
    },
    passOver() {
      tried += 1;
    },
    outcome() {
      if (outcomes.has("failed")) return "failed";
      return outcomes.has("rejected") ? "rejected" : "done";
    },
  };
}
