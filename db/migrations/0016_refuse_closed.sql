-- Whether files may still change a period that is closed. Each load reads it anew, so it can be changed at any time.
alter table warehouse.settings add column refuse_closed boolean not null default false;
--> statement-breakpoint
create or replace view reports.warehouse_settings as
select time_zone, granularity, earliest, (select max(m.created_at) from warehouse.migrations m) as schema_version, day_starts,
       keep_statements_days, statements_kept_since, refuse_closed
from warehouse.settings;
--> statement-breakpoint
comment on column reports.warehouse_settings.refuse_closed is 'Whether lines for closed periods are rejected; else they are restatements.';
