-- What the pages of `rollbook serve` need that the reports lack (docs/console.md).

-- The catalog of PostgreSQL is joined by name: a cast to regclass would want the right to the schema warehouse, which the reader has not.
create view reports.partition_sizes as
select p.partition, coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint as bytes
from warehouse.partitions p
left join (
  pg_class c
  join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'warehouse'
) on c.relname in (p.invoices_table, p.deltas_table, p.rollup_table)
group by p.partition;
--> statement-breakpoint
comment on view reports.partition_sizes is 'Every partition, and what its tables take on the disk.';
--> statement-breakpoint
comment on column reports.partition_sizes.partition is 'Name of the partition, for example 2026-10.';
--> statement-breakpoint
comment on column reports.partition_sizes.bytes is 'Bytes of its invoices, deltas and rollup, with their indexes; 0 when they are gone.';
--> statement-breakpoint

create view reports.dismissed_rejects as
select d.load_id, l.file_name, l.source, d.reason, r."column" as column_name, r.count as lines, r.total,
       d.because, d.dismissed_by, d.dismissed_at
from warehouse.dismissals d
join warehouse.loads l on l.load_id = d.load_id
left join lateral jsonb_to_recordset(l.reasons) as r (
  reason text, "column" text, count bigint, total numeric(24, 2)
) on r.reason = d.reason;
--> statement-breakpoint
comment on view reports.dismissed_rejects is 'Rejected lines that somebody has dismissed, by load and reason: they stay out. See rollbook rejects dismiss.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.load_id is 'The load that rejected them.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.file_name is 'Name of its drop.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.source is 'Name of the source that read it; null: the drop format.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.reason is 'Why they were rejected.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.column_name is 'The column at fault.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.lines is 'How many lines.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.total is 'Sum of the totals that could be read, in euros.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.because is 'Why they stay out.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.dismissed_by is 'The user who decided it.';
--> statement-breakpoint
comment on column reports.dismissed_rejects.dismissed_at is 'When.';
