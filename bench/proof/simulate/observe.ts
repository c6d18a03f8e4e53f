/** Everything that a warehouse holds, in one snapshot and in plain SQL, in words that the model has, too. */
import type { SimulatedWarehouse } from "./site.ts";

export interface ObservedLoad {
  readonly load_id: number;
  readonly file_name: string;
  readonly sha256: string | null;
  readonly synced_on: string | null;
  readonly status: string;
  readonly undo_of: number | null;
  readonly retry_of: number | null;
  /** The statements of its time may be forgotten. */
  readonly pruned: boolean | null;
  readonly known_at: string | null;
  readonly read: number;
  readonly inserted: number;
  readonly corrected: number;
  readonly unchanged: number;
  readonly superseded: number;
  readonly rejected: number;
  readonly skipped: number;
  readonly summed: number;
  readonly removed: number;
  readonly voided: number;
  readonly absent: number;
  readonly partitions: readonly string[];
  readonly error_code: string | null;
}

export interface ObservedPartition {
  readonly partition: string;
  readonly lower: string;
  readonly upper: string;
  readonly state: "open" | "stale" | "detached" | "dropped";
}

export interface ObservedStatement {
  /** Whose statement it is. */
  readonly stated_by: number;
  readonly synced_on: string;
  readonly created_on: string;
  readonly venue_id: string;
  readonly invoice_id: string;
  /** The load that says the same; null: the next two say it. */
  readonly same_as: number | null;
  readonly created_at: number | null;
  readonly total: string | null;
}

/** Rejected lines of a reason that nobody has decided on. */
export interface OpenRejects {
  readonly load_id: number;
  /** The load of the drop. */
  readonly root: number;
  readonly reason: string;
  readonly lines: number;
}

/** Instants are as the digest has them. */
export interface ObservedClosing {
  readonly closing: number;
  readonly period: string;
  readonly first_date: string;
  readonly date_after: string;
  readonly known_at: string;
  readonly groups: number;
  readonly invoices: number;
  readonly total: string;
  readonly sha256: string;
  readonly previous_sha256: string | null;
  readonly closed_by: string;
  readonly closed_at: string;
  readonly replaced_by: number | null;
  /** How many entries of the ledger were known. */
  readonly entries: number;
}

/** Sums are texts of euros, instants microseconds, so that nothing is rounded on the way. */
export interface Observation {
  readonly loads: readonly ObservedLoad[];
  readonly partitions: readonly ObservedPartition[];
  readonly rejects: readonly { readonly load_id: number; readonly line: number; readonly reason: string }[];
  readonly open: readonly OpenRejects[];
  readonly dismissals: readonly { readonly load_id: number; readonly reason: string }[];
  readonly closings: readonly ObservedClosing[];
  /** What has changed of closed periods, by group, and by load and group. */
  readonly restatements: readonly string[];
  readonly restating: readonly string[];
  readonly invoices: readonly string[];
  readonly corrections: readonly string[];
  /** Statements that are kept beside the corrections. */
  readonly statements: readonly ObservedStatement[];
  /** That an invoice is absent, or that all of its group are. */
  readonly absences: readonly { readonly load_id: number; readonly text: string }[];
  readonly deltas: readonly string[];
  readonly shown: readonly string[];
  readonly reports: readonly string[];
  readonly monthly: readonly string[];
  /**
   * Catalog entries whose control totals are not their rollup's; leaves that are not where they belong; rows
   * left in staging.
   */
  readonly offenders: readonly string[];
}

const LOADS = `
  select load_id, file_name, encode(sha256, 'hex') as sha256, synced_on, status, undo_of, retry_of, known_at,
         known_at <= (select statements_kept_since from warehouse.settings) as pruned,
         read, inserted, corrected, unchanged, superseded, rejected, skipped, summed, removed, voided, absent,
         partitions, error_code
  from warehouse.loads
  order by known_at nulls last, load_id`;

