-- From when on an entry is known is the database's to say. The lock makes the order of known_at the order of the commits: it is LOCK.knownAt of
-- db/locks.ts, and the next statement sees what its holder before committed. SECURITY DEFINER, so that nobody else may write the column.
create function warehouse.set_known_at()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock(0x526f6c35, 0);
  new.known_at := greatest(clock_timestamp(), (select max(l.known_at) from warehouse.loads l) + interval '1 microsecond');
  return new;
end $$;
--> statement-breakpoint
comment on function warehouse.set_known_at() is 'Gives an entry that is finished its place in the order of all.';
--> statement-breakpoint
revoke execute on function warehouse.set_known_at() from public;
--> statement-breakpoint
create trigger set_known_at
before update on warehouse.loads
for each row
when (old.finished_at is null and new.finished_at is not null and new.status not in ('rejected', 'failed'))
execute function warehouse.set_known_at();
--> statement-breakpoint

-- Who is not the owner enters loads, refusals, failures and retries; an undo who may undo; nobody else a repair. What counts is entered open
-- and finished afterwards, so that it gets its place.
alter policy loads_are_entered on warehouse.loads with check (
  case
    when status = 'undo' then decided_by = session_user and has_column_privilege('warehouse.loads'::regclass, 'removed', 'update')
    when status in ('rejected', 'failed') then true
    else status in ('loaded', 'retry')
  end
  and (finished_at is null or status in ('rejected', 'failed'))
);
--> statement-breakpoint
drop trigger guard_finished_loads on warehouse.loads;
--> statement-breakpoint
create trigger guard_finished_loads
before update on warehouse.loads
for each row
when (old.finished_at is not null or new.status <> old.status and new.status in ('undo', 'undone', 'repair'))
execute function warehouse.guard_finished_loads();
--> statement-breakpoint

-- A call for very many partitions ends soon after its client is gone.
alter function warehouse.open_partitions(date[]) set client_connection_check_interval = '2s';
