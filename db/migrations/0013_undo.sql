-- A load can be taken back. So each statement about an invoice is kept that does not stand: then what stands without the load can be said.
-- A correction keeps what it overwrote in warehouse.corrections, as before; all other statements are kept here, an array for each group.
create table warehouse.statements (
  load_id integer not null,
  stated_by integer not null,
  synced_on date not null,
  same_as integer,
  created_on date not null,
  venue_key integer not null,
  invoice_ids uuid[] not null,
  created_at timestamptz[],
  total numeric(14, 2)[],
  check ((same_as is null) = (created_at is not null) and (same_as is null) = (total is not null)),
  check (
    cardinality(invoice_ids) > 0
    and (same_as is not null or cardinality(created_at) = cardinality(invoice_ids) and cardinality(total) = cardinality(invoice_ids))
  )
);
--> statement-breakpoint
-- Random ids do not get smaller.
alter table warehouse.statements alter column invoice_ids set storage external;
--> statement-breakpoint
create index statements_group on warehouse.statements (created_on, venue_key);
--> statement-breakpoint
create index statements_load_id on warehouse.statements (load_id);
--> statement-breakpoint
comment on table warehouse.statements is 'Statements about invoices that do not stand and that no correction overwrote, by group.';
--> statement-breakpoint
comment on column warehouse.statements.load_id is 'The entry of the ledger that kept them: the load that confirmed them, the load itself where it came too late, or an undo.';
--> statement-breakpoint
comment on column warehouse.statements.stated_by is 'The load whose statements they are.';
--> statement-breakpoint
comment on column warehouse.statements.synced_on is 'Its sync date.';
--> statement-breakpoint
comment on column warehouse.statements.same_as is 'The load that says the same of these invoices; null: the values are in the next columns.';
--> statement-breakpoint
comment on column warehouse.statements.created_on is 'Creation date of the invoices.';
--> statement-breakpoint
comment on column warehouse.statements.venue_key is 'Their venue.';
--> statement-breakpoint
comment on column warehouse.statements.invoice_ids is 'The invoices.';
--> statement-breakpoint
comment on column warehouse.statements.created_at is 'When they were created, one by one.';
--> statement-breakpoint
comment on column warehouse.statements.total is 'Their totals in euros, one by one.';
--> statement-breakpoint

-- An undo looks up what was overwritten in a group, and what a load overwrote: their numbers grow with the table.
create index corrections_group on warehouse.corrections (created_on, venue_key);
--> statement-breakpoint
create index corrections_load_id on warehouse.corrections using brin (load_id);
--> statement-breakpoint

alter table warehouse.loads
  add column undo_of integer,
  add column because text,
  add column decided_by text,
  add column removed bigint not null default 0;
--> statement-breakpoint
-- The retries of a load are undone with it, and so may an undo be.
alter table warehouse.loads
  drop constraint loads_status_check,
  drop constraint loads_retry_check,
  add constraint loads_status_check
    check (status in ('loaded', 'rejected', 'failed', 'repair', 'retry', 'undo', 'undone')),
  add constraint loads_retry_check check (
    case status when 'retry' then retry_of is not null when 'undone' then true else retry_of is null end
  ),
  add constraint loads_undo_check check (
    case status when 'undo' then undo_of is not null when 'undone' then true else undo_of is null end
    and (undo_of is null) = (because is null) and (undo_of is null) = (decided_by is null)
  );
--> statement-breakpoint
create index loads_undos on warehouse.loads (undo_of) where undo_of is not null;
--> statement-breakpoint

-- Of loads that are older than this migration the statements are not there.
alter table warehouse.settings
  add column keep_statements_days integer not null default 400 check (keep_statements_days > 0),
  add column statements_kept_since timestamptz not null default '-infinity';
--> statement-breakpoint
update warehouse.settings set statements_kept_since = now() where exists (select from warehouse.loads);
--> statement-breakpoint
create or replace view reports.warehouse_settings as
select time_zone, granularity, earliest, (select max(m.created_at) from warehouse.migrations m) as schema_version, day_starts,
       keep_statements_days, statements_kept_since
from warehouse.settings;
--> statement-breakpoint
comment on column reports.warehouse_settings.keep_statements_days is 'For how many days statements are kept that do not stand; so long can a load be undone.';
--> statement-breakpoint
comment on column reports.warehouse_settings.statements_kept_since is 'Loads that became known later can be undone.';
--> statement-breakpoint

