/** Which partitions are verified: those that are in the live tables. */
import { eq } from "drizzle-orm";
import { type Database, type Transaction, withSession } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { listPartitions, unknownPartition } from "../../db/partitions/catalog.ts";
import { type Partition, partitions } from "../../db/schema.ts";

/**
 * All live partitions, or the one of this name.
 *
 * @throws RollbookError `not_found` for a partition that is not there, `usage` for a detached one
 */
export async function selectPartitions(options: {
  readonly database: Database;
  readonly partition?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly Partition[]> {
  const all = await withSession(options, listPartitions);
  if (options.partition === undefined) return all.filter(isLive);
  const found = all.find((partition) => partition.partition === options.partition);
  if (found === undefined) throw unknownPartition(options.partition);
  if (found.state === "detached") {
    throw new RollbookError({
      code: "usage",
      message: `partition ${found.partition} is detached: it is not in the reports. Attach it to verify it.`,
    });
  }
  return [found];
}

/**
 * The partition as the catalog has it now; undefined when it has left the live tables. While the caller holds
 * one of the partition's locks it cannot leave them.
 */
export async function findLivePartition(
  tx: Transaction,
  partitionId: number,
): Promise<Partition | undefined> {
  const [current] = await tx.db.select().from(partitions).where(eq(partitions.partitionId, partitionId));
  return current !== undefined && isLive(current) ? current : undefined;
}

function isLive({ state }: Partition): boolean {
  return state !== "detached";
}
