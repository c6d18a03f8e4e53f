-- What roles with rights of their own need (db/roles.ts grants them): a way to new partitions without DDL, entries of the ledger that stay
-- as they are, states that the owner alone decides, and nothing that everybody may do. docs/security.md, "Roles".

-- SECURITY DEFINER, because a load needs partitions and its role must not have DDL. Dates are all it takes: names and bounds follow from the
-- settings, so whoever calls it can make the partitions of this warehouse and nothing else. search_path and datestyle are pinned: neither
-- names nor dates depend on the caller's session.
create function warehouse.open_partitions(dates date[])
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
  parent text;
  leaf text;
  held record;
begin
  -- LOCK.ensurePartitions of db/client.ts. In a statement of its own, so that the next ones see what the holder before committed.
  perform pg_advisory_xact_lock(0x526f6c32, 0);
  select s.granularity, s.earliest into strict unit, first_date from warehouse.settings s;
  for missing in
    with wanted as (
      select distinct date_trunc(unit, given.day::timestamp)::date as lower
      from unnest(dates) as given (day)
      where given.day is not null
    ),
    ranges as (
      select w.lower,
             (w.lower + case unit when 'quarter' then interval '3 months' else ('1 ' || unit)::interval end)::date as upper,
             to_char(w.lower, case unit
               when 'day' then 'YYYY-MM-DD'
               when 'week' then 'IYYY-"W"IW'
               when 'month' then 'YYYY-MM'
               when 'quarter' then 'YYYY-"Q"Q'
               when 'year' then 'YYYY'
             end) as partition
      from wanted w
    )
    select r.partition, r.lower, r.upper
    from ranges r
    where not exists (select from warehouse.partitions p where p.partition = r.partition)
    order by r.lower
  loop
    if not isfinite(missing.lower) or missing.upper <= first_date then
      raise exception 'no partition is made for dates before %, the earliest of this warehouse, or without end: %', first_date, missing.lower
        using errcode = 'invalid_parameter_value';
    end if;
    foreach parent in array array['invoices', 'venue_day_deltas', 'venue_day_rollup'] loop
      leaf := parent || '_' || lower(replace(missing.partition, '-', '_'));
      -- A rollup row is updated over and over: room on its page keeps the update out of the index.
      execute format(
        'create table warehouse.%I (like warehouse.%I including defaults including constraints including indexes)%s',
        leaf, parent, case parent when 'venue_day_rollup' then ' with (fillfactor = 85)' end);
      -- A partition does not have its parent's rights by itself, and a refresh names it. Invoices and deltas are written by way of the parent
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
    insert into warehouse.partitions (partition, lower, upper) values (missing.partition, missing.lower, missing.upper);
    return next missing.partition;
  end loop;
end $$;
--> statement-breakpoint
comment on function warehouse.open_partitions(date[]) is 'Makes the partitions of these dates that are missing; returns their names.';
--> statement-breakpoint

-- What a load enters in the ledger is final with its commit: everybody but the owner may change an entry only until it is finished, and take none away.
alter table warehouse.loads enable row level security;
--> statement-breakpoint
create policy ledger_is_read on warehouse.loads for select using (true);
--> statement-breakpoint
create policy loads_are_entered on warehouse.loads for insert with check (true);
--> statement-breakpoint
create policy finished_loads_stay on warehouse.loads for update using (finished_at is null) with check (true);
--> statement-breakpoint

-- Who refreshes and verifies says of a partition that it is stale, or no longer; that it left, or is back, is the owner's to say. A trigger, because a policy
-- cannot compare old and new; it fires for these changes alone, so no load and hardly a refresh ever meets it.
create function warehouse.guard_partition_state()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_has_role(current_user, (select c.relowner from pg_class c where c.oid = tg_relid), 'usage') then
    raise exception 'a partition is detached, attached or dropped by the owner of the warehouse alone'
      using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger guard_partition_state
before update of state on warehouse.partitions
for each row
when (old.state is distinct from new.state and not (old.state in ('open', 'stale') and new.state in ('open', 'stale')))
execute function warehouse.guard_partition_state();
--> statement-breakpoint

-- Who may not look into schema warehouse can tell from here whether a program and the warehouse belong together.
create or replace view reports.warehouse_settings as
select time_zone, granularity, earliest, (select max(m.created_at) from warehouse.migrations m) as schema_version
from warehouse.settings;
--> statement-breakpoint
comment on column reports.warehouse_settings.schema_version is 'The newest migration of the warehouse, in milliseconds since 1970.';
--> statement-breakpoint

-- Everybody may execute a new function. These are for those who were let into the schema.
revoke execute on function warehouse.open_partitions(date[]), warehouse.guard_partition_state() from public;
--> statement-breakpoint
revoke execute on function reports.venue_daily_totals_as_known_on(timestamptz), reports.venue_daily_totals_as_known_on(date) from public;
--> statement-breakpoint
do $$
declare
  guest text;
begin
  for guest in
    select case a.grantee when 0 then 'public' else a.grantee::regrole::text end
    from pg_namespace n
    cross join aclexplode(n.nspacl) a
    where n.nspname = 'reports' and a.privilege_type = 'USAGE' and a.grantee <> n.nspowner
  loop
    execute format('grant execute on all functions in schema reports to %s', guest);
  end loop;
end $$;
