/** The format of `results.json`. Times are milliseconds of wall clock, sizes are bytes. */
import { readFileSync } from "node:fs";
import type { Granularity } from "../db/schema.ts";

export const PROFILES = ["smoke", "standard", "huge"] as const;
export type Profile = (typeof PROFILES)[number];

/**
 * `none`; a share of the batch created long before its sync day; or all of it spread evenly over the history.
 */
export const LATENESS = ["none", "10%", "50%", "even"] as const;
export type Lateness = (typeof LATENESS)[number];

/** What a cell varies from the baseline; `baseline` varies nothing. */
export const AXES = [
  "baseline",
  "history",
  "batch",
  "lateness",
  "granularity",
  "corrections",
  "files",
  "backfill",
  "reads",
  "loaders",
] as const;
export type Axis = (typeof AXES)[number];

/** One situation in which all arms are measured. */
export interface Cell {
  /** For example `history=10M batch=100k late=10% month`. Unique in a run. */
  readonly id: string;
  readonly axis: Axis;
  /** Invoices in the warehouse beforehand. */
  readonly history: number;
  /** Invoices that arrive, in all files together. Of `reads`: invoices whose changes are pending. */
  readonly batch: number;
  readonly lateness: Lateness;
  readonly granularity: Granularity;
  /** Share of the batch that corrects an invoice of the history, 0 to 1. */
  readonly corrections: number;
  /** Drops that the batch comes in. */
  readonly files: number;
  /** Processes that load at the same time. */
  readonly loaders: number;
}

export interface Phase {
  readonly name: string;
  readonly ms: number;
}

/** One measured execution of an arm. */
export interface Sample {
  /** Sum of the phases. */
  readonly wallMs: number;
  /** In their order; the first are `load`'s (`hash`, `stage`, …), the last `refresh`. */
  readonly phases: readonly Phase[];
  readonly walBytes: number | null;
  readonly tempBytes: number | null;
  /** Growth of all tables without their indexes, and of all indexes. */
  readonly heapBytes: number | null;
  readonly indexBytes: number | null;
  /** Greatest resident memory of the Node process that loaded; null where it was not measured. */
  readonly nodePeakBytes: number | null;
  /** Rows of invoices and groups of totals that were written. */
  readonly rows: number | null;
  readonly groups: number | null;
}

/** How the totals of an arm compare with a recompute from the invoices. */
export interface Verdict {
  readonly exact: boolean;
  /** Groups whose count or total differs, and the sum of the absolute differences in cents, as digits. */
  readonly groups: number;
  readonly cents: string;
}

export interface ArmResult {
  /** For example `delta`, `materialized_view`, `copy`. */
  readonly arm: string;
  /** How the report names it. */
  readonly title: string;
  /**
   * `incremental`: ours; `rebuild`: ours, everything anew; `other`: what others use; `floor`: COPY alone,
   * which keeps no totals; `read`: a query.
   */
  readonly group: "incremental" | "rebuild" | "other" | "floor" | "read";
  /** Why there is no number, such as `not available here: the server has no extension timescaledb`. */
  readonly unavailable?: string;
  readonly samples: readonly Sample[];
  /** Null for arms that keep no totals. */
  readonly verdict: Verdict | null;
}

export interface CellResult {
  readonly cell: Cell;
  readonly arms: readonly ArmResult[];
  readonly finishedAt: string;
}

export interface Environment {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly os: string;
  readonly node: string;
  readonly postgres: string;
  readonly duckdb: string;
  /** Of the checkout; ends in `-dirty` where it had changes. `unknown` outside a checkout. */
  readonly commit: string;
  /** `embedded`, or the host of `--server`. */
  readonly server: string;
  /** PostgreSQL's settings that matter, as `show` prints them. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface Results {
  readonly version: 1;
  readonly profile: Profile;
  readonly startedAt: string;
  /** Null while the run is not through. */
  readonly finishedAt: string | null;
  readonly environment: Environment;
  /** In the order of the profile. */
  readonly cells: readonly CellResult[];
}

/** Reads a `results.json`. */
export function readResults(path: string): Results {
  const results = JSON.parse(readFileSync(path, "utf8")) as Results;
  if (results.version !== 1) throw new Error(`${path}: version ${results.version} is unknown`);
  return results;
}

/** The middle of some numbers; of an even count the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half];
  if (upper === undefined) throw new Error("no values have no median");
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? upper) + upper) / 2;
}
