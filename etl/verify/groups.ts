/** Compares the groups of one partition, and its control totals, with a recompute. */
import { type SQL, sql } from "drizzle-orm";
import type { Session } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { listMissingTables } from "../../db/partitions/missing.ts";
import {
  absences,
  loads,
  type Partition,
  partitions,
  type Settings,
  venues,
  waiting,
} from "../../db/schema.ts";
import { counts, takenOutBy } from "../load/absence.ts";
import { leafOf } from "../refresh/recompute.ts";
import { type OnDivergence, readSums } from "./divergence.ts";
import { checkGroups } from "./standing.ts";

export interface Checked {
  readonly invoices: number;
  readonly groups: number;
  /** A table is gone or not attached: nothing was compared. */
  readonly tablesMissing: boolean;
  /** Sums do not agree, so a repair is to make them agree. */
  readonly diverges: boolean;
  /** The rollup, or its control totals, must be rebuilt. */
  readonly rollupDiverges: boolean;
}

/**
 * Names the groups of one partition that differ, and compares its control totals. The caller holds a lock
 * that keeps the partition from being closed meanwhile.
 */
export async function checkPartition(
  session: Session,
  settings: Settings,
  partition: Partition,
  found: OnDivergence,
): Promise<Checked> {
  const tables = await listMissingTables(session, [partition.partition]);
  for (const { parent, ...table } of tables) found({ kind: "table", ...table });
  if (tables.length > 0) {
    return { invoices: 0, groups: 0, tablesMissing: true, diverges: true, rollupDiverges: false };
  }
  const compared = await compareGroups(session, settings, partition, found);
  const control = await compareControlTotals(session, partition, found);
  return {
    invoices: control.invoices,
    groups: control.groups,
    tablesMissing: false,
    diverges: compared.diverges || control.diverges,
    rollupDiverges: compared.rollupDiverges || control.diverges,
  };
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
  readonly misattributed: boolean;
  readonly absent: boolean;
  readonly rollup_wrong: boolean;
  readonly deltas_wrong: boolean;
}

async function compareGroups(
  session: Session,
  settings: Settings,
  partition: Partition,
  found: OnDivergence,
): Promise<Pick<Checked, "diverges" | "rollupDiverges">> {
  let diverges = false;
  let rollupDiverges = false;
  for await (const row of streamRows<GroupRow>(session, differingGroups(settings, partition))) {
    diverges ||= row.rollup_wrong || row.deltas_wrong;
    rollupDiverges ||= row.rollup_wrong;
    found({
      kind: "group",
      partition: partition.partition,
      venueId: row.venue_id,
      createdOn: row.created_on,
      recomputed: readSums(row.invoices, row.total),
      shown: readSums(row.shown_invoices, row.shown_total),
      deltas: readSums(row.delta_invoices, row.delta_total),
      misdated: row.misdated,
      misattributed: row.misattributed,
      absent: row.absent,
    });
  }
  return { diverges, rollupDiverges };
}

/** The id of a venue for messages, also where a row names a key that no venue has. */
export function venueName(key: SQL): SQL {
  return sql`coalesce(v.venue_id, 'venue_key ' || ${key} || ' (not among the venues)')`;
}

function differingGroups(settings: Settings, partition: Partition): SQL {
  return sql`
    with truth as (${checkGroups(partition, settings)}),
    ledger as (
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
      from ${leafOf("venue_day_deltas", partition)}
      group by created_on, venue_key
    ),
    queued as (
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
      from ${waiting}
      where created_on >= ${partition.lower} and created_on < ${partition.upper}
      group by created_on, venue_key
    ),
    standing as (${standingAbsent(partition)}),
    compared as (
      select created_on, venue_key,
             coalesce(t.invoices, 0) as invoices, coalesce(t.total, 0) as total,
             coalesce(r.invoices, 0) + coalesce(q.invoices, 0) as shown_invoices,
             coalesce(r.total, 0) + coalesce(q.total, 0) as shown_total,
             coalesce(l.invoices, 0) as delta_invoices, coalesce(l.total, 0) as delta_total,
             coalesce(t.misdated, false) as misdated, coalesce(t.misattributed, false) as misattributed,
             (created_on, venue_key) in (select created_on, venue_key from standing) as absent,
             coalesce(r.invoices <= 0, false) as emptied
      from truth t
      full join ledger l using (created_on, venue_key)
      full join ${leafOf("venue_day_rollup", partition)} r using (created_on, venue_key)
      full join queued q using (created_on, venue_key)
    )
    select c.created_on::text, ${venueName(sql`c.venue_key`)} as venue_id,
           c.invoices, c.total::numeric(24, 2)::text, c.shown_invoices, c.shown_total::numeric(24, 2)::text,
           c.delta_invoices, c.delta_total::numeric(24, 2)::text, c.misdated, c.misattributed, c.absent,
           emptied or (c.invoices, c.total) <> (c.shown_invoices, c.shown_total) as rollup_wrong,
           (c.invoices, c.total) <> (c.delta_invoices, c.delta_total) as deltas_wrong
    from compared c
    left join ${venues} v on v.venue_key = c.venue_key
    where (c.invoices, c.total) <> (c.shown_invoices, c.shown_total)
       or (c.invoices, c.total) <> (c.delta_invoices, c.delta_total)
       or c.misdated
       or c.misattributed
       or c.absent
       or c.emptied
       or v.venue_key is null
    order by c.created_on, v.venue_id`;
}

