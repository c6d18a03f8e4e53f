-- A source says how the files of one sender are read. The ledger keeps which one read a drop, how many of its records that source leaves out,
-- and how many of its lines were added to another line of their invoice.
alter table warehouse.loads
  add column source text,
  add column source_sha256 bytea,
  add column skipped bigint not null default 0,
  add column summed bigint not null default 0,
  add constraint loads_source_check check ((source is null) = (source_sha256 is null));
--> statement-breakpoint

create or replace view reports.load_history as
select load_id, file_name, encode(sha256, 'hex') as sha256, bytes, synced_on, status,
       read, inserted, corrected, unchanged, superseded, rejected, partitions, timings,
       started_at, finished_at, known_at, error_code, error_message,
       reasons, suspicious, retry_of,
       source, encode(source_sha256, 'hex') as source_sha256, skipped, summed
from warehouse.loads;
--> statement-breakpoint
comment on column reports.load_history.read is 'Lines read: the sum of inserted, corrected, unchanged, superseded, rejected and summed when the load is loaded.';
--> statement-breakpoint
comment on column reports.load_history.source is 'Name of the source that says how the drop is read; null: it was read as the drop format says.';
--> statement-breakpoint
comment on column reports.load_history.source_sha256 is 'SHA-256 of the text of that source, as it was then.';
--> statement-breakpoint
comment on column reports.load_history.skipped is 'Records that the source leaves out (keep, skip_when); they are not among those read.';
--> statement-breakpoint
comment on column reports.load_history.summed is 'Lines that were added to another line of their invoice (sum_rows).';
