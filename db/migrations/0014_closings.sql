-- What a period was when it was closed, so that everybody can see what has changed since. Rows only come: nobody but the owner can change or delete
-- one (db/roles/rights.ts), and each holds the digest of the one before, which the database keeps a chain: one that others follow cannot be
-- deleted, and two cannot follow the same one. The default of closed_by keeps anybody but the owner from closing in the name of somebody else.
create table warehouse.closings (
  closing_id integer primary key check (closing_id > 0),
  period text not null,
  first_date date not null,
  date_after date not null check (date_after > first_date),
  known_at timestamptz not null,
  groups bigint not null,
  invoices bigint not null,
  total numeric(24, 2) not null,
  sha256 bytea not null unique,
  previous_sha256 bytea references warehouse.closings (sha256),
  closed_by text not null default session_user,
  closed_at timestamptz not null default now(),
  unique nulls not distinct (previous_sha256),
  check ((closing_id = 1) = (previous_sha256 is null))
);
--> statement-breakpoint
comment on table warehouse.closings is 'What periods were when they were closed; append-only.';
--> statement-breakpoint
comment on column warehouse.closings.closing_id is 'Number of the closing: 1, 2, 3 and so on, without gaps.';
--> statement-breakpoint
comment on column warehouse.closings.period is 'Name of the period, for example 2026-10.';
--> statement-breakpoint
comment on column warehouse.closings.first_date is 'Its first creation date.';
--> statement-breakpoint
comment on column warehouse.closings.date_after is 'The first creation date after it.';
--> statement-breakpoint
comment on column warehouse.closings.known_at is 'The moment that is certified: exactly the loads that were known then count.';
--> statement-breakpoint
comment on column warehouse.closings.groups is 'Number of groups (venue and date) that had invoices.';
--> statement-breakpoint
comment on column warehouse.closings.invoices is 'Number of invoices.';
--> statement-breakpoint
comment on column warehouse.closings.total is 'Sum of their totals, in euros.';
--> statement-breakpoint
comment on column warehouse.closings.sha256 is 'SHA-256 of the list of all groups and of what this row says: docs/closing.md.';
--> statement-breakpoint
comment on column warehouse.closings.previous_sha256 is 'sha256 of the closing before; null for the first one.';
--> statement-breakpoint
comment on column warehouse.closings.closed_by is 'The user who closed it.';
--> statement-breakpoint
comment on column warehouse.closings.closed_at is 'When it was closed.';
--> statement-breakpoint

create view reports.closings as
select c.closing_id as closing, c.period, c.first_date, c.date_after, c.known_at, c.groups, c.invoices, c.total,
       encode(c.sha256, 'hex') as sha256, encode(c.previous_sha256, 'hex') as previous_sha256, c.closed_by, c.closed_at,
       (
         select min(n.closing_id)
         from warehouse.closings n
         where n.first_date = c.first_date and n.date_after = c.date_after and n.closing_id > c.closing_id
       ) as replaced_by
from warehouse.closings c;
--> statement-breakpoint
comment on view reports.closings is 'What periods were when they were closed (rollbook close).';
--> statement-breakpoint
comment on column reports.closings.closing is 'Number of the closing.';
--> statement-breakpoint
comment on column reports.closings.period is 'Name of the period, for example 2026-10.';
--> statement-breakpoint
comment on column reports.closings.first_date is 'Its first creation date.';
--> statement-breakpoint
comment on column reports.closings.date_after is 'The first creation date after it.';
--> statement-breakpoint
comment on column reports.closings.known_at is 'The moment that is certified: exactly the loads that were known then count.';
--> statement-breakpoint
comment on column reports.closings.groups is 'Number of groups (venue and date) that had invoices.';
--> statement-breakpoint
comment on column reports.closings.invoices is 'Number of invoices.';
--> statement-breakpoint
comment on column reports.closings.total is 'Sum of their totals, in euros.';
--> statement-breakpoint
comment on column reports.closings.sha256 is 'SHA-256 of the list of all groups and of what this row says, in hexadecimal.';
--> statement-breakpoint
comment on column reports.closings.previous_sha256 is 'sha256 of the closing before; null for the first one.';
--> statement-breakpoint
comment on column reports.closings.closed_by is 'The user who closed it.';
--> statement-breakpoint
comment on column reports.closings.closed_at is 'When it was closed.';
--> statement-breakpoint
comment on column reports.closings.replaced_by is 'Number of the next closing of the same dates; null for the newest one, which counts.';
--> statement-breakpoint

