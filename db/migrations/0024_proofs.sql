-- When each part of the warehouse was proved last, so that `verify --slice` proves what was not proved for longest (docs/design.md, "Proof by
-- slices"). No foreign key to the catalog: a proof must not wait for the row of a partition that is being refreshed.
create table warehouse.proofs (
  subject text not null check (subject in ('partition', 'ledger', 'checkpoints', 'closings')),
  partition_id integer not null default 0,
  proved_at timestamptz check (isfinite(proved_at)),
  proved_load integer,
  diverged_at timestamptz check (isfinite(diverged_at)),
  duration_ms bigint not null check (duration_ms >= 0),
  recorded_by text not null default session_user,
  primary key (subject, partition_id),
  check ((subject = 'partition') = (partition_id > 0)),
  check (proved_at is not null or diverged_at is not null)
);
--> statement-breakpoint
comment on table warehouse.proofs is 'When each part of the warehouse was proved last.';
--> statement-breakpoint
comment on column warehouse.proofs.subject is 'partition; ledger (its entries, and what there is of each load); checkpoints; closings (their digests).';
--> statement-breakpoint
comment on column warehouse.proofs.partition_id is 'Number of the partition; 0 where it is about another part.';
--> statement-breakpoint
comment on column warehouse.proofs.proved_at is 'When the last proof began that found nothing; null: none did yet.';
--> statement-breakpoint
comment on column warehouse.proofs.proved_load is 'The newest entry of the ledger that was known then. It and all that were known before are in the proof.';
--> statement-breakpoint
comment on column warehouse.proofs.diverged_at is 'When the last proof began, if it found something; null: it found nothing.';
--> statement-breakpoint
comment on column warehouse.proofs.duration_ms is 'How long the last proof took, in milliseconds.';
--> statement-breakpoint
comment on column warehouse.proofs.recorded_by is 'The login that the last proof ran with.';
--> statement-breakpoint

-- SECURITY DEFINER, so that who verifies can say that it was proved, and by which login, and no more: not for a time that is still to come, nor
-- up to a load that the ledger does not have. Of two proofs at once the one that began later counts.
create function warehouse.record_proof(
  subject text, partition_id integer, began_at timestamptz, known_load integer, took_ms bigint, diverged boolean
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  began constant timestamptz := least(record_proof.began_at, clock_timestamp());
begin
  if known_load is not null and not exists (select from warehouse.loads l where l.load_id = known_load and l.known_at is not null) then
    raise exception 'nothing can be proved up to load %, which is not known', known_load using errcode = 'invalid_parameter_value';
  end if;
  if record_proof.subject = 'partition' and not exists (
    select from warehouse.partitions p where p.partition_id = record_proof.partition_id and p.state <> 'detached'
  ) then
    return;
  end if;
  insert into warehouse.proofs as f (subject, partition_id, proved_at, proved_load, diverged_at, duration_ms, recorded_by)
  values (
    record_proof.subject, record_proof.partition_id, case when not diverged then began end, case when not diverged then known_load end,
    case when diverged then began end, took_ms, session_user
  )
  on conflict on constraint proofs_pkey do update
  set proved_at = coalesce(excluded.proved_at, f.proved_at),
      proved_load = case when excluded.proved_at is null then f.proved_load else excluded.proved_load end,
      diverged_at = excluded.diverged_at,
      duration_ms = excluded.duration_ms,
      recorded_by = excluded.recorded_by
  where greatest(f.proved_at, f.diverged_at) < began;
end $$;
--> statement-breakpoint
comment on function warehouse.record_proof(text, integer, timestamptz, integer, bigint, boolean) is 'Notes when a part of the warehouse was proved, or that it does not verify.';
--> statement-breakpoint
revoke execute on function warehouse.record_proof(text, integer, timestamptz, integer, bigint, boolean) from public;
--> statement-breakpoint

create or replace view reports.partition_freshness as
select p.partition, p.lower, p.upper, p.state, p.rollup_invoices, p.rollup_total, p.refreshed_at,
       q.changes as pending_changes, q.invoices as pending_invoices, q.total as pending_total,
       p.invoices_table, p.deltas_table, p.rollup_table,
       f.proved_at, f.proved_load, f.diverged_at
from warehouse.partitions p
left join warehouse.proofs f on f.subject = 'partition' and f.partition_id = p.partition_id
cross join lateral (
  select count(*) as changes, coalesce(sum(d.invoices), 0)::bigint as invoices,
         coalesce(sum(d.total), 0)::numeric(24, 2) as total
  from warehouse.venue_day_waiting d
  where d.created_on >= p.lower and d.created_on < p.upper
) q;
--> statement-breakpoint
comment on column reports.partition_freshness.proved_at is 'When the last proof of the partition began that found nothing (rollbook verify); null: none did yet.';
--> statement-breakpoint
comment on column reports.partition_freshness.proved_load is 'The newest entry of the ledger that was known then. It and all that were known before are in the proof.';
--> statement-breakpoint
comment on column reports.partition_freshness.diverged_at is 'When the last proof began, if it found something; null: it found nothing.';
--> statement-breakpoint

create view reports.proofs as
select s.subject, s.partition, f.proved_at, f.proved_load, f.diverged_at, f.duration_ms
from (
  select 'partition' as subject, p.partition_id, p.partition from warehouse.partitions p where p.state <> 'detached'
  union all
  values ('ledger', 0, null), ('checkpoints', 0, null)
  union all
  select 'closings', 0, null where exists (select from warehouse.closings)
) s
left join warehouse.proofs f on f.subject = s.subject and f.partition_id = s.partition_id;
--> statement-breakpoint
comment on view reports.proofs is 'Every part of the warehouse that rollbook verify proves, and when it was proved last. What is detached is left out.';
--> statement-breakpoint
comment on column reports.proofs.subject is 'partition; ledger (its entries, and what there is of each load); checkpoints; closings (their digests).';
--> statement-breakpoint
comment on column reports.proofs.partition is 'Name of the partition; null where it is about another part.';
--> statement-breakpoint
comment on column reports.proofs.proved_at is 'When the last proof began that found nothing; null: none did yet.';
--> statement-breakpoint
comment on column reports.proofs.proved_load is 'The newest entry of the ledger that was known then. It and all that were known before are in the proof.';
--> statement-breakpoint
comment on column reports.proofs.diverged_at is 'When the last proof began, if it found something; null: it found nothing.';
--> statement-breakpoint
comment on column reports.proofs.duration_ms is 'How long the last proof took, in milliseconds; null: it was never tried.';
