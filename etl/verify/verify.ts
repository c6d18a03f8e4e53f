/** Proves rollup + pending = recompute = sum of deltas, and names every group that is not; repairs on request. */
import { eq, type SQL, sql } from "drizzle-orm";
import {
  type Database,
  type Session,
  type Transaction,
  withSession,
  withTransaction,
} from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { RollbookError } from "../../db/errors.ts";
import { LOCK, lockUntilEnd, shareLockUntilEnd } from "../../db/locks.ts";
import { listPartitions, unknownPartition } from "../../db/partitions/catalog.ts";
import { listMissingTables, type MissingTable } from "../../db/partitions/missing.ts";
import { leafTable, listDetachedDeltas } from "../../db/partitions/tables.ts";
import { requireOwner } from "../../db/roles/owner.ts";
import { loads, type Partition, partitions, type Settings } from "../../db/schema.ts";
import { LOADED_AGAIN } from "../load/claim.ts";
import { enterLedger } from "../load/ledger.ts";
import { rebuildRollup } from "../refresh.ts";

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
  /** A table of the partition is not where it should be: what the partition says cannot be verified. */
  | ({ readonly kind: "table" } & Omit<MissingTable, "parent">)
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
  if (options.repair === true) await requireOwner({ ...options, action: "repair the warehouse" });
  let divergences = 0;
  const found = (divergence: Divergence) => {
    divergences += 1;
    options.onDivergence?.(divergence);
  };
  const selected = await selectPartitions(options);
  if (options.repair === true) await withTransaction(options, passLoadIds);
  const repaired: string[] = [];
  let amiss = false;
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
      amiss ||= checked.amiss;
      if (checked.diverges && !checked.amiss && options.repair === true) {
        if (await repairPartition(options, partitionId)) repaired.push(partition);
      } else if (checked.rollupDiverges) {
        await markStale(options, partitionId);
      }
    }
    options.onProgress?.(index + 1, selected.length, partition);
  }
  if (options.partition === undefined) {
    await withSession(options, (session) => checkOrphans(session, options.repair === true, found));
    const findings = await withTransaction({ ...options, isolation: "repeatable read" }, (tx) =>
      checkLedger(tx, found),
    );
    // The deltas of a table that is amiss may come back yet.
    if (options.repair === true && !amiss) await withTransaction(options, (tx) => acknowledge(tx, findings));
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
  if (found === undefined) throw unknownPartition(options.partition);
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

interface Checked {
  readonly invoices: number;
  readonly groups: number;
  /** A table is gone or not attached: nothing was compared. */
  readonly amiss: boolean;
  readonly diverges: boolean;
  readonly rollupDiverges: boolean;
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
): Promise<Checked> {
  const tables = await listMissingTables(session, [partition.partition]);
  for (const { parent, ...table } of tables) found({ kind: "table", ...table });
  if (tables.length > 0) {
    return { invoices: 0, groups: 0, amiss: true, diverges: true, rollupDiverges: false };
  }
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
  return { invoices: rollup.invoices, groups: Number(row.groups), amiss: false, diverges, rollupDiverges };
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

/** A load whose deltas bring fewer invoices than its ledger entry says, or more (negative); likewise the corrections that are kept. */
interface Lacking {
  readonly loadId: number;
  readonly invoices: number;
  readonly corrections: number;
}

interface LedgerFindings {
  readonly lacking: readonly Lacking[];
  readonly unknown: readonly Unknown[];
}

const REPAIR_OF_LOAD = "verify --repair load";

/**
 * No load gets a number that rows bear already. The numbering falls behind when the ledger is restored from an older backup than the data: new loads would
 * then pass for the old ones, and lose to them.
 */
async function passLoadIds(tx: Transaction): Promise<void> {
  const apart = (await listDetachedDeltas(tx)).tables.map(
    (leaf) => sql` union all select max(load_id) from ${sql.raw(leaf)}`,
  );
  await tx.db.execute(sql`
    select setval(sequence, newest)
    from (
      select max(load_id) as newest, pg_get_serial_sequence('warehouse.loads', 'load_id')::regclass as sequence
      from (
        select max(load_id) as load_id from warehouse.loads
        union all select max(load_id) from warehouse.rejects
        union all select max(load_id) from warehouse.corrections
        union all select max(load_id) from warehouse.invoices
        union all select max(load_id) from warehouse.venue_day_deltas${sql.join(apart)}
      ) numbers
    ) used
    where newest > coalesce(pg_sequence_last_value(sequence), 0)`);
}

/**
 * Enters loads that only their rows tell of: the ledger was restored from an older backup than the data. The deltas stay theirs, and count
 * as known from now on.
 */
async function enterUnknown(tx: Transaction, unknown: readonly Unknown[]): Promise<void> {
  for (const { loadId, lines } of unknown) {
    await tx.db.insert(loads).values({
      loadId,
      fileName: `${REPAIR_OF_LOAD} ${loadId}`,
      status: "repair",
      rejected: lines,
      startedAt: sql`clock_timestamp()`,
    });
    await enterLedger(tx, loadId, {});
  }
}

/** A load that the ledger does not have, with its lines in quarantine. */
interface Unknown {
  readonly loadId: number;
  readonly lines: number;
}

/**
 * The counts of each load add up, its deltas bring as many invoices as it inserted, what it overwrote is kept, and its quarantine is complete. Of a
 * load whose drop was loaded again only the first is asked, for what it brought was lost; of one with deltas in an archive all but the
 * second. In a REPEATABLE READ transaction: catalog, live and detached deltas must be seen as of one moment.
 */
async function checkLedger(
  tx: Transaction,
  found: (divergence: Divergence) => void,
): Promise<LedgerFindings> {
  // Before the snapshot: a detach that this snapshot does not see waits for this lock before it takes the table away.
  await tx.client.query("lock table only warehouse.venue_day_deltas in access share mode");
  const { tables: detached, archived } = await listDetachedDeltas(tx);
  const apart = detached.map((leaf) => sql` union all select load_id, invoices from ${sql.raw(leaf)}`);
  const rows = streamRows<{
    load_id: number;
    kind: string;
    brought_less: string;
    kept_less: string;
    lines: string;
    message: string;
  }>(
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
      overwritten as (select load_id, count(*) as invoices from warehouse.corrections group by load_id),
      acknowledged as (
        select substring(file_name from '[0-9]+$')::integer as load_id,
               sum(inserted) as invoices, sum(corrected) as corrections
        from warehouse.loads
        where status = 'repair' and file_name like ${`${REPAIR_OF_LOAD} %`}
        group by 1
      ),
      compared as (
        select load_id, l.status, l.read, l.inserted, l.corrected, l.unchanged, l.superseded, l.rejected, l.error_code,
               coalesce(c.invoices, 0) as brought, coalesce(r.lines, 0) as lines,
               coalesce(o.invoices, 0) as kept,
               l.inserted - coalesce(c.invoices, 0) - coalesce(a.invoices, 0) as brought_less,
               l.corrected - coalesce(o.invoices, 0) - coalesce(a.corrections, 0) as kept_less,
               l.status = 'repair' or l.error_code = ${LOADED_AGAIN} as excused,
               l.partitions && ${sql.param(archived)}::text[] as archived
        from warehouse.loads l
        full join changes c using (load_id)
        full join refused r using (load_id)
        full join overwritten o using (load_id)
        left join acknowledged a using (load_id)
      )
      select load_id, kind, brought_less, kept_less, lines, message
      from compared
      cross join lateral (values
        ('unknown', status is null, 'there are deltas, corrections or quarantined lines of a load that the ledger does not know'),
        ('deltas', (excused or archived) is not true and status is not null and brought_less <> 0,
         format('its deltas bring %s invoices, its ledger entry says %s', brought, inserted)),
        ('corrections', excused is not true and status is not null and kept_less <> 0,
         format('%s of its corrections are kept, its ledger entry says %s', kept, corrected)),
        ('lines', status = 'loaded' and read <> inserted + corrected + unchanged + superseded + rejected,
         format('%s lines read are not %s + %s + %s + %s + %s', read, inserted, corrected, unchanged, superseded, rejected)),
        ('quarantine', lines <> rejected and error_code is distinct from ${LOADED_AGAIN},
         format('%s lines are in quarantine, its ledger entry says %s', lines, rejected))
      ) as checks (kind, failed, message)
      where failed
      order by load_id, kind`,
  );
  const lacking = new Map<number, Lacking>();
  const unknown: Unknown[] = [];
  for await (const row of rows) {
    const loadId = row.load_id;
    found({ kind: "load", loadId, message: row.message });
    if (row.kind === "unknown") unknown.push({ loadId, lines: Number(row.lines) });
    if (row.kind !== "deltas" && row.kind !== "corrections") continue;
    lacking.set(loadId, {
      loadId,
      invoices: Number(row.brought_less),
      corrections: Number(row.kept_less),
    });
  }
  return { lacking: [...lacking.values()], unknown };
}

/**
 * Enters in the ledger by how much the deltas and corrections of a load are short for good: their groups were adjusted under the repair's own entry,
 * because nobody knows which of them the load had brought.
 */
async function acknowledge(tx: Transaction, { lacking, unknown }: LedgerFindings): Promise<void> {
  await enterUnknown(tx, unknown);
  for (const { loadId, invoices, corrections } of lacking) {
    const repairId = await beginRepair(tx, { fileName: `${REPAIR_OF_LOAD} ${loadId}` });
    await enterLedger(tx, repairId, { inserted: invoices, corrected: corrections });
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
