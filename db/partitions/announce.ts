/**
 * How all sessions come to know of new partitions. PostgreSQL's own message about an ATTACH can be lost on a
 * session that is just reading the list of partitions: it would then miss their rows for as long as it lives
 * (migration 0006). So a second message follows, and only after it a load uses the partition.
 */
import { and, eq, inArray, sql } from "drizzle-orm";
import { type Database, withSession, withTransaction } from "../client.ts";
import { limitLockWaits, retryWhileLocked } from "../locks.ts";
import { partitions } from "../schema.ts";

/**
 * Announces those of these partitions that are attached and not announced yet, also where the process that
 * made them did not come to it. Each step commits before the next one: the message leaves with a commit, and
 * nobody may use a partition before it left.
 *
 * @throws RollbookError `partition_busy` when another session keeps a parent locked
 */
export async function announcePartitions(options: {
  readonly database: Database;
  readonly partitions: readonly string[];
  readonly lockTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  const unannounced = and(
    inArray(partitions.partition, [...options.partitions]),
    eq(partitions.announced, false),
  );
  const found = await withSession(options, ({ db }) =>
    db.select({ partition: partitions.partition }).from(partitions).where(unannounced),
  );
  if (found.length === 0) return;
  await retryWhileLocked(options, () =>
    withTransaction(options, async (tx) => {
      await limitLockWaits(tx, options.lockTimeoutMs);
      await tx.db.execute(sql`select warehouse.announce_partitions()`);
    }),
  );
  const names = found.map(({ partition }) => partition);
  await withTransaction(options, (tx) =>
    tx.db.update(partitions).set({ announced: true }).where(inArray(partitions.partition, names)),
  );
}
