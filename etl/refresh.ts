/** Brings the rollup of partitions up to date, from what is pending or by rebuilding it. DESIGN: docs/design.md, "A refresh". */
import { eq, inArray, sql } from "drizzle-orm";
import pRetry from "p-retry";
import {
  ALLOW_WORK_MEM,
  type Database,
  type Session,
  type Transaction,
  withSession,
  withTransaction,
} from "../db/client.ts";
import { isRetryable } from "../db/errors.ts";
import { LOCK, lockStatement } from "../db/locks.ts";
import { unknownPartition } from "../db/partitions/catalog.ts";
import { explainMissing } from "../db/partitions/missing.ts";
import { type DateRange, intersects } from "../db/partitions/ranges.ts";
import { leafTable } from "../db/partitions/tables.ts";
import { type Partition, partitionFreshness, partitions } from "../db/schema.ts";

export const STRATEGIES = ["auto", "delta", "partition", "full"] as const;
/** `delta`: apply what is pending; `partition`: rebuild what it touches; `full`: rebuild all; `auto`: choose for each. */
export type Strategy = (typeof STRATEGIES)[number];

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
  /** What `auto` reckoned with, in milliseconds; null where nothing was reckoned. */
  readonly predictedMs: number | null;
  readonly durationMs: number;
}

export interface RefreshOptions {
  readonly database: Database;
  /** Names of the partitions; left out, all that have something pending (`full`: all there are). */
  readonly partitions?: readonly string[] | undefined;
  /** Only partitions with dates from `from` (inclusive) to `to` (exclusive). Those that are rebuilt need nothing pending, as if they were named. */
  readonly range?: DateRange | undefined;
  readonly strategy?: Strategy | undefined;
  /** Partitions refreshed at a time, default 2. */
  readonly concurrency?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, of: number, report: RefreshReport) => void) | undefined;
}

/**
 * What a change costs, in milliseconds: applying one pending change against scanning one invoice in a rebuild. A first measurement on two
 * busy cores (3,600 changes in 45 ms; 900,000 to 2,700,000 invoices at 0.7 to 1.1 µs each); only the ratio decides.
 */
const DELTA_MS_PER_CHANGE = 0.012;
const REBUILD_MS_PER_INVOICE = 0.0011;

/**
 * For applying pending changes: probe the rollup's key for each changed group. A hash or merge join would read the whole partition for a few groups, and a scan,
 * which an empty partition invites to, for each all groups that the statement has inserted so far.
 */
const PROBE_BY_KEY = [
  "set local enable_hashjoin = off",
  "set local enable_mergejoin = off",
  "set local enable_seqscan = off",
];
/** For all else: as the server is set. */
const PLAN_FREELY = [
  "set local enable_hashjoin to default",
  "set local enable_mergejoin to default",
  "set local enable_seqscan to default",
];

/** Above this size an empty queue is vacuumed at once: every reader looks into it. */
const PENDING_BYTES_WORTH_A_VACUUM = 8 * 1024 * 1024;

/**
 * Refreshes partitions, each in a transaction of its own. All strategies end in the same rollup; readers are never blocked and see
 * each partition before or after, never between.
 *
 * @throws RollbookError `not_found` for a partition that is not there, `table_missing` for one whose tables were dropped by hand
 */
export async function refreshPartitions(options: RefreshOptions): Promise<readonly RefreshReport[]> {
  const { database, signal, strategy = "auto" } = options;
  const targets = await withSession({ database, signal }, (session) => findTargets(session, options));
  const live = targets.filter(({ state }) => state !== "detached");
  const explicit = options.partitions !== undefined || options.range !== undefined;
  const reports: RefreshReport[] = [];
  // The newest first: most changes are there, and the smaller ones then fill up the time.
  await forEachAtOnce(live.toReversed(), options.concurrency ?? 2, async (target) => {
    const report = await retryRefresh(
      () => refreshPartition({ database, target, strategy, explicit, signal }),
      signal,
    ).catch(async (error: unknown) => {
      throw await explainMissing(error, database);
    });
    reports.push(report);
    options.onProgress?.(reports.length, live.length, report);
  });
  if (reports.some(({ method }) => method !== "none")) await makeDurable(options);
  await vacuumPending(database, signal);
  return reports.sort((a, b) => (a.partition < b.partition ? -1 : 1));
}

async function findTargets(session: Session, options: RefreshOptions): Promise<readonly Target[]> {
  const { partitions: names, range, strategy } = options;
  const found = await countPending(session, names);
  if (names !== undefined) return names.map((name) => findTarget(found, name));
  const untouched = strategy === "full" || (strategy === "partition" && range !== undefined);
  return found.filter(
    ({ partition, state, changes }) =>
      intersects(partition, range) && (untouched || state === "stale" || changes > 0),
  );
}

