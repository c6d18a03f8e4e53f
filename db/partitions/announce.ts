/**
 * How all sessions come to know of new partitions. PostgreSQL's own message about an ATTACH can be lost on a
 * session that is just reading the list of partitions: it would then miss their rows for as long as it lives
 * (migration 0006). So a second message follows, and only after it a load uses the partition.
 */
import { and, eq, inArray, sql } from "drizzle-orm";
import { type Database, inTransaction, type Session, withSession } from "../client.ts";
import { LOCK, limitLockWaits, retryWhileLocked, withSessionLock } from "../locks.ts";
import { partitions } from "../schema.ts";

interface Announcement {
  readonly database: Database;
  readonly partitions: readonly string[];
  readonly lockTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Announces those of these partitions that are attached and not announced yet, also where the process that
 * made them did not come to it. One session at a time, because a load may hold what is announced: whoever was late, and
 * announced it again, would wait for that load, which may be waiting for the load that this is done for.
 *
 * @throws RollbookError `partition_busy` when another session keeps a parent locked
 */
export async function announcePartitions(options: Announcement): Promise<void> {
  await retryWhileLocked(options, () =>
    withSession(options, (session) =>
      withSessionLock(session, LOCK.ensurePartitions, () => announceMissing(session, options)),
    ),
  );
}

/** Each step commits before the next one: the message leaves with a commit, and nobody may use a partition before it left. */
async function announceMissing(session: Session, options: Announcement): Promise<void> {
  const found = await session.db
    .select({ partition: partitions.partition })
    .from(partitions)
    .where(and(inArray(partitions.partition, [...options.partitions]), eq(partitions.announced, false)));
  if (found.length === 0) return;
  await inTransaction(session, async (tx) => {
    await limitLockWaits(tx, options.lockTimeoutMs);
    await tx.db.execute(sql`select warehouse.announce_partitions()`);
  });
  const names = found.map(({ partition }) => partition);
  await inTransaction(session, async (tx) => {
    await limitLockWaits(tx, options.lockTimeoutMs);
    await tx.db.update(partitions).set({ announced: true }).where(inArray(partitions.partition, names));
  });
}
