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
  /** How long one attempt waits for a lock, in milliseconds; default 5000. There are six attempts. */
  readonly lockTimeoutMs?: number | undefined;
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
  options: {
    readonly database: Database;
    readonly lockTimeoutMs?: number | undefined;
    readonly signal?: AbortSignal | undefined;
  },
  ranges: readonly PartitionRange[],
): Promise<readonly string[]> {
  return withTransaction(options, async (tx) => {
    await limitLockWaits(tx, options.lockTimeoutMs);
    await lockUntilEnd(tx, LOCK.ensurePartitions);
    const names = ranges.map((range) => range.partition);
    const present = await tx.db.select().from(partitions).where(inArray(partitions.partition, names));
    const known = new Set(present.map((row) => row.partition));
    const missing = ranges.filter((range) => !known.has(range.partition));
    for (const range of missing) await createSet(tx, range);
    return missing.map((range) => range.partition);
  });
}

async function limitLockWaits(tx: Transaction, timeoutMs = LOCK_TIMEOUT_MS): Promise<void> {
  await tx.client.query("select set_config('lock_timeout', $1, true)", [`${timeoutMs}ms`]);
}

async function createSet(tx: Transaction, range: PartitionRange): Promise<void> {
  const statements = PARENTS.flatMap((parent) => {
    const leaf = leafTable(parent, range.partition);
    // A rollup row is updated over and over: room on its page keeps the update out of the index.
    const storage = parent === "venue_day_rollup" ? "with (fillfactor = 85)" : "";
    return [
      `create table ${leaf} (like warehouse.${parent} including defaults including constraints including indexes) ${storage}`,
      attachStatement(parent, range),
    ];
  });
  // One round trip: a drop may need hundreds of sets.
  await tx.client.query(statements.join(";\n"));
  await tx.db.insert(partitions).values(range);
}

/** ATTACH, not PARTITION OF: the latter takes ACCESS EXCLUSIVE on the parent and blocks every reader. */
function attachStatement(parent: Parent, { partition, lower, upper }: PartitionRange): string {
  const bounds = `from (${pg.escapeLiteral(lower)}) to (${pg.escapeLiteral(upper)})`;
  return `alter table warehouse.${parent} attach partition ${leafTable(parent, partition)} for values ${bounds}`;
}

/**
 * Attaches a leaf that has been detached. DETACH CONCURRENTLY left it a check of its bounds, which spares ATTACH the scan; every insert
 * would pay for it from then on, so it goes.
 */
async function attachAgain(tx: Transaction, parent: Parent, range: PartitionRange): Promise<void> {
  const leaf = leafTable(parent, range.partition);
  await tx.client.query(attachStatement(parent, range));
  const own = await tx.client.query(
    "select conname from pg_constraint where conrelid = $1::regclass and contype = 'c' and coninhcount = 0",
    [leaf],
  );
  for (const { conname } of own.rows) {
    await tx.client.query(`alter table ${leaf} drop constraint ${pg.escapeIdentifier(conname)}`);
  }
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
        "another session keeps warehouse.invoices, venue_day_deltas or venue_day_rollup locked (a DDL command, a vacuum, a transaction that is left open?), so no partition could be added or removed. Look in pg_locks and pg_stat_activity, and try again.",
      cause: error,
    });
  }
}

/**
 * The partitions of these names, with their catalog rows locked against detach and drop until the transaction ends. Others may
 * do the same at once, and refreshes go on. Where some of them do not exist, those that do are returned and none is locked:
 * make the others, and call again. To be called once per transaction: who holds some and waits for more may be in a deadlock.
 */
export async function holdPartitions(
  tx: Transaction,
  names: readonly string[],
): Promise<readonly Pick<Partition, "partition" | "state">[]> {
  if (names.length === 0) return [];
  // A turnstile: who closes a partition shuts it, then waits for the loads inside. Row locks alone would let new loads pass the one
  // who waits, for ever if loads overlap. Each lock is given back at once, so that many partitions take one place in the lock table.
  const present = await tx.client.query(
    `select pg_advisory_lock_shared($1, partition_id), pg_advisory_unlock_shared($1, partition_id)
     from warehouse.partitions
     where partition = any ($2)`,
    [LOCK.closePartition, names],
  );
  const found = tx.db
    .select({ partition: partitions.partition, state: partitions.state })
    .from(partitions)
    .where(inArray(partitions.partition, [...names]))
    .orderBy(partitions.partition);
  // The lock is on the key only, which is what `detach` takes it all from.
  return present.rowCount === new Set(names).size ? found.for("key share") : found;
}

/**
 * Takes a partition out of the live tables: the catalog's state first, then one table after the other, each without blocking
 * readers. It waits for loads that are open in the partition, and then for every transaction that has used the tables. After a
 * crash anywhere the same call goes on. Rows that arrive for it are rejected until it is attached again.
 *
 * @throws RollbookError `not_found`; `partition_busy` when something is pending (refresh first) or another session is in the way;
 *   `usage` for a dropped partition
 */
