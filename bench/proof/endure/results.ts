/** What a run under load says: the format of its JSON. Times are milliseconds of wall clock, sizes bytes. */
import { readFileSync } from "node:fs";
import type { Environment } from "../../results.ts";

/** How long something took, over all its occurrences. */
export interface Times {
  /** For example `commit of a drop` or `read: a year by month`. */
  readonly what: string;
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** Something that should not grow with time. */
export interface Growth {
  /** For example `loader 3` or `pending: table and index`. */
  readonly what: string;
  readonly samples: number;
  readonly first: number;
  readonly last: number;
  readonly max: number;
  /**
   * By how much a straight line through the second half of the samples rises in that half; null of a run that
   * is too short to tell.
   */
  readonly grown: number | null;
  readonly flat: boolean | null;
}

export interface Loads {
  readonly loaded: number;
  readonly alreadyLoaded: number;
  /** As they had to be. */
  readonly rejected: number;
  readonly failed: number;
  /** Of these by a deadlock. */
  readonly deadlocked: number;
  /** Attempts that were rolled back and made again, by SQLSTATE. */
  readonly retried: Readonly<Record<string, number>>;
  /** Lines of the drops that were loaded. */
  readonly rows: number;
  readonly rowsPerSecond: number;
  readonly loadsPerSecond: number;
  /** Refreshed partitions by what was asked for and what was done, such as `auto: delta`. */
  readonly refreshed: Readonly<Record<string, number>>;
}

/**
 * A table of the warehouse, or all partitions of one, at the end of the run, before anything was tidied up.
 */
export interface TableState {
  readonly table: string;
  /** Number of tables that these are. */
  readonly parts: number;
  readonly bytes: number;
  readonly rows: number;
  readonly deadRows: number;
  readonly autovacuums: number;
}

export interface EndureResults {
  readonly version: 1;
  /** The command that gives these figures. */
  readonly command: string;
  readonly seed: number;
  readonly minutes: number;
  readonly loaders: number;
  readonly readers: number;
  readonly startedAt: string;
  readonly finishedAt: string;
  /** From the first load to the end of the last refresh. */
  readonly seconds: number;
  readonly interrupted: boolean;
  /** What else the machine did, in words. */
  readonly note?: string;
  readonly environment: Environment;
  readonly loads: Loads;
  readonly reads: { readonly count: number };
  readonly times: readonly Times[];
  readonly memory: readonly Growth[];
  /** Sizes that were watched all the time. */
  readonly sizes: readonly Growth[];
  readonly tables: readonly TableState[];
  /** What `pg_stat_database` counted. */
  readonly server: { readonly deadlocks: number; readonly rollbacks: number; readonly tempBytes: number };
  /** At the end, by `verify` and by the model. */
  readonly verified: { readonly partitions: number; readonly invoices: number; readonly groups: number };
  /** Each empty where all is well. */
  readonly differences: readonly string[];
  readonly leaks: readonly string[];
  readonly failures: readonly string[];
}

/** Whether nothing was lost, leaked, or grew. */
export function isSound({ differences, leaks, failures }: EndureResults): boolean {
  return differences.length + leaks.length + failures.length === 0;
}

/** Reads what `--out` wrote. */
export function readEndureResults(path: string): EndureResults {
  const results = JSON.parse(readFileSync(path, "utf8")) as EndureResults;
  if (results.version !== 1) throw new Error(`${path}: version ${results.version} is unknown`);
  return results;
}
