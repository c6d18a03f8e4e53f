/** How a partition leaves: its rollup is brought up to date and proved in the very transaction that closes it to loads. */

import { RollbookError } from "../db/errors.ts";
import { detachPartition, dropPartition, type PartitionChange } from "../db/partition_removal.ts";
import { requireOwner } from "../db/roles.ts";
import type { Settings } from "../db/schema.ts";
import { refreshLocked, refreshPartitions } from "./refresh.ts";
import { checkPartition } from "./verify.ts";

/**
 * Refreshes a partition and detaches it, also while loads keep coming for it: what they leave pending until the moment it closes is
 * refreshed in that moment. Restartable, as {@link detachPartition} is.
 */
export async function detachRefreshed(options: PartitionChange): Promise<void> {
  await requireOwner({ ...options, deed: "detach partitions" });
  await refreshPartitions({ ...options, partitions: [options.partition] });
  await detachPartition({
    ...options,
    beforeClosing: async (tx, partition) => {
      await refreshLocked(tx, partition);
    },
  });
}

/**
 * Drops the invoices of a partition that verifies: after the drop nothing could prove its rollup. Restartable, as {@link dropPartition} is.
 *
 * @throws RollbookError `usage` for a partition that does not verify; its invoices are kept
 */
export async function dropVerified(
  options: PartitionChange & { readonly settings: Settings },
): Promise<void> {
  const { partition: name, settings } = options;
  await requireOwner({ ...options, deed: "drop partitions" });
  await refreshPartitions({ ...options, partitions: [name] });
  await dropPartition({
    ...options,
    beforeClosing: async (tx, partition) => {
      await refreshLocked(tx, partition);
      const { diverges } = await checkPartition(tx, settings, partition, () => {});
      if (!diverges) return;
      throw new RollbookError({
        code: "usage",
        message: `partition ${name} does not verify, so its invoices are kept: after the drop nothing could prove the rollup. Run: rollbook verify --partition ${name}`,
      });
    },
  });
}
