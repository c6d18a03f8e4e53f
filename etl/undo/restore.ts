/**
 * The short ways of an undo, for a load that came in last. If it brought nothing but new invoices, nobody else states
 * these, and one pass takes them out. If it brought none, it took each of its invoices over from another load, and kept
 * what it replaced: one pass gives them back. Both lock the invoices as they go.
 */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { byKey } from "../../db/plans.ts";
import { absences, corrections, invoices, loads, statements } from "../../db/schema.ts";
import { changedPartitions, eachValue, oldValues, recordNet, values } from "../load/net.ts";
import type { UndoClaim } from "./claim.ts";
import { readSettled, type Settled, type SettledRow } from "./settled.ts";
import { GROUPS, inRanges, isSameKey, KEY, type Range } from "./tables.ts";

/**
 * Whether no other statement about the groups was kept since the load became known, and nothing undone. Then what
 * the load replaced, which was the newest of that time, is the newest of the others still.
 */
export async function isLastToKeep(
  tx: Transaction,
  { kind, subject, family, hasAbsences, isPruned }: UndoClaim,
): Promise<boolean> {
  // What came too late may stand since another load was undone, and retries say more than once.
  if (kind !== "load" || subject.superseded > 0 || family.length > 1 || hasAbsences || isPruned) return false;
  const isLater = sql`l.known_at > ${subject.knownAt}::timestamptz`;
  const { rows } = await tx.db.execute<{ last: boolean }>(sql`
    select not exists (select from ${loads} l where ${isLater} and l.undo_of is not null)
       and not exists (
         select
         from ${GROUPS} g
         join ${statements} s on s.created_on = g.created_on and s.venue_key = g.venue_key
         join ${loads} l on l.load_id = s.load_id
         where ${isLater}
       )
       and not exists (
         select
         from ${GROUPS} g
         join ${corrections} c on c.created_on = g.created_on and c.venue_key = g.venue_key
         join ${loads} l on l.load_id = c.load_id
         where ${isLater}
       ) as last`);
  return rows[0]?.last === true;
}

/**
 * Takes out the invoices that a load brought, or gives them back to the loads that it took them from. What others
 * commit while it waits for them is seen afterwards: then all is rolled back to a savepoint.
 *
 * @returns undefined where that does not say what stands; nothing is changed then
 */
export async function tryRestore(
  tx: Transaction,
  claim: UndoClaim & { readonly undoId: number },
  ranges: readonly Range[],
): Promise<Settled | undefined> {
  const { inserted, corrected, unchanged } = claim.subject;
  const takenOver = corrected + unchanged;
  if ((inserted > 0 && takenOver > 0) || !(await isLastToKeep(tx, claim)) || (await hasAbsentGroups(tx)))
    return undefined;
  await tx.db.execute(sql`savepoint restore`);
  const settled = await byKey(tx, () =>
    inserted > 0 ? remove(tx, claim, ranges) : restore(tx, claim, ranges),
  );
  const { rows } = settled;
  const isWhole = rows.removed === inserted && rows.corrected + rows.unchanged === takenOver;
  if (isWhole && (await isLastToKeep(tx, claim))) return settled;
  await tx.db.execute(sql`rollback to savepoint restore`);
  return undefined;
}

/** Whether anything was ever said to be absent in the groups. */
async function hasAbsentGroups(tx: Transaction): Promise<boolean> {
  const found = await tx.db.execute(sql`
    select
    from ${GROUPS} g
    join ${absences} a on a.created_on = g.created_on and a.venue_key = g.venue_key
    limit 1`);
  return found.rows.length > 0;
}

