/** Proves rollup + pending = recompute = sum of deltas, and names every group that is not; repairs on request. */
import { eq, type SQL, sql } from "drizzle-orm";
import {
  type Database,
  LOCK,
  lockUntilEnd,
  type Session,
  shareLockUntilEnd,
  streamRows,
  type Transaction,
  withSession,
  withTransaction,
} from "../db/client.ts";
import { RollbookError } from "../db/errors.ts";
import { listDetachedDeltas } from "../db/partition_removal.ts";
import { leafTable, listPartitions } from "../db/partitions.ts";
import { requireOwner } from "../db/roles.ts";
import { loads, type Partition, partitions, type Settings } from "../db/schema.ts";
import { enterLedger } from "./record.ts";
import { rebuildRollup } from "./refresh.ts";

/** Count and total (euros) that one table has for a group. */
export interface Sums {
  readonly invoices: number;
  readonly total: string;
}

/** Something that does not add up. */
export type Divergence =
  | {
      readonly kind: "group";
      readonly partition: string;
      readonly venueId: string;
      readonly createdOn: string;
      /** Recomputed from the invoices; from the deltas where those were dropped. */
      readonly recomputed: Sums;
      /** Rollup and pending. */
      readonly shown: Sums;
      readonly deltas: Sums;
      /** Invoices stand under a date that is not the date of their creation instant. */
      readonly misdated: boolean;
    }
  | { readonly kind: "control"; readonly partition: string; readonly catalog: Sums; readonly rollup: Sums }
  | { readonly kind: "orphan"; readonly createdOn: string; readonly venueId: string; readonly pending: Sums }
  | { readonly kind: "load"; readonly loadId: number; readonly message: string }
  | { readonly kind: "identity"; readonly invoiceId: string; readonly keys: readonly string[] };

export interface VerifyReport {
  readonly partitions: number;
  readonly invoices: number;
  readonly groups: number;
  readonly divergences: number;
  /** Partitions that were repaired. */
  readonly repaired: readonly string[];
  readonly durationMs: number;
}

export interface VerifyOptions {
  readonly database: Database;
  readonly settings: Settings;
  /** Name of the only partition to look at; left out, all, and the ledger. */
  readonly partition?: string | undefined;
  /** Look also for invoice ids under two keys: reads all invoices. */
  readonly identity?: boolean | undefined;
  /** Rebuild what diverges, and enter what the deltas lack as an adjustment. */
  readonly repair?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onDivergence?: ((divergence: Divergence) => void) | undefined;
  readonly onProgress?: ((done: number, of: number, partition: string) => void) | undefined;
}

/**
 * Verifies the warehouse, partition by partition, each in one snapshot, while loads and refreshes go on. A partition whose rollup is wrong
 * becomes `stale`, so that the next refresh rebuilds it. Detached partitions are out of the live tables and are passed over.
 *
 * @throws RollbookError `not_found` for a partition that is not there, `usage` for a detached one, `permission` to repair without being the owner
 */
export async function verifyWarehouse(options: VerifyOptions): Promise<VerifyReport> {
  const started = performance.now();
  if (options.repair === true) await requireOwner({ ...options, deed: "repair the warehouse" });
  let divergences = 0;
  const found = (divergence: Divergence) => {
    divergences += 1;
    options.onDivergence?.(divergence);
  };
  const selected = await selectPartitions(options);
  const repaired: string[] = [];
  let verified = 0;
  let invoices = 0;
  let groups = 0;
  for (const [index, { partition, partitionId }] of selected.entries()) {
    const checked = await withTransaction(options, async (tx) => {
      await shareLockUntilEnd(tx, LOCK.verifyPartition, partitionId);
      const current = await readPartition(tx, partitionId);
      return isLive(current) ? checkPartition(tx, options.settings, current, found) : undefined;
    });
    if (checked !== undefined) {
      verified += 1;
      invoices += checked.invoices;
      groups += checked.groups;
      if (checked.diverges && options.repair === true) {
        if (await repairPartition(options, partitionId)) repaired.push(partition);
      } else if (checked.rollupDiverges) {
        await markStale(options, partitionId);
      }
    }
    options.onProgress?.(index + 1, selected.length, partition);
  }
  if (options.partition === undefined) {
    await withSession(options, (session) => checkOrphans(session, options.repair === true, found));
    const lacking = await withTransaction({ ...options, isolation: "repeatable read" }, (tx) =>
      checkLedger(tx, found),
    );
    if (options.repair === true) await withTransaction(options, (tx) => acknowledge(tx, lacking));
  }
  if (options.identity === true)
    await withSession(options, (session) => checkIdentity(session, options, found));
  const durationMs = Math.round(performance.now() - started);
  return { partitions: verified, invoices, groups, divergences, repaired, durationMs };
}

/** What the catalog says of a partition now; nothing of it leaves while the caller holds one of its locks. */
async function readPartition(tx: Transaction, partitionId: number): Promise<Partition | undefined> {
  const [current] = await tx.db.select().from(partitions).where(eq(partitions.partitionId, partitionId));
  return current;
}

function isLive(partition: Partition | undefined): partition is Partition {
  return partition !== undefined && partition.state !== "detached";
}

async function selectPartitions(options: VerifyOptions): Promise<readonly Partition[]> {
  const all = await withSession(options, listPartitions);
  if (options.partition === undefined) return all.filter(isLive);
  const found = all.find((partition) => partition.partition === options.partition);
  if (found === undefined) {
    throw new RollbookError({
      code: "not_found",
      message: `there is no partition ${JSON.stringify(options.partition)}. List them with: rollbook partitions list`,
    });
  }
  if (found.state === "detached") {
    throw new RollbookError({
      code: "usage",
      message: `partition ${found.partition} is detached: it is not in the reports. Attach it to verify it.`,
    });
  }
  return [found];
}

interface GroupRow {
  readonly created_on: string;
  readonly venue_id: string;
  readonly invoices: string;
  readonly total: string;
  readonly shown_invoices: string;
  readonly shown_total: string;
  readonly delta_invoices: string;
  readonly delta_total: string;
  readonly misdated: boolean;
  readonly rollup_wrong: boolean;
}

/**
 * Names the groups of one partition that differ, and compares its control totals. The caller's lock keeps the partition from being
 * closed meanwhile.
 */
export async function checkPartition(
  session: Session,
  settings: Settings,
  partition: Partition,
  found: (divergence: Divergence) => void,
): Promise<{ invoices: number; groups: number; diverges: boolean; rollupDiverges: boolean }> {
  let diverges = false;
  let rollupDiverges = false;
  for await (const row of streamRows<GroupRow>(session, differingGroups(settings, partition))) {
    diverges = true;
    rollupDiverges ||= row.rollup_wrong;
    found({
      kind: "group",
      partition: partition.partition,
      venueId: row.venue_id,
      createdOn: row.created_on,
      recomputed: sums(row.invoices, row.total),
      shown: sums(row.shown_invoices, row.shown_total),
      deltas: sums(row.delta_invoices, row.delta_total),
      misdated: row.misdated,
    });
  }
  const control = await session.db.execute<Record<string, string>>(sql`
    select p.rollup_invoices, p.rollup_total, r.invoices, r.total, r.groups
    from warehouse.partitions p
    cross join (
      select coalesce(sum(invoices), 0) as invoices, coalesce(sum(total), 0)::numeric(24, 2) as total, count(*) as groups
      from ${rawLeaf("venue_day_rollup", partition)}
    ) r
    where p.partition = ${partition.partition}`);
  const [row = {}] = control.rows;
  const catalog = sums(row.rollup_invoices, row.rollup_total);
  const rollup = sums(row.invoices, row.total);
  if (catalog.invoices !== rollup.invoices || catalog.total !== rollup.total) {
    diverges = true;
    rollupDiverges = true;
    found({ kind: "control", partition: partition.partition, catalog, rollup });
  }
  return { invoices: rollup.invoices, groups: Number(row.groups), diverges, rollupDiverges };
}

