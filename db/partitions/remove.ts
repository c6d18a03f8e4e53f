/**
 * How partitions leave: detached from the live tables and attached again, or dropped for good. What is done here is restartable: the catalog's
 * state changes first, the tables follow.
 */
import { eq, sql } from "drizzle-orm";
import pg from "pg";
import {
  type Database,
  LOCK,
  lockUntilEnd,
  type Session,
  type Transaction,
  withSession,
  withTransaction,
} from "../client.ts";
import { RollbookError } from "../errors.ts";
import { requireOwner, restoreRights } from "../roles/grant.ts";
import { type Partition, type PartitionState, partitions } from "../schema.ts";
import {
  attachStatement,
  createStatement,
  leafName,
  leafTable,
  limitLockWaits,
  listPartitions,
  PARENTS,
  type Parent,
  type PartitionRange,
  retryWhileLocked,
} from "./create.ts";

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

export interface Attached {
  readonly state: PartitionState;
  /** Tables that were gone, and are made anew: empty. */
  readonly madeAnew: readonly Parent[];
}

/**
 * Puts a detached partition back, all its tables and the state in one transaction; and those tables of any other that were dropped or detached
 * by hand. A rollup that is gone is made anew, and the partition is `stale` then, or its control totals tell. Invoices and deltas that are gone
 * are in a backup at best: they are made anew, empty, only where `anew` says so.
 *
 * @throws RollbookError `not_found`; `usage` where there is nothing to attach; `table_missing` for invoices or deltas that are gone
 */
export async function attachPartition(
  options: PartitionChange & { readonly anew?: boolean | undefined },
): Promise<Attached> {
  await requireOwner({ ...options, deed: "attach partitions" });
  const attached = await attachTables(options);
  await restoreRights(options);
  return attached;
}

function attachTables(options: PartitionChange & { readonly anew?: boolean | undefined }): Promise<Attached> {
  return retryWhileLocked(options, () =>
    withTransaction(options, async (tx) => {
      await limitLockWaits(tx);
      await lockUntilEnd(tx, LOCK.removePartition);
      await lockUntilEnd(tx, LOCK.ensurePartitions);
      const found = await findPartition(tx, options.partition);
      const wanted = found.state === "dropped" ? PARENTS.filter((parent) => parent !== "invoices") : PARENTS;
      const states = new Map<Parent, LeafState>();
      for (const parent of wanted) states.set(parent, await leafState(tx, parent, options.partition));
      if (found.state !== "detached" && [...states.values()].every((state) => state === "attached")) {
        throw new RollbookError({
          code: "usage",
          message: `partition ${options.partition} is ${found.state}, and its tables are attached: there is nothing to attach.`,
        });
      }
      const madeAnew = wanted.filter((parent) => states.get(parent) === "gone");
      refuseLostTables(found, madeAnew, options.anew === true);
      for (const [parent, state] of states) {
        if (state === "pending") await finalizeDetach(tx, parent, leafTable(parent, options.partition));
        if (state === "gone") await tx.client.query(createStatement(parent, options.partition));
        if (state !== "attached") await attachAgain(tx, parent, found);
      }
      const mended = found.state !== "detached" || madeAnew.length > 0;
      const state = found.state === "dropped" ? "dropped" : mended ? "stale" : "open";
      await setState(tx, options.partition, state);
      return { state, madeAnew };
    }),
  );
}

/** What no other table can make up for is not replaced by nothing, unless somebody says so. */
function refuseLostTables({ partition, state }: Partition, gone: readonly Parent[], anew: boolean): void {
  const lost = gone.filter((parent) => parent !== "venue_day_rollup");
  if (lost.length === 0) return;
  const tables = lost.map((parent) => `warehouse.${leafName(parent, partition)}`).join(" and ");
  const restore = `Restore from a backup or an archive what is gone (pg_restore --table), and attach again.`;
  if (state === "dropped") {
    // The invoices went before: the rollup would be set to nothing, and it is the last that is known.
    throw new RollbookError({
      code: "table_missing",
      message: `${tables} is gone, and nothing else can prove the totals of a dropped partition. ${restore}`,
    });
  }
  if (anew) return;
  throw new RollbookError({
    code: "table_missing",
    message: `${tables} ${lost.length === 1 ? "is" : "are"} gone. ${restore} Without a backup: rollbook partitions attach ${partition} --anew makes it empty; docs/recovery.md says what to do then.`,
  });
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
  const close = async (tx: Transaction): Promise<void> => {
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
  };
  await retryWhileLocked(options, () => withTransaction(options, close));
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
 * The partitions that end on or before a date and are not out of the live tables yet, oldest first; also those whose detach was cut off.
 *
 * @param before the date, `YYYY-MM-DD`
 */
export async function listDetachable(session: Session, before: string): Promise<readonly string[]> {
  const attached = await session.client.query<{ name: string }>(
    `select c.relname as name
     from pg_inherits i
     join pg_class c on c.oid = i.inhrelid
     where i.inhparent = any ($1::regclass[])`,
    [PARENTS.map((parent) => `warehouse.${parent}`)],
  );
  const leaves = new Set(attached.rows.map(({ name }) => name));
  const all = await listPartitions(session);
  return all
    .filter(({ upper, state }) => upper <= before && state !== "dropped")
    .filter(({ partition }) => PARENTS.some((parent) => leaves.has(leafName(parent, partition))))
    .map(({ partition }) => partition);
}

/**
 * The deltas tables of detached partitions: those that a query of `venue_day_deltas` leaves out, all of them or, while a detach is
 * going on, some. And the names of the partitions whose table is not in the database any more: somebody archived it.
 */
export async function listDetachedDeltas(
  session: Session,
): Promise<{ readonly tables: readonly string[]; readonly archived: readonly string[] }> {
  const result = await session.client.query<{ partition: string; there: boolean }>(
    `select p.partition, c.oid is not null as there
     from warehouse.partitions p
     left join pg_class c
       on c.relnamespace = 'warehouse'::regnamespace
       and c.relname = 'venue_day_deltas_' || lower(replace(p.partition, '-', '_'))
     where p.state = 'detached'
     order by p.lower`,
  );
  const named = (there: boolean) =>
    result.rows.filter((row) => row.there === there).map(({ partition }) => partition);
  return {
    tables: named(true).map((partition) => leafTable("venue_day_deltas", partition)),
    archived: named(false),
  };
}