/** The groups in which an invoice stands of which a newer statement says that it is absent. */
function standingAbsent(partition: Partition): SQL {
  if (partition.state === "dropped") {
    return sql`select null::date as created_on, null::integer as venue_key where false`;
  }
  const { lower, upper } = partition;
  const isHere = (row: SQL) => sql`${row}.created_on >= ${lower} and ${row}.created_on < ${upper}`;
  const said = sql`from ${absences} a where ${isHere(sql`a`)} and ${counts(sql`a`)}`;
  // What was said of an invoice before a repair took it out is void. That is looked at for those that are found only.
  return sql`
      select i.created_on, i.venue_key
      from (
        select i.created_on, i.venue_key, i.invoice_id, i.synced_on, i.load_id
        from (
          select distinct on (created_on, venue_key) created_on, venue_key, synced_on, stated_by
          ${said} and a.invoice_ids is null
          order by created_on, venue_key, synced_on desc, stated_by desc
        ) newest
        join ${leafOf("invoices", partition)} i using (created_on, venue_key)
        where (i.synced_on, i.load_id) < (newest.synced_on, newest.stated_by)
        union
        select i.created_on, i.venue_key, i.invoice_id, i.synced_on, i.load_id
        from (
          select created_on, venue_key, synced_on, stated_by, unnest(invoice_ids) as invoice_id ${said}
        ) void
        join ${leafOf("invoices", partition)} i using (created_on, venue_key, invoice_id)
        where (i.synced_on, i.load_id) < (void.synced_on, void.stated_by)
      ) i
      left join (${takenOutBy(isHere(sql`c`))}) t
        on t.created_on = i.created_on and t.venue_key = i.venue_key and t.invoice_id = i.invoice_id
      where t.known_at is null or exists (
        select
        ${said} and a.created_on = i.created_on and a.venue_key = i.venue_key
          and (a.invoice_ids is null or i.invoice_id = any (a.invoice_ids))
          and (a.synced_on, a.stated_by) > (i.synced_on, i.load_id)
          and (select l.known_at from ${loads} l where l.load_id = a.load_id) > t.known_at
      )`;
}

interface ControlRow extends Record<string, unknown> {
  readonly rollup_invoices: string;
  readonly rollup_total: string;
  readonly invoices: string;
  readonly total: string;
  readonly groups: string;
}

async function compareControlTotals(
  { db }: Session,
  partition: Partition,
  found: OnDivergence,
): Promise<Pick<Checked, "invoices" | "groups" | "diverges">> {
  const result = await db.execute<ControlRow>(sql`
    select p.rollup_invoices, p.rollup_total, r.invoices, r.total, r.groups
    from ${partitions} p
    cross join (
      select coalesce(sum(invoices), 0) as invoices, coalesce(sum(total), 0)::numeric(24, 2) as total,
             count(*) as groups
      from ${leafOf("venue_day_rollup", partition)}
    ) r
    where p.partition = ${partition.partition}`);
  const [row] = result.rows;
  const catalog = readSums(row?.rollup_invoices, row?.rollup_total);
  const rollup = readSums(row?.invoices, row?.total);
  const diverges = catalog.invoices !== rollup.invoices || catalog.total !== rollup.total;
  if (diverges) found({ kind: "control", partition: partition.partition, catalog, rollup });
  return { invoices: rollup.invoices, groups: Number(row?.groups ?? 0), diverges };
}
