/**
 * What `import ... from "rollbook"` offers: docs/library.md. The types of the reports are written out here, and not taken from
 * the code behind them, because they are a promise: when that code changes, the compiler says which promise would be broken. They need no
 * types of other packages.
 */
import { readConfig } from "../db/connection/config.ts";
import { RollbookError } from "../db/errors.ts";
import { initWarehouse } from "../db/migrate.ts";
import type { RestatedPeriod } from "./closings/period.ts";
import { loadDrop as loadDropInto } from "./load/load.ts";
import type { LoadReport } from "./load/report.ts";
import type { LoadProgress } from "./load/steps.ts";
import { refreshPartitions as refreshPartitionsOf } from "./refresh/refresh.ts";
import { readRejects as readRejectsOf } from "./reports/loads.ts";
import { readStatus as readStatusOf } from "./reports/status.ts";
import { readTotals as readTotalsOf } from "./reports/totals.ts";
import { undo as undoEntry } from "./undo/undo.ts";
import { verifyWarehouse as verify } from "./verify/verify.ts";
import { type OpenDatabase, openWarehouse as open, openConfigured } from "./warehouse.ts";

export { type ErrorCode, RollbookError } from "../db/errors.ts";
export type { ReasonSummary, Suspicion } from "../db/reason_summary.ts";
export type { RestatedPeriod } from "./closings/period.ts";
export type { DropContent, LineCounts, LoadOutcome, LoadReport, ReadBy } from "./load/report.ts";
export type { LoadProgress, LoadStep } from "./load/steps.ts";

/** An open warehouse. */
export interface Warehouse {
  readonly settings: WarehouseSettings;
  /** Ends the connections; stops the embedded server when nobody else uses it. */
  readonly close: () => Promise<void>;
}

/** Fixed when the warehouse is made. */
export interface WarehouseSettings {
  /** In which an instant becomes a creation date: `Europe/Berlin`. */
  readonly timeZone: string;
  /** The creation dates that one partition holds. */
  readonly granularity: "day" | "week" | "month" | "quarter" | "year";
  /** Invoices that were created before this date are rejected; `YYYY-MM-DD`. */
  readonly earliest: string;
  /** When a business day starts, on the wall clock: `04:00`. Invoices before it count for the day before. */
  readonly dayStarts: string;
}

export type Creation = Partial<WarehouseSettings> & { readonly refuseClosed?: boolean };

export interface OpenOptions {
  /**
   * Where the warehouse is, as for the command line: `DATABASE_URL`; or `PGHOST` or `PGSERVICE` with the other `PG*` variables; else the embedded
   * server in `ROLLBOOK_HOME`. Usually `process.env`.
   */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The folder that paths in the environment are relative to; default: the working folder. */
  readonly folder?: string;
  /**
   * Makes the warehouse where there is none, and migrates an older one. Settings that are left out are the ones it has, or on a new one UTC,
   * `month`, `2000-01-01` and `00:00`. Left out, nothing is created. With `refuseClosed` loads reject lines of closed periods
   * (`period_closed`), which may be changed at any time; left out, that stays as it is, and is false at first.
   */
  readonly create?: Creation;
  /** Aborts the opening. */
  readonly signal?: AbortSignal;
  /** What the embedded server is busy with: creating its data, starting, recovering. */
  readonly onProgress?: (message: string) => void;
  /** Takes each wait of more than five seconds for a lock of another session, and again each minute. */
  readonly onWait?: (wait: LockWait) => void;
}

/** A lock of another session for which the work waits. */
export interface LockWait {
  /** `the order of commits`, `relation warehouse.invoices`. */
  readonly what: string;
  readonly waitedMs: number;
  /** Who holds it, or waits for it too, before this work. What the login may not see is null. */
  readonly holders: readonly {
    /** 0 for a prepared transaction. */
    readonly pid: number;
    readonly user: string | null;
    readonly application: string | null;
    /** In PostgreSQL's words: `idle in transaction`. */
    readonly state: string | null;
    /** In UTC: `YYYY-MM-DD HH:MM:SS`. */
    readonly transactionBegan: string | null;
  }[];
  /** The same in words, with what to do. */
  readonly message: string;
}

export interface Work {
  readonly warehouse: Warehouse;
  /** Aborts the work, which is rolled back. */
  readonly signal?: AbortSignal;
}

const opened = new WeakMap<Warehouse, OpenDatabase>();

/**
 * Opens the warehouse.
 *
 * @throws RollbookError `configuration`, `connection`, `warehouse_missing` or `warehouse_newer`, `unsupported_server`, `permission`,
 *   `embedded_server`, `aborted`
 */
export async function openWarehouse(options: OpenOptions): Promise<Warehouse> {
  const { environment, folder = ".", create, ...rest } = options;
  const found = await openFound({ config: readConfig({ environment, folder }), ...rest }, create);
  const { timeZone, granularity, earliest, dayStarts } = found.settings;
  const settings = { timeZone, granularity, earliest, dayStarts };
  const warehouse = { settings, close: () => found.close() };
  opened.set(warehouse, found);
  return warehouse;
}

