/** Mends what a verification finds: deltas, rollup and ledger say afterwards what the invoices say. */
import { sql } from "drizzle-orm";
import { type Database, type Transaction, withTransaction } from "../../db/client.ts";
import { LOCK, lockUntilEnd } from "../../db/locks.ts";
import { listDetachedDeltas } from "../../db/partitions/tables.ts";
import {
  absences,
  corrections,
  deltas,
  invoices,
  loads,
  type Partition,
  partitions,
  rejects,
  type Settings,
  settings,
  statements,
} from "../../db/schema.ts";
import { beginEntry, enterLedger } from "../load/ledger.ts";
import { rebuildRollup } from "../refresh/rebuild.ts";
import { leafOf, recomputeGroups } from "../refresh/recompute.ts";
import { type LedgerFindings, REPAIR_OF_LOAD } from "./ledger.ts";
import { findLivePartition } from "./selection.ts";

interface RepairOptions {
  readonly database: Database;
  readonly settings: Settings;
  readonly signal?: AbortSignal | undefined;
}

/** Marks a partition whose rollup is wrong: the next refresh rebuilds it. */
export async function markStale(options: RepairOptions, partitionId: number): Promise<void> {
  await withTransaction(options, async (tx) => {
    await lockUntilEnd(tx, LOCK.refreshPartition, partitionId);
    await tx.db.execute(sql`
      update ${partitions} set state = 'stale' where partition_id = ${partitionId} and state = 'open'`);
  });
}

/**
 * Makes deltas and rollup say what the invoices say. What the deltas lack is entered under a ledger entry of
 * its own, so that the loads behind a total, and "as known on", still add up.
 *
 * @returns false when the partition was detached meanwhile
 */
export async function repairPartition(options: RepairOptions, partitionId: number): Promise<boolean> {
  return withTransaction(options, async (tx) => {
    await lockUntilEnd(tx, LOCK.refreshPartition, partitionId);
    const partition = await findLivePartition(tx, partitionId);
    if (partition === undefined) return false;
    const loadId = await enterAdjustment(tx, partition);
    await rebuildRollup(tx, partition);
    if (loadId !== undefined) await enterLedger(tx, loadId, {});
    return true;
  });
}

/**
 * Gives deltas of loads that the ledger does not know to the repair, which then enters what all deltas
 * together lack.
 *
 * @returns the number of the repair's ledger entry; undefined when nothing had to be adjusted
 */
async function enterAdjustment(tx: Transaction, partition: Partition): Promise<number | undefined> {
  const ofPartition = leafOf("venue_day_deltas", partition);
  const loadId = await beginRepair(tx, {
    fileName: `verify --repair ${partition.partition}`,
    partitions: [partition.partition],
  });
  const taken = await tx.db.execute(sql`
    update ${ofPartition} as d
    set load_id = ${loadId}
    where not exists (select from ${loads} l where l.load_id = d.load_id)`);
  const adjusted = await tx.db.execute(sql`
    insert into ${deltas} (load_id, created_on, venue_key, invoices, total)
    select ${loadId}::integer, created_on, venue_key,
           coalesce(t.invoices, 0) - coalesce(l.invoices, 0), coalesce(t.total, 0) - coalesce(l.total, 0)
    from (${recomputeGroups({ partition })}) t
    full join (
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
      from ${ofPartition}
      group by created_on, venue_key
    ) l using (created_on, venue_key)
    where (coalesce(t.invoices, 0), coalesce(t.total, 0))
       <> (coalesce(l.invoices, 0), coalesce(l.total, 0))`);
  if (taken.rowCount !== 0 || adjusted.rowCount !== 0) return loadId;
  await tx.db.execute(sql`delete from ${loads} where load_id = ${loadId}`);
  return undefined;
}

/** Enters a repair in the ledger. It is not known before `enterLedger`. */
export async function beginRepair(
  tx: Transaction,
  entry: Pick<typeof loads.$inferInsert, "fileName" | "partitions" | "rejected" | "loadId">,
): Promise<number> {
  return beginEntry(tx, { ...entry, status: "repair", startedAt: sql`clock_timestamp()` });
}

