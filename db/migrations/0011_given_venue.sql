-- A source may give the venue of a whole file. Two venues may send the same bytes for the same day, and each of these drops counts.
alter table warehouse.loads add column venue_id text;
--> statement-breakpoint
drop index warehouse.loads_loaded_once;
--> statement-breakpoint
create unique index loads_loaded_once on warehouse.loads (sha256, synced_on, venue_id) nulls not distinct where status = 'loaded';
--> statement-breakpoint

create or replace view reports.load_history as
select load_id, file_name, encode(sha256, 'hex') as sha256, bytes, synced_on, status,
       read, inserted, corrected, unchanged, superseded, rejected, partitions, timings,
       started_at, finished_at, known_at, error_code, error_message,
       reasons, suspicious, retry_of,
       source, encode(source_sha256, 'hex') as source_sha256, skipped, summed, venue_id
from warehouse.loads;
--> statement-breakpoint
comment on column reports.load_history.venue_id is 'The venue of all its lines where the source gives it, as a constant or by the path of the file; else null.';