function findTarget(all: readonly Target[], name: string): Target {
  const found = all.find(({ partition }) => partition.partition === name);
  if (found !== undefined) return found;
  throw unknownPartition(name);
}

/** After a failure nothing new is begun, and what is under way is waited for: the caller may then close the database. */
async function forEachAtOnce<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const failures: unknown[] = [];
  const worker = async () => {
    for (const item of queue) {
      if (failures.length > 0) return;
      await work(item).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}

function retryRefresh<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return pRetry(work, {
    retries: 4,
    minTimeout: 100,
    factor: 3,
    randomize: true,
    ...(signal && { signal }),
    shouldRetry: ({ error }) => isRetryable(error) && signal?.aborted !== true,
  });
}

interface Choice {
  readonly strategy: Strategy;
  /** The partition was asked for by name. */
  readonly explicit: boolean;
}

/** Refreshes one partition. Others that want the same one wait for its lock. */
async function refreshPartition(
  options: Choice & {
    readonly database: Database;
    readonly target: Target;
    readonly signal: AbortSignal | undefined;
  },
): Promise<RefreshReport> {
  const { target } = options;
  const opening = [
    "set local synchronous_commit = off",
    ...PROBE_BY_KEY,
    lockStatement(LOCK.refreshPartition, target.partition.partitionId),
  ];
  return withTransaction({ ...options, opening }, (tx) =>
    refreshProbing(tx, target.partition, options, target),
  );
}

/**
 * Waits until the disk has all that was committed before. The refreshes of partitions do not wait one by one: what a crash takes back of them
 * is pending again, as it was. The message is for nobody: a commit without any WAL of its own would not wait.
 */
async function makeDurable(options: Pick<RefreshOptions, "database" | "signal">): Promise<void> {
  await withSession(options, ({ client }) =>
    client.query("select pg_logical_emit_message(true, 'rollbook', 'refreshed')"),
  );
}

/** The same for a transaction that holds the partition's refresh lock. */
export async function refreshLocked(tx: Transaction, partition: Partition): Promise<RefreshReport> {
  await tx.client.query(PROBE_BY_KEY.join(";"));
  const report = await refreshProbing(tx, partition, { strategy: "auto", explicit: true });
  await tx.client.query(PLAN_FREELY.join(";"));
  return report;
}

/** The same for one whose planner goes by the key. `foreseen`: as the partition was before the lock. */
async function refreshProbing(
  tx: Transaction,
  partition: Partition,
  choice: Choice,
  foreseen?: Counted,
): Promise<RefreshReport> {
  const started = performance.now();
  const asForeseen = foreseen && (await applyAsForeseen(tx, partition, planRefresh(foreseen, choice)));
  const done = asForeseen ?? (await carryOut(tx, partition, await planLocked(tx, partition, choice)));
  const durationMs = Math.round(performance.now() - started);
  return { partition: partition.partition, ...done, durationMs };
}

async function planLocked(tx: Transaction, { partition }: Partition, choice: Choice): Promise<Plan> {
  const [counted = GONE] = await countPending(tx, [partition]);
  return planRefresh(counted, choice);
}

/** Spares the rule, which is a delta, the count under the lock. Undefined where there is nothing to apply any more, or another plan. */
async function applyAsForeseen(
  tx: Transaction,
  partition: Partition,
  plan: Plan,
): Promise<(Plan & Written) | undefined> {
  if (plan.method !== "delta") return undefined;
  const applied = await applyOrRebuild(tx, partition, plan);
  return applied.changes > 0 ? applied : undefined;
}

type Plan = Pick<RefreshReport, "method" | "reason" | "predictedMs">;
type Written = Pick<RefreshReport, "changes" | "groups">;

/** What a plan is made from. */
interface Counted {
  readonly state: Partition["state"];
  /** Pending changes. */
  readonly changes: number;
  /** Invoices of the rollup and of what is pending. */
  readonly invoices: number;
}

/** A partition that is gone is planned like one that is detached. */
const GONE: Counted = { state: "detached", changes: 0, invoices: 0 };

interface Target extends Counted {
  readonly partition: Partition;
}

