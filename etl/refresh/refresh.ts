/** Brings the rollup up to date, partition by partition. See docs/design.md, "A refresh". */
import { sql } from "drizzle-orm";
import { type Database, withSession, withTransaction } from "../../db/client.ts";
import { explainMissing } from "../../db/partitions/missing.ts";
import type { DateRange } from "../../db/partitions/ranges.ts";
import { PROBE_BY_KEY } from "../../db/plans.ts";
import { withRetries } from "../../db/retry.ts";
import { checkpoints, loads, pending, pendingFloor, waiting } from "../../db/schema.ts";
import { forEachAtOnce } from "../at_once.ts";
import { refreshNamed, refreshPartition } from "./partition.ts";
import type { RefreshReport } from "./report.ts";
import type { Strategy } from "./strategy.ts";
import { findTargets } from "./targets.ts";

export interface RefreshOptions {
  readonly database: Database;
  /** Names of the partitions; default: all that have something pending (`full`: all there are). */
  readonly partitions?: readonly string[] | undefined;
  /**
   * Only partitions with dates from `from` (inclusive) to `to` (exclusive). With the strategy `partition` all
   * of them are rebuilt, also those in which nothing is pending.
   */
  readonly range?: DateRange | undefined;
  /** Default: `auto`. */
  readonly strategy?: Strategy | undefined;
  /** Partitions refreshed at a time, default 2. */
  readonly concurrency?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, of: number, report: RefreshReport) => void) | undefined;
}

/**
 * Refreshes partitions, each in a transaction of its own. All strategies end in the same rollup. Readers are
 * never blocked, and see each partition before its refresh or after it, never between.
 *
 * @returns a report for each partition, by name
 * @throws RollbookError `not_found` for a partition that is not there, `table_missing` for one whose tables
 *   were dropped by hand
 */
export async function refreshPartitions(options: RefreshOptions): Promise<readonly RefreshReport[]> {
  const [only, ...others] = options.partitions ?? [];
  const reports =
    only !== undefined && others.length === 0 ? await refreshOne(options, only) : await refreshMany(options);
  await finish(options, { refreshed: reports.some(({ method }) => method !== "none") });
  return reports.toSorted((a, b) => (a.partition < b.partition ? -1 : 1));
}

async function refreshOne(options: RefreshOptions, name: string): Promise<readonly RefreshReport[]> {
  const { database, signal, strategy = "auto" } = options;
  const report = await retried(options, () =>
    refreshNamed({ database, name, strategy, explicit: true, signal }),
  );
  if (report === undefined) return [];
  options.onProgress?.(1, 1, report);
  return [report];
}

async function refreshMany(options: RefreshOptions): Promise<readonly RefreshReport[]> {
  const { database, signal, strategy = "auto" } = options;
  // By the index, for each partition: the queue is never as its statistics say.
  const targets = await withTransaction({ database, signal, opening: PROBE_BY_KEY }, (tx) =>
    findTargets(tx, { ...options, strategy }),
  );
  const live = targets.filter(({ state }) => state !== "detached");
  const explicit = options.partitions !== undefined || options.range !== undefined;
  const reports: RefreshReport[] = [];
  // The newest first: most changes are there, and the smaller ones then fill up the time.
  await forEachAtOnce(live.toReversed(), options.concurrency ?? 2, async (target) => {
    const report = await retried(options, () =>
      refreshPartition({ database, target, strategy, explicit, signal }),
    );
    reports.push(report);
    options.onProgress?.(reports.length, live.length, report);
  });
  return reports;
}

async function retried<T>({ database, signal }: RefreshOptions, refresh: () => Promise<T>): Promise<T> {
  return withRetries({ signal }, refresh).catch(async (error: unknown) => {
    throw await explainMissing(error, database);
  });
}

/** Below this size it costs nothing to look at what was taken from the queue. */
const PENDING_BYTES_WORTH_A_FLOOR = 64 * 1024;
/** So much is written to the log of the server, by whomever, before the floor is raised again: some fifteen small loads. */
const WAL_BYTES_PER_FLOOR = 512 * 1024;

/** Above this size an empty queue is vacuumed at once: every reader looks into it. */
const PENDING_BYTES_WORTH_A_VACUUM = 512 * 1024;
/** While a transaction is held open, vacuum finds nothing that it may take away. */
const VACUUM_EVERY_SECONDS = 10;

/** So many entries of the ledger a checkpoint covers at most (warehouse.make_checkpoint). */
const ENTRIES_PER_CHECKPOINT = 240;

/**
 * Waits until all refreshes are on the disk, and does what is due after them. Every view looks into the queue, so a
 * large one that was just emptied is not left to the autovacuum. A question as known on a moment adds up what came
 * after the last checkpoint, so the next one is made as soon as it would be full.
 *
 * The refreshes of partitions do not wait for the disk one by one: what a crash takes back of them is pending again, as
 * it was. Nobody reads the message that is written here; a commit without any WAL of its own would not wait.
 */
async function finish(
  options: Pick<RefreshOptions, "database" | "signal">,
  { refreshed }: { readonly refreshed: boolean },
): Promise<void> {
  const durable = refreshed ? sql`pg_logical_emit_message(true, 'rollbook', 'refreshed')` : sql`null`;
  await withRetries({ signal: options.signal }, () =>
    withSession(options, async ({ db }) => {
      const result = await db.execute<{ raise: boolean; vacuum: boolean; checkpoint: boolean }>(sql`
        select ${durable},
               pg_relation_size('warehouse.venue_day_pending') > ${PENDING_BYTES_WORTH_A_FLOOR}
               and exists (
                 select from ${pendingFloor}
                 where abs(pg_wal_lsn_diff(pg_current_wal_lsn(), as_of)) > ${WAL_BYTES_PER_FLOOR}
               ) as raise,
               pg_relation_size('warehouse.venue_day_pending') > ${PENDING_BYTES_WORTH_A_VACUUM}
               and not exists (select from ${waiting})
               and not exists (
                 select from pg_stat_all_tables
                 where relid = 'warehouse.venue_day_pending'::regclass
                   and last_vacuum > clock_timestamp() - make_interval(secs => ${VACUUM_EVERY_SECONDS})
               ) as vacuum,
               exists (
                 select from ${loads}
                 where known_at > (select max(known_at) from ${checkpoints})
                 order by known_at
                 offset ${ENTRIES_PER_CHECKPOINT - 1}
               ) as checkpoint`);
      const [row] = result.rows;
      if (row?.raise === true) await db.execute(sql`select from warehouse.raise_pending_floor()`);
      if (row?.vacuum === true) await db.execute(sql`vacuum ${pending}`);
      if (row?.checkpoint === true) await db.execute(sql`select from warehouse.make_checkpoint()`);
    }),
  );
}
