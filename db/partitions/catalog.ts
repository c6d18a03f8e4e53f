/** The catalog of partitions, and how a load keeps the ones that it needs from being closed. */
import { and, eq, inArray, sql } from "drizzle-orm";
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

/** Whether a partition takes invoices. One that is stale does. */
export function isOpen({ state }: Pick<Partition, "state">): boolean {
  return state === "open" || state === "stale";
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

/** A partition that is held, as it stays until the transaction ends. */
export type HeldPartition = Pick<Partition, "partition" | "state" | "absentUntil">;

/**
 * Reads the announced partitions of these names, and locks their rows in the catalog against detach and drop until the
 * transaction ends. Other loads may do the same at the same time, and refreshes go on. Never call it for a
 * partition that the transaction holds already: a session that closes the partition waits for this transaction
 * and lets nobody in, so both would wait for ever.
 *
 * @param options.alone whether nobody else may hold them at the same time, nor a refresh write them; default false
 * @returns undefined where some did not exist, even if somebody has made them since: none is held. Make them, and
 *   call again
 */
export async function holdPartitions(
  tx: Transaction,
  names: readonly string[],
  { alone = false }: { readonly alone?: boolean | undefined } = {},
): Promise<readonly HeldPartition[] | undefined> {
  if (names.length === 0) return [];
  // A session that closes a partition takes this lock first, and then waits for the loads that hold the row.
  // With row locks alone new loads would pass the one who waits, for ever if loads overlap. Each lock is
  // given back at once, so that many partitions take one place in the server's lock table.
  // Who holds it alone keeps it, and waits for those loads, too.
  const lock = LOCK.closePartition;
  const taken = alone
    ? sql`pg_advisory_xact_lock(${lock}::integer, partition_id)`
    : sql`pg_advisory_lock_shared(${lock}::integer, partition_id),
           pg_advisory_unlock_shared(${lock}::integer, partition_id)`;
  const present = await tx.db.execute(sql`
    select ${taken}
    from (
      select partition_id from ${partitions}
      where partition = any (${sql.param(names)}::text[]) and announced
      order by partition
    ) wanted`);
  if (present.rowCount !== new Set(names).size) return undefined;
  // A lock on the key is enough: a session that closes the partition locks the whole row.
  return tx.db
    .select({
      partition: partitions.partition,
      state: partitions.state,
      absentUntil: partitions.absentUntil,
    })
    .from(partitions)
    .where(and(inArray(partitions.partition, [...names]), eq(partitions.announced, true)))
    .orderBy(partitions.partition)
    .for(alone ? "update" : "key share");
}

/** Of these names, those of partitions that are there and announced. */
export async function findAnnounced(session: Session, names: readonly string[]): Promise<readonly string[]> {
  const found = await session.db
    .select({ partition: partitions.partition })
    .from(partitions)
    .where(and(inArray(partitions.partition, [...names]), eq(partitions.announced, true)));
  return found.map(({ partition }) => partition);
}
