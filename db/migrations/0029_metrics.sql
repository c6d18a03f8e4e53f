-- What metrics need that the reports lack (docs/monitoring.md): counters that never go back, whatever is undone or pruned.

-- How long refreshes took, by the bounds of reports.refresh_times. They are written with the other columns that a refresh writes anyway.
-- The check keeps a refresh from meeting what it cannot count on.
alter table warehouse.partitions
  add column refresh_counts bigint[] not null default '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}',
  add column refresh_micros bigint[] not null default '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}',
  add constraint partitions_refresh_times_check check (
    array_dims(refresh_counts) = '[1:15]' and array_dims(refresh_micros) = '[1:15]'
    and array_position(refresh_counts, null) is null and array_position(refresh_micros, null) is null
    and 0 <= all (refresh_counts) and 1000000000000000 >= all (refresh_counts)
    and 0 <= all (refresh_micros) and 1000000000000000 >= all (refresh_micros)
  );
--> statement-breakpoint

create view reports.refresh_times as
select b.up_to_seconds, coalesce(sum(p.refresh_counts[b.bucket]), 0)::bigint as refreshes,
       (coalesce(sum(p.refresh_micros[b.bucket]), 0) / 1000000)::numeric(24, 6) as seconds
from (
  values (1, 0.01::double precision), (2, 0.025), (3, 0.05), (4, 0.1), (5, 0.25), (6, 0.5), (7, 1), (8, 2.5), (9, 5), (10, 10), (11, 30),
         (12, 60), (13, 300), (14, 1800), (15, 'Infinity')
) as b (bucket, up_to_seconds)
left join warehouse.partitions p on true
group by b.up_to_seconds;
--> statement-breakpoint
comment on view reports.refresh_times is 'How many refreshes took how long, since refreshes are counted. What waits for other refreshes, and what the commit takes, is left out.';
--> statement-breakpoint
comment on column reports.refresh_times.up_to_seconds is 'Greatest number of seconds that these took; they took longer than the one before.';
--> statement-breakpoint
comment on column reports.refresh_times.refreshes is 'Number of refreshes of a partition that took that long.';
--> statement-breakpoint
comment on column reports.refresh_times.seconds is 'Seconds that these refreshes took together.';
--> statement-breakpoint

create or replace view reports.load_history as
select load_id, file_name, encode(sha256, 'hex') as sha256, bytes, synced_on, status,
       read, inserted, corrected, unchanged, superseded, rejected, partitions, timings,
       started_at, finished_at, known_at, error_code, error_message,
       reasons, suspicious, retry_of,
       source, encode(source_sha256, 'hex') as source_sha256, skipped, summed, venue_id,
       undo_of, because, decided_by, removed, voided, absent,
       case
         when undo_of is not null then 'undo'
         when retry_of is not null then 'retry'
         when status = 'undone' and sha256 is null then 'repair'
         when status = 'undone' or error_code = 'loaded_again' then 'loaded'
         else status
       end as entered_as
from warehouse.loads;
--> statement-breakpoint
comment on column reports.load_history.entered_as is 'What the entry was at first, and stays whatever is undone or loaded again: loaded, rejected, failed, retry, undo or repair.';
