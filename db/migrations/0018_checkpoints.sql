-- As known on a moment, at a cost that follows the groups and not the loads (docs/design.md, "As known on"). A checkpoint says what the
-- groups were at a moment; what was known at any later moment is that, and the deltas since. Deltas are append-only and known_at increases
-- with every commit, so what a checkpoint says never changes.

-- What became known in a window, or a load, is found by load_id.
create index venue_day_deltas_load_id on warehouse.venue_day_deltas (load_id);
--> statement-breakpoint

create table warehouse.checkpoints (
  checkpoint_id integer primary key check (checkpoint_id >= 0),
  known_at timestamptz not null unique
);
--> statement-breakpoint
comment on table warehouse.checkpoints is 'Moments at which it is kept what the groups were (rollbook checkpoint). The first is that at which nothing was known.';
--> statement-breakpoint
comment on column warehouse.checkpoints.known_at is 'The moment: the known_at of an entry of the ledger.';
--> statement-breakpoint
insert into warehouse.checkpoints (checkpoint_id, known_at) values (0, '-infinity');
--> statement-breakpoint

-- Of each date a checkpoint has either all groups, a list, or by how much some of them have changed since the one before. list_id is the
-- last list up to then, so what the groups were at a checkpoint is found by equality, which the planner knows to be few rows.
create table warehouse.checkpoint_groups (
  created_on date not null,
  list_id integer not null,
  checkpoint_id integer not null check (checkpoint_id >= list_id),
  venue_key integer not null,
  invoices bigint not null,
  total numeric(24, 2) not null,
  primary key (created_on, list_id, checkpoint_id, venue_key),
  check (invoices <> 0 or total <> 0)
);
--> statement-breakpoint
comment on table warehouse.checkpoint_groups is 'What groups were at a checkpoint (where list_id is checkpoint_id), or by how much they had changed since the checkpoint before.';
--> statement-breakpoint
comment on column warehouse.checkpoint_groups.list_id is 'The last checkpoint up to this one that has all groups of the date.';
--> statement-breakpoint

create table warehouse.checkpoint_dates (
  created_on date primary key
);
--> statement-breakpoint
comment on table warehouse.checkpoint_dates is 'The dates of checkpoint_groups.';
--> statement-breakpoint

alter table warehouse.partitions add column checkpointed boolean not null default true;
--> statement-breakpoint
-- Some may still have their deltas in the live tables.
update warehouse.partitions set checkpointed = false where state = 'detached';
--> statement-breakpoint
comment on column warehouse.partitions.checkpointed is 'Whether the checkpoints hold its dates. If not, what was known is added up from all its deltas.';
--> statement-breakpoint

create view reports.checkpoints as
select checkpoint_id as checkpoint, known_at from warehouse.checkpoints;
--> statement-breakpoint
comment on view reports.checkpoints is 'Moments at which it is kept what the groups were. The first, -infinity, is that at which nothing was known.';
--> statement-breakpoint
comment on column reports.checkpoints.checkpoint is 'Its number, in the order of the moments.';
--> statement-breakpoint
comment on column reports.checkpoints.known_at is 'The moment.';
--> statement-breakpoint

