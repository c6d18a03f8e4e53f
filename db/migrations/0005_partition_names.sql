-- The names of a partition and of its tables are made here, and nowhere else in SQL: the calendar in one function, the tables' names in the
-- catalog. The columns are virtual, so they take no room and no load writes them.
create function warehouse.partition_range(granularity text, day date)
returns table (partition text, lower date, upper date)
language sql stable parallel safe
begin atomic
  select to_char(first.day, case granularity
           when 'day' then 'YYYY-MM-DD'
           when 'week' then 'IYYY-"W"IW'
           when 'month' then 'YYYY-MM'
           when 'quarter' then 'YYYY-"Q"Q'
           when 'year' then 'YYYY'
         end),
         first.day::date,
         (first.day + case granularity when 'quarter' then interval '3 months' else ('1 ' || granularity)::interval end)::date
  from (select date_trunc(granularity, partition_range.day::timestamp)) as first (day);
end;
--> statement-breakpoint
comment on function warehouse.partition_range(text, date) is 'The partition that holds a date: its name, its first date, and the first date after it.';
--> statement-breakpoint
-- open_partitions alone calls it, as the owner.
revoke execute on function warehouse.partition_range(text, date) from public;
--> statement-breakpoint

alter table warehouse.partitions
  add column invoices_table text not null generated always as ('invoices_' || lower(replace(partition, '-', '_'))) virtual,
  add column deltas_table text not null generated always as ('venue_day_deltas_' || lower(replace(partition, '-', '_'))) virtual,
  add column rollup_table text not null generated always as ('venue_day_rollup_' || lower(replace(partition, '-', '_'))) virtual;
--> statement-breakpoint

-- The tables' names are for who looks for one that is gone and may not enter schema warehouse.
create or replace view reports.partition_freshness as
select p.partition, p.lower, p.upper, p.state, p.rollup_invoices, p.rollup_total, p.refreshed_at,
       q.changes as pending_changes, q.invoices as pending_invoices, q.total as pending_total,
       p.invoices_table, p.deltas_table, p.rollup_table
from warehouse.partitions p
cross join lateral (
  select count(*) as changes, coalesce(sum(d.invoices), 0)::bigint as invoices,
         coalesce(sum(d.total), 0)::numeric(24, 2) as total
  from warehouse.venue_day_pending d
  where d.created_on >= p.lower and d.created_on < p.upper
) q;
--> statement-breakpoint
comment on column reports.partition_freshness.invoices_table is 'Name of its table of invoices, in schema warehouse.';
--> statement-breakpoint
comment on column reports.partition_freshness.deltas_table is 'Name of its table of deltas, in schema warehouse.';
--> statement-breakpoint
comment on column reports.partition_freshness.rollup_table is 'Name of its table of the rollup, in schema warehouse.';
--> statement-breakpoint

-- As before, but for the names. SECURITY DEFINER, because a load needs partitions and its role must not have DDL. Dates are all it takes:
-- names and bounds follow from the settings, so whoever calls it can make the partitions of this warehouse and nothing else. search_path and
-- datestyle are pinned: neither names nor dates depend on the caller's session.
create or replace function warehouse.open_partitions(dates date[])
returns setof text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD'
as $$
declare
  unit text;
  first_date date;
  missing record;
  made warehouse.partitions;
  parent text;
  leaf text;
  held record;
begin
  -- LOCK.ensurePartitions of db/locks.ts. In a statement of its own, so that the next ones see what the holder before committed.
  perform pg_advisory_xact_lock(0x526f6c32, 0);
  select s.granularity, s.earliest into strict unit, first_date from warehouse.settings s;
  for missing in
    select distinct r.partition, r.lower, r.upper
    from unnest(dates) as given (day)
    cross join lateral warehouse.partition_range(unit, given.day) r
    where given.day is not null
      and not exists (select from warehouse.partitions p where p.partition = r.partition)
    order by r.lower
  loop
    if not isfinite(missing.lower) or missing.upper <= first_date then
      raise exception 'no partition is made for dates before %, the earliest of this warehouse, or without end: %', first_date, missing.lower
        using errcode = 'invalid_parameter_value';
    end if;
    insert into warehouse.partitions (partition, lower, upper) values (missing.partition, missing.lower, missing.upper)
    returning * into made;
    for parent, leaf in
      values ('invoices', made.invoices_table), ('venue_day_deltas', made.deltas_table), ('venue_day_rollup', made.rollup_table)
    loop
      -- A rollup row is updated over and over: room on its page keeps the update out of the index.
      execute format(
        'create table warehouse.%I (like warehouse.%I including defaults including constraints including indexes)%s',
        leaf, parent, case parent when 'venue_day_rollup' then ' with (fillfactor = 85)' end);
      -- A partition does not have its parent's rights by itself, and a refresh names it. Invoices and deltas are written through the parent
      -- alone: then nobody but the owner writes to a partition that was detached.
      for held in
        select a.grantee::regrole as grantee, a.privilege_type as privilege
        from pg_class c
        cross join aclexplode(c.relacl) a
        where c.oid = format('warehouse.%I', parent)::regclass and a.grantee not in (0, c.relowner)
          and (parent = 'venue_day_rollup' or a.privilege_type = 'SELECT')
      loop
        execute format('grant %s on warehouse.%I to %s', held.privilege, leaf, held.grantee);
      end loop;
      -- ATTACH, not PARTITION OF: the latter takes ACCESS EXCLUSIVE on the parent and blocks every reader.
      execute format(
        'alter table warehouse.%I attach partition warehouse.%I for values from (%L) to (%L)',
        parent, leaf, missing.lower, missing.upper);
    end loop;
    return next missing.partition;
  end loop;
end $$;
