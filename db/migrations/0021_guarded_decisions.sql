-- Only what is open can be dismissed: else somebody could decide on lines of a load to come, and nobody would hear of them. The lock keeps a retry
-- from reading the lines meanwhile; it is LOCK.decideRejects of db/locks.ts, and the next statement sees what its holder before committed.
create function warehouse.guard_dismissals()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock(0x526f6c3a, coalesce((select l.retry_of from warehouse.loads l where l.load_id = new.load_id), new.load_id));
  if not exists (select from reports.open_rejects o where o.load_id = new.load_id and o.reason = new.reason)
     and not pg_has_role(current_user, (select c.relowner from pg_class c where c.oid = tg_relid), 'usage') then
    raise exception 'load % has no open lines that are %, so they cannot be dismissed', new.load_id, new.reason
      using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
--> statement-breakpoint
revoke execute on function warehouse.guard_dismissals() from public;
--> statement-breakpoint
create trigger guard_dismissals
before insert on warehouse.dismissals
for each row
execute function warehouse.guard_dismissals();
--> statement-breakpoint

-- reports.open_rejects takes the reasons apart: of what is no list of reasons nobody could read it any more.
alter table warehouse.loads add constraint loads_reasons_check check (
  jsonb_typeof(reasons) = 'array'
  and not jsonb_path_exists(reasons, '$[*] ? (
    @.type() != "object"
    || @.count.type() != "number" || @.count.floor() != @.count || @.count.abs() > 1000000000000000
    || @.line.type() != "number" || @.line.floor() != @.line || @.line.abs() > 1000000000000000
    || @.totals.type() != "number" || @.totals.floor() != @.totals || @.totals.abs() > 1000000000000000
    || @.total.type() != "null" && @.total.type() != "string"
    || @.total.type() == "string" && !(@.total like_regex "^-?[0-9]{1,22}([.][0-9]{1,2})?$")
  )')
);
--> statement-breakpoint

-- That the rows of a load were lost (loaded_again, etl/load/claim.ts) is the owner's to say: verify asks less of such a load.
alter policy loads_are_entered on warehouse.loads with check (
  case
    when status = 'undo' then decided_by = session_user and has_column_privilege('warehouse.loads'::regclass, 'removed', 'update')
    when status in ('rejected', 'failed') then true
    else status in ('loaded', 'retry')
  end
  and (finished_at is null or status in ('rejected', 'failed'))
  and error_code is distinct from 'loaded_again'
);
--> statement-breakpoint
alter policy finished_loads_stay on warehouse.loads with check (error_code is distinct from 'loaded_again');
--> statement-breakpoint

-- What is not announced an undo does not find; that a partition is to be announced again, only an attach says.
create or replace function warehouse.guard_partition_state()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_has_role(current_user, (select c.relowner from pg_class c where c.oid = tg_relid), 'usage') then
    raise exception 'a partition is detached, attached, dropped or announced anew by the owner of the warehouse alone'
      using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger guard_partition_announced
before update of announced on warehouse.partitions
for each row
when (old.announced and not new.announced)
execute function warehouse.guard_partition_state();
