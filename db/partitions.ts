/**
 * Partitions: which dates they hold, how they come and how they leave. With the migrations the one place with DDL.
 * A partition is a set of three tables with the same bounds: invoices, deltas and rollup.
 */
import { eq, inArray, sql } from "drizzle-orm";
import pRetry from "p-retry";
import pg from "pg";
import {
  type Database,
  LOCK,
  lockUntilEnd,
  type Session,
  type Transaction,
  withSession,
  withTransaction,
} from "./client.ts";
import { errorState, RollbookError, SQLSTATE } from "./errors.ts";
import { type Granularity, type Partition, partitions } from "./schema.ts";

/** Half-open range of creation dates, with the partition's name: `2026-10-05`, `2026-W41`, `2026-10`, `2026-Q4`, `2026`. */
export interface PartitionRange {
  readonly partition: string;
  readonly lower: string;
  readonly upper: string;
}

/** The three tables of a set, by their parents. */
const PARENTS = ["invoices", "venue_day_deltas", "venue_day_rollup"] as const;
type Parent = (typeof PARENTS)[number];

/** Sets made per transaction: each takes some ten locks, and servers allow 64 per connection by default. */
const SETS_PER_TRANSACTION = 16;
const LOCK_TIMEOUT_MS = 5000;
const DAY_MS = 86_400_000;

/** The partition that holds a date. Weeks are ISO weeks: Monday to Sunday, numbered by their Thursday. */
export function partitionOf(granularity: Granularity, date: string): PartitionRange {
  const [year = 0, month = 0] = date.split("-").map(Number);
  const two = (value: number) => String(value).padStart(2, "0");
  const four = (value: number) => String(value).padStart(4, "0");
  switch (granularity) {
    case "day":
      return { partition: date, lower: date, upper: addDays(date, 1) };
    case "week": {
      const weekday = (new Date(`${date}T00:00:00Z`).getUTCDay() + 6) % 7;
      const lower = addDays(date, -weekday);
      const thursday = addDays(lower, 3);
      const isoYear = thursday.slice(0, 4);
      const week = Math.floor((toMs(thursday) - toMs(`${isoYear}-01-01`)) / DAY_MS / 7) + 1;
      return { partition: `${isoYear}-W${two(week)}`, lower, upper: addDays(lower, 7) };
    }
    case "month":
      return {
        partition: `${four(year)}-${two(month)}`,
        lower: firstOfMonth(year, month),
        upper: firstOfMonth(year, month + 1),
      };
    case "quarter": {
      const quarter = Math.ceil(month / 3);
      return {
        partition: `${four(year)}-Q${quarter}`,
        lower: firstOfMonth(year, quarter * 3 - 2),
        upper: firstOfMonth(year, quarter * 3 + 1),
      };
    }
    case "year":
      return { partition: four(year), lower: firstOfMonth(year, 1), upper: firstOfMonth(year + 1, 1) };
  }
}

/** The date so many days later. Dates are ISO strings, years 1 to 9999. */
export function addDays(date: string, days: number): string {
  return toDate(toMs(date) + days * DAY_MS);
}

function toMs(date: string): number {
  return Date.parse(`${date}T00:00:00Z`);
}

