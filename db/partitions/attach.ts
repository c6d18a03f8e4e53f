/**
 * How a detached partition comes back, and how tables that somebody dropped or detached by hand are put
 * right.
 */
import { and, eq, sql } from "drizzle-orm";
import pg from "pg";
import { type Transaction, withTransaction } from "../client.ts";
import { RollbookError } from "../errors.ts";
import { LOCK, limitLockWaits, lockUntilEnd, retryWhileLocked } from "../locks.ts";
import { restoreRights } from "../roles/grant.ts";
import { requireOwner } from "../roles/owner.ts";
import { type Partition, type PartitionState, partitions, proofs } from "../schema.ts";
import { announcePartitions } from "./announce.ts";
import { findPartition, type PartitionChange } from "./catalog.ts";
import { forgetCheckpoints } from "./checkpoints.ts";
import {
  attachLeaf,
  createStatement,
  finalizeDetach,
  findHome,
  leafName,
  leafTable,
  PARENTS,
  type Parent,
  readTableState,
  type TableState,
} from "./tables.ts";

export interface Attached {
  readonly state: PartitionState;
  /** Tables that were gone, and are made anew: empty. */
  readonly madeAnew: readonly Parent[];
}

/**
 * Attaches all tables of a detached partition, and changes its state, in one transaction. In any other
 * partition it attaches the tables that somebody dropped or detached by hand. A rollup that is gone is made
 * anew, and the partition becomes `stale`, or stays `dropped`. Invoices and deltas that are gone may be in a
 * backup, so they are made anew, empty, only where `anew` says so.
 *
 * @throws RollbookError `not_found`; `usage` where there is nothing to attach; `table_missing` for invoices
 *   or deltas that are gone
 */
export async function attachPartition(
  options: PartitionChange & { readonly anew?: boolean | undefined },
): Promise<Attached> {
  await requireOwner({ ...options, action: "attach partitions" });
  const attached = await attachTables(options);
  await announcePartitions({ ...options, partitions: [options.partition] });
  await restoreRights(options);
  return attached;
}

function attachTables(options: PartitionChange & { readonly anew?: boolean | undefined }): Promise<Attached> {
  return retryWhileLocked(options, () =>
    withTransaction(options, async (tx) => {
      await limitLockWaits(tx);
      await lockUntilEnd(tx, LOCK.removePartition);
      await lockUntilEnd(tx, LOCK.ensurePartitions);
      await lockUntilEnd(tx, LOCK.checkpoints);
      const found = await findPartition(tx, options.partition);
      const wanted = found.state === "dropped" ? PARENTS.filter((parent) => parent !== "invoices") : PARENTS;
      const states = new Map<Parent, TableState>();
      for (const parent of wanted) states.set(parent, await readTableState(tx, parent, found));
      if (found.state !== "detached" && [...states.values()].every((state) => state === "attached")) {
        throw new RollbookError({
          code: "usage",
          message: `partition ${options.partition} is ${found.state}, and its tables are attached: there is nothing to attach.`,
        });
      }
      const madeAnew = wanted.filter((parent) => states.get(parent) === "gone");
      refuseLostTables(found, madeAnew, options.anew === true);
      for (const [parent, state] of states) {
        if (state === "half_detached") {
          await finalizeDetach(tx, await findHome(tx, parent, found), leafTable(parent, found));
        }
        if (state === "gone") await tx.client.query(createStatement(parent, found));
        if (state !== "attached") await attachAgain(tx, parent, found);
      }
      const outdated = found.state !== "detached" || madeAnew.length > 0;
      const state = found.state === "dropped" ? "dropped" : outdated ? "stale" : "open";
      await tx.db
        .update(partitions)
        .set({ state, announced: false })
        .where(eq(partitions.partition, options.partition));
      // Other deltas may have come back than those that left.
      await forgetCheckpoints(tx, found);
      // So what was proved says nothing of them.
      await tx.db
        .delete(proofs)
        .where(and(eq(proofs.subject, "partition"), eq(proofs.partitionId, found.partitionId)));
      return { state, madeAnew };
    }),
  );
}

/**
 * Invoices and deltas cannot be computed from other tables: they are replaced by empty ones only where the
 * user says so.
 */
function refuseLostTables(found: Partition, gone: readonly Parent[], anew: boolean): void {
  const lost = gone.filter((parent) => parent !== "venue_day_rollup");
  if (lost.length === 0) return;
  const tables = lost.map((parent) => `warehouse.${leafName(parent, found)}`).join(" and ");
  const restore = `Restore what is gone from a backup or an archive (pg_restore --table), and attach again.`;
  if (found.state === "dropped") {
    // Its invoices are gone. A rebuild from empty deltas would empty the rollup, which holds the only totals
    // that are left.
    throw new RollbookError({
      code: "table_missing",
      message: `${tables} is gone, and nothing else can prove the totals of a dropped partition. ${restore}`,
    });
  }
  if (anew) return;
  throw new RollbookError({
    code: "table_missing",
    message: `${tables} ${lost.length === 1 ? "is" : "are"} gone. ${restore} Without a backup: rollbook partitions attach ${found.partition} --anew makes it empty; docs/recovery.md says what to do then.`,
  });
}

/**
 * Attaches a table that was detached. DETACH CONCURRENTLY left a check of the bounds on it, so ATTACH does
 * not have to scan it. Every later insert would pay for that check, so it is dropped.
 */
async function attachAgain(tx: Transaction, parent: Parent, partition: Partition): Promise<void> {
  const leaf = leafTable(parent, partition);
  await attachLeaf(tx, parent, partition);
  const own = await tx.db.execute<{ conname: string }>(sql`
    select conname from pg_constraint where conrelid = ${leaf}::regclass and contype = 'c' and coninhcount = 0`);
  for (const { conname } of own.rows) {
    await tx.client.query(`alter table ${leaf} drop constraint ${pg.escapeIdentifier(conname)}`);
  }
}