export async function detachPartition(options: PartitionClosing): Promise<void> {
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
      await limitLockWaits(tx);
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
        const state = await leafState(tx, parent, options.partition);
        if (state === "pending") await finalizeDetach(tx, parent, leafTable(parent, options.partition));
        if (state !== "attached") await attachAgain(tx, parent, found);
      }
      await setState(tx, options.partition, "open");
    }),
  );
}

/**
 * Drops the invoices of a partition for good; its deltas, corrections and rollup stay, and the reports still show it. Callers prove
 * first that the rollup is right. Restartable like detach.
 */
export async function dropPartition(options: PartitionClosing): Promise<void> {
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

export interface PartitionClosing extends PartitionChange {
  /**
   * Runs before the partition closes, in the transaction that closes it: no load is open in it then, and none enters. Here its
   * rollup can be brought up to date for good, and proved. What it throws leaves the partition as it is.
   */
  readonly beforeClosing?: ((tx: Transaction, partition: Partition) => Promise<void>) | undefined;
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
async function closePartition(options: PartitionClosing, state: "detached" | "dropped"): Promise<void> {
  await withTransaction(options, async (tx) => {
    const { partitionId } = await findPartition(tx, options.partition);
    // Verifications first, they may take long; then the turnstile of the loads; then the refreshes.
    await lockUntilEnd(tx, LOCK.verifyPartition, partitionId);
    await lockUntilEnd(tx, LOCK.closePartition, partitionId);
    await lockUntilEnd(tx, LOCK.refreshPartition, partitionId);
    const [held] = await tx.db
      .select()
      .from(partitions)
      .where(eq(partitions.partitionId, partitionId))
      .for("update");
    if (held === undefined || held.state === state) return;
    if (held.state === "dropped" || held.state === "detached") {
      const remedy = held.state === "detached" ? "Attach it first." : "Its invoices are gone.";
      throw new RollbookError({
        code: "usage",
        message: `partition ${options.partition} is ${held.state}. ${remedy}`,
      });
    }
    await options.beforeClosing?.(tx, held);
    await refuseOutdated(tx, held);
    await setState(tx, options.partition, state);
  });
}

async function refuseOutdated(tx: Transaction, { partition, lower, upper }: Partition): Promise<void> {
  const outdated = await tx.client.query(
    `select from warehouse.partitions
     where partition = $1 and state = 'stale'
        or exists (select from warehouse.venue_day_pending where created_on >= $2 and created_on < $3)
     limit 1`,
    [partition, lower, upper],
  );
  if (outdated.rowCount === 0) return;
  throw new RollbookError({
    code: "partition_busy",
    message: `the rollup of partition ${partition} is not up to date. Run: rollbook refresh --partition ${partition}`,
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

async function setState(tx: Transaction, name: string, state: Partition["state"]): Promise<void> {
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
  await finishDetaches(options, session, parent);
  if ((await leafState(session, parent, options.partition)) !== "attached") return;
  // CONCURRENTLY: a plain DETACH blocks every reader. It waits without a lock on the parent, so it may wait long.
  await session.client.query(
    `alter table warehouse.${parent} detach partition ${leafTable(parent, options.partition)} concurrently`,
  );
}

/** Completes detaches that were cut off, of whichever partition: PostgreSQL begins no other before. */
async function finishDetaches(options: PartitionChange, session: Session, parent: Parent): Promise<void> {
  const halfway = await session.client.query(
    `select c.relname as name
     from pg_inherits i
     join pg_class c on c.oid = i.inhrelid
     where i.inhparent = $1::regclass and i.inhdetachpending`,
    [`warehouse.${parent}`],
  );
  for (const { name } of halfway.rows) {
    const leaf = `warehouse.${pg.escapeIdentifier(name)}`;
    // FINALIZE waits for old snapshots with locks in its hands, so it does not wait long at a time.
    await retryWhileLocked(options, () =>
      withTransaction(options, async (tx) => {
        await limitLockWaits(tx);
        await finalizeDetach(tx, parent, leaf);
      }),
    );
  }
}

async function finalizeDetach(tx: Transaction, parent: Parent, leaf: string): Promise<void> {
  await tx.client.query(`alter table warehouse.${parent} detach partition ${leaf} finalize`);
}

/**
 * The deltas tables of detached partitions: those that a query of `venue_day_deltas` leaves out, all of them or, while a detach is
 * going on, some.
 */
export async function listDetachedDeltas(session: Session): Promise<readonly string[]> {
  const detached = (await listPartitions(session)).filter(({ state }) => state === "detached");
  return detached.map(({ partition }) => leafTable("venue_day_deltas", partition));
}
