/**
 * How all sessions come to know of new partitions. PostgreSQL's own message about an ATTACH can be lost on a
 * session that is just reading the list of partitions: it would then miss their rows for as long as it lives
 * (migration 0006). So a second message follows, and only after it a load uses the partition.
 */
import { and, eq, inArray, sql } from "drizzle-orm";
import { type Database, type Session, withSession } from "../client.ts";
import { LOCK, retryWhileLocked, withLimitedLockWaits, withSessionLock } from "../locks.ts";
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
      withLimitedLockWaits(session, options.lockTimeoutMs, () =>
        withSessionLock(session, LOCK.ensurePartitions, () => announceMissing(session, options.partitions)),
      ),
    ),
  );
}

/** Each step commits before the next one: the message leaves with a commit, and nobody may use a partition before it left. */
async function announceMissing({ db }: Session, names: readonly string[]): Promise<void> {
  const isMissing = and(inArray(partitions.partition, [...names]), eq(partitions.announced, false));
  const found = await db.select({ partition: partitions.partition }).from(partitions).where(isMissing);
  if (found.length === 0) return;
  await db.execute(sql`select warehouse.announce_partitions()`);
  const announced = found.map(({ partition }) => partition);
  await db.update(partitions).set({ announced: true }).where(inArray(partitions.partition, announced));
}
