/** The advisory locks of Rollbook, and how long a statement waits for the locks of other sessions. */
import pRetry from "p-retry";
import type { Transaction } from "./client.ts";
import { errorState, RollbookError, SQLSTATE } from "./errors.ts";

/** Keys of advisory locks: first number. The second tells what of it (0 where there is one only). */
export const LOCK = {
  migrate: 0x526f6c31,
  ensurePartitions: 0x526f6c32,
  refreshPartition: 0x526f6c33,
  stagingSlot: 0x526f6c34,
  knownAt: 0x526f6c35,
  removePartition: 0x526f6c36,
  closePartition: 0x526f6c37,
  verifyPartition: 0x526f6c38,
} as const;

/** The statement of {@link lockUntilEnd}, to be sent along with others. */
export function lockStatement(lock: number, which = 0): string {
  return `select pg_advisory_xact_lock(${lock}, ${which})`;
}

/** Waits for an advisory lock that the end of the transaction gives back. */
export async function lockUntilEnd(tx: Transaction, lock: number, which = 0): Promise<void> {
  await tx.client.query(lockStatement(lock, which));
}

/** The same lock, shared with others who take it so. */
export async function shareLockUntilEnd(tx: Transaction, lock: number, which = 0): Promise<void> {
  await tx.client.query("select pg_advisory_xact_lock_shared($1, $2)", [lock, which]);
}

const LOCK_TIMEOUT_MS = 5000;

/** No statement of this transaction waits longer for a lock. */
export async function limitLockWaits(tx: Transaction, timeoutMs = LOCK_TIMEOUT_MS): Promise<void> {
  await tx.client.query("select set_config('lock_timeout', $1, true)", [`${timeoutMs}ms`]);
}

/** Tries again while other sessions hold a lock that the work needs, and after a deadlock; then says who to look for. */
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
