/**
 * How partitions leave: detached from the live tables, or their invoices dropped for good. Every step can be repeated after a crash: the
 * catalog's state changes first, the tables follow.
 */
import { eq } from "drizzle-orm";
import pg from "pg";
import { type Session, type Transaction, withSession, withTransaction } from "../client.ts";
import { RollbookError } from "../errors.ts";
import { LOCK, limitLockWaits, lockUntilEnd, retryWhileLocked } from "../locks.ts";
import { type Partition, partitions } from "../schema.ts";
import { findPartition, type PartitionChange, setState } from "./catalog.ts";
import { finalizeDetach, leafTable, type Parent, readTableState } from "./tables.ts";

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

async function detachLeaf(options: PartitionChange, session: Session, parent: Parent): Promise<void> {
  await finishDetaches(options, session, parent);
  if ((await readTableState(session, parent, options.partition)) !== "attached") return;
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
