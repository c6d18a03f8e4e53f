/** The advisory locks of Rollbook, and how long a statement waits for the locks of other sessions. */
import { sql } from "drizzle-orm";
import pRetry from "p-retry";
import { type Database, type Session, type Transaction, withTransaction } from "./client.ts";
import { errorState, RollbookError, SQLSTATE } from "./errors.ts";
import type { Waits } from "./waits/watch.ts";

export { LOCK } from "./waits/advisory.ts";

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

/** The same for all that a session does in `work`, in transactions and outside of them. */
export async function withLimitedLockWaits<T>(
  { client }: Session,
  timeoutMs: number | undefined,
  work: () => Promise<T>,
): Promise<T> {
  await client.query(`set lock_timeout = '${timeoutMs ?? LOCK_TIMEOUT_MS}ms'`);
  try {
    return await work();
  } finally {
    // A lost connection is not used again.
    await client.query("set lock_timeout = 0").catch(() => {});
  }
}

const BESIDE_LOCK_TIMEOUT_MS = 10_000;

/**
 * Runs `work` in a short transaction on another connection, while a transaction of this process waits for it. Whoever holds
 * up a lock that it needs may be waiting for that very transaction. The server sees no deadlock in that, because this
 * process is a part of the circle. So a wait of ten seconds counts as one: the caller rolls back, and tries again.
 *
 * @throws an error with the SQLSTATE of a deadlock
 */
export async function besideTransaction<T>(
  options: { readonly database: Database; readonly signal?: AbortSignal | undefined },
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const opening = [`set local lock_timeout = '${BESIDE_LOCK_TIMEOUT_MS}ms'`];
  try {
    return await withTransaction({ ...options, opening }, work);
  } catch (error) {
    if (errorState(error) !== SQLSTATE.lockNotAvailable) throw error;
    const holders = options.database.waits.lastHolders();
    throw new UnseenDeadlock(
      `another session keeps a lock, and may be waiting for this one${holders === undefined ? "" : `. ${holders}`}`,
    );
  }
}

class UnseenDeadlock extends Error {
  readonly code = SQLSTATE.deadlockDetected;
}

/**
 * Runs `work` again, a few times, when another session holds a lock that it needs, and after a deadlock.
 *
 * @throws RollbookError `partition_busy`, which says where to look for the other session
 */
export async function retryWhileLocked<T>(
  options: { readonly database: { readonly waits: Waits }; readonly signal?: AbortSignal | undefined },
  work: () => Promise<T>,
): Promise<T> {
  const {
    database: { waits },
    signal,
  } = options;
  try {
    return await waits.acrossAttempts((gaveUp) =>
      pRetry(work, {
        retries: 5,
        minTimeout: 200,
        ...(signal && { signal }),
        shouldRetry: ({ error }) => isLockedOut(error),
        onFailedAttempt: ({ error }) => {
          if (isLockedOut(error)) gaveUp();
        },
      }),
    );
  } catch (error) {
    if (!isLockedOut(error)) throw error;
    const holders = waits.lastHolders() ?? "Look in pg_locks and pg_stat_activity who it is.";
    throw new RollbookError({
      code: "partition_busy",
      message: `another session keeps warehouse.invoices, venue_day_deltas or venue_day_rollup locked (a DDL command, a vacuum, a transaction that is left open?), so no partition could be added or removed. Try again when it has ended. ${holders}`,
      cause: error,
    });
  }
}

function isLockedOut(error: unknown): boolean {
  const state = errorState(error);
  return state === SQLSTATE.lockNotAvailable || state === SQLSTATE.deadlockDetected;
}