/** All partitions, or those of these names, oldest first. */
async function countPending({ db }: Session, names?: readonly string[]): Promise<readonly Target[]> {
  const found = await db
    .select()
    .from(partitions)
    .innerJoin(partitionFreshness, eq(partitionFreshness.partition, partitions.partition))
    .where(names && inArray(partitions.partition, [...names]))
    .orderBy(partitions.lower);
  return found.map(({ partitions: partition, partition_freshness: { pendingChanges, pendingInvoices } }) => ({
    partition,
    state: partition.state,
    changes: pendingChanges,
    invoices: partition.rollupInvoices + pendingInvoices,
  }));
}

function planRefresh({ state, changes, invoices }: Counted, { strategy, explicit }: Choice): Plan {
  if (state === "detached") return { method: "none", reason: "detached", predictedMs: null };
  const rebuild = (reason: string): Plan => ({ method: "rebuild", reason, predictedMs: null });
  if (state === "stale") return rebuild("the partition is stale");
  if (strategy === "full") return rebuild("all partitions are rebuilt");
  if (strategy === "partition" && (explicit || changes > 0)) return rebuild("touched partitions are rebuilt");
  if (changes === 0) return { method: "none", reason: "nothing is pending", predictedMs: null };
  if (strategy === "delta")
    return { method: "delta", reason: "pending changes are applied", predictedMs: null };
  return reckon(changes, invoices, state === "dropped");
}

/** The cheaper method for so many changes in a partition of so many invoices. */
function reckon(changes: number, invoices: number, dropped: boolean): Plan {
  const deltaMs = Math.ceil(changes * DELTA_MS_PER_CHANGE);
  const rebuildMs = Math.ceil(invoices * REBUILD_MS_PER_INVOICE);
  const reason = `${changes} changes against ${invoices} invoices`;
  if (dropped || deltaMs <= rebuildMs) return { method: "delta", reason, predictedMs: deltaMs };
  return { method: "rebuild", reason, predictedMs: rebuildMs };
}

async function carryOut(tx: Transaction, partition: Partition, plan: Plan): Promise<Plan & Written> {
  switch (plan.method) {
    case "none":
      return { ...plan, changes: 0, groups: { inserted: 0, updated: 0, deleted: 0 } };
    case "rebuild":
      return { ...plan, ...(await rebuildRollup(tx, partition)) };
    case "delta":
      return applyOrRebuild(tx, partition, plan);
  }
}

/**
 * Takes what is pending into the rollup. Where that leaves a group with less than nothing, or euros without an invoice, somebody changed
 * rollup or queue by hand: then neither is built upon, the partition is rebuilt in the same transaction, and the report says so.
 */
async function applyOrRebuild(tx: Transaction, partition: Partition, plan: Plan): Promise<Plan & Written> {
  const { impossible, ...written } = await applyPending(tx, partition);
  if (impossible === 0) return { ...plan, ...written };
  const reason = `rollup and pending changes contradict each other in ${impossible} groups, so they were changed by hand: rebuilt from the source; run rollbook verify`;
  const rebuilt = await rebuildRollup(tx, partition);
  return { ...plan, method: "rebuild", reason, ...rebuilt, changes: written.changes + rebuilt.changes };
}

interface WrittenRow extends Record<string, unknown> {
  readonly changes: string;
  readonly inserted: string;
  readonly updated: string;
  readonly deleted: string;
}

function readWritten(rows: readonly WrittenRow[]): Written {
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate returned no row");
  const { changes, inserted, updated, deleted } = row;
  return {
    changes: Number(changes),
    groups: { inserted: Number(inserted), updated: Number(updated), deleted: Number(deleted) },
  };
}

/**
 * Takes what is pending into the rollup, in one statement under the partition's lock: it deletes the pending rows that it sees, adds them up
 * by group and merges them in key order. Two statements would lose or double what commits between them. The planner goes by the key
 * ({@link PROBE_BY_KEY}). Nothing is taken where the partition is in a state that no delta is for. `impossible` counts the groups that cannot be
 * right afterwards.
 */