function toDate(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function firstOfMonth(year: number, month: number): string {
  const first = new Date(0);
  first.setUTCFullYear(year, month - 1, 1);
  return first.toISOString().slice(0, 10);
}

/** The table of a partition under one of the parents, schema-qualified and quoted, e.g. `warehouse."invoices_2026_10"`. */
export function leafTable(parent: Parent, partition: string): string {
  return `warehouse.${pg.escapeIdentifier(leafName(parent, partition))}`;
}

function leafName(parent: Parent, partition: string): string {
  return `${parent}_${partition.toLowerCase().replaceAll("-", "_")}`;
}

/** All partitions of the catalog, oldest first. */
export async function listPartitions(session: Session): Promise<readonly Partition[]> {
  return session.db.select().from(partitions).orderBy(partitions.lower);
}

/**
 * Creates the partitions that are missing for these dates, on a connection of its own, so that an open load can go on: built
 * beside the parents and attached. Partitions that were detached or dropped on purpose are left as they are.
 *
 * @returns the names of those created
 * @throws RollbookError `partition_busy` when another session keeps a parent locked
 */
export async function ensurePartitions(options: {
  readonly database: Database;
  readonly granularity: Granularity;
  readonly dates: Iterable<string>;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly string[]> {
  const wanted = new Map<string, PartitionRange>();
  for (const date of options.dates) {
    const range = partitionOf(options.granularity, date);
    wanted.set(range.partition, range);
  }
  const ranges = [...wanted.values()].sort((a, b) => (a.lower < b.lower ? -1 : 1));
  const created: string[] = [];
  for (let start = 0; start < ranges.length; start += SETS_PER_TRANSACTION) {
    const batch = ranges.slice(start, start + SETS_PER_TRANSACTION);
    created.push(...(await retryWhileLocked(options, () => createMissing(options, batch))));
  }
  return created;
}

async function createMissing(
  options: { readonly database: Database; readonly signal?: AbortSignal | undefined },
  ranges: readonly PartitionRange[],
): Promise<readonly string[]> {
  return withTransaction(options, async (tx) => {
    await tx.client.query("select set_config('lock_timeout', $1, true)", [`${LOCK_TIMEOUT_MS}ms`]);
    await lockUntilEnd(tx, LOCK.ensurePartitions);
    const names = ranges.map((range) => range.partition);
    const present = await tx.db.select().from(partitions).where(inArray(partitions.partition, names));
    const known = new Set(present.map((row) => row.partition));
    const missing = ranges.filter((range) => !known.has(range.partition));
    for (const range of missing) await createSet(tx, range);
    return missing.map((range) => range.partition);
  });
}

async function createSet(tx: Transaction, range: PartitionRange): Promise<void> {
  for (const parent of PARENTS) {
    const leaf = leafTable(parent, range.partition);
    // A rollup row is updated over and over: room on its page keeps the update out of the index.
    const storage = parent === "venue_day_rollup" ? "with (fillfactor = 85)" : "";
    await tx.client.query(
      `create table ${leaf} (like warehouse.${parent} including defaults including constraints including indexes) ${storage}`,
    );
    await attachLeaf(tx, parent, range);
  }
  await tx.db.insert(partitions).values(range);
}

/**
 * ATTACH, not PARTITION OF: the latter takes ACCESS EXCLUSIVE on the parent and blocks every reader. The check on the bounds
 * spares ATTACH the scan of the leaf.
 */
async function attachLeaf(tx: Transaction, parent: Parent, range: PartitionRange): Promise<void> {
  const leaf = leafTable(parent, range.partition);
  const [lower, upper] = [pg.escapeLiteral(range.lower), pg.escapeLiteral(range.upper)];
  await tx.client.query(
    `alter table ${leaf} add constraint rollbook_bounds check (created_on >= ${lower} and created_on < ${upper})`,
  );
  await tx.client.query(
    `alter table warehouse.${parent} attach partition ${leaf} for values from (${lower}) to (${upper})`,
  );
  await tx.client.query(`alter table ${leaf} drop constraint rollbook_bounds`);
}

/** Tries again while other sessions hold a lock that the DDL needs; then says who to look for. */
async function retryWhileLocked<T>(
  options: { readonly signal?: AbortSignal | undefined },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await pRetry(work, {
      retries: 5,
      minTimeout: 200,
      ...(options.signal && { signal: options.signal }),
      shouldRetry: ({ error }) => errorState(error) === SQLSTATE.lockNotAvailable,
    });
  } catch (error) {
    if (errorState(error) !== SQLSTATE.lockNotAvailable) throw error;
    throw new RollbookError({
      code: "partition_busy",
      message:
        "another session keeps warehouse.invoices, venue_day_deltas or venue_day_rollup locked (a vacuum, a DDL command?), so no partition could be added or removed. Look in pg_locks and try again.",
      cause: error,
    });
  }
}

/**
 * The partitions of these names, with their catalog rows locked against detach and drop until the transaction ends. Others may
 * do the same at once, and refreshes go on. The lock is on the key only, which is what `detach` takes it all from.
 */
export async function holdPartitions(
  tx: Transaction,
  names: readonly string[],
): Promise<readonly Pick<Partition, "partition" | "state">[]> {
  if (names.length === 0) return [];
  return tx.db
    .select({ partition: partitions.partition, state: partitions.state })
    .from(partitions)
    .where(inArray(partitions.partition, [...names]))
    .orderBy(partitions.partition)
    .for("key share");
}

/**
 * Takes a partition out of the live tables: the catalog's state first, then one table after the other, each without blocking
 * readers. After a crash anywhere the same call goes on. Rows that arrive for it are rejected until it is attached again.
 *
 * @throws RollbookError `not_found`; `partition_busy` when something is pending (refresh first) or another session is in the way;
 *   `usage` for a dropped partition
 */
export async function detachPartition(options: PartitionChange): Promise<void> {
  await closePartition(options, "detached");
  await withRemovalLock(options, async (session) => {
    for (const parent of ["venue_day_rollup", "venue_day_deltas", "invoices"] as const) {
      await detachLeaf(options, session, parent);
    }
  });
}

/** Puts a detached partition back, all three tables and the state in one transaction. */
export async function attachPartition(options: PartitionChange): Promise<void> {
  await retryWhileLocked(options, () =>
    withTransaction(options, async (tx) => {
      await tx.client.query("select set_config('lock_timeout', $1, true)", [`${LOCK_TIMEOUT_MS}ms`]);
      await lockUntilEnd(tx, LOCK.removePartition);
      await lockUntilEnd(tx, LOCK.ensurePartitions);
      const found = await findPartition(tx, options.partition);
      if (found.state !== "detached") {
        throw new RollbookError({
          code: "usage",
          message: `partition ${options.partition} is ${found.state}, not detached: there is nothing to attach.`,
        });
      }
      for (const parent of PARENTS) {
        if ((await leafState(tx, parent, options.partition)) !== "attached") {
          await attachLeaf(tx, parent, found);
        }
      }
      await setState(tx, options.partition, "open");
    }),
  );
}

/**
 * Drops the invoices of a partition for good; its deltas, corrections and rollup stay, and the reports still show it. Callers prove
 * first that the rollup is right. Restartable like detach.
 */
export async function dropPartition(options: PartitionChange): Promise<void> {
  await closePartition(options, "dropped");
  await withRemovalLock(options, async (session) => {
    await detachLeaf(options, session, "invoices");
    await session.client.query(`drop table if exists ${leafTable("invoices", options.partition)}`);
  });
}

export interface PartitionChange {
  readonly database: Database;
  readonly partition: string;
  readonly signal?: AbortSignal | undefined;
}

/** One removal at a time, on a session without a transaction. New partitions do not wait for it: it may wait long for readers. */
async function withRemovalLock(
  options: PartitionChange,
  work: (session: Session) => Promise<void>,
): Promise<void> {
  await withSession(options, async (session) => {
    await session.client.query("select pg_advisory_lock($1, 0)", [LOCK.removePartition]);
    try {
      await work(session);
    } finally {
      await session.client.query("select pg_advisory_unlock($1, 0)", [LOCK.removePartition]).catch(() => {});
    }
  });
}

/** Waits for the loads that are open in the partition, then sets a state in which no load enters it any more. */
async function closePartition(options: PartitionChange, state: "detached" | "dropped"): Promise<void> {
  await withTransaction(options, async (tx) => {
    const found = await findPartition(tx, options.partition);
    await lockUntilEnd(tx, LOCK.refreshPartition, found.partitionId);
    const [held] = await tx.db
      .select()
      .from(partitions)
      .where(eq(partitions.partition, options.partition))
      .for("update");
    if (held === undefined || held.state === state) return;
    if (held.state === "dropped" || held.state === "detached") {
      const remedy = held.state === "detached" ? "Attach it first." : "Its invoices are gone.";
      throw new RollbookError({
        code: "usage",
        message: `partition ${options.partition} is ${held.state}. ${remedy}`,
      });
    }
    const waiting = await tx.client.query(
      "select from warehouse.venue_day_pending where created_on >= $1 and created_on < $2 limit 1",
      [held.lower, held.upper],
    );
    if (waiting.rowCount !== 0 || held.state === "stale") {
      throw new RollbookError({
        code: "partition_busy",
        message: `the rollup of partition ${options.partition} is not up to date. Run: rollbook refresh --partition ${options.partition}`,
      });
    }
    await setState(tx, options.partition, state);
  });
}

async function findPartition(session: Session, name: string): Promise<Partition> {
  const [found] = await session.db.select().from(partitions).where(eq(partitions.partition, name));
  if (found !== undefined) return found;
  throw new RollbookError({
    code: "not_found",
    message: `there is no partition ${JSON.stringify(name)}. List them with: rollbook partitions list`,
  });
}

/** Sets a partition's state; the caller's transaction holds what it must. */
export async function setState(tx: Transaction, name: string, state: Partition["state"]): Promise<void> {
  await tx.db.update(partitions).set({ state }).where(eq(partitions.partition, name));
}

type LeafState = "attached" | "pending" | "apart" | "gone";

/** Where a leaf is: attached, half detached (a crash in DETACH CONCURRENTLY), apart from its parent, or gone. */
async function leafState(session: Session, parent: Parent, partition: string): Promise<LeafState> {
  const result = await session.db.execute<{ leaf: string | null; pending: boolean | null }>(sql`
    select c.oid::text as leaf, i.inhdetachpending as pending
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'warehouse'
    left join pg_inherits i on i.inhrelid = c.oid
    where c.relname = ${leafName(parent, partition)}`);
  const [row] = result.rows;
  if (row === undefined) return "gone";
  if (row.pending === null) return "apart";
  return row.pending ? "pending" : "attached";
}

async function detachLeaf(options: PartitionChange, session: Session, parent: Parent): Promise<void> {
  const state = await leafState(session, parent, options.partition);
  if (state === "apart" || state === "gone") return;
  // CONCURRENTLY: a plain DETACH blocks every reader. FINALIZE completes one that was cut off.
  const how = state === "pending" ? "finalize" : "concurrently";
  await retryWhileLocked(options, () =>
    session.client.query(
      `alter table warehouse.${parent} detach partition ${leafTable(parent, options.partition)} ${how}`,
    ),
  );
}
