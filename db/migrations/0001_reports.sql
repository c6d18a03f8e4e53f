-- The reports: what a plain SQL client sees. All of them are exact at all times, because they add what is pending
-- to the rollup in one snapshot.

-- Rollup and pending by key. With nothing pending the first branch is a plain scan of the rollup, and the others end at a
-- one-time filter or an empty table. With something pending, groups that have nothing pending come straight from the rollup (second branch), and
-- only the others are added up (third branch). A condition on created_on reaches every scan, so that other partitions are
-- neither planned nor locked.
create view warehouse.venue_day_totals as
select r.created_on, r.venue_key, r.invoices, r.total
from warehouse.venue_day_rollup r
where not exists (select from warehouse.venue_day_pending)
union all
select r.created_on, r.venue_key, r.invoices, r.total
from warehouse.venue_day_rollup r
where exists (select from warehouse.venue_day_pending)
  and not exists (
    select from warehouse.venue_day_pending p where p.created_on = r.created_on and p.venue_key = r.venue_key
  )
union all
select created_on, venue_key, sum(invoices)::bigint, sum(total)::numeric(24, 2)
from (
  select created_on, venue_key, invoices, total
  from warehouse.venue_day_pending
  union all
  select r.created_on, r.venue_key, r.invoices, r.total
  from warehouse.venue_day_rollup r
  where exists (
    select from warehouse.venue_day_pending p where p.created_on = r.created_on and p.venue_key = r.venue_key
  )
) changing
group by created_on, venue_key
having sum(invoices) <> 0;
--> statement-breakpoint
comment on view warehouse.venue_day_totals is 'Rollup and pending by venue_key and creation date; the reports read it.';
--> statement-breakpoint

create view reports.venue_daily_totals as
select v.venue_id, t.created_on, t.invoices, t.total
from warehouse.venue_day_totals t
join warehouse.venues v on v.venue_key = t.venue_key;
--> statement-breakpoint
comment on view reports.venue_daily_totals is 'Number and total of invoices per venue and creation date. Exact at all times.';
--> statement-breakpoint
comment on column reports.venue_daily_totals.venue_id is 'The venue, as its drops name it.';
--> statement-breakpoint
comment on column reports.venue_daily_totals.created_on is 'Creation date of the invoices, in the time zone of the warehouse (reports.warehouse_settings).';
--> statement-breakpoint
comment on column reports.venue_daily_totals.invoices is 'Number of invoices.';
--> statement-breakpoint
comment on column reports.venue_daily_totals.total is 'Sum of their totals, in euros.';
--> statement-breakpoint

create view reports.venue_monthly_totals as
select v.venue_id, t.month, t.invoices, t.total
from (
  select venue_key, date_trunc('month', created_on)::date as month,
         sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2) as total
  from warehouse.venue_day_totals
  group by venue_key, date_trunc('month', created_on)::date
) t
join warehouse.venues v on v.venue_key = t.venue_key;
--> statement-breakpoint
comment on view reports.venue_monthly_totals is 'Number and total of invoices per venue and month of creation. Exact at all times.';
--> statement-breakpoint
comment on column reports.venue_monthly_totals.venue_id is 'The venue, as its drops name it.';
--> statement-breakpoint
comment on column reports.venue_monthly_totals.month is 'First day of the month in which the invoices were created, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.venue_monthly_totals.invoices is 'Number of invoices.';
--> statement-breakpoint
comment on column reports.venue_monthly_totals.total is 'Sum of their totals, in euros.';
--> statement-breakpoint

create view reports.venue_totals as
select v.venue_id, t.invoices, t.total
from (
  select venue_key, sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2) as total
  from warehouse.venue_day_totals
  group by venue_key
) t
join warehouse.venues v on v.venue_key = t.venue_key;
--> statement-breakpoint
comment on view reports.venue_totals is 'Number and total of all invoices per venue. Exact at all times.';
--> statement-breakpoint
comment on column reports.venue_totals.venue_id is 'The venue, as its drops name it.';
--> statement-breakpoint
comment on column reports.venue_totals.invoices is 'Number of invoices.';
--> statement-breakpoint
comment on column reports.venue_totals.total is 'Sum of their totals, in euros.';
--> statement-breakpoint

create view reports.daily_totals as
select created_on, sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2) as total
from warehouse.venue_day_totals
group by created_on;
--> statement-breakpoint
comment on view reports.daily_totals is 'Number and total of invoices of all venues per creation date. Exact at all times.';
--> statement-breakpoint
comment on column reports.daily_totals.created_on is 'Creation date of the invoices, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.daily_totals.invoices is 'Number of invoices.';
--> statement-breakpoint
comment on column reports.daily_totals.total is 'Sum of their totals, in euros.';
--> statement-breakpoint

create view reports.monthly_totals as
select date_trunc('month', created_on)::date as month,
       sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2) as total
