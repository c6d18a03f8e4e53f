/** How partitions are made. With remove.ts, attach.ts and the migrations this is the only place with DDL. */
import { sql } from "drizzle-orm";
import { type Database, withTransaction } from "../client.ts";
import { limitLockWaits, retryWhileLocked } from "../locks.ts";
import type { Granularity } from "../schema.ts";
import { announcePartitions } from "./announce.ts";
import { type PartitionRange, partitionOf } from "./ranges.ts";

/** Sets made per transaction: each takes some ten locks, and servers allow 64 per connection by default. */
const SETS_PER_TRANSACTION = 16;

/**
 * Creates the partitions that are missing for these dates, and announces them. It uses a connection of its
 * own, and builds the tables beside their parents before it attaches them, so that an open load can go on. Partitions that were
 * detached or dropped on purpose are left as they are.
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
  // Not only those created: another process may have been stopped before it announced its own.
  await announcePartitions({ ...options, partitions: [...wanted.keys()] });
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
    // A function makes them, so that a role without any DDL can load. It takes the lock
    // LOCK.ensurePartitions.
    const dates = ranges.map((range) => range.lower);
    const made = await tx.db.execute<{ partition: string }>(sql`
      select partition from warehouse.open_partitions(${sql.param(dates)}::date[]) as made (partition)`);
    return made.rows.map(({ partition }) => partition);
  });
}
