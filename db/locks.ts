/** The advisory locks of Rollbook, and how long a statement waits for the locks of other sessions. */
import { sql } from "drizzle-orm";
import pRetry from "p-retry";
import type { Session, Transaction } from "./client.ts";
import { errorState, RollbookError, SQLSTATE } from "./errors.ts";

/**
 * The first number of each advisory lock. The second says which one of them; it is 0 where there is only one.
 */
export const LOCK = {
  migrate: 0x526f6c31,
  ensurePartitions: 0x526f6c32,
  refreshPartition: 0x526f6c33,
  stagingSlot: 0x526f6c34,
  knownAt: 0x526f6c35,
  removePartition: 0x526f6c36,
  closePartition: 0x526f6c37,
  verifyPartition: 0x526f6c38,
  statements: 0x526f6c39,
  decideRejects: 0x526f6c3a,
  closings: 0x526f6c3b,
} as const;

/** The statement of {@link lockUntilEnd}, to be sent along with others. */
export function lockStatement(lock: number, which = 0): string {
  return `select pg_advisory_xact_lock(${lock}, ${which})`;
}

/** Waits for an advisory lock, which the end of the transaction gives back. */
export async function lockUntilEnd(tx: Transaction, lock: number, which = 0): Promise<void> {
  await tx.client.query(lockStatement(lock, which));
}

/** The same for a shared lock: any number of sessions can share it. */
export async function shareLockUntilEnd(tx: Transaction, lock: number, which = 0): Promise<void> {
  await tx.db.execute(sql`select pg_advisory_xact_lock_shared(${lock}::integer, ${which}::integer)`);
}

/**
 * Runs `work` under an advisory lock of the session, which any number of transactions can begin and end
 * under.
 */
export async function withSessionLock<T>(session: Session, lock: number, work: () => Promise<T>): Promise<T> {
  await session.db.execute(sql`select pg_advisory_lock(${lock}::integer, 0)`);
  try {
    return await work();
  } finally {
    // Where the connection is lost, the server has given the lock back.
    await session.db.execute(sql`select pg_advisory_unlock(${lock}::integer, 0)`).catch(() => {});
  }
}

const LOCK_TIMEOUT_MS = 5000;

/** No statement of this transaction waits longer for a lock. */
export async function limitLockWaits(tx: Transaction, timeoutMs = LOCK_TIMEOUT_MS): Promise<void> {
  await tx.db.execute(sql`select set_config('lock_timeout', ${`${timeoutMs}ms`}, true)`);
}

/**
 * Runs `work` again, a few times, when another session holds a lock that it needs, and after a deadlock.
 *
 * @throws RollbookError `partition_busy`, which says where to look for the other session
 */
export async function retryWhileLocked<T>(
  options: { readonly signal?: AbortSignal | undefined },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await pRetry(work, {
      retries: 5,
      minTimeout: 200,
      ...(options.signal && { signal: options.signal }),
      shouldRetry: ({ error }) => isLockedOut(error),
    });
  } catch (error) {
    if (!isLockedOut(error)) throw error;
    throw new RollbookError({
      code: "partition_busy",
      message:
        "another session keeps warehouse.invoices, venue_day_deltas or venue_day_rollup locked (a DDL command, a vacuum, a transaction that is left open?), so no partition could be added or removed. Look in pg_locks and pg_stat_activity, and try again.",
      cause: error,
    });
  }
}

function isLockedOut(error: unknown): boolean {
  const state = errorState(error);
  return state === SQLSTATE.lockNotAvailable || state === SQLSTATE.deadlockDetected;
}