function sums(invoices: string | undefined, total: string | undefined): Sums {
  return { invoices: Number(invoices ?? 0), total: total ?? "0.00" };
}

function rawLeaf(parent: Parameters<typeof leafTable>[0], partition: Partition): SQL {
  return sql.raw(leafTable(parent, partition.partition));
}

/** The truth of a partition by group: its invoices, or the deltas where those were dropped. */
function truthOf(settings: Settings, partition: Partition): SQL {
  if (partition.state === "dropped") {
    return sql`
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total, false as misdated
      from ${rawLeaf("venue_day_deltas", partition)}
      group by created_on, venue_key
      having sum(invoices) <> 0 or sum(total) <> 0`;
  }
  return sql`
    select created_on, venue_key, count(*) as invoices, sum(total) as total,
           bool_or((created_at at time zone ${settings.timeZone})::date <> created_on) as misdated
    from ${rawLeaf("invoices", partition)}
    group by created_on, venue_key`;
}

function differingGroups(settings: Settings, partition: Partition): SQL {
  return sql`
    with truth as (${truthOf(settings, partition)}),
    ledger as (
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
      from ${rawLeaf("venue_day_deltas", partition)}
      group by created_on, venue_key
    ),
    queued as (
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
      from warehouse.venue_day_pending
      where created_on >= ${partition.lower} and created_on < ${partition.upper}
      group by created_on, venue_key
    ),
    compared as (
      select created_on, venue_key,
             coalesce(t.invoices, 0) as invoices, coalesce(t.total, 0) as total,
             coalesce(r.invoices, 0) + coalesce(q.invoices, 0) as shown_invoices,
             coalesce(r.total, 0) + coalesce(q.total, 0) as shown_total,
             coalesce(l.invoices, 0) as delta_invoices, coalesce(l.total, 0) as delta_total,
             coalesce(t.misdated, false) as misdated,
             coalesce(r.invoices <= 0, false) as emptied
      from truth t
      full join ledger l using (created_on, venue_key)
      full join ${rawLeaf("venue_day_rollup", partition)} r using (created_on, venue_key)
      full join queued q using (created_on, venue_key)
    )
    select c.created_on::text, coalesce(v.venue_id, 'venue_key ' || c.venue_key || ' (not among the venues)') as venue_id,
           c.invoices, c.total::numeric(24, 2)::text, c.shown_invoices, c.shown_total::numeric(24, 2)::text,
           c.delta_invoices, c.delta_total::numeric(24, 2)::text, c.misdated,
           emptied or (c.invoices, c.total) <> (c.shown_invoices, c.shown_total) as rollup_wrong
    from compared c
    left join warehouse.venues v on v.venue_key = c.venue_key
    where (c.invoices, c.total) <> (c.shown_invoices, c.shown_total)
       or (c.invoices, c.total) <> (c.delta_invoices, c.delta_total)
       or c.misdated
       or c.emptied
       or v.venue_key is null
    order by c.created_on, v.venue_id`;
}

/** The rollup of this partition is not to be trusted: the next refresh rebuilds it. */
async function markStale(options: VerifyOptions, partitionId: number): Promise<void> {
  await withTransaction(options, async (tx) => {
    await lockUntilEnd(tx, LOCK.refreshPartition, partitionId);
    await tx.db.execute(sql`
      update warehouse.partitions set state = 'stale' where partition_id = ${partitionId} and state = 'open'`);
  });
}

/**
 * Makes deltas and rollup say what the invoices say. What the deltas lack is entered under a ledger entry of its own, so that lineage and
 * "as known on" still add up.
 *
 * @returns false when the partition was detached meanwhile
 */
