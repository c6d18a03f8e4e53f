/**
 * How partitions leave: detached from the live tables, or their invoices dropped for good. Every step can be
 * repeated after a crash: the catalog's state changes first, the tables follow.
 */
import { eq, sql } from "drizzle-orm";
import { type Session, type Transaction, withSession, withTransaction } from "../client.ts";
import { RollbookError } from "../errors.ts";
import { LOCK, limitLockWaits, lockUntilEnd, retryWhileLocked, withSessionLock } from "../locks.ts";
import { type Partition, partitions, waiting } from "../schema.ts";
import { findPartition, type PartitionChange, setState } from "./catalog.ts";
import { forgetCheckpoints } from "./checkpoints.ts";
import { finalizeDetach, findHome, leafTable, type Parent, quoteLeaf, readTableState } from "./tables.ts";

/**
 * Takes a partition out of the live tables: the catalog's state first, then one table after the other, each
 * without blocking readers. It waits for loads that are open in the partition, and then for every transaction
 * that has used the tables. After a crash anywhere the same call goes on. Rows that arrive for it are
 * rejected until it is attached again.
 *
 * @throws RollbookError `not_found`; `partition_busy` when something is pending (refresh first) or another
 *   session is in the way; `usage` for a dropped partition
 */
export async function detachPartition(options: PartitionClosing): Promise<void> {
  await closePartition(options, "detached");
  await withRemovalLock(options, async (session, partition) => {
    for (const parent of ["venue_day_rollup", "venue_day_deltas", "invoices"] as const) {
      await detachLeaf(options, session, parent, partition);
    }
  });
}

/**
 * Drops the invoices of a partition for good; its deltas, corrections and rollup stay, and the reports still
 * show it. Callers prove first that the rollup is right. After a crash the same call goes on, as with detach.
 */
export async function dropPartition(options: PartitionClosing): Promise<void> {
  await closePartition(options, "dropped");
  await withRemovalLock(options, async (session, partition) => {
    await detachLeaf(options, session, "invoices", partition);
    await session.client.query(`drop table if exists ${leafTable("invoices", partition)}`);
  });
}

export interface PartitionClosing extends PartitionChange {
  /**
   * Runs before the partition closes, in the transaction that closes it. No load is open in the partition
   * then, and none enters, so here the rollup can be brought up to date for good, and verified. If it throws,
   * the partition stays as it is.
   */
  readonly beforeClosing?: ((tx: Transaction, partition: Partition) => Promise<void>) | undefined;
}

/**
 * Lets one removal at a time work, on a session without a transaction. New partitions do not wait for this
 * lock, since a removal may wait long for readers.
 */
async function withRemovalLock(
  options: PartitionChange,
  work: (session: Session, partition: Partition) => Promise<void>,
): Promise<void> {
  await withSession(options, (session) =>
    withSessionLock(session, LOCK.removePartition, async () =>
      work(session, await findPartition(session, options.partition)),
    ),
  );
}

/**
 * Waits for the loads that are open in the partition, then sets a state in which no further load enters it.
 */
async function closePartition(options: PartitionClosing, state: "detached" | "dropped"): Promise<void> {
  const close = async (tx: Transaction): Promise<void> => {
    const { partitionId } = await findPartition(tx, options.partition);
    // Verifications come first, because they may take long; then the loads; then the refreshes.
    await lockUntilEnd(tx, LOCK.verifyPartition, partitionId);
    await lockUntilEnd(tx, LOCK.closePartition, partitionId);
    await lockUntilEnd(tx, LOCK.refreshPartition, partitionId);
    await lockUntilEnd(tx, LOCK.checkpoints);
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
    if (state === "detached") await forgetCheckpoints(tx, held);
  };
  await retryWhileLocked(options, () => withTransaction(options, close));
}

async function refuseOutdated(tx: Transaction, { partition, lower, upper }: Partition): Promise<void> {
  const outdated = await tx.db.execute(sql`
    select from ${partitions}
    where partition = ${partition} and state = 'stale'
       or exists (select from ${waiting} where created_on >= ${lower} and created_on < ${upper})
    limit 1`);
  if (outdated.rowCount === 0) return;
  throw new RollbookError({
    code: "partition_busy",
    message: `the rollup of partition ${partition} is not up to date. Run: rollbook refresh --partition ${partition}`,
  });
}

async function detachLeaf(
  options: PartitionChange,
  session: Session,
  parent: Parent,
  partition: Partition,
): Promise<void> {
  const home = await findHome(session, parent, partition);
  await finishDetaches(options, session, home);
  if ((await readTableState(session, parent, partition)) !== "attached") return;
  // CONCURRENTLY: a plain DETACH blocks every reader. It waits without a lock on the parent, so it may wait
  // long.
  await session.client.query(
    `alter table ${home} detach partition ${leafTable(parent, partition)} concurrently`,
  );
}

/**
 * Completes detaches of any partition that were cut off: PostgreSQL refuses to begin another one before that.
 */
async function finishDetaches(options: PartitionChange, session: Session, home: string): Promise<void> {
  const halfway = await session.db.execute<{ name: string }>(sql`
    select c.relname as name
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = ${home}::regclass and i.inhdetachpending`);
  for (const { name } of halfway.rows) {
    // FINALIZE waits for old snapshots while it holds locks, so each attempt waits only a short time.
    await retryWhileLocked(options, () =>
      withTransaction(options, async (tx) => {
        await limitLockWaits(tx);
        await finalizeDetach(tx, home, quoteLeaf(name));
      }),
    );
  }
}
