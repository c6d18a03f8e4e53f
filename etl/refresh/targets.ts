/** Which partitions a refresh takes, and how much is pending in each. */
import { and, eq, gt, inArray, or } from "drizzle-orm";
import type { Session } from "../../db/client.ts";
import { unknownPartition } from "../../db/partitions/catalog.ts";
import { type DateRange, intersects } from "../../db/partitions/ranges.ts";
import { type Partition, partitionFreshness, partitions } from "../../db/schema.ts";
import { type Counted, type Strategy, takesUntouched } from "./strategy.ts";

export interface Target extends Counted {
  readonly partition: Partition;
}

/**
 * Finds the partitions of these names, or those of a range that have something pending or are stale.
 *
 * @throws RollbookError `not_found` for a name that no partition has
 */
export async function findTargets(
  session: Session,
  options: {
    readonly partitions?: readonly string[] | undefined;
    readonly range?: DateRange | undefined;
    readonly strategy: Strategy;
  },
): Promise<readonly Target[]> {
  const { partitions: names, range, strategy } = options;
  const untouched = takesUntouched(strategy, range !== undefined);
  const found = await countPending(session, names, { untouched: untouched || names !== undefined });
  if (names !== undefined) return names.map((name) => findTarget(found, name));
  return found.filter(({ partition }) => intersects(partition, range));
}

function findTarget(all: readonly Target[], name: string): Target {
  const found = all.find(({ partition }) => partition.partition === name);
  if (found !== undefined) return found;
  throw unknownPartition(name);
}

/**
 * Counts what is pending in all partitions, or in those of these names, oldest first.
 *
 * @param options.untouched whether also those that are up to date are returned; default true
 */
export async function countPending(
  { db }: Session,
  names?: readonly string[],
  { untouched = true }: { readonly untouched?: boolean } = {},
): Promise<readonly Target[]> {
  // There may be thousands, of which few have anything pending.
  const touched = or(eq(partitions.state, "stale"), gt(partitionFreshness.pendingChanges, 0));
  const found = await db
    .select()
    .from(partitions)
    .innerJoin(partitionFreshness, eq(partitionFreshness.partition, partitions.partition))
    .where(and(names && inArray(partitions.partition, [...names]), untouched ? undefined : touched))
    .orderBy(partitions.lower);
  return found.map(({ partitions: partition, partition_freshness: { pendingChanges, pendingInvoices } }) => ({
    partition,
    state: partition.state,
    changes: pendingChanges,
    invoices: partition.rollupInvoices + pendingInvoices,
  }));
}
