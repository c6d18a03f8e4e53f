/** Keeps checkpoints to the partitions whose deltas are in the live tables (docs/design.md, "As known on"). */
import { and, eq, gte, lt } from "drizzle-orm";
import type { Transaction } from "../client.ts";
import { checkpointDates, checkpointGroups, type Partition, partitions } from "../schema.ts";

/**
 * Forgets what the checkpoints hold of a partition. From then on what was known of it is added up from its deltas, as
 * far as they are attached, until `checkpoint` adds it again. The transaction holds LOCK.checkpoints.
 */
export async function forgetCheckpoints(
  tx: Transaction,
  { partition, lower, upper }: Partition,
): Promise<void> {
  for (const table of [checkpointGroups, checkpointDates]) {
    await tx.db.delete(table).where(and(gte(table.createdOn, lower), lt(table.createdOn, upper)));
  }
  await tx.db.update(partitions).set({ checkpointed: false }).where(eq(partitions.partition, partition));
}
