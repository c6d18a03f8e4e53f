/** The catalog of partitions, and how a load keeps the ones that it needs from being closed. */
import { eq, inArray } from "drizzle-orm";
import type { Database, Session, Transaction } from "../client.ts";
import { RollbookError } from "../errors.ts";
import { LOCK } from "../locks.ts";
import { type Partition, partitions } from "../schema.ts";

/** All partitions of the catalog, oldest first. */
export async function listPartitions(session: Session): Promise<readonly Partition[]> {
  return session.db.select().from(partitions).orderBy(partitions.lower);
}

export async function findPartition(session: Session, name: string): Promise<Partition> {
  const [found] = await session.db.select().from(partitions).where(eq(partitions.partition, name));
  if (found !== undefined) return found;
  throw unknownPartition(name);
}

export async function setState(tx: Transaction, name: string, state: Partition["state"]): Promise<void> {
  await tx.db.update(partitions).set({ state }).where(eq(partitions.partition, name));
}

/** The error for a name that is not in the catalog. */
export function unknownPartition(name: string): RollbookError {
  return new RollbookError({ code: "not_found", message: describeUnknown(name) });
}

/** @param effect what follows from it, for example `; nothing was changed` */
export function describeUnknown(name: string, effect = ""): string {
  return `there is no partition ${JSON.stringify(name)}${effect}. List them with: rollbook partitions list`;
}

export interface PartitionChange {
  readonly database: Database;
  readonly partition: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The partitions of these names, with their catalog rows locked against detach and drop until the transaction ends. Others may
 * do the same at once, and refreshes go on. Where some of them do not exist, those that do are returned and none is locked:
 * make the others, and call again. Never to be called for a partition that the transaction holds already: who closes it waits for that, and lets nobody in.
 */
export async function holdPartitions(
  tx: Transaction,
  names: readonly string[],
): Promise<readonly Pick<Partition, "partition" | "state">[]> {
  if (names.length === 0) return [];
  // A turnstile: who closes a partition shuts it, then waits for the loads inside. Row locks alone would let new loads pass the one
  // who waits, for ever if loads overlap. Each lock is given back at once, so that many partitions take one place in the lock table.
  const present = await tx.client.query(
    `select pg_advisory_lock_shared($1, partition_id), pg_advisory_unlock_shared($1, partition_id)
     from warehouse.partitions
     where partition = any ($2)`,
    [LOCK.closePartition, names],
  );
  const found = tx.db
    .select({ partition: partitions.partition, state: partitions.state })
    .from(partitions)
    .where(inArray(partitions.partition, [...names]))
    .orderBy(partitions.partition);
  // The lock is on the key only, which is what `detach` takes it all from.
  return present.rowCount === new Set(names).size ? found.for("key share") : found;
}