async function repairPartition(options: VerifyOptions, partitionId: number): Promise<boolean> {
  return withTransaction(options, async (tx) => {
    await lockUntilEnd(tx, LOCK.refreshPartition, partitionId);
    const partition = await readPartition(tx, partitionId);
    if (!isLive(partition)) return false;
    const loadId = await enterAdjustment(tx, options.settings, partition);
    await rebuildRollup(tx, partition);
    if (loadId !== null) await enterLedger(tx, loadId, {});
    return true;
  });
}

/** Deltas that no load stands behind become the repair's own, and then it enters what all of them lack. */
async function enterAdjustment(
  tx: Transaction,
  settings: Settings,
  partition: Partition,
): Promise<number | null> {
  const deltas = rawLeaf("venue_day_deltas", partition);
  const loadId = await beginRepair(tx, {
    fileName: `verify --repair ${partition.partition}`,
    partitions: [partition.partition],
  });
  const taken = await tx.db.execute(sql`
    update ${deltas} as d
    set load_id = ${loadId}
    where not exists (select from warehouse.loads l where l.load_id = d.load_id)`);
  const adjusted = await tx.db.execute(sql`
    insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
    select ${loadId}::integer, created_on, venue_key,
           coalesce(t.invoices, 0) - coalesce(l.invoices, 0), coalesce(t.total, 0) - coalesce(l.total, 0)
    from (${truthOf(settings, partition)}) t
    full join (
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
      from ${deltas}
      group by created_on, venue_key
    ) l using (created_on, venue_key)
    where (coalesce(t.invoices, 0), coalesce(t.total, 0)) <> (coalesce(l.invoices, 0), coalesce(l.total, 0))`);
  if (taken.rowCount !== 0 || adjusted.rowCount !== 0) return loadId;
  await tx.db.execute(sql`delete from warehouse.loads where load_id = ${loadId}`);
  return null;
}

async function beginRepair(
  tx: Transaction,
  entry: Pick<typeof loads.$inferInsert, "fileName" | "partitions">,
): Promise<number> {
  const [row] = await tx.db
    .insert(loads)
    .values({ ...entry, status: "repair", startedAt: sql`clock_timestamp()` })
    .returning({ loadId: loads.loadId });
  if (row === undefined) throw new Error("an insert returned no row");
  return row.loadId;
}

/** Pending changes for dates that no live partition holds: no refresh would ever take them. */
async function checkOrphans(
  session: Session,
  repair: boolean,
  found: (divergence: Divergence) => void,
): Promise<void> {
  const homeless = sql`
    not exists (
      select from warehouse.partitions p
      where d.created_on >= p.lower and d.created_on < p.upper and p.state <> 'detached'
    )`;
  const rows = streamRows<{ created_on: string; venue_id: string; invoices: string; total: string }>(
    session,
    sql`
      select d.created_on::text, coalesce(v.venue_id, 'venue_key ' || d.venue_key || ' (not among the venues)') as venue_id,
             d.invoices, d.total::text
      from warehouse.venue_day_pending d
      left join warehouse.venues v on v.venue_key = d.venue_key
      where ${homeless}`,
  );
  for await (const row of rows) {
    const pending = sums(row.invoices, row.total);
    found({ kind: "orphan", createdOn: row.created_on, venueId: row.venue_id, pending });
  }
  if (repair) await session.db.execute(sql`delete from warehouse.venue_day_pending d where ${homeless}`);
}

/** A load whose deltas bring fewer invoices than its ledger entry says, or more (negative). */
interface Lacking {
  readonly loadId: number;
  readonly invoices: number;
}

const REPAIR_OF_LOAD = "verify --repair load";

/**
 * The counts of each load add up, its deltas bring as many invoices as it inserted, and its quarantine is complete. In a REPEATABLE READ
 * transaction: catalog, live and detached deltas must be seen as of one moment.
 */