create or replace view reports.load_history as
select load_id, file_name, encode(sha256, 'hex') as sha256, bytes, synced_on, status,
       read, inserted, corrected, unchanged, superseded, rejected, partitions, timings,
       started_at, finished_at, known_at, error_code, error_message,
       reasons, suspicious, retry_of,
       source, encode(source_sha256, 'hex') as source_sha256, skipped, summed, venue_id,
       undo_of, because, decided_by, removed
from warehouse.loads;
--> statement-breakpoint
comment on column reports.load_history.status is 'loaded; rejected (refused as a whole); failed (rolled back); repair (an adjustment made by verify --repair); retry (what came in of rejected lines, by rejects retry); undo (it took an entry back); undone (an undo took it back).';
--> statement-breakpoint
comment on column reports.load_history.undo_of is 'Of an undo: the entry that it took back.';
--> statement-breakpoint
comment on column reports.load_history.because is 'Of an undo: why.';
--> statement-breakpoint
comment on column reports.load_history.decided_by is 'Of an undo: the user who decided it.';
--> statement-breakpoint
comment on column reports.load_history.removed is 'Invoices that an undo took out, because no other load states them. Its corrected have another value since, its unchanged are stated by another load, its inserted came back.';
--> statement-breakpoint

-- SECURITY DEFINER, because the daily job may run as the loader, who must not delete statements. It takes nothing: what goes follows from the
-- settings, which are the owner's.
create function warehouse.prune_statements(out pruned_rows bigint, out kept_since timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- LOCK.statements of db/locks.ts. In a statement of its own, so that the next ones see what the holder before committed.
  perform pg_advisory_xact_lock(0x526f6c39, 0);
  update warehouse.settings s
  set statements_kept_since = greatest(s.statements_kept_since, now() - make_interval(days => s.keep_statements_days))
  returning s.statements_kept_since into strict kept_since;
  delete from warehouse.statements s
  using warehouse.loads l
  where l.load_id = s.load_id and l.known_at <= kept_since;
  get diagnostics pruned_rows = row_count;
end $$;
--> statement-breakpoint
comment on function warehouse.prune_statements() is 'Deletes the statements that were kept longer ago than the settings say.';
--> statement-breakpoint
revoke execute on function warehouse.prune_statements() from public;
--> statement-breakpoint

-- What was taken back did not arrive.
create or replace view reports.late_arrivals as
select c.load_id, c.file_name, c.synced_on, c.venue_id, c.created_on, c.synced_on - c.created_on as days_late, c.invoices, c.total
from reports.venue_daily_changes c
join warehouse.loads l on l.load_id = c.load_id
where c.synced_on - c.created_on >= 2 and l.status <> 'undone';
--> statement-breakpoint

-- An undo changes entries that are finished. Who may write the column removed may do that: the owner, and the steward where there are roles
-- (db/roles/rights.ts). The policies ask for that right and name no role, so they hold whichever roles there are. An undo is entered in the
-- name of who enters it.
alter policy loads_are_entered on warehouse.loads with check (
  case status
    when 'undo' then decided_by = session_user and has_column_privilege('warehouse.loads'::regclass, 'removed', 'update')
    else status <> 'undone'
  end
);
--> statement-breakpoint
alter policy finished_loads_stay on warehouse.loads
  using (finished_at is null or has_column_privilege('warehouse.loads'::regclass, 'removed', 'update'));
--> statement-breakpoint
-- A trigger, because a policy cannot compare old and new; it fires for these changes alone, so no load meets it.
create function warehouse.guard_finished_loads()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  changed constant text := new.status;
begin
  if pg_has_role(current_user, (select c.relowner from pg_class c where c.oid = tg_relid), 'usage') then
    return new;
  end if;
  new.status := old.status;
  if old.finished_at is null or new is distinct from old
     or not (changed = 'undone' and old.status in ('loaded', 'retry', 'repair', 'undo')
             or changed in ('loaded', 'retry') and old.status = 'undone') then
    raise exception 'an entry of the ledger that is finished is marked as undone, or as loaded again, and else it is changed by the owner of the warehouse alone'
      using errcode = 'insufficient_privilege';
  end if;
  new.status := changed;
  return new;
end $$;
--> statement-breakpoint
create trigger guard_finished_loads
before update on warehouse.loads
for each row
when (old.finished_at is not null or new.status <> old.status and new.status in ('undo', 'undone'))
execute function warehouse.guard_finished_loads();
--> statement-breakpoint
revoke execute on function warehouse.guard_finished_loads() from public;