/** Rollbook numbers up to 2^31; a load a second for sixty years comes to as many. */
const IMPLAUSIBLE_LOAD_ID = 2_000_000_000;

/**
 * Makes sure that no load gets a number that rows have already. The numbering falls behind when the ledger is
 * restored from an older backup than the data: new loads would then be taken for the old ones, and lose to
 * them. A number that no load can have is forged; to raise the numbering to it would use it up.
 */
export async function raiseLoadIds(tx: Transaction): Promise<void> {
  const { tables } = await listDetachedDeltas(tx);
  const ofDetached = tables.map((table) => sql` union all select max(load_id) from ${sql.raw(table)}`);
  await tx.db.execute(sql`
    select setval(sequence, newest)
    from (
      select max(load_id) as newest,
             pg_get_serial_sequence('warehouse.loads', 'load_id')::regclass as sequence
      from (
        select max(load_id) as load_id from ${loads}
        union all select max(load_id) from ${rejects}
        union all select max(load_id) from ${corrections}
        union all select max(greatest(load_id, stated_by, same_as)) from ${statements}
        union all select max(greatest(load_id, stated_by)) from ${absences}
        union all select max(load_id) from ${invoices}
        union all select max(load_id) from ${deltas}${sql.join(ofDetached)}
      ) numbers
      where load_id < ${IMPLAUSIBLE_LOAD_ID}
    ) used
    where newest > coalesce(pg_sequence_last_value(sequence), 0)`);
}

/** Makes sure that loads look at all absences, also where the catalog was restored from an older backup. */
export async function raiseAbsentUntil(tx: Transaction): Promise<void> {
  await tx.db.execute(sql`
    update ${partitions} p
    set absent_until = last.synced_on
    from (
      select p.partition, max(a.synced_on) as synced_on
      from ${partitions} p
      join ${absences} a on a.created_on >= p.lower and a.created_on < p.upper
      group by p.partition
    ) last
    where last.partition = p.partition and (p.absent_until >= last.synced_on) is not true`);
}

/**
 * Enters in the ledger what cannot be mended: loads that only their rows speak of, and by how much the deltas
 * and corrections of a load are short for good. Their groups were adjusted under the repair's own entry,
 * because nobody knows which of them the load had brought.
 */
export async function acknowledge(tx: Transaction, findings: LedgerFindings): Promise<void> {
  const { lacking, unknown, unfinished, statementsDiffer } = findings;
  // An undo takes this lock first, too.
  if (statementsDiffer) await lockUntilEnd(tx, LOCK.statements);
  if (unfinished.length > 0) await endUnfinished(tx, unfinished);
  // The deltas of an unknown load stay its own, and count as known from now on.
  for (const { loadId, lines } of unknown) {
    const entry = { fileName: `${REPAIR_OF_LOAD} ${loadId}`, rejected: lines };
    await beginRepair(tx, { ...entry, loadId });
    await enterLedger(tx, loadId, {});
  }
  for (const { loadId, invoices: inserted, corrections: corrected } of lacking) {
    const repairId = await beginRepair(tx, { fileName: `${REPAIR_OF_LOAD} ${loadId}` });
    await enterLedger(tx, repairId, { inserted, corrected });
  }
  if (statementsDiffer) await distrustStatements(tx);
}

/** A load is entered and finished in one transaction. So what is seen unfinished was never a load, and its drop may come. */
async function endUnfinished(tx: Transaction, numbers: readonly number[]): Promise<void> {
  await tx.db.execute(sql`
    update ${loads}
    set status = 'failed', retry_of = null, undo_of = null, because = null, decided_by = null, finished_at = clock_timestamp(), error_code = 'unfinished',
        error_message = 'It was entered and never finished, so it was no load (verify --repair).'
    where load_id = any (${sql.param(numbers)}::integer[]) and finished_at is null`);
}

/** What was kept up to now is not all that was stated. So only what is loaded from now on can be undone. */
async function distrustStatements(tx: Transaction): Promise<void> {
  await lockUntilEnd(tx, LOCK.knownAt);
  await tx.db.execute(sql`
    update ${settings}
    set statements_kept_since = greatest(statements_kept_since, (select max(known_at) from ${loads}))`);
}
