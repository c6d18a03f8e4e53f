-- PostgreSQL tells every session once that a table has a new partition. A session that is just reading the list of partitions when that
-- message comes can keep the list of before, until the next message about the table: it then misses the rows of the new partition, in
-- every query, for as long as it lives (seen on PostgreSQL 18.4; RelationBuildPartitionDesc). So there is a second message, in a
-- transaction after the one that attached, and no load uses a partition before it: DETACH CONCURRENTLY takes two steps for the same reason.
alter table warehouse.partitions add column announced boolean not null default true;
--> statement-breakpoint
alter table warehouse.partitions alter column announced set default false;
--> statement-breakpoint
comment on column warehouse.partitions.announced is 'Whether all sessions were told of its tables a second time. No load uses it before.';
--> statement-breakpoint

-- SECURITY DEFINER, because a load announces the partitions it made, and its role must not have DDL. It takes nothing and changes nothing:
-- the statistics targets are left at their default.
create function warehouse.announce_partitions()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  parents constant oid[] := array['warehouse.invoices'::regclass, 'warehouse.venue_day_deltas'::regclass, 'warehouse.venue_day_rollup'::regclass];
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
  alter table only warehouse.invoices alter column created_on set statistics -1;
  alter table only warehouse.venue_day_deltas alter column created_on set statistics -1;
  alter table only warehouse.venue_day_rollup alter column created_on set statistics -1;
end $$;
--> statement-breakpoint
comment on function warehouse.announce_partitions() is 'Tells all sessions a second time which partitions there are.';
--> statement-breakpoint
revoke execute on function warehouse.announce_partitions() from public;
