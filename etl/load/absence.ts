/**
 * That an invoice is not there is a statement, too, of the rank of its load. A drop that holds all invoices of its
 * venues and dates states it of all others of these; a line that says that its invoice is void, of that one. See
 * docs/design.md, "Absence".
 */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { byKey } from "../../db/plans.ts";
import { absences, corrections, loads, partitions, type Settings } from "../../db/schema.ts";
import { createdOnSql } from "../../db/settings.ts";
import { changedPartitions, eachValue, oldValues, recordNet } from "./net.ts";
import { stagingTable } from "./stage.ts";

/**
 * File name of the ledger entry under which older statements of invoices were taken out. Its `corrected` is
 * their number: so many corrections are kept under it, and its deltas take so many invoices away.
 */
export const TAKEN_OUT = "verify --identity --repair newest";

/** What is said of invoices that are not there. */
export interface Absence {
  /** Whether the lines are all there is for the venues and dates that they hold. */
  readonly replacesVenueDays: boolean;
  /** Lines that say that their invoice is void. */
  readonly voided: number;
  /** Whether there may be absences about the lines of the same or a later sync date. */
  readonly maybeCovered: boolean;
}

/**
 * Whether there may be absences about lines of a sync date.
 *
 * @param absentUntil the greatest sync date of an absence in their partitions; null: there is none
 */
export function mayBeCovered(
  absentUntil: string | null,
  { syncedOn }: { readonly syncedOn: string },
): boolean {
  return absentUntil !== null && absentUntil >= syncedOn;
}

/** Where the lines of a drop are, and the rank of what they say. */
export interface StagedLines {
  readonly tx: Transaction;
  readonly settings: Settings;
  /** Of the staging table. */
  readonly slot: number;
  readonly syncedOn: string;
  readonly statedBy: number;
}

interface Stated extends StagedLines {
  readonly loadId: number;
  readonly absence: Absence;
}

/** Absences of greater rank about the groups of the lines: of all their invoices, or of single ones. */
const COVERING = sql`pg_temp.covering_absences`;
/** Invoices about which none of them counts, because a repair took out later what had been said of them. */
const UNCOVERED = sql`pg_temp.uncovered_invoices`;

/**
 * Finds the absences that count and have a greater rank than the lines in staging. The lookup is lateral, so that
 * each group goes by the key.
 *
 * @returns whether there are any
 */
export async function findCovering({
  tx,
  slot,
  settings,
  syncedOn,
  statedBy,
}: StagedLines): Promise<boolean> {
  await tx.db.execute(sql`
    create temp table covering_absences (
      created_on date, venue_key integer, invoice_id uuid, known_at timestamptz
    ) on commit drop`);
  const found = await tx.db.execute(sql`
    insert into ${COVERING} (created_on, venue_key, invoice_id, known_at)
    select g.created_on, g.venue_key, each.invoice_id, max(greater.known_at)
    from (${groupsOf(slot, settings)}) g
    cross join lateral (
      select a.invoice_ids, l.known_at
      from ${absences} a
      left join lateral (
        select l.status, l.known_at from ${loads} l where l.load_id = a.load_id limit 1
      ) l on true
      where a.created_on = g.created_on and a.venue_key = g.venue_key
        and (a.synced_on, a.stated_by) > (${syncedOn}::date, ${statedBy}::integer)
        and l.status is distinct from 'undone'
      offset 0
    ) greater
    left join lateral unnest(greater.invoice_ids) as each (invoice_id) on true
    group by g.created_on, g.venue_key, each.invoice_id`);
  if ((found.rowCount ?? 0) === 0) return false;
  await tx.db.execute(sql`
    create temp table uncovered_invoices (created_on date, venue_key integer, invoice_id uuid) on commit drop`);
  await tx.db.execute(sql`
    insert into ${UNCOVERED} (created_on, venue_key, invoice_id)
    select created_on, venue_key, invoice_id
    from (${takenOutBy(sql`(c.created_on, c.venue_key) in (select created_on, venue_key from ${COVERING})`)}) t
    where not exists (
      select from ${COVERING} a
      where a.created_on = t.created_on and a.venue_key = t.venue_key
        and (a.invoice_id is null or a.invoice_id = t.invoice_id)
        and a.known_at > t.known_at
    )`);
  return true;
}

/**
 * The invoices that repairs took out, each with the moment from which on statements about it count.
 *
 * @param of a condition on corrections, `c`
 */
export function takenOutBy(of: SQL): SQL {
  return sql`
      select c.created_on, c.venue_key, c.invoice_id, max(r.known_at) as known_at
      from ${loads} r
      cross join lateral (
        select c.created_on, c.venue_key, c.invoice_id from ${corrections} c where c.load_id = r.load_id offset 0
      ) c
      where r.status = 'repair' and r.file_name = ${TAKEN_OUT} and ${of}
      group by c.created_on, c.venue_key, c.invoice_id`;
}

/** Whether an absence counts: what an entry said that is undone does not. */
export function counts(absence: SQL): SQL {
  return sql`not exists (select from ${loads} l where l.load_id = ${absence}.load_id and l.status = 'undone')`;
}

