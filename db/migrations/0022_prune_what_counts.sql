-- What an undo kept of its load, the load says again once the undo is taken back. If that was of late, a later undo may need it: of a load that
-- came in between, and stands above it. So it is kept as long as the newest entry that turned the undo over. All else is as before.
create or replace function warehouse.prune_statements(out pruned_rows bigint, out kept_since timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  pruned_absences bigint;
begin
  -- LOCK.statements of db/locks.ts. In a statement of its own, so that the next ones see what the holder before committed.
  perform pg_advisory_xact_lock(0x526f6c39, 0);
  update warehouse.settings s
  set statements_kept_since = greatest(s.statements_kept_since, now() - make_interval(days => s.keep_statements_days))
  returning s.statements_kept_since into strict kept_since;
  with recursive turned (load_id, by) as (
    select u.undo_of, u.load_id from warehouse.loads u where u.undo_of is not null
    union all
    select t.load_id, u.load_id from turned t join warehouse.loads u on u.undo_of = t.by
  )
  delete from warehouse.statements s
  using warehouse.loads l
  where l.load_id = s.load_id and l.known_at <= kept_since
    and s.load_id not in (select t.load_id from turned t join warehouse.loads b on b.load_id = t.by where b.known_at > kept_since);
  get diagnostics pruned_rows = row_count;
  delete from warehouse.absences a
  using warehouse.loads l
  where l.load_id = a.load_id and l.known_at <= kept_since
    and (
      l.status = 'undone'
      or exists (
        select
        from warehouse.absences g
        join warehouse.loads of_g on of_g.load_id = g.load_id
        where g.created_on = a.created_on and g.venue_key = a.venue_key and g.invoice_ids is null
          and (g.synced_on, g.stated_by) > (a.synced_on, a.stated_by)
          and of_g.known_at <= kept_since and of_g.status <> 'undone'
          -- So whatever repair made void what it says of an invoice did so with the other, too.
          and of_g.known_at > l.known_at
      )
    );
  get diagnostics pruned_absences = row_count;
  pruned_rows := pruned_rows + pruned_absences;
end $$;