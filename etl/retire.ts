/**
 * Detaches, drops and attaches partitions. The transaction that closes a partition to loads also brings its
 * rollup up to date, and proves it.
 */
import { RollbookError } from "../db/errors.ts";
import { attachPartition } from "../db/partitions/attach.ts";
import type { PartitionChange } from "../db/partitions/catalog.ts";
import { detachPartition, dropPartition } from "../db/partitions/remove.ts";
import { requireOwner } from "../db/roles/owner.ts";
import type { PartitionState, Settings } from "../db/schema.ts";
import { refreshLocked } from "./refresh/partition.ts";
import { refreshPartitions } from "./refresh/refresh.ts";
import { checkPartition } from "./verify/groups.ts";
import { verifyWarehouse } from "./verify/verify.ts";

/**
 * Refreshes a partition and detaches it, also while loads keep coming for it: what they leave pending is
 * refreshed in the transaction that closes the partition. Run again after a crash, it finishes the work, as
 * {@link detachPartition} does.
 */
export async function detachRefreshed(options: PartitionChange): Promise<void> {
  await requireOwner({ ...options, action: "detach partitions" });
  await refreshPartitions({ ...options, partitions: [options.partition] });
  await detachPartition({
    ...options,
    beforeClosing: async (tx, partition) => {
      await refreshLocked(tx, partition);
    },
  });
}

/**
 * Drops the invoices of a partition whose rollup is right; after the drop nothing could prove that. Run again
 * after a crash, it finishes the work, as {@link dropPartition} does.
 *
 * @throws RollbookError `usage` for a partition that does not verify; its invoices are kept
 */
export async function dropVerified(
  options: PartitionChange & { readonly settings: Settings },
): Promise<void> {
  const { partition: name, settings } = options;
  await requireOwner({ ...options, action: "drop partitions" });
  await refreshPartitions({ ...options, partitions: [name] });
  await dropPartition({
    ...options,
    beforeClosing: async (tx, partition) => {
      await refreshLocked(tx, partition);
      const { diverges } = await checkPartition(tx, settings, partition, () => {});
      if (!diverges) return;
      throw new RollbookError({
        code: "usage",
        message:
          `partition ${name} does not verify, so its invoices are kept: after the drop nothing could prove ` +
          `the rollup. Run: rollbook verify --partition ${name}`,
      });
    },
  });
}

/**
 * Attaches a partition as {@link attachPartition} does. Its rollup is rebuilt if it may be wrong: because it
 * was made anew, or because a table had been detached and the catalog did not know. If invoices or deltas
 * were made anew, the partition is repaired as `verify --repair` does, so that its tables agree about what is
 * left.
 *
 * @returns the state of the partition
 */
export async function attachRebuilt(
  options: PartitionChange & { readonly settings: Settings; readonly anew?: boolean | undefined },
): Promise<PartitionState> {
  const { state, madeAnew } = await attachPartition(options);
  if (madeAnew.some((parent) => parent !== "venue_day_rollup")) {
    await verifyWarehouse({ ...options, repair: true });
  } else if (state === "stale" || madeAnew.length > 0) {
    await refreshPartitions({ ...options, partitions: [options.partition], strategy: "partition" });
  }
  return state === "stale" ? "open" : state;
}