-- Conditions on created_on and venue_id reach every scan. Nearly always the checkpoints hold all partitions: then the second part ends before
-- it begins. It looks loads up by an array, because the planner takes that for few rows, and starts no parallel workers for nothing.
create view reports.venue_daily_totals_at_checkpoints as
select p.known_at, v.venue_id, p.created_on, p.invoices, p.total
from (
  -- The last list of each date, and what has changed from it to the checkpoint.
  select c.known_at, g.created_on, g.venue_key, g.invoices, g.total
  from warehouse.checkpoints c
  cross join warehouse.checkpoint_dates dates
  cross join lateral (
    select max(l.list_id) as list_id
    from warehouse.checkpoint_groups l
    where l.created_on = dates.created_on and l.list_id <= c.checkpoint_id
  ) last
  join warehouse.checkpoint_groups g
    on g.created_on = dates.created_on and g.list_id = last.list_id and g.checkpoint_id <= c.checkpoint_id
  union all
  -- What was known then in partitions that the checkpoints do not hold.
  select c.known_at, d.created_on, d.venue_key, d.invoices, d.total
  from warehouse.checkpoints c
  cross join warehouse.partitions p
  cross join lateral (
    select array_agg(l.load_id) as load_ids from warehouse.loads l where l.known_at <= c.known_at
  ) known
  join warehouse.venue_day_deltas d
    on d.load_id = any (known.load_ids) and d.created_on >= p.lower and d.created_on < p.upper
  where not p.checkpointed
    and exists (select from warehouse.partitions missing where not missing.checkpointed)
) p
left join warehouse.venues v on v.venue_key = p.venue_key;
--> statement-breakpoint
comment on view reports.venue_daily_totals_at_checkpoints is 'What the groups were at each checkpoint, in pieces: of each group they add up to what reports.venue_daily_totals showed then.';
--> statement-breakpoint
comment on column reports.venue_daily_totals_at_checkpoints.known_at is 'The moment of the checkpoint.';
--> statement-breakpoint
comment on column reports.venue_daily_totals_at_checkpoints.venue_id is 'The venue.';
--> statement-breakpoint
comment on column reports.venue_daily_totals_at_checkpoints.created_on is 'Creation date of the invoices, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.venue_daily_totals_at_checkpoints.invoices is 'Number of invoices of the piece.';
--> statement-breakpoint
comment on column reports.venue_daily_totals_at_checkpoints.total is 'Sum of their totals, in euros.';
--> statement-breakpoint

-- Not reports.venue_daily_changes: to look up the ledger for each delta takes longer than all else.
create view reports.venue_daily_deltas as
select d.load_id, v.venue_id, d.created_on, d.invoices, d.total
from warehouse.venue_day_deltas d
left join warehouse.venues v on v.venue_key = d.venue_key;
--> statement-breakpoint
comment on view reports.venue_daily_deltas is 'reports.venue_daily_changes without what the ledger says of the load.';
--> statement-breakpoint
comment on column reports.venue_daily_deltas.load_id is 'The load that made the change.';
--> statement-breakpoint
comment on column reports.venue_daily_deltas.venue_id is 'The venue.';
--> statement-breakpoint
comment on column reports.venue_daily_deltas.created_on is 'Creation date of the invoices, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.venue_daily_deltas.invoices is 'Change of the number of invoices.';
--> statement-breakpoint
comment on column reports.venue_daily_deltas.total is 'Change of the total, in euros.';
--> statement-breakpoint

-- The last checkpoint up to the moment, and what the loads since have changed. Their numbers are an array, because the planner takes a range
-- between two values that it does not know for a ninth of all deltas; an array is some ten loads to it.
create or replace function reports.venue_daily_totals_as_known_on(known_at timestamptz)
returns table (venue_id text, created_on date, invoices bigint, total numeric)
language sql stable parallel safe
begin atomic
  select p.venue_id, p.created_on, sum(p.invoices)::bigint, sum(p.total)::numeric(24, 2)
  from (
    select t.venue_id, t.created_on, t.invoices, t.total
    from reports.venue_daily_totals_at_checkpoints t
    where t.known_at = (
      select max(c.known_at) from reports.checkpoints c where c.known_at <= venue_daily_totals_as_known_on.known_at
    )
    union all
    select d.venue_id, d.created_on, d.invoices, d.total
    from reports.venue_daily_deltas d
    where d.load_id = any (array(
      select l.load_id
      from reports.load_history l
      where l.known_at <= venue_daily_totals_as_known_on.known_at
        and l.known_at > (
          select max(c.known_at) from reports.checkpoints c where c.known_at <= venue_daily_totals_as_known_on.known_at
        )
    ))
  ) p
  group by p.venue_id, p.created_on
  having sum(p.invoices) <> 0;
