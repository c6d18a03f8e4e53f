-- An invoice that was taken out and came back has no correction of its coming back. So what a correction said is what the next one overwrote,
-- or what stands, only if that is a statement of the same load. Else it is what was kept of that load's statement. Where nothing was, the
-- value is still the same unless the load took invoices out: another load has confirmed it. Of an undone load that is not known.
-- What was kept is looked for only where it is needed.
create or replace view reports.corrections as
select c.venue_id, c.created_on, c.invoice_id, c.load_id, c.known_at, c.undone,
       c.old_load_id, c.old_created_at, c.old_total,
       (
         case when n.load_id = c.stated_by then n.total else coalesce(
           (
             select s.total[array_position(s.invoice_ids, c.invoice_id)]
             from warehouse.statements s
             where s.created_on = c.created_on and s.venue_key = c.venue_key and s.stated_by = c.stated_by
               and s.total is not null and c.invoice_id = any (s.invoice_ids)
             limit 1
           ),
           case when not (c.undone or c.takes_out) or exists (
             select from warehouse.statements s
             where s.created_on = c.created_on and s.venue_key = c.venue_key and s.stated_by = c.stated_by
               and c.invoice_id = any (s.invoice_ids)
           ) then n.total end
         ) end
       )::numeric(14, 2) as new_total
from (
  select v.venue_id, o.created_on, o.venue_key, o.invoice_id, o.load_id, l.known_at, l.status = 'undone' as undone,
         o.old_load_id, o.old_created_at, o.old_total,
         coalesce(l.retry_of, o.load_id) as stated_by, l.absent > 0 or l.status = 'repair' as takes_out,
         lead(o.old_load_id) over correction as next_load_id, lead(o.old_total) over correction as next_total
  from warehouse.corrections o
  join warehouse.loads l on l.load_id = o.load_id
  join warehouse.venues v on v.venue_key = o.venue_key
  -- A condition on venue and date reaches the scan of corrections, because they are keys of the window.
  window correction as (partition by v.venue_id, o.created_on, o.invoice_id order by l.known_at)
) c
left join warehouse.invoices i
  on i.created_on = c.created_on and i.venue_key = c.venue_key and i.invoice_id = c.invoice_id
cross join lateral (
  select coalesce(c.next_load_id, i.load_id) as load_id, coalesce(c.next_total, i.total) as total
) n;
--> statement-breakpoint
comment on column reports.corrections.new_total is 'Its total as the correction left it, in euros; null where the invoice was taken out, or what the load said was pruned.';