from warehouse.venue_day_totals
group by date_trunc('month', created_on)::date;
--> statement-breakpoint
comment on view reports.monthly_totals is 'Number and total of invoices of all venues per month of creation. Exact at all times.';
--> statement-breakpoint
comment on column reports.monthly_totals.month is 'First day of the month in which the invoices were created, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.monthly_totals.invoices is 'Number of invoices.';
--> statement-breakpoint
comment on column reports.monthly_totals.total is 'Sum of their totals, in euros.';
--> statement-breakpoint

create view reports.warehouse_settings as
select time_zone, granularity, earliest from warehouse.settings;
--> statement-breakpoint
comment on view reports.warehouse_settings is 'What was fixed when the warehouse was made.';
--> statement-breakpoint
comment on column reports.warehouse_settings.time_zone is 'Time zone in which a creation instant becomes a creation date.';
--> statement-breakpoint
comment on column reports.warehouse_settings.granularity is 'Range of creation dates that one partition holds: day, week, month, quarter or year.';
--> statement-breakpoint
comment on column reports.warehouse_settings.earliest is 'Invoices created before this date are rejected.';
--> statement-breakpoint

create view reports.partition_freshness as
select p.partition, p.lower, p.upper, p.state, p.rollup_invoices, p.rollup_total, p.refreshed_at,
       q.changes as pending_changes, q.invoices as pending_invoices, q.total as pending_total
from warehouse.partitions p
cross join lateral (
  select count(*) as changes, coalesce(sum(d.invoices), 0)::bigint as invoices,
         coalesce(sum(d.total), 0)::numeric(24, 2) as total
  from warehouse.venue_day_pending d
  where d.created_on >= p.lower and d.created_on < p.upper
) q;
--> statement-breakpoint
comment on view reports.partition_freshness is 'Every partition: what its rollup holds, since when, and what waits for a refresh.';
--> statement-breakpoint
comment on column reports.partition_freshness.partition is 'Name of the partition, for example 2026-10.';
--> statement-breakpoint
comment on column reports.partition_freshness.lower is 'First creation date of the partition.';
--> statement-breakpoint
comment on column reports.partition_freshness.upper is 'First creation date after the partition.';
--> statement-breakpoint
comment on column reports.partition_freshness.state is 'open; stale (to be rebuilt); detached (out of the reports); dropped (invoices gone, rollup kept).';
--> statement-breakpoint
comment on column reports.partition_freshness.rollup_invoices is 'Number of invoices that the rollup counts: its control total.';
--> statement-breakpoint
comment on column reports.partition_freshness.rollup_total is 'Sum of the rollup, in euros: its control total.';
--> statement-breakpoint
comment on column reports.partition_freshness.refreshed_at is 'When the rollup was last refreshed.';
--> statement-breakpoint
comment on column reports.partition_freshness.pending_changes is 'Number of pending changes; 0 when the rollup is up to date.';
--> statement-breakpoint
comment on column reports.partition_freshness.pending_invoices is 'Number of invoices that the pending changes add.';
--> statement-breakpoint
comment on column reports.partition_freshness.pending_total is 'Euros that the pending changes add.';
--> statement-breakpoint

create view reports.load_history as
select load_id, file_name, encode(sha256, 'hex') as sha256, bytes, synced_on, status,
       read, inserted, corrected, unchanged, superseded, rejected, partitions, timings,
       started_at, finished_at, known_at, error_code, error_message
from warehouse.loads;
--> statement-breakpoint
comment on view reports.load_history is 'Every load: what it read, and what became of the lines.';
--> statement-breakpoint
comment on column reports.load_history.load_id is 'Number of the load, in the order of the claims.';
--> statement-breakpoint
comment on column reports.load_history.file_name is 'Name of the drop.';
--> statement-breakpoint
comment on column reports.load_history.sha256 is 'SHA-256 of the drop''s bytes.';
--> statement-breakpoint
comment on column reports.load_history.bytes is 'Size of the drop in bytes.';
--> statement-breakpoint
comment on column reports.load_history.synced_on is 'Sync date of the drop.';
--> statement-breakpoint
comment on column reports.load_history.status is 'loaded; rejected (refused as a whole); failed (rolled back); repair (an adjustment made by verify --repair).';
--> statement-breakpoint
comment on column reports.load_history.read is 'Lines read: the sum of the next five when the load is loaded.';
--> statement-breakpoint
comment on column reports.load_history.inserted is 'Lines that brought a new invoice.';
--> statement-breakpoint
comment on column reports.load_history.corrected is 'Lines that changed the total or creation time of an invoice.';
--> statement-breakpoint
comment on column reports.load_history.unchanged is 'Lines of a newer drop that say what the warehouse has.';
--> statement-breakpoint
comment on column reports.load_history.superseded is 'Lines that lost to a later line of the drop or to a newer drop.';
--> statement-breakpoint
comment on column reports.load_history.rejected is 'Lines refused, kept in quarantine.';
--> statement-breakpoint
comment on column reports.load_history.partitions is 'Partitions in which the load changed a total or count.';
--> statement-breakpoint
comment on column reports.load_history.timings is 'Milliseconds per phase.';
--> statement-breakpoint
comment on column reports.load_history.started_at is 'When the load was claimed.';
--> statement-breakpoint
comment on column reports.load_history.finished_at is 'When it ended.';
--> statement-breakpoint
comment on column reports.load_history.known_at is 'From when on the reports show it; increases with every commit.';
--> statement-breakpoint
comment on column reports.load_history.error_code is 'Why it was rejected or failed.';
--> statement-breakpoint
comment on column reports.load_history.error_message is 'The same in words.';
--> statement-breakpoint