end;
--> statement-breakpoint
create or replace function reports.venue_daily_totals_as_known_on(known_on date)
returns table (venue_id text, created_on date, invoices bigint, total numeric)
language sql stable parallel safe
begin atomic
  select p.venue_id, p.created_on, sum(p.invoices)::bigint, sum(p.total)::numeric(24, 2)
  from (
    select t.venue_id, t.created_on, t.invoices, t.total
    from reports.venue_daily_totals_at_checkpoints t
    where t.known_at = (
      select max(c.known_at)
      from reports.checkpoints c
      where c.known_at < ((known_on + 1)::timestamp at time zone (select s.time_zone from reports.warehouse_settings s))
    )
    union all
    select d.venue_id, d.created_on, d.invoices, d.total
    from reports.venue_daily_deltas d
    where d.load_id = any (array(
      select l.load_id
      from reports.load_history l
      where l.known_at < ((known_on + 1)::timestamp at time zone (select s.time_zone from reports.warehouse_settings s))
        and l.known_at > (
          select max(c.known_at)
          from reports.checkpoints c
          where c.known_at < ((known_on + 1)::timestamp at time zone (select s.time_zone from reports.warehouse_settings s))
        )
    ))
  ) p
  group by p.venue_id, p.created_on
  having sum(p.invoices) <> 0;
end;
--> statement-breakpoint

-- Who could ask what was known, may still.
do $$
declare
  guest text;
begin
  for guest in
    select case a.grantee when 0 then 'public' else a.grantee::regrole::text end
    from pg_class c
    cross join aclexplode(c.relacl) a
    where c.oid = 'reports.venue_daily_changes'::regclass and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
  loop
    execute format('grant select on reports.checkpoints, reports.venue_daily_totals_at_checkpoints, reports.venue_daily_deltas to %s', guest);
    execute format('grant select (load_id, known_at) on reports.load_history to %s', guest);
  end loop;
end $$;
--> statement-breakpoint

-- Adds to a checkpoint what became known after one moment, up to another, on dates of a range. make_checkpoint alone calls it, as the owner.
-- A date gets a list of all groups as soon as the changes since its last list are as many as that list has groups. So a question reads at
-- most twice the groups, and all lists together have at most as many rows as all changes. A list that would be empty is not made, because
-- nobody would find it.
create function warehouse.add_to_checkpoint(checkpoint integer, after timestamptz, up_to timestamptz, first_date date, date_after date)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  with net as (
    select d.created_on, d.venue_key, sum(d.invoices)::bigint as invoices, sum(d.total)::numeric(24, 2) as total
    from warehouse.venue_day_deltas d
    where d.load_id = any (array(select l.load_id from warehouse.loads l where l.known_at > after and l.known_at <= up_to))
      and d.created_on >= first_date and d.created_on < date_after
    group by d.created_on, d.venue_key
    having sum(d.invoices) <> 0 or sum(d.total) <> 0
  ),
  dates as (
    select n.created_on, last.list_id, n.changes + kept.changes >= kept.groups as is_due
    from (select created_on, count(*) as changes from net group by created_on) n
    cross join lateral (
      select max(g.list_id) as list_id from warehouse.checkpoint_groups g where g.created_on = n.created_on
    ) last
    cross join lateral (
      select count(*) filter (where g.checkpoint_id = g.list_id) as groups,
             count(*) filter (where g.checkpoint_id > g.list_id) as changes
      from warehouse.checkpoint_groups g
      where g.created_on = n.created_on and g.list_id = last.list_id
    ) kept
    where not exists (
      select from warehouse.partitions p
      where not p.checkpointed and n.created_on >= p.lower and n.created_on < p.upper
    )
  ),
  lists as (
    select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2) as total
    from (
      select n.created_on, n.venue_key, n.invoices, n.total
      from net n
      join dates d on d.created_on = n.created_on
      where d.is_due
      union all
      select g.created_on, g.venue_key, g.invoices, g.total
      from dates d
      join warehouse.checkpoint_groups g on g.created_on = d.created_on and g.list_id = d.list_id
      where d.is_due
    ) pieces
    group by created_on, venue_key
    having sum(invoices) <> 0 or sum(total) <> 0
  ),
  dated as (
    insert into warehouse.checkpoint_dates (created_on)
    select created_on from dates where list_id is null
    on conflict do nothing
  )
  insert into warehouse.checkpoint_groups (created_on, list_id, checkpoint_id, venue_key, invoices, total)
  select created_on, checkpoint, checkpoint, venue_key, invoices, total from lists
  union all
  select n.created_on, d.list_id, checkpoint, n.venue_key, n.invoices, n.total
  from net n
  join dates d on d.created_on = n.created_on
  where not exists (select from lists l where l.created_on = n.created_on)
  order by 1, 4;