async function openFound(
  options: Parameters<typeof openConfigured>[0],
  create: Creation | undefined,
): ReturnType<typeof open> {
  if (create === undefined) return open(options);
  const database = await openConfigured(options);
  try {
    const { settings, created } = await initWarehouse({ ...create, ...database, signal: options.signal });
    return { ...database, settings, created };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Replaces the warehouse of the options by what the functions behind them take. */
function reach<Options extends Work>({ warehouse, ...options }: Options) {
  const found = opened.get(warehouse);
  if (found === undefined) {
    throw new RollbookError({
      code: "usage",
      message: "the warehouse is not one that openWarehouse returned",
    });
  }
  return { ...options, database: found.database, settings: warehouse.settings };
}

export interface LoadOptions extends Work {
  /** A CSV file, which may end in `.gz`; its name holds the sync date. */
  readonly path: string;
  /** Overrides the sync date in the file's name: `YYYY-MM-DD`, or `mtime` for the file's own date in the warehouse's time zone. */
  readonly syncedOn?: string;
  /** How many days after the sync date an invoice may have been created; default 0. */
  readonly syncSlack?: number;
  /** Greatest share of rejected lines, 0 to 1; above it the file is rejected. Default 0.01. */
  readonly maxRejects?: number;
  /** So many rejected lines are allowed whatever their share; default 0. */
  readonly maxRejectedLines?: number;
  /** Rejects the file when its rejected lines look like more than single bad lines; default false. */
  readonly refuseSuspicious?: boolean;
  /**
   * Whether the file is all there is for the venues and creation dates that it holds: all other invoices of these are taken out, as of its sync
   * date. It is loaded only if all of its lines can be read. Default false.
   */
  readonly replaceVenueDays?: boolean;
  /** In totals comma and point change places: `1.234,50`. Default false. */
  readonly decimalComma?: boolean;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/**
 * Loads one file in one transaction. That it was loaded already, was rejected or could not be loaded is an outcome, not an error. The totals are
 * right from then on; {@link refreshPartitions} with the report's `touched` keeps them fast.
 *
 * @throws RollbookError `aborted`
 */
export async function loadDrop(options: LoadOptions): Promise<LoadReport> {
  return loadDropInto(reach(options));
}

export interface RefreshOptions extends Work {
  /** Names of partitions; left out, all that have something pending (with `full`: all). */
  readonly partitions?: readonly string[];
  /** `delta`: apply what is pending; `partition`: rebuild what it touches; `full`: rebuild; `auto`, the default: choose for each. */
  readonly strategy?: "auto" | "delta" | "partition" | "full";
}

export interface RefreshReport {
  readonly partition: string;
  /** `none` when nothing was pending. */
  readonly method: "delta" | "rebuild" | "none";
  /** Why this method, in words. */
  readonly reason: string;
  /** Pending changes that were taken. */
  readonly changes: number;
  /** Rows of the rollup that were written. */
  readonly groups: { readonly inserted: number; readonly updated: number; readonly deleted: number };
  readonly durationMs: number;
}

/** Takes what is pending into the rollup, partition by partition. Loads and readers go on meanwhile. */
export async function refreshPartitions(options: RefreshOptions): Promise<readonly RefreshReport[]> {
  return refreshPartitionsOf(reach(options));
}

export interface TotalsOptions extends Work {
  readonly by: "venue,day" | "venue,month" | "venue" | "day" | "month";
  /** First creation date; `YYYY-MM-DD`. */
  readonly from?: string;
  /** First creation date that no longer counts. */
  readonly to?: string;
  /** Only this venue. */
  readonly venue?: string;
  /** What the reports showed then: a date means its end; a timestamp is in the warehouse's zone unless it has an offset. */
  readonly asKnownOn?: string;
  /** Takes each total in its order: by venue, then by date. The next one is read when it is done. */
  readonly onTotal: (total: Total) => void | Promise<void>;
}

/** `venue_id` and `created_on` are there as the grouping has them. */
export interface Total {
  readonly venue_id?: string;
  /** `YYYY-MM-DD`, or `YYYY-MM` by month. */
  readonly created_on?: string;
  readonly invoices: number;
  /** In euros, with two decimals. A text, because a number could not hold it exactly. */
  readonly total: string;
}

/**
 * Reads the totals, which are exact also between a load and its refresh.
 *
 * @throws RollbookError `usage` for an `asKnownOn` that is no date and no timestamp
 */
export async function readTotals({ onTotal, ...options }: TotalsOptions): Promise<void> {
  await readTotalsOf(reach(options), async (total) => onTotal(total));
}

export interface Status {
  readonly settings: WarehouseSettings;
  readonly partitions: readonly PartitionStatus[];
  /** What an operator should do something about, in words. */
  readonly warnings: readonly string[];
}

export interface PartitionStatus {
  readonly partition: string;
  /** Its creation dates: `lower` counts, `upper` does not. */
  readonly lower: string;
  readonly upper: string;
  /** `stale`: to be rebuilt; `detached`: not in the reports; `dropped`: the invoices are gone, the totals are kept. */
  readonly state: "open" | "stale" | "detached" | "dropped";
  readonly refreshedAt: string | null;
  /** Changes that no refresh has taken yet. */
  readonly pendingChanges: number;
}

export async function readStatus(options: Work): Promise<Status> {
  return readStatusOf(reach(options));
}

export interface RejectsOptions extends Work {
  /** The number of a load; left out, the newest load with rejected lines. */
  readonly loadId?: number;
  readonly onReject: (reject: Reject) => void | Promise<void>;
}

/** A line that was refused. */
export interface Reject {
  readonly loadId: number;
  readonly line: number;
  /** A code: docs/design.md, "The drop format". */
  readonly reason: string;
  readonly column: string | null;
  /** The bytes of the line, without its end. */
  readonly raw: Uint8Array;
}

/** @throws RollbookError `not_found` when there is no such load */
export async function readRejects({ onReject, ...options }: RejectsOptions): Promise<void> {
  await readRejectsOf(reach(options), async (reject) => onReject(reject));
}

export interface UndoOptions extends Work {
  /** The number of a load in the ledger, of an undo, or of a repair by `verify --identity`. */
  readonly loadId: number;
  /** Why; the ledger keeps it. */
  readonly because: string;
  /** Changes nothing, and reports what would change; default false. */
  readonly dryRun?: boolean;
}

export interface UndoReport {
  /** The number of the undo in the ledger; null where nothing was changed. */
  readonly loadId: number | null;
  /** The entry that was undone, and what it is. */
  readonly undoOf: number;
  readonly undone: "load" | "undo" | "repair";
  /** Its file. */
  readonly fileName: string;
  /** Invoices that went, that another value stands for now, of which another load says the same, and that came back. */
  readonly rows: {
    readonly removed: number;
    readonly corrected: number;
    readonly unchanged: number;
    readonly inserted: number;
  };
  /** How many groups (venue and creation date) have another count or total. */
  readonly groups: number;
  /** By how much all totals change, net. */
  readonly invoices: number;
  /** In euros, with two decimals. */
  readonly total: string;
  /** Partitions to refresh, by name. */
  readonly partitions: readonly string[];
  /** What changed in closed periods; left out where that is nothing. */
  readonly restated?: readonly RestatedPeriod[];
}

/**
 * Takes a load back in one transaction, as if its file had never been loaded: what other loads say of its invoices stands again. The
 * totals are right from then on; {@link refreshPartitions} with the report's `partitions` keeps them fast.
 *
 * @throws RollbookError `not_found` when there is no such entry; `usage` when it cannot be undone; `statements_pruned` when too much is
 *   forgotten; `partition_closed` when its partitions are detached or dropped; `permission`, `aborted`
 */
export async function undo(options: UndoOptions): Promise<UndoReport> {
  return undoEntry(reach(options));
}

export interface VerifyOptions extends Work {
  /** Name of the only partition to verify; left out, all, and the ledger. */
  readonly partition?: string;
  /** Looks also for invoice ids under several keys: reads all invoices, twice. */
  readonly identity?: boolean;
  /** Recomputes also the digest of each closing from the deltas that were known then. */
  readonly closings?: boolean;
  /**
   * Proves only what was not proved for longest, and begins nothing after so many milliseconds. Not together with `partition`, `identity`
   * or `repair`.
   */
  readonly sliceMs?: number;
  /** Takes each divergence, with what was found. */
  readonly onDivergence?: (divergence: Divergence) => void;
}

/** Something that does not add up; the fields beside `kind` are those of `rollbook verify --json`. */
export interface Divergence {
  readonly kind: "group" | "table" | "control" | "orphan" | "load" | "closing" | "checkpoint" | "identity";
}

export interface VerifyReport {
  readonly partitions: number;
  readonly invoices: number;
  readonly groups: number;
  /** 0 when all is proved. */
  readonly divergences: number;
  /** Of a slice: what had its turn, how much is left, and how long all of it took last. */
  readonly slice?: {
    readonly proved: readonly string[];
    readonly left: number;
    readonly roundMs: number | null;
  };
  /** Whether it is recorded when each part was proved. */
  readonly recorded: "recorded" | "no_right" | "read_only";
  readonly durationMs: number;
}

/** Proves for all totals: rollup + pending = recomputed from the invoices = sum of the deltas. Loads and refreshes go on meanwhile. */
export async function verifyWarehouse(options: VerifyOptions): Promise<VerifyReport> {
  return verify(reach(options));
}