create view reports.venue_daily_changes as
select l.known_at, d.load_id, l.file_name, l.synced_on, v.venue_id, d.created_on, d.invoices, d.total
from warehouse.venue_day_deltas d
join warehouse.loads l on l.load_id = d.load_id
join warehouse.venues v on v.venue_key = d.venue_key;
--> statement-breakpoint
comment on view reports.venue_daily_changes is 'What each load changed, per venue and creation date: the lineage of every total.';
--> statement-breakpoint
comment on column reports.venue_daily_changes.known_at is 'From when on the reports show the change.';
--> statement-breakpoint
comment on column reports.venue_daily_changes.load_id is 'The load that made it.';
--> statement-breakpoint
comment on column reports.venue_daily_changes.file_name is 'Name of its drop.';
--> statement-breakpoint
comment on column reports.venue_daily_changes.synced_on is 'Sync date of its drop.';
--> statement-breakpoint
comment on column reports.venue_daily_changes.venue_id is 'The venue.';
--> statement-breakpoint
comment on column reports.venue_daily_changes.created_on is 'Creation date of the invoices, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.venue_daily_changes.invoices is 'Change of the number of invoices.';
--> statement-breakpoint
comment on column reports.venue_daily_changes.total is 'Change of the total, in euros.';
--> statement-breakpoint

create view reports.late_arrivals as
select load_id, file_name, synced_on, venue_id, created_on, synced_on - created_on as days_late, invoices, total
from reports.venue_daily_changes
where synced_on - created_on >= 2;
--> statement-breakpoint
comment on view reports.late_arrivals is 'Changes to dates two days or more before the sync date of the drop that brought them.';
--> statement-breakpoint
comment on column reports.late_arrivals.load_id is 'The load.';
--> statement-breakpoint
comment on column reports.late_arrivals.file_name is 'Name of its drop.';
--> statement-breakpoint
comment on column reports.late_arrivals.synced_on is 'Sync date of its drop.';
--> statement-breakpoint
comment on column reports.late_arrivals.venue_id is 'The venue.';
--> statement-breakpoint
comment on column reports.late_arrivals.created_on is 'Creation date of the invoices, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.late_arrivals.days_late is 'Days from the creation date to the sync date.';
--> statement-breakpoint
comment on column reports.late_arrivals.invoices is 'Change of the number of invoices.';
--> statement-breakpoint
comment on column reports.late_arrivals.total is 'Change of the total, in euros.';
--> statement-breakpoint

-- "begin atomic" binds every name when the function is made, so no search_path can redirect it, and it stays inlinable.
create function reports.venue_daily_totals_as_known_on(known_at timestamptz)
returns table (venue_id text, created_on date, invoices bigint, total numeric)
language sql stable parallel safe
begin atomic
  select c.venue_id, c.created_on, sum(c.invoices)::bigint, sum(c.total)::numeric(24, 2)
  from reports.venue_daily_changes c
  where c.known_at <= venue_daily_totals_as_known_on.known_at
  group by c.venue_id, c.created_on
  having sum(c.invoices) <> 0;
end;
--> statement-breakpoint
comment on function reports.venue_daily_totals_as_known_on(timestamptz) is 'What reports.venue_daily_totals showed at that moment, whatever was loaded or corrected since.';
--> statement-breakpoint
create function reports.venue_daily_totals_as_known_on(known_on date)
returns table (venue_id text, created_on date, invoices bigint, total numeric)
language sql stable parallel safe
begin atomic
  select c.venue_id, c.created_on, sum(c.invoices)::bigint, sum(c.total)::numeric(24, 2)
  from reports.venue_daily_changes c
  where c.known_at < ((known_on + 1)::timestamp at time zone (select s.time_zone from reports.warehouse_settings s))
  group by c.venue_id, c.created_on
  having sum(c.invoices) <> 0;
end;
--> statement-breakpoint
comment on function reports.venue_daily_totals_as_known_on(date) is 'What reports.venue_daily_totals showed at the end of that date, in the time zone of the warehouse.';
