/** The numbers of Rollbook's advisory locks, and what each stands for. */
import type pg from "pg";

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
  checkpoints: 0x526f6c3c,
} as const;

interface Asked {
  /** Whether any number of sessions may hold the lock that is waited for. */
  readonly shared: boolean;
  /** The second number. */
  readonly which: number | null;
  /** The partition of that number, where the lock is one of a partition. */
  readonly partition: string;
}

/** What a session waits for that waits for such a lock. */
const NAMES: Readonly<Record<keyof typeof LOCK, (asked: Asked) => string>> = {
  migrate: () => "the end of another init",
  ensurePartitions: () => "the turn to make partitions",
  refreshPartition: ({ partition }) => `${partition}, which is being refreshed`,
  stagingSlot: () => "a staging table",
  knownAt: () => "the order of commits",
  removePartition: () => "the turn to detach, attach or drop a partition",
  closePartition: ({ partition, shared }) =>
    `${partition}, ${shared ? "which is being detached or dropped" : "into which others load"}`,
  verifyPartition: ({ partition, shared }) =>
    `${partition}, which is being ${shared ? "detached or dropped" : "verified"}`,
  statements: () => "the statements that do not stand, at which another undo, repair or prune works",
  decideRejects: ({ which }) => `the rejected lines of load ${which}, about which another session decides`,
  closings: ({ shared }) =>
    shared ? "the closings: a period is being closed" : "the closings, and the loads that heed them",
  checkpoints: () => "a checkpoint, or the detach or attach of a partition",
};

/**
 * Says what an advisory lock stands for.
 *
 * @param lock.class the first number; `lock.object` is the second one
 * @param lock.mode `ShareLock` or `ExclusiveLock`
 */
export async function nameOfAdvisory(
  client: pg.Client,
  lock: { readonly class: number | null; readonly object: number | null; readonly mode: string },
): Promise<string> {
  const [name] = Object.entries(LOCK).find(([, number]) => number === lock.class) ?? [];
  if (name === undefined) return "an advisory lock of another program";
  const partition = name.endsWith("Partition")
    ? `partition ${await nameOfPartition(client, lock.object)}`
    : "";
  const asked = { shared: lock.mode === "ShareLock", which: lock.object, partition };
  return NAMES[name as keyof typeof LOCK](asked);
}

async function nameOfPartition(client: pg.Client, partitionId: number | null): Promise<string> {
  try {
    const { rows } = await client.query<{ partition: string }>(
      "select partition from warehouse.partitions where partition_id = $1",
      [partitionId],
    );
    if (rows[0] !== undefined) return rows[0].partition;
  } catch {
    // The login may not read the catalog, or somebody keeps it locked.
  }
  return `number ${partitionId}`;
}