const MICROS = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`;

const UTC = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

const STAGED = Array.from({ length: 16 }, (_, slot) => `select from warehouse.staging_${slot + 1}`).join(
  " union all ",
);

/** One statement, so one snapshot. */
const OBSERVE = `
  select
    (select coalesce(json_agg(l), '[]') from (${LOADS}) l) as loads,
    (select coalesce(json_agg(p order by p.lower), '[]') from (
       select partition, lower, upper, state from warehouse.partitions) p) as partitions,
    (select coalesce(json_agg(r order by r.load_id, r.line), '[]') from (
       select load_id, line, reason from warehouse.rejects) r) as rejects,
    (select coalesce(json_agg(o order by o.load_id, o.reason), '[]') from (
       select load_id, coalesce(retry_of, load_id) as root, reason, lines
       from reports.open_rejects join warehouse.loads using (load_id)) o) as open,
    (select coalesce(json_agg(d), '[]') from (select load_id, reason from warehouse.dismissals) d) as dismissals,
    (select coalesce(json_agg(c order by c.closing), '[]') from (
       select closing, period, first_date, date_after, ${UTC("c.known_at")} as known_at, groups, invoices,
              total::text as total, sha256, previous_sha256, closed_by, ${UTC("closed_at")} as closed_at, replaced_by,
              (select count(*) from warehouse.loads l where l.known_at <= c.known_at) as entries
       from reports.closings c) c) as closings,
    (select coalesce(json_agg(concat_ws(' | ', closing, created_on, venue_id, then_invoices, then_total, now_invoices,
                                        now_total, invoices, total)), '[]') from reports.restatements) as restatements,
    (select coalesce(json_agg(concat_ws(' | ', closing, load_id, created_on, venue_id, invoices, total)), '[]') from (
       select closing, load_id, created_on, venue_id, sum(invoices) as invoices, sum(total) as total
       from reports.restating_loads
       group by 1, 2, 3, 4 having sum(invoices) <> 0 or sum(total) <> 0) r) as restating,
    (select coalesce(json_agg(concat_ws(' | ', created_on, venue_id, invoice_id, ${MICROS("created_at")},
                                        total, load_id, synced_on)), '[]')
     from warehouse.invoices join warehouse.venues using (venue_key)) as invoices,
    (select coalesce(json_agg(concat_ws(' | ', load_id, created_on, venue_id, invoice_id, ${MICROS("old_created_at")},
                                        old_total, old_load_id, old_synced_on)), '[]')
     from warehouse.corrections join warehouse.venues using (venue_key)) as corrections,
    (select coalesce(json_agg(s), '[]') from (
       select stated_by, synced_on, created_on, venue_id, u.invoice_id, same_as,
              ${MICROS("u.created_at")} as created_at, u.total::text as total
       from warehouse.statements s
       join warehouse.venues using (venue_key)
       cross join unnest(s.invoice_ids, s.created_at, s.total) as u (invoice_id, created_at, total)) s) as statements,
    (select coalesce(json_agg(a), '[]') from (
       select load_id, concat_ws(' | ', load_id, stated_by, synced_on, created_on, venue_id,
                                 coalesce(u.invoice_id::text, 'all')) as text
       from warehouse.absences s
       join warehouse.venues using (venue_key)
       left join lateral unnest(s.invoice_ids) as u (invoice_id) on true) a) as absences,
    (select coalesce(json_agg(concat_ws(' | ', load_id, created_on, venue_id, invoices, total)), '[]') from (
       select load_id, created_on, venue_id, sum(invoices) as invoices, sum(total) as total
       from warehouse.venue_day_deltas join warehouse.venues using (venue_key)
       group by 1, 2, 3 having sum(invoices) <> 0 or sum(total) <> 0) d) as deltas,
    (select coalesce(json_agg(concat_ws(' | ', created_on, venue_id, invoices, total)), '[]') from (
       select created_on, venue_id, sum(invoices) as invoices, sum(total) as total
       from (select created_on, venue_key, invoices, total from warehouse.venue_day_rollup
             union all
             select created_on, venue_key, invoices, total from warehouse.venue_day_pending) s
       join warehouse.venues using (venue_key)
       group by 1, 2 having sum(invoices) <> 0 or sum(total) <> 0) s) as shown,
    (select coalesce(json_agg(concat_ws(' | ', created_on, venue_id, invoices, total)), '[]')
     from reports.venue_daily_totals) as reports,
    (select coalesce(json_agg(concat_ws(' | ', month, invoices, total)), '[]') from reports.monthly_totals) as monthly,
    (select coalesce(json_agg(o), '[]') from (
       select 'control totals of ' || p.partition as o
       from warehouse.partitions p
       left join lateral (
         select coalesce(sum(invoices), 0) as invoices, coalesce(sum(total), 0) as total
         from warehouse.venue_day_rollup r where r.created_on >= p.lower and r.created_on < p.upper
       ) r on true
       where p.state <> 'detached' and (p.rollup_invoices, p.rollup_total) is distinct from (r.invoices, r.total)
       union all
       select 'a leaf in the wrong place: ' || e.parent || ' of ' || e.partition
       from (
         select partition, state, parent, 'warehouse.' || leaf as leaf
         from warehouse.partitions
         cross join lateral (
           values ('invoices', invoices_table), ('venue_day_deltas', deltas_table), ('venue_day_rollup', rollup_table)
         ) as tables (parent, leaf)
       ) e
       left join pg_inherits i on i.inhrelid = to_regclass(e.leaf)
       left join pg_inherits year on year.inhrelid = i.inhparent
       where case
         when e.state = 'dropped' and e.parent = 'invoices' then to_regclass(e.leaf) is not null
         when e.state = 'detached' then to_regclass(e.leaf) is null or i.inhparent is not null
         else coalesce(year.inhparent, i.inhparent) is distinct from ('warehouse.' || e.parent)::regclass or i.inhdetachpending
       end
       union all
       select 'rows are left in staging' where exists (${STAGED})
     ) offenders) as offenders`;

/** Reads it all. */
export async function observe(warehouse: SimulatedWarehouse): Promise<Observation> {
  const [row] = await warehouse.query<Record<string, unknown>>(OBSERVE);
  return row as unknown as Observation;
}

/** What a reader sees in one statement: the entries of the ledger that are in, and the totals. */
export interface Read {
  readonly loads: readonly number[];
  readonly reports: readonly string[];
}

export const READ = `
  select
    (select coalesce(json_agg(load_id order by known_at), '[]')
     from reports.load_history where known_at is not null) as loads,
    (select coalesce(json_agg(concat_ws(' | ', created_on, venue_id, invoices, total)), '[]')
     from reports.venue_daily_totals) as reports`;

/** What the reports showed at a moment. */
export const AS_KNOWN = `
  select coalesce(json_agg(concat_ws(' | ', created_on, venue_id, invoices, total)), '[]') as reports
  from reports.venue_daily_totals_as_known_on($1::timestamptz)`;

/** Sessions with an open transaction and advisory locks that should not be there once all work is done. */
export const HELD = `
  select 'open transaction: ' || coalesce(application_name, '') || ': ' || left(query, 100) as held
  from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' and state <> 'idle'
  union all
  select 'advisory lock ' || classid || ', ' || objid
  from pg_locks
  where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`;
