-- From a total down to its invoices, and to what each of them was before. The reports had the groups alone.
create view reports.invoices as
select v.venue_id, i.created_on, i.created_at, i.invoice_id, i.total, i.load_id, i.synced_on
from warehouse.invoices i
join warehouse.venues v on v.venue_key = i.venue_key;
--> statement-breakpoint
comment on view reports.invoices is 'Every invoice, as it stands. Ask for some creation dates: there are many.';
--> statement-breakpoint
comment on column reports.invoices.venue_id is 'The venue, as its drops name it.';
--> statement-breakpoint
comment on column reports.invoices.created_on is 'Creation date, in the time zone of the warehouse (reports.warehouse_settings).';
--> statement-breakpoint
comment on column reports.invoices.created_at is 'When it was created.';
--> statement-breakpoint
comment on column reports.invoices.invoice_id is 'Its id. The same id may stand under several venues and dates.';
--> statement-breakpoint
comment on column reports.invoices.total is 'Its total, in euros.';
--> statement-breakpoint
comment on column reports.invoices.load_id is 'The load whose statement stands.';
--> statement-breakpoint
comment on column reports.invoices.synced_on is 'Sync date of that load''s drop.';
--> statement-breakpoint

-- What a correction said is what the next one overwrote, or what stands. Of one that is undone neither is true: the undo kept what it said,
-- until that is pruned. A condition on venue and date reaches the scan of corrections, because they are keys of the window.
create view reports.corrections as
select c.venue_id, c.created_on, c.invoice_id, c.load_id, c.known_at, c.undone,
       c.old_load_id, c.old_created_at, c.old_total,
       (case when c.undone then u.total else coalesce(c.next_total, i.total) end)::numeric(14, 2) as new_total
from (
  select v.venue_id, o.created_on, o.venue_key, o.invoice_id, o.load_id, l.known_at, l.status = 'undone' as undone,
         o.old_load_id, o.old_created_at, o.old_total,
         lead(o.old_total) over (partition by v.venue_id, o.created_on, o.invoice_id order by l.known_at) as next_total
  from warehouse.corrections o
  join warehouse.loads l on l.load_id = o.load_id
  join warehouse.venues v on v.venue_key = o.venue_key
) c
left join warehouse.invoices i
  on i.created_on = c.created_on and i.venue_key = c.venue_key and i.invoice_id = c.invoice_id
left join lateral (
  select s.total[array_position(s.invoice_ids, c.invoice_id)] as total
  from warehouse.statements s
  where c.undone and s.created_on = c.created_on and s.venue_key = c.venue_key and s.stated_by = c.load_id
    and s.total is not null and c.invoice_id = any (s.invoice_ids)
  limit 1
) u on true;
--> statement-breakpoint
comment on view reports.corrections is 'What was overwritten of an invoice, by which load, and by what. Ask for some creation dates: there are many.';
--> statement-breakpoint
comment on column reports.corrections.venue_id is 'The venue of the invoice.';
--> statement-breakpoint
comment on column reports.corrections.created_on is 'Its creation date, in the time zone of the warehouse.';
--> statement-breakpoint
comment on column reports.corrections.invoice_id is 'Its id.';
--> statement-breakpoint
comment on column reports.corrections.load_id is 'The load that corrected it, or took it out.';
--> statement-breakpoint
comment on column reports.corrections.known_at is 'From when on the reports show that.';
--> statement-breakpoint
comment on column reports.corrections.undone is 'Whether that load was undone since, and its correction does not count.';
--> statement-breakpoint
comment on column reports.corrections.old_load_id is 'The load whose statement stood before.';
--> statement-breakpoint
comment on column reports.corrections.old_created_at is 'When the invoice was created, as it said.';
--> statement-breakpoint
comment on column reports.corrections.old_total is 'Its total as it was before, in euros.';
--> statement-breakpoint
comment on column reports.corrections.new_total is 'Its total as the correction left it, in euros; null where the invoice was taken out, or the statement of an undone load was pruned.';