create view reports.restatements as
select r.closing, r.period, v.venue_id, r.created_on, r.then_invoices, r.then_total,
       r.then_invoices + r.invoices as now_invoices, (r.then_total + r.total)::numeric(24, 2) as now_total, r.invoices, r.total
from (
  select c.closing, c.period, d.created_on, d.venue_key,
         coalesce(sum(d.invoices) filter (where l.known_at <= c.known_at), 0)::bigint as then_invoices,
         coalesce(sum(d.total) filter (where l.known_at <= c.known_at), 0)::numeric(24, 2) as then_total,
         coalesce(sum(d.invoices) filter (where l.known_at > c.known_at), 0)::bigint as invoices,
         coalesce(sum(d.total) filter (where l.known_at > c.known_at), 0)::numeric(24, 2) as total
  from reports.closings c
  join warehouse.venue_day_deltas d on d.created_on >= c.first_date and d.created_on < c.date_after
  join warehouse.loads l on l.load_id = d.load_id
  where c.replaced_by is null
  group by c.closing, c.period, d.created_on, d.venue_key
) r
left join warehouse.venues v on v.venue_key = r.venue_key
where r.invoices <> 0 or r.total <> 0;
--> statement-breakpoint
comment on view reports.restatements is 'Groups of closed periods that are not what they were when the period was closed. Of several closings of the same dates the newest counts. What is detached is not looked at.';
--> statement-breakpoint
comment on column reports.restatements.closing is 'Number of the closing.';
--> statement-breakpoint
comment on column reports.restatements.period is 'Name of the period, for example 2026-10.';
--> statement-breakpoint
comment on column reports.restatements.venue_id is 'The venue.';
--> statement-breakpoint
comment on column reports.restatements.created_on is 'Creation date of the invoices, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.restatements.then_invoices is 'Number of invoices when the period was closed.';
--> statement-breakpoint
comment on column reports.restatements.then_total is 'Their total then, in euros.';
--> statement-breakpoint
comment on column reports.restatements.now_invoices is 'Number of invoices now.';
--> statement-breakpoint
comment on column reports.restatements.now_total is 'Their total now, in euros.';
--> statement-breakpoint
comment on column reports.restatements.invoices is 'By how much the number has changed.';
--> statement-breakpoint
comment on column reports.restatements.total is 'By how much the total has changed, in euros.';
--> statement-breakpoint

create view reports.restating_loads as
select c.closing, c.period, d.load_id, l.file_name, l.synced_on, l.known_at, v.venue_id, d.created_on, d.invoices, d.total
from reports.closings c
join warehouse.venue_day_deltas d on d.created_on >= c.first_date and d.created_on < c.date_after
join warehouse.loads l on l.load_id = d.load_id and l.known_at > c.known_at
left join warehouse.venues v on v.venue_key = d.venue_key
where c.replaced_by is null;
--> statement-breakpoint
comment on view reports.restating_loads is 'What each load (or undo, or repair) has changed in a closed period since it was closed. By group they add up to reports.restatements.';
--> statement-breakpoint
comment on column reports.restating_loads.closing is 'Number of the closing.';
--> statement-breakpoint
comment on column reports.restating_loads.period is 'Name of the period, for example 2026-10.';
--> statement-breakpoint
comment on column reports.restating_loads.load_id is 'The load.';
--> statement-breakpoint
comment on column reports.restating_loads.file_name is 'Name of its drop.';
--> statement-breakpoint
comment on column reports.restating_loads.synced_on is 'Sync date of its drop.';
--> statement-breakpoint
comment on column reports.restating_loads.known_at is 'From when on the reports show the change.';
--> statement-breakpoint
comment on column reports.restating_loads.venue_id is 'The venue.';
--> statement-breakpoint
comment on column reports.restating_loads.created_on is 'Creation date of the invoices, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.restating_loads.invoices is 'Change of the number of invoices.';
--> statement-breakpoint
comment on column reports.restating_loads.total is 'Change of the total, in euros.';
