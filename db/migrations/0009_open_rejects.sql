-- What was rejected explains itself in the ledger, and stays a question until somebody answers it: what cannot be read is retried by new rules, or dismissed.
alter table warehouse.loads
  add column reasons jsonb not null default '[]',
  add column suspicious text[] not null default '{}',
  add column retry_of integer;
--> statement-breakpoint
-- The summaries are made as the lines are read. Of earlier loads, cells and totals are not known.
update warehouse.loads l
set reasons = found.reasons
from (
  select load_id, jsonb_agg(jsonb_build_object(
           'reason', reason, 'column', column_name, 'count', count, 'line', line,
           'cell', null, 'total', null, 'totals', 0, 'createdOn', null, 'remedy', null) order by line) as reasons
  from (
    select load_id, reason, min(column_name) as column_name, count(*) as count, min(line) as line
    from warehouse.rejects
    group by load_id, reason
  ) counted
  group by load_id
) found
where l.load_id = found.load_id;
--> statement-breakpoint
alter table warehouse.loads
  drop constraint loads_status_check,
  add constraint loads_status_check check (status in ('loaded', 'rejected', 'failed', 'repair', 'retry')),
  add constraint loads_retry_check check ((status = 'retry') = (retry_of is not null));
--> statement-breakpoint
create index loads_with_rejects on warehouse.loads (load_id) where rejected > 0;
--> statement-breakpoint
create index loads_retries on warehouse.loads (retry_of) where retry_of is not null;
--> statement-breakpoint

-- Nobody but the owner can change or delete a decision (db/roles/rights.ts), or enter one in the name of somebody else.
create table warehouse.dismissals (
  load_id integer not null,
  reason text not null,
  because text not null,
  dismissed_by text not null default session_user,
  dismissed_at timestamptz not null default clock_timestamp(),
  primary key (load_id, reason)
);
--> statement-breakpoint

create or replace view reports.load_history as
select load_id, file_name, encode(sha256, 'hex') as sha256, bytes, synced_on, status,
       read, inserted, corrected, unchanged, superseded, rejected, partitions, timings,
       started_at, finished_at, known_at, error_code, error_message,
       reasons, suspicious, retry_of
from warehouse.loads;
--> statement-breakpoint
comment on column reports.load_history.status is 'loaded; rejected (refused as a whole); failed (rolled back); repair (an adjustment made by verify --repair); retry (what came in of rejected lines, by rejects retry).';
--> statement-breakpoint
comment on column reports.load_history.reasons is 'What was rejected, by reason: count, first line and cell, sum of the totals that could be read, and remedy.';
--> statement-breakpoint
comment on column reports.load_history.suspicious is 'Why the rejects may be more than single bad lines: one_reason, much_money, one_day_after_sync.';
--> statement-breakpoint
comment on column reports.load_history.retry_of is 'Of a retry: the load whose rejected lines were read again.';
--> statement-breakpoint

-- A retry reads all lines of a drop that are open, and rejects again what it cannot take: so only the newest one has open lines.
create view reports.open_rejects as
select l.load_id, l.file_name, l.synced_on, r.reason, r."column" as column_name, r.count as lines,
       r.line as first_line, r.cell as first_cell, r.total, r.totals as totals_read, r.remedy,
       l.finished_at as rejected_at
from warehouse.loads l
left join warehouse.loads root on root.load_id = l.retry_of
cross join lateral jsonb_to_recordset(l.reasons) as r (
  reason text, "column" text, count bigint, line bigint, cell text, total numeric(24, 2), totals bigint, remedy text
)
where l.rejected > 0
  and coalesce(root.status, l.status) = 'loaded'
  and not exists (
    select from warehouse.loads later
    where later.retry_of = coalesce(l.retry_of, l.load_id) and later.load_id > l.load_id
  )
  and not exists (
    select from warehouse.dismissals d where d.load_id = l.load_id and d.reason = r.reason
  );
--> statement-breakpoint
comment on view reports.open_rejects is 'Rejected lines of loaded drops that nobody has decided on, by load and reason. See rollbook rejects.';
--> statement-breakpoint
comment on column reports.open_rejects.load_id is 'The load that rejected them.';
--> statement-breakpoint
comment on column reports.open_rejects.file_name is 'Name of its drop.';
--> statement-breakpoint
comment on column reports.open_rejects.synced_on is 'Sync date of its drop.';
--> statement-breakpoint
comment on column reports.open_rejects.reason is 'Why they were rejected.';
--> statement-breakpoint
comment on column reports.open_rejects.column_name is 'The column at fault.';
--> statement-breakpoint
comment on column reports.open_rejects.lines is 'How many lines.';
--> statement-breakpoint
comment on column reports.open_rejects.first_line is 'Number of the first of them.';
--> statement-breakpoint
comment on column reports.open_rejects.first_cell is 'What stands in its column, at most 200 characters.';
--> statement-breakpoint
comment on column reports.open_rejects.total is 'Sum of the totals that could be read, in euros.';
--> statement-breakpoint
comment on column reports.open_rejects.totals_read is 'How many totals could be read.';
--> statement-breakpoint
comment on column reports.open_rejects.remedy is 'What to do, by what the cells look like.';
--> statement-breakpoint
comment on column reports.open_rejects.rejected_at is 'When they were rejected.';
