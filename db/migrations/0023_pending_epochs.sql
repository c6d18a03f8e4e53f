-- Nothing looks at the rows of the queue that a refresh has taken (docs/design.md, "The queue"). While somebody holds a transaction open, vacuum
-- may not take them away, and every report walked through all of them: 17 times as long after 2,000 small loads. So each row has the epoch in
-- which it was entered, and is found by it; below the floor there is nothing left.

create sequence warehouse.pending_epoch as integer;
--> statement-breakpoint
select setval('warehouse.pending_epoch', 1);
--> statement-breakpoint

create table warehouse.pending_floor (
  only_row boolean primary key default true check (only_row),
  epoch integer not null,
  as_of pg_lsn not null
);
--> statement-breakpoint
comment on table warehouse.pending_floor is 'All that was entered in the queue in an epoch before this one is in the rollup.';
--> statement-breakpoint
comment on column warehouse.pending_floor.as_of is 'Where the write-ahead log was when that was looked at last.';
--> statement-breakpoint
insert into warehouse.pending_floor (epoch, as_of) values (0, '0/0');
--> statement-breakpoint

-- Not as the default of the column that is added: that would write all rows anew. What names no epoch is entered in the current one.
alter table warehouse.venue_day_pending add column epoch integer not null default 0;
--> statement-breakpoint
alter table warehouse.venue_day_pending alter column epoch set default pg_sequence_last_value('warehouse.pending_epoch');
--> statement-breakpoint
comment on column warehouse.venue_day_pending.epoch is 'The epoch in which it was entered: the value of the sequence pending_epoch, read while the table was locked to be written.';
--> statement-breakpoint
-- The epoch first, so that what was taken is no part of what is read. There are few epochs, so a group is found by as few steps.
create index venue_day_pending_epoch on warehouse.venue_day_pending (epoch, created_on, venue_key);
--> statement-breakpoint
drop index warehouse.venue_day_pending_group;
--> statement-breakpoint

create view warehouse.venue_day_waiting as
select p.created_on, p.venue_key, p.invoices, p.total
from warehouse.venue_day_pending p
where p.epoch >= (select f.epoch from warehouse.pending_floor f);
--> statement-breakpoint
comment on view warehouse.venue_day_waiting is 'What is pending.';
--> statement-breakpoint

-- As in 0001, but for the floor.
create or replace view warehouse.venue_day_totals as
select r.created_on, r.venue_key, r.invoices, r.total
from warehouse.venue_day_rollup r
where not exists (select from warehouse.venue_day_waiting)
union all
select r.created_on, r.venue_key, r.invoices, r.total
from warehouse.venue_day_rollup r
where exists (select from warehouse.venue_day_waiting)
  and not exists (
    select from warehouse.venue_day_waiting p where p.created_on = r.created_on and p.venue_key = r.venue_key
  )
union all
select created_on, venue_key, sum(invoices)::bigint, sum(total)::numeric(24, 2)
from (
  select created_on, venue_key, invoices, total
  from warehouse.venue_day_waiting
  union all
  select r.created_on, r.venue_key, r.invoices, r.total
  from warehouse.venue_day_rollup r
  where exists (
    select from warehouse.venue_day_waiting p where p.created_on = r.created_on and p.venue_key = r.venue_key
  )
) changing
group by created_on, venue_key
having sum(invoices) <> 0;
--> statement-breakpoint

create or replace view reports.partition_freshness as
select p.partition, p.lower, p.upper, p.state, p.rollup_invoices, p.rollup_total, p.refreshed_at,
       q.changes as pending_changes, q.invoices as pending_invoices, q.total as pending_total,
       p.invoices_table, p.deltas_table, p.rollup_table
from warehouse.partitions p
cross join lateral (
  select count(*) as changes, coalesce(sum(d.invoices), 0)::bigint as invoices,
         coalesce(sum(d.total), 0)::numeric(24, 2) as total
  from warehouse.venue_day_waiting d
  where d.created_on >= p.lower and d.created_on < p.upper
) q;
--> statement-breakpoint

-- Raises the floor as far as everything below is gone, for good. Who enters something in the queue reads the epoch while he holds the lock that
-- writing the table takes. So once a new epoch has begun and nobody holds that lock, nothing can be entered in an earlier one any more; and what
-- the next statement does not see of them was taken. It waits for nobody: where somebody is writing just now, nothing is raised.
create function warehouse.raise_pending_floor()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  floor integer;
  begun integer;
  oldest integer;
begin
  -- With one snapshot for all statements, what was committed meanwhile would be taken for gone.
  if current_setting('transaction_isolation') <> 'read committed' then return; end if;
  select f.epoch into floor from warehouse.pending_floor f for update skip locked;
  if not found then return; end if;
  for look in 1..2 loop
    -- The first look spares an epoch.
    if look = 2 then begun := nextval('warehouse.pending_epoch'); end if;
    if exists (
      select
      from pg_locks l
      where l.locktype = 'relation' and l.relation = 'warehouse.venue_day_pending'::regclass
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and l.mode = 'RowExclusiveLock' and l.granted
        and l.pid is distinct from pg_backend_pid()
    ) then return; end if;
  end loop;
  select min(p.epoch) into oldest from warehouse.venue_day_pending p where p.epoch >= floor and p.epoch < begun;
  -- Only where somebody has set the sequence back is the floor not below it: then there is none until the next time.
  update warehouse.pending_floor
  set epoch = case when floor >= begun then 0 else least(begun, oldest) end, as_of = pg_current_wal_lsn();
end $$;
--> statement-breakpoint
comment on function warehouse.raise_pending_floor() is 'Notes up to which epoch everything that was pending was taken.';
--> statement-breakpoint
revoke execute on function warehouse.raise_pending_floor() from public;