/** The groups that the lines in staging hold. */
function groupsOf(slot: number, settings: Settings): SQL {
  return sql`
      select distinct ${createdOnSql(sql`s.datetime_created`, settings)} as created_on, v.venue_key
      from ${stagingTable(slot)} s
      join warehouse.venues v on v.venue_id = s.venue_id`;
}

/**
 * Whether an absence of greater rank covers a line. Each list is hashed once, as neither can become a join here.
 *
 * @param any whether there is any such absence
 * @param line the name of a row with the columns of a key
 */
export function isCovered(any: boolean, line: SQL): SQL {
  if (!any) return sql`false`;
  const key = sql`(${line}.created_on, ${line}.venue_key, ${line}.invoice_id)`;
  return sql`(
    (
      (${line}.created_on, ${line}.venue_key) in (
        select c.created_on, c.venue_key from ${COVERING} c where c.invoice_id is null
      )
      or ${key} in (
        select c.created_on, c.venue_key, c.invoice_id from ${COVERING} c where c.invoice_id is not null
      )
    )
    and (${key} in (select u.created_on, u.venue_key, u.invoice_id from ${UNCOVERED} u)) is not true
  )`;
}

/**
 * Keeps what the lines say of invoices that are not there, and enters in the catalog until when loads must look
 * at it. The partitions are held alone.
 *
 * @param lines the lines by key
 */
export async function stateAbsences(options: Stated, lines: SQL): Promise<void> {
  const { tx, slot, settings, loadId, statedBy, syncedOn, absence } = options;
  // Of a drop that is all there is, a void line names its group and no invoice.
  const stated = absence.replacesVenueDays
    ? sql`select created_on, venue_key, null::uuid[] as invoice_ids from (${groupsOf(slot, settings)}) g`
    : sql`
      select created_on, venue_key, array_agg(invoice_id) as invoice_ids
      from (${lines}) lines
      where total is null
      group by created_on, venue_key`;
  await tx.db.execute(sql`
    insert into ${absences} (load_id, stated_by, synced_on, created_on, venue_key, invoice_ids)
    select ${loadId}::integer, ${statedBy}::integer, ${syncedOn}::date, created_on, venue_key, invoice_ids
    from (${stated}) stated
    order by created_on, venue_key`);
  await tx.db.execute(sql`
    update ${partitions} p
    set absent_until = greatest(absent_until, ${syncedOn}::date)
    where absent_until >= ${syncedOn}::date is not true
      and exists (
        select from ${absences} a
        where a.load_id = ${loadId} and a.created_on >= p.lower and a.created_on < p.upper
      )`);
}

/**
 * Takes out the invoices that are absent as of a load: deletes them, keeps what stood as corrections, and enters
 * what changed. A void line of the load may be later than one that stands: then it was read again.
 *
 * @returns how many there were, and the partitions in which a count or total changed
 */
export async function takeOutAbsent({
  tx,
  loadId,
  statedBy,
  syncedOn,
  absence,
}: Stated): Promise<{ readonly absent: number; readonly partitions: readonly string[] }> {
  const rank = sql`(${syncedOn}::date, ${statedBy}::integer)`;
  const isAbsent = absence.replacesVenueDays
    ? sql`(i.synced_on, i.load_id) < ${rank}`
    : sql`i.invoice_id = a.invoice_id and (i.synced_on, i.load_id) <= ${rank}`;
  const dates = sql`from ${absences} where load_id = ${loadId}`;
  const query = sql`
    with taken_out as (
      delete from warehouse.invoices i
      using (
        select created_on, venue_key, ${absence.replacesVenueDays ? sql`null` : sql`unnest(invoice_ids)`} as invoice_id
        from ${absences}
        where load_id = ${loadId}
      ) a
      where i.created_on = a.created_on and i.venue_key = a.venue_key and ${isAbsent}
        and i.created_on between (select min(created_on) ${dates}) and (select max(created_on) ${dates})
      returning i.created_on, i.venue_key, i.invoice_id, i.load_id as old_load_id, i.synced_on as old_synced_on,
                ${eachValue((value, oldValue) => sql`i.${value} as ${oldValue}`)}
    ),
    kept as (
      insert into warehouse.corrections
        (load_id, created_on, venue_key, invoice_id, old_load_id, old_synced_on, ${oldValues()})
      select ${loadId}::integer, created_on, venue_key, invoice_id, old_load_id, old_synced_on, ${oldValues()}
      from taken_out
    ),
    net as (
      select created_on, venue_key, -count(*) as invoices, -sum(old_total) as total
      from taken_out
      group by created_on, venue_key
    ),
    ${recordNet(loadId)}
    select count(*) as absent, ${changedPartitions()} as partitions from taken_out`;
  const { rows } = await byKey(tx, () =>
    tx.db.execute<{ absent: string; partitions: readonly string[] }>(query),
  );
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate returned no row");
  return { absent: Number(row.absent), partitions: row.partitions };
}
