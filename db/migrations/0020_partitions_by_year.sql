-- Daily partitions stand in a table of their year. PostgreSQL reads the list of all partitions of a table whenever one is attached to it, and in
-- each session that plans a query over it. With ten years of days side by side one more took 0.3 s, and all of them half an hour. With a table
-- for each year between, either costs what a year has. Years that have days beside each other already stay as they are.
create function warehouse.partition_parent(parent text, day date)
returns regclass
language sql stable
begin atomic
  select coalesce(
    to_regclass(format('warehouse.%I', partition_parent.parent || '_y' || extract(year from partition_parent.day))),
    format('warehouse.%I', partition_parent.parent)::regclass);
end;
--> statement-breakpoint
comment on function warehouse.partition_parent(text, date) is 'The table that the partition of a date is attached to: that of its year, where there is one, else that of all.';
--> statement-breakpoint
revoke execute on function warehouse.partition_parent(text, date) from public;
--> statement-breakpoint

-- As before, but for the tables of years.
create or replace function warehouse.open_partitions(dates date[])
returns setof text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD'
set client_connection_check_interval = '2s'
as $$
declare
  unit text;
  first_date date;
  missing record;
  made warehouse.partitions;
  parent text;
  leaf text;
  held record;
  year date;
  by_year boolean;
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
    year := date_trunc('year', missing.lower::timestamp)::date;
    -- The first of its year: another one may stand beside the years already, so that its year cannot be attached.
    by_year := unit = 'day' and not exists (
      select from warehouse.partitions p where p.lower >= year and p.lower < (year + interval '1 year')::date
    );
    insert into warehouse.partitions (partition, lower, upper) values (missing.partition, missing.lower, missing.upper)
    returning * into made;
    for parent, leaf in
      values ('invoices', made.invoices_table), ('venue_day_deltas', made.deltas_table), ('venue_day_rollup', made.rollup_table)
    loop
      if by_year then
        execute format(
          'create table warehouse.%I (like warehouse.%I including defaults including constraints including indexes) partition by range (created_on)',
          parent || '_y' || extract(year from year), parent);
        execute format(
          'alter table warehouse.%I attach partition warehouse.%I for values from (%L) to (%L)',
          parent, parent || '_y' || extract(year from year), year, (year + interval '1 year')::date);
      end if;
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
        'alter table %s attach partition warehouse.%I for values from (%L) to (%L)',
        warehouse.partition_parent(parent, missing.lower), leaf, missing.lower, missing.upper);
    end loop;
    return next missing.partition;
  end loop;
end $$;
--> statement-breakpoint

-- As before, and the tables of the years, whose lists of partitions changed, too.
create or replace function warehouse.announce_partitions()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  parents constant oid[] := array['warehouse.invoices'::regclass, 'warehouse.venue_day_deltas'::regclass, 'warehouse.venue_day_rollup'::regclass];
  changed regclass;
begin
  -- LOCK.ensurePartitions of db/locks.ts.
  perform pg_advisory_xact_lock(0x526f6c32, 0);
  -- A session can keep the old list if it was planning when the partition was attached. Planning takes milliseconds, unless the machine is
  -- busy; so statements that use these tables get 0.2 s to end. Who has no right to see another session's state takes it for busy.
  for attempt in 1 .. 20 loop
    exit when not exists (
      select from pg_locks l
      join pg_stat_activity a using (pid)
      where l.locktype = 'relation' and l.relation = any (parents) and a.datname = current_database()
        and l.pid <> pg_backend_pid() and coalesce(a.state, 'active') = 'active');
    perform pg_sleep(0.01);
    perform pg_stat_clear_snapshot();
  end loop;
  -- Any change of a table's own catalog rows is such a message. ONLY: its partitions are not meant.
  for changed in
    select unnest(parents)::regclass
    union
    select warehouse.partition_parent(p.parent, n.lower)
    from warehouse.partitions n
    cross join (values ('invoices'), ('venue_day_deltas'), ('venue_day_rollup')) as p (parent)
    where not n.announced
    order by 1
  loop
    execute format('alter table only %s alter column created_on set statistics -1', changed);
  end loop;
end $$;
