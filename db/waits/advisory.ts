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

/** What a session waits for that waits for this advisory lock. */
export async function nameOfAdvisory(
  client: pg.Client,
  { class: lock, object, mode }: Advisory,
): Promise<string> {
  const shared = mode === "ShareLock";
  const partition = async () => `partition ${await nameOfPartition(client, object)}`;
  switch (lock) {
    case LOCK.migrate:
      return "the end of another init";
    case LOCK.ensurePartitions:
      return "the turn to make partitions";
    case LOCK.removePartition:
      return "the turn to detach, attach or drop a partition";
    case LOCK.refreshPartition:
      return `${await partition()}, which is being refreshed`;
    case LOCK.closePartition:
      return `${await partition()}, ${shared ? "which is being detached or dropped" : "into which others load"}`;
    case LOCK.verifyPartition:
      return `${await partition()}, which is being ${shared ? "detached or dropped" : "verified"}`;
    case LOCK.stagingSlot:
      return "a staging table";
    case LOCK.knownAt:
      return "the order of commits";
    case LOCK.statements:
      return "the statements that do not stand, at which another undo, repair or prune works";
    case LOCK.decideRejects:
      return `the rejected lines of load ${object}, about which another session decides`;
    case LOCK.closings:
      return shared ? "the closings: a period is being closed" : "the closings, and the loads that heed them";
    case LOCK.checkpoints:
      return "a checkpoint, or the detach or attach of a partition";
    default:
      return "an advisory lock of another program";
  }
}

interface Advisory {
  readonly class: number | null;
  readonly object: number | null;
  /** `ShareLock` or `ExclusiveLock`. */
  readonly mode: string;
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