async function remove(
  tx: Transaction,
  { subject, undoId }: UndoClaim & { readonly undoId: number },
  ranges: readonly Range[],
): Promise<Settled> {
  const { loadId, syncedOn } = subject;
  const { rows } = await tx.db.execute<SettledRow>(sql`
    with removed as (
      delete from ${invoices} i
      using (select created_on, venue_key from ${GROUPS} order by created_on, venue_key) g
      where i.created_on = g.created_on and i.venue_key = g.venue_key and i.load_id = ${loadId}
        and ${inRanges(sql`i.created_on`, ranges)}
      returning i.created_on, i.venue_key, i.invoice_id, ${eachValue((value) => sql`i.${value}`)}
    ),
    kept as (
      insert into ${statements}
        (load_id, stated_by, synced_on, created_on, venue_key, invoice_ids, ${values()})
      select ${undoId}::integer, ${loadId}::integer, ${syncedOn}::date, created_on, venue_key, array_agg(invoice_id),
             ${eachValue((value) => sql`array_agg(${value})`)}
      from removed
      group by created_on, venue_key
    ),
    net as (
      select created_on, venue_key, -count(*) as invoices, -sum(total) as total
      from removed
      group by created_on, venue_key
    ),
    ${recordNet(undoId)}
    select count(*) as removed, 0 as inserted, 0 as corrected, 0 as unchanged,
           (select count(*) from net) as groups,
           (select coalesce(sum(invoices), 0) from net) as invoices,
           (select coalesce(sum(total), 0)::numeric(24, 2)::text from net) as total,
           ${changedPartitions()} as partitions
    from removed`);
  return readSettled(rows);
}

/** What a load replaced, by key; of what it confirmed the values are those that stand (`is_same`). */
export function replacedBy(loadId: number): SQL {
  return sql`
      select c.created_on, c.venue_key, c.invoice_id, c.old_load_id as load_id, c.old_synced_on as synced_on,
             ${eachValue((value, oldValue) => sql`c.${oldValue} as ${value}`)}, false as is_same
      from ${corrections} c
      where c.load_id = ${loadId}
      union all
      select s.created_on, s.venue_key, unnest(s.invoice_ids), s.stated_by, s.synced_on,
             ${eachValue((value) => sql`null as ${value}`)}, true
      from ${statements} s
      where s.load_id = ${loadId}`;
}

async function restore(
  tx: Transaction,
  { subject, undoId }: UndoClaim & { readonly undoId: number },
  ranges: readonly Range[],
): Promise<Settled> {
  const { loadId } = subject;
  const valuesOf = (row: SQL) => eachValue((value) => sql`${row}.${value}`);
  const { rows } = await tx.db.execute<SettledRow>(sql`
    with replaced as (${replacedBy(loadId)}),
    changed as (
      update ${invoices} i
      set ${eachValue((value) => sql`${value} = case when r.is_same then i.${value} else r.${value} end`)},
          load_id = r.load_id, synced_on = r.synced_on
      from (select * from replaced order by ${KEY}) r
      where ${isSameKey(sql`i`, sql`r`)} and i.load_id = ${loadId} and ${inRanges(sql`i.created_on`, ranges)}
      returning i.created_on, i.venue_key, i.invoice_id, new.load_id, new.total,
                old.load_id as old_load_id, old.synced_on as old_synced_on,
                ${eachValue((value, oldValue) => sql`old.${value} as ${oldValue}`)},
                (${valuesOf(sql`old`)}) is distinct from (${valuesOf(sql`new`)}) as differs
    ),
    kept as (
      insert into ${statements}
        (load_id, stated_by, synced_on, same_as, created_on, venue_key, invoice_ids, ${values()})
      select ${undoId}::integer, old_load_id, old_synced_on, same_as, created_on, venue_key, array_agg(invoice_id),
             ${eachValue((_, oldValue) => sql`case when same_as is null then array_agg(${oldValue}) end`)}
      from (
        select ${KEY}, old_load_id, old_synced_on, ${oldValues()}, case when not differs then load_id end as same_as
        from changed
      ) old
      group by created_on, venue_key, old_load_id, old_synced_on, same_as
    ),
    net as (
      select created_on, venue_key, 0::bigint as invoices, sum(total) - sum(old_total) as total
      from changed
      where differs
      group by created_on, venue_key
      having sum(total) <> sum(old_total)
    ),
    ${recordNet(undoId)}
    select 0 as removed, 0 as inserted,
           count(*) filter (where differs) as corrected,
           count(*) filter (where not differs) as unchanged,
           (select count(*) from net) as groups,
           0 as invoices,
           (select coalesce(sum(total), 0)::numeric(24, 2)::text from net) as total,
           ${changedPartitions()} as partitions
    from changed`);
  return readSettled(rows);
}
