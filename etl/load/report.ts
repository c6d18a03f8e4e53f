/** What is reported of a load. */
import type { ReasonSummary, Suspicion } from "../../db/reason_summary.ts";
import type { RestatedPeriod } from "../closings/period.ts";
import type { LoadStep } from "./steps.ts";

/** What became of the lines: when the load is loaded, `read` is the sum of the others but `skipped` and `absent`. */
export interface LineCounts {
  readonly read: number;
  readonly inserted: number;
  readonly corrected: number;
  readonly unchanged: number;
  readonly superseded: number;
  readonly rejected: number;
  /** Records that the source leaves out: they are not among those read. */
  readonly skipped: number;
  /** Lines that were added to another line of their invoice. */
  readonly summed: number;
  /** Lines that say that their invoice is void. */
  readonly voided: number;
  /** Invoices, not lines, that were taken out, because as of this drop they are absent. */
  readonly absent: number;
}

/** The source that read a drop, as it was then. */
export interface ReadBy {
  /** Of its file, without the ending. */
  readonly name: string;
  /** Of its text, in hexadecimal. */
  readonly sha256: string;
}

export interface DropContent {
  /** Of all bytes, in hexadecimal. */
  readonly sha256: string;
  readonly bytes: number;
}

export type LoadOutcome = "loaded" | "already_loaded" | "rejected" | "failed";

export interface LoadReport {
  /** The path as it was given. */
  readonly file: string;
  readonly outcome: LoadOutcome;
  /** Its number in the ledger; null when not even that could be written. */
  readonly loadId: number | null;
  readonly syncedOn: string | null;
  /** What says how the drop is read; null: it is one of the drop format. */
  readonly source: ReadBy | null;
  /** Of the file as it was loaded. Left out where it could not be read, and where the ledger reports. */
  readonly content?: DropContent;
  readonly rows: LineCounts;
  /** What was rejected, by reason. */
  readonly reasons: readonly ReasonSummary[];
  /** Why the rejects may be more than single bad lines; empty when nothing speaks for it. */
  readonly suspicious: readonly Suspicion[];
  /** Partitions in which the count or total of a group changed, oldest first. */
  readonly partitions: readonly string[];
  /** Partitions whose rollup this drop made pending, now or when it was loaded: those to refresh. */
  readonly touched: readonly string[];
  readonly durationMs: number;
  /** Milliseconds per step. */
  readonly timings: Readonly<Partial<Record<LoadStep, number>>>;
  readonly error?: { readonly code: string; readonly message: string };
  /**
   * Invoice ids that this drop holds with several venues or creation dates, so that each counts several times.
   * Left out where there are none.
   */
  readonly idsUnderTwoKeys?: number;
  /** What this drop changed in periods that are closed. Left out where that is nothing. */
  readonly restated?: readonly RestatedPeriod[];
}

export const NO_LINES: LineCounts = {
  read: 0,
  inserted: 0,
  corrected: 0,
  unchanged: 0,
  superseded: 0,
  rejected: 0,
  skipped: 0,
  summed: 0,
  voided: 0,
  absent: 0,
};

/** Why a drop is refused as a whole. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
}

/** What one attempt at a load came to. */
export type Attempt = Omit<LoadReport, "file" | "durationMs" | "timings">;
