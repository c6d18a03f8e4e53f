-- Venues by a left join. Every key has its venue, so the rows are the same; but a query that does not ask for venue_id is then planned
-- without the join, which costs a report over all venues more than all else (1.4 times the bare rollup became 1.1 times). Should
-- somebody delete a venue by hand, its euros still count.
create or replace view reports.venue_daily_totals as
select v.venue_id, t.created_on, t.invoices, t.total
from warehouse.venue_day_totals t
left join warehouse.venues v on v.venue_key = t.venue_key;
--> statement-breakpoint

create or replace view reports.venue_monthly_totals as
select v.venue_id, t.month, t.invoices, t.total
from (
  select venue_key, date_trunc('month', created_on)::date as month,
         sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2) as total
  from warehouse.venue_day_totals
  group by venue_key, date_trunc('month', created_on)::date
) t
left join warehouse.venues v on v.venue_key = t.venue_key;
--> statement-breakpoint

create or replace view reports.venue_totals as
select v.venue_id, t.invoices, t.total
from (
  select venue_key, sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2) as total
  from warehouse.venue_day_totals
  group by venue_key
) t
left join warehouse.venues v on v.venue_key = t.venue_key;
--> statement-breakpoint

create or replace view reports.venue_daily_changes as
select l.known_at, d.load_id, l.file_name, l.synced_on, v.venue_id, d.created_on, d.invoices, d.total
from warehouse.venue_day_deltas d
join warehouse.loads l on l.load_id = d.load_id
left join warehouse.venues v on v.venue_key = d.venue_key;
