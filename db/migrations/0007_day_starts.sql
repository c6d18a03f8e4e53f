-- A business day may start later than the calendar's: sales after midnight belong to the evening before. A creation date is that of the wall
-- clock, less this time.
alter table warehouse.settings
  add column day_starts text not null default '00:00' check (day_starts ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$');
--> statement-breakpoint

create or replace view reports.warehouse_settings as
select time_zone, granularity, earliest, (select max(m.created_at) from warehouse.migrations m) as schema_version, day_starts
from warehouse.settings;
--> statement-breakpoint
comment on column reports.warehouse_settings.day_starts is 'Time of the wall clock, HH:MM, when a business day starts: invoices before it have the creation date of the day before.';
--> statement-breakpoint
comment on column reports.warehouse_settings.time_zone is 'Time zone in which a creation instant becomes a creation date (less day_starts).';
--> statement-breakpoint
comment on column reports.venue_daily_totals.created_on is 'Creation date of the invoices: the business day, in the time zone of the warehouse (reports.warehouse_settings).';
