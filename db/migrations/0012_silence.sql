-- Venues and sources that stop sending. All of it is read from what loads write anyway: the ledger says on which sync dates there were drops,
-- the deltas say on which of them one brought something new of a venue.

-- Today is the wall clock's date in the warehouse's zone, not the newest sync date of the ledger: on a day on which no file comes at all, every
-- venue grows silent by a day. Sync dates after it (a wrong name) do not count before their day, or they would hide the silence until then.
create view warehouse.today as
select (now() at time zone time_zone)::date as today
from warehouse.settings;
--> statement-breakpoint
comment on view warehouse.today is 'The date in the time zone of the warehouse, by the server''s clock.';
--> statement-breakpoint

-- Statuses by name: a repair brings nothing new, and 'failed' has deltas where what a load brought was lost and its drop was loaded again.
-- Last date and rhythm in two passes, which keep a row per venue, and 90 at most: one pass would keep each sync date of each venue since the
-- beginning. "materialized" keeps the second pass in one process. Partitioned tables have no statistics, so the number of groups by two columns
-- is guessed far too low, and a leader that adds up the groups of its workers then takes minutes for a million of them.
-- The mean of the gaps and not their median, because of those who send on Fridays, Saturdays and Sundays: their median is one day, and every
-- Thursday would be a silence.
create view reports.venue_activity as
with newest as materialized (
  select d.venue_key, max(l.synced_on) as last_synced_on
  from warehouse.venue_day_deltas d
  join warehouse.loads l on l.load_id = d.load_id
  where l.status in ('loaded', 'retry', 'failed') and l.synced_on <= (select today from warehouse.today)
  group by d.venue_key
),
rhythm as (
  select venue_key, count(*) as sync_dates, max(synced_on) - min(synced_on) as span
  from (
    select d.venue_key, l.synced_on
    from warehouse.venue_day_deltas d
    join warehouse.loads l on l.load_id = d.load_id
    join newest n on n.venue_key = d.venue_key
    where l.status in ('loaded', 'retry', 'failed')
      and l.synced_on > n.last_synced_on - 90 and l.synced_on <= n.last_synced_on
    group by d.venue_key, l.synced_on
  ) dates
  group by venue_key
)
select v.venue_id, a.last_created_on, a.last_synced_on,
       -- A drop that only confirms leaves its sync date on the invoices. They are read for those venues that are asked for: of one date, by the key.
       greatest(a.last_synced_on, g.last_given_on, (
         select max(i.synced_on)
         from warehouse.invoices i
         where i.created_on = a.last_created_on and i.venue_key = a.venue_key and i.synced_on <= a.today
       )) as last_seen_on,
       a.sync_dates, (a.span::numeric / nullif(a.sync_dates - 1, 0))::numeric(4, 1) as typical_days,
       a.today - a.last_synced_on as days_silent, a.silent_from, coalesce(a.silent_from <= a.today, false) as silent
from (
  select c.venue_key, c.last_created_on, n.last_synced_on, r.sync_dates, r.span, t.today,
         -- More than three times span / steps, in whole days.
         case when r.sync_dates > 1 then n.last_synced_on + greatest(2, 3 * r.span / (r.sync_dates - 1) + 1)::integer end as silent_from
  from (
    select venue_key, max(created_on) as last_created_on
    from warehouse.venue_day_totals
    group by venue_key
  ) c
  left join newest n on n.venue_key = c.venue_key
  left join rhythm r on r.venue_key = c.venue_key
  cross join warehouse.today t
) a
left join warehouse.venues v on v.venue_key = a.venue_key
-- Of a drop whose source gives its venue the ledger knows without any invoice.
left join (
  select l.venue_id, max(l.synced_on) as last_given_on
  from warehouse.loads l
  where l.venue_id is not null and l.status = 'loaded' and l.read > l.rejected
    and l.synced_on <= (select today from warehouse.today)
  group by l.venue_id
) g on g.venue_id = v.venue_id;
--> statement-breakpoint
comment on view reports.venue_activity is 'Every venue that has invoices: when it last sent something, how often it does, and for how long it has been silent. What is detached is not looked at.';
--> statement-breakpoint
comment on column reports.venue_activity.venue_id is 'The venue, as its drops name it.';
--> statement-breakpoint
comment on column reports.venue_activity.last_created_on is 'Creation date of its newest invoice.';
--> statement-breakpoint
comment on column reports.venue_activity.last_synced_on is 'Newest sync date, up to today, of a drop that brought something new of it: invoices, or another total. A drop that only confirms invoices brings nothing new.';
--> statement-breakpoint
comment on column reports.venue_activity.last_seen_on is 'Newest sync date, up to today, of a drop that is known to have named it, also if that only confirmed invoices: of last_created_on, or any where its source gives the venue. Later than last_synced_on: its drops come, and hold nothing new.';
--> statement-breakpoint
comment on column reports.venue_activity.sync_dates is 'On how many sync dates something new of it came, in the 90 days up to last_synced_on.';
--> statement-breakpoint
comment on column reports.venue_activity.typical_days is 'Days from one of these sync dates to the next, in the mean; null where there is one only.';
--> statement-breakpoint
comment on column reports.venue_activity.days_silent is 'Days from last_synced_on to today, the date in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.venue_activity.silent_from is 'When it counts as silent unless something new comes: the first date that is two days or more, and more than three times its typical days, after last_synced_on. Null where no rhythm is known.';
--> statement-breakpoint
comment on column reports.venue_activity.silent is 'Whether that date has come.';
--> statement-breakpoint

-- Nine in ten, because a source that rests on one day of the week has six in seven; and 21 dates, because of fewer than that it may have nine in
-- ten all the same. What is missing at the end is told from its second day on: the files of a date often come on the next day.
create view reports.missing_sync_dates as
with dates as (
  select distinct l.source, l.synced_on
  from warehouse.loads l
  where l.status = 'loaded' and l.synced_on > (select today from warehouse.today) - 90
    and l.synced_on <= (select today from warehouse.today)
),
daily as (
  select source, min(synced_on) as first_synced_on, max(synced_on) as last_synced_on
  from dates
  group by source
  having count(*) >= 21 and count(*) * 10 >= (max(synced_on) - min(synced_on) + 1) * 9
)
select s.source, g.missing::date as synced_on, t.today - g.missing::date as days_missing
from daily s
cross join warehouse.today t
cross join lateral generate_series(
  s.first_synced_on::timestamp, greatest(s.last_synced_on, t.today - 2)::timestamp, interval '1 day'
) as g (missing)
where not exists (
  select from dates d where d.source is not distinct from s.source and d.synced_on = g.missing::date
);
--> statement-breakpoint
comment on view reports.missing_sync_dates is 'Sync dates of the last 90 days of which a source that else comes daily has no loaded drop. Daily: 21 sync dates or more, and nine in ten from the first to the last of them.';
--> statement-breakpoint
comment on column reports.missing_sync_dates.source is 'Name of the source that reads the drops; null: drops of the drop format.';
--> statement-breakpoint
comment on column reports.missing_sync_dates.synced_on is 'The sync date of which there is no drop; up to the day before yesterday, or, with a drop of a later date, any.';
--> statement-breakpoint
comment on column reports.missing_sync_dates.days_missing is 'Days from that date to today, the date in the time zone of the warehouse.';