async function checkLedger(tx: Transaction, found: (divergence: Divergence) => void): Promise<Lacking[]> {
  // Before the snapshot: a detach that this snapshot does not see waits for this lock before it takes the table away.
  await tx.client.query("lock table only warehouse.venue_day_deltas in access share mode");
  const detached = await listDetachedDeltas(tx);
  const apart = detached.map((leaf) => sql` union all select load_id, invoices from ${sql.raw(leaf)}`);
  const rows = streamRows<{ load_id: number; lacking: string | null; message: string }>(
    tx,
    sql`
      with changes as (
        select load_id, sum(invoices) as invoices
        from (
          select load_id, invoices from warehouse.venue_day_deltas
          where tableoid <> all (${sql.param(detached)}::regclass[])${sql.join(apart)}
        ) d
        group by load_id
      ),
      refused as (select load_id, count(*) as lines from warehouse.rejects group by load_id),
      acknowledged as (
        select substring(file_name from '[0-9]+$')::integer as load_id, sum(inserted) as invoices
        from warehouse.loads
        where status = 'repair' and file_name like ${`${REPAIR_OF_LOAD} %`}
        group by 1
      ),
      compared as (
        select load_id, l.status, l.read, l.inserted, l.corrected, l.unchanged, l.superseded, l.rejected,
               coalesce(c.invoices, 0) as brought, coalesce(r.lines, 0) as lines,
               l.inserted - coalesce(c.invoices, 0) - coalesce(a.invoices, 0) as lacking
        from warehouse.loads l
        full join changes c using (load_id)
        full join refused r using (load_id)
        left join acknowledged a using (load_id)
      )
      select load_id, case kind when 'deltas' then lacking end as lacking, message
      from compared
      cross join lateral (values
        ('unknown', status is null, 'there are deltas or quarantined lines of a load that the ledger does not know'),
        ('deltas', status <> 'repair' and lacking <> 0,
         format('its deltas bring %s invoices, its ledger entry says %s', brought, inserted)),
        ('lines', status = 'loaded' and read <> inserted + corrected + unchanged + superseded + rejected,
         format('%s lines read are not %s + %s + %s + %s + %s', read, inserted, corrected, unchanged, superseded, rejected)),
        ('quarantine', lines <> rejected,
         format('%s lines are in quarantine, its ledger entry says %s', lines, rejected))
      ) as checks (kind, failed, message)
      where failed
      order by load_id, kind`,
  );
  const lacking: Lacking[] = [];
  for await (const row of rows) {
    found({ kind: "load", loadId: row.load_id, message: row.message });
    if (row.lacking !== null) lacking.push({ loadId: row.load_id, invoices: Number(row.lacking) });
  }
  return lacking;
}

/**
 * Enters in the ledger by how many invoices the deltas of a load are short for good: their groups were adjusted under the repair's own entry,
 * because nobody knows which of them the load had brought.
 */
async function acknowledge(tx: Transaction, lacking: readonly Lacking[]): Promise<void> {
  for (const { loadId, invoices } of lacking) {
    const repairId = await beginRepair(tx, { fileName: `${REPAIR_OF_LOAD} ${loadId}` });
    await enterLedger(tx, repairId, { inserted: invoices });
  }
}

/** An invoice id that stands under two keys was sent with another venue or creation date. */
async function checkIdentity(
  session: Session,
  options: VerifyOptions,
  found: (divergence: Divergence) => void,
): Promise<void> {
  const [only] = options.partition === undefined ? [] : await selectPartitions(options);
  if (only?.state === "dropped") return;
  const source = only === undefined ? sql`warehouse.invoices` : rawLeaf("invoices", only);
  const rows = streamRows<{ invoice_id: string; keys: string[] }>(
    session,
    sql`
      select i.invoice_id, array_agg(v.venue_id || ' on ' || i.created_on order by i.created_on, v.venue_id) as keys
      from ${source} i
      join warehouse.venues v on v.venue_key = i.venue_key
      group by i.invoice_id
      having count(*) > 1`,
  );
  for await (const row of rows) found({ kind: "identity", invoiceId: row.invoice_id, keys: row.keys });
}
