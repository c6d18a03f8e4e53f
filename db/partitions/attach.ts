/** How a detached partition comes back, and how tables that somebody dropped or detached by hand are put right. */
import pg from "pg";
import { type Transaction, withTransaction } from "../client.ts";
import { RollbookError } from "../errors.ts";
import { LOCK, limitLockWaits, lockUntilEnd, retryWhileLocked } from "../locks.ts";
import { restoreRights } from "../roles/grant.ts";
import { requireOwner } from "../roles/owner.ts";
import type { Partition, PartitionState } from "../schema.ts";
import { findPartition, type PartitionChange, setState } from "./catalog.ts";
import {
  attachStatement,
  createStatement,
  finalizeDetach,
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
 * Puts a detached partition back, all its tables and the state in one transaction; and those tables of any other that were dropped or detached
 * by hand. A rollup that is gone is made anew, and the partition is `stale` then, or its control totals tell. Invoices and deltas that are gone
 * are in a backup at best: they are made anew, empty, only where `anew` says so.
 *
 * @throws RollbookError `not_found`; `usage` where there is nothing to attach; `table_missing` for invoices or deltas that are gone
 */
export async function attachPartition(
  options: PartitionChange & { readonly anew?: boolean | undefined },
): Promise<Attached> {
  await requireOwner({ ...options, action: "attach partitions" });
  const attached = await attachTables(options);
  await restoreRights(options);
  return attached;
}

function attachTables(options: PartitionChange & { readonly anew?: boolean | undefined }): Promise<Attached> {
  return retryWhileLocked(options, () =>
    withTransaction(options, async (tx) => {
      await limitLockWaits(tx);
      await lockUntilEnd(tx, LOCK.removePartition);
      await lockUntilEnd(tx, LOCK.ensurePartitions);
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
        if (state === "half_detached") await finalizeDetach(tx, parent, leafTable(parent, found));
        if (state === "gone") await tx.client.query(createStatement(parent, found));
        if (state !== "attached") await attachAgain(tx, parent, found);
      }
      const mended = found.state !== "detached" || madeAnew.length > 0;
      const state = found.state === "dropped" ? "dropped" : mended ? "stale" : "open";
      await setState(tx, options.partition, state);
      return { state, madeAnew };
    }),
  );
}

/** What no other table can make up for is not replaced by nothing, unless somebody says so. */
function refuseLostTables(found: Partition, gone: readonly Parent[], anew: boolean): void {
  const lost = gone.filter((parent) => parent !== "venue_day_rollup");
  if (lost.length === 0) return;
  const tables = lost.map((parent) => `warehouse.${leafName(parent, found)}`).join(" and ");
  const restore = `Restore from a backup or an archive what is gone (pg_restore --table), and attach again.`;
  if (found.state === "dropped") {
    // The invoices went before: the rollup would be set to nothing, and it is the last that is known.
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
 * Attaches a leaf that has been detached. DETACH CONCURRENTLY left it a check of its bounds, which spares ATTACH the scan; every insert
 * would pay for it from then on, so it goes.
 */
async function attachAgain(tx: Transaction, parent: Parent, partition: Partition): Promise<void> {
  const leaf = leafTable(parent, partition);
  await tx.client.query(attachStatement(parent, partition));
  const own = await tx.client.query(
    "select conname from pg_constraint where conrelid = $1::regclass and contype = 'c' and coninhcount = 0",
    [leaf],
  );
  for (const { conname } of own.rows) {
    await tx.client.query(`alter table ${leaf} drop constraint ${pg.escapeIdentifier(conname)}`);
  }
}
