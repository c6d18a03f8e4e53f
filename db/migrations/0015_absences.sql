-- That an invoice is not there is a statement, too, with the rank of its load: a file that holds all invoices of a venue's day
-- says it of those that it does not name, and a line may say it of its own. What a load says so is kept here and stays, whatever stands.
create table warehouse.absences (
  load_id integer not null,
  stated_by integer not null,
  synced_on date not null,
  created_on date not null,
  venue_key integer not null,
  invoice_ids uuid[],
  check (cardinality(invoice_ids) > 0)
);
--> statement-breakpoint
alter table warehouse.absences alter column invoice_ids set storage external;
--> statement-breakpoint
create index absences_group on warehouse.absences (created_on, venue_key);
--> statement-breakpoint
create index absences_load_id on warehouse.absences (load_id);
--> statement-breakpoint
comment on table warehouse.absences is 'Statements that invoices are not there, by group.';
--> statement-breakpoint
comment on column warehouse.absences.load_id is 'The entry of the ledger that brought them. They count unless it is undone.';
--> statement-breakpoint
comment on column warehouse.absences.stated_by is 'The load whose statements they are: of a retry the load whose lines it read again.';
--> statement-breakpoint
comment on column warehouse.absences.synced_on is 'Its sync date.';
--> statement-breakpoint
comment on column warehouse.absences.created_on is 'Creation date of the invoices.';
--> statement-breakpoint
comment on column warehouse.absences.venue_key is 'Their venue.';
--> statement-breakpoint
comment on column warehouse.absences.invoice_ids is 'The invoices; null: all of the group that the load does not name.';
--> statement-breakpoint

-- A load of a later sync date need not look at absences.
alter table warehouse.partitions add column absent_until date;
--> statement-breakpoint
comment on column warehouse.partitions.absent_until is 'Greatest sync date of an absence in the partition; null: there was none.';
--> statement-breakpoint

-- Not removed, which only who may undo may write (migration 0013).
alter table warehouse.loads
  add column voided bigint not null default 0,
  add column absent bigint not null default 0;
--> statement-breakpoint
create or replace view reports.load_history as
select load_id, file_name, encode(sha256, 'hex') as sha256, bytes, synced_on, status,
       read, inserted, corrected, unchanged, superseded, rejected, partitions, timings,
       started_at, finished_at, known_at, error_code, error_message,
       reasons, suspicious, retry_of,
       source, encode(source_sha256, 'hex') as source_sha256, skipped, summed, venue_id,
       undo_of, because, decided_by, removed, voided, absent
from warehouse.loads;
--> statement-breakpoint
comment on column reports.load_history.voided is 'Lines that say of their invoice that it is void.';
--> statement-breakpoint
comment on column reports.load_history.absent is 'Invoices that this load took out, because as of it they are absent: their lines are void, or the file holds all invoices of their venue and date and does not name them.';
--> statement-breakpoint
comment on column reports.load_history.read is 'Lines read: the sum of inserted, corrected, unchanged, superseded, rejected, summed and voided when the load is loaded.';
--> statement-breakpoint

-- Loads of the time before cannot be undone any more. So what an undone one of them said never counts again, and of a group nothing matters that
-- a greater and later snapshot of that time covers.
create or replace function warehouse.prune_statements(out pruned_rows bigint, out kept_since timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  pruned_absences bigint;
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
  delete from warehouse.absences a
  using warehouse.loads l
  where l.load_id = a.load_id and l.known_at <= kept_since
    and (
      l.status = 'undone'
      or exists (
        select
        from warehouse.absences g
        join warehouse.loads of_g on of_g.load_id = g.load_id
        where g.created_on = a.created_on and g.venue_key = a.venue_key and g.invoice_ids is null
          and (g.synced_on, g.stated_by) > (a.synced_on, a.stated_by)
          and of_g.known_at <= kept_since and of_g.status <> 'undone'
          -- So whatever repair made void what it says of an invoice did so with the other, too.
          and of_g.known_at > l.known_at
      )
    );
  get diagnostics pruned_absences = row_count;
  pruned_rows := pruned_rows + pruned_absences;
end $$;
--> statement-breakpoint
comment on function warehouse.prune_statements() is 'Deletes the statements that were kept longer ago than the settings say, and absences of that time that nothing can depend on.';