end $$;
--> statement-breakpoint
comment on function warehouse.add_to_checkpoint(integer, timestamptz, timestamptz, date, date) is 'Adds what became known in a window, on some dates, to a checkpoint.';
--> statement-breakpoint

-- SECURITY DEFINER, because nobody but the owner may write checkpoints. It takes nothing: what it writes follows from the ledger.
create function warehouse.make_checkpoint(out checkpoint integer, out loads bigint, out partition text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set client_connection_check_interval = '2s'
as $$
declare
  missing warehouse.partitions;
  made warehouse.checkpoints;
  before warehouse.checkpoints;
  moment timestamptz;
begin
  -- LOCK.checkpoints of db/locks.ts: a partition that is detached or attached meanwhile waits. In a statement of its own, so that the next
  -- ones see what the holder before committed.
  perform pg_advisory_xact_lock(0x526f6c3c, 0);
  -- Of what has left nothing is in the live tables, so nothing is missing.
  update warehouse.partitions p
  set checkpointed = true
  where not p.checkpointed and p.state = 'detached'
    and not exists (
      select from pg_inherits i where i.inhrelid = to_regclass('warehouse.' || quote_ident(p.deltas_table))
    );
  -- A partition that came back. Not before all sessions know of it, this one too (migration 0006).
  select * into missing
  from warehouse.partitions p
  where not p.checkpointed and p.state <> 'detached' and p.announced
  order by p.lower
  limit 1;
  if found then
    update warehouse.partitions p set checkpointed = true where p.partition = missing.partition;
    moment := '-infinity';
    for made in select * from warehouse.checkpoints c where c.checkpoint_id > 0 order by c.checkpoint_id loop
      perform warehouse.add_to_checkpoint(made.checkpoint_id, moment, made.known_at, missing.lower, missing.upper);
      moment := made.known_at;
    end loop;
    partition := missing.partition;
    return;
  end if;
  select * into strict before from warehouse.checkpoints c order by c.checkpoint_id desc limit 1;
  -- Whatever commits from now on is known later than what this sees: the order of known_at is the order of the commits.
  select max(l.known_at), count(*) into moment, loads
  from (select l.known_at from warehouse.loads l where l.known_at > before.known_at order by l.known_at limit 240) l;
  if moment is null then
    loads := null;
    return;
  end if;
  checkpoint := before.checkpoint_id + 1;
  insert into warehouse.checkpoints (checkpoint_id, known_at) values (checkpoint, moment);
  perform warehouse.add_to_checkpoint(checkpoint, before.known_at, moment, '-infinity', 'infinity');
end $$;
--> statement-breakpoint
comment on function warehouse.make_checkpoint() is 'Makes the next checkpoint, of at most 240 entries of the ledger, or adds a partition that is attached again to all of them. Returns nulls where there is nothing to do.';
--> statement-breakpoint
revoke execute on function warehouse.make_checkpoint(), warehouse.add_to_checkpoint(integer, timestamptz, timestamptz, date, date) from public;