async function applyPending(
  tx: Transaction,
  partition: Partition,
): Promise<Written & { readonly impossible: number }> {
  const result = await tx.client.query<WrittenRow & { impossible: string }>(
    `
    with taken as (
      delete from warehouse.venue_day_pending
      where created_on >= $2 and created_on < $3
        and exists (select from warehouse.partitions where partition = $1 and state in ('open', 'dropped'))
      returning created_on, venue_key, invoices, total
    ),
    net as (
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
      from taken
      group by created_on, venue_key
      having sum(invoices) <> 0 or sum(total) <> 0
      order by created_on, venue_key
    ),
    merged as (
      merge into ${leafTable("venue_day_rollup", partition.partition)} as stored
      using net on stored.created_on = net.created_on and stored.venue_key = net.venue_key
      when matched and stored.invoices + net.invoices = 0 then delete
      when matched then update set invoices = stored.invoices + net.invoices, total = stored.total + net.total
      when not matched then
        insert (created_on, venue_key, invoices, total)
        values (net.created_on, net.venue_key, net.invoices, net.total)
      returning merge_action() as action,
                coalesce(old.invoices, 0) + net.invoices as invoices, coalesce(old.total, 0) + net.total as total
    ),
    controlled as (
      update warehouse.partitions
      set rollup_invoices = rollup_invoices + (select coalesce(sum(invoices), 0) from net),
          rollup_total = rollup_total + (select coalesce(sum(total), 0) from net),
          refreshed_at = clock_timestamp()
      where partition = $1
    )
    select (select count(*) from taken) as changes,
           count(*) filter (where action = 'INSERT') as inserted,
           count(*) filter (where action = 'UPDATE') as updated,
           count(*) filter (where action = 'DELETE') as deleted,
           count(*) filter (where invoices < 0 or (invoices = 0 and total <> 0)) as impossible
    from merged`,
    [partition.partition, partition.lower, partition.upper],
  );
  return { ...readWritten(result.rows), impossible: Number(result.rows[0]?.impossible) };
}

/**
 * Recomputes the rollup of a partition, in one statement under its lock: the pending rows that its snapshot sees are in the invoices of the same
 * snapshot, so they are deleted, and the rollup and the control totals are set. Only rows that differ are written, so readers never see an
 * empty partition. Where the invoices were dropped the deltas are summed.
 */
export async function rebuildRollup(tx: Transaction, partition: Partition): Promise<Written> {
  const leaf = sql.raw(leafTable("venue_day_rollup", partition.partition));
  await tx.client.query([...PLAN_FREELY, ALLOW_WORK_MEM].join(";"));
  const [{ state } = { state: "open" }] = (
    await tx.db.execute<{ state: Partition["state"] }>(
      sql`select state from warehouse.partitions where partition = ${partition.partition}`,
    )
  ).rows;
  const fresh =
    state === "dropped"
      ? sql`
        select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
        from ${sql.raw(leafTable("venue_day_deltas", partition.partition))}
        group by created_on, venue_key
        having sum(invoices) <> 0`
      : sql`
        select created_on, venue_key, count(*) as invoices, sum(total) as total
        from ${sql.raw(leafTable("invoices", partition.partition))}
        group by created_on, venue_key`;
  const result = await tx.db.execute<WrittenRow>(sql`
    with taken as (
      delete from warehouse.venue_day_pending
      where created_on >= ${partition.lower} and created_on < ${partition.upper}
      returning 1
    ),
    fresh as materialized (${fresh}),
    differing as (
      select created_on, venue_key, fresh.invoices, fresh.total
      from fresh
      full join ${leaf} as stored using (created_on, venue_key)
      where (fresh.invoices, fresh.total) is distinct from (stored.invoices, stored.total)
    ),
    merged as (
      merge into ${leaf} as stored
      using differing on stored.created_on = differing.created_on and stored.venue_key = differing.venue_key
      when matched and differing.invoices is null then delete
      when matched then update set invoices = differing.invoices, total = differing.total
      when not matched then
        insert (created_on, venue_key, invoices, total)
        values (differing.created_on, differing.venue_key, differing.invoices, differing.total)
      returning merge_action() as action
    ),
    controlled as (
      update warehouse.partitions
      set (rollup_invoices, rollup_total) = (select coalesce(sum(invoices), 0), coalesce(sum(total), 0) from fresh),
          state = case state when 'stale' then 'open' else state end,
          refreshed_at = clock_timestamp()
      where partition = ${partition.partition}
    )
    select (select count(*) from taken) as changes,
           count(*) filter (where action = 'INSERT') as inserted,
           count(*) filter (where action = 'UPDATE') as updated,
           count(*) filter (where action = 'DELETE') as deleted
    from merged`);
  return readWritten(result.rows);
}

/** Every view looks into the queue, so a large one that was just emptied is not left to the autovacuum. */
async function vacuumPending(database: Database, signal: AbortSignal | undefined): Promise<void> {
  await withSession({ database, signal }, async (session) => {
    const result = await session.db.execute<{ worth_it: boolean }>(sql`
      select pg_relation_size('warehouse.venue_day_pending') > ${PENDING_BYTES_WORTH_A_VACUUM}
             and not exists (select from warehouse.venue_day_pending) as worth_it`);
    if (result.rows[0]?.worth_it === true) await session.db.execute(sql`vacuum warehouse.venue_day_pending`);
  });
}
