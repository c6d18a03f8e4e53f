/**
 * Settles what stands for some invoices. Of all statements about an invoice that of the greatest rank,
 * `(synced_on, load_id)`, stands, of those loads that are not undone. The statements are in `invoices`,
 * `corrections` and `statements`. Those that an invoice is not there are in `absences`: if one of them is the
 * greatest, the invoice is gone.
 *
 * All of it is done by the server, in temporary tables, so memory is the same for a load of any size.
 */
import { type SQL, type SQLChunk, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { errorState, RollbookError, SQLSTATE } from "../../db/errors.ts";
import { byKey } from "../../db/plans.ts";
import { absences, corrections, invoices, type Load, loads, settings, statements } from "../../db/schema.ts";
import { takenOutBy } from "../load/absence.ts";
import { changedPartitions, eachValue, oldValues, recordNet, values } from "../load/net.ts";
import type { UndoClaim } from "./claim.ts";
import { isLastToKeep, replacedBy } from "./restore.ts";
import { readSettled, type Settled, type SettledRow } from "./settled.ts";
import {
  ABSENT,
  ARCHIVED,
  CHANGED,
  GROUPS,
  inRanges,
  isSameKey,
  KEPT,
  KEY,
  type Range,
  REPAIRED,
  STANDING,
} from "./tables.ts";

/**
 * Lets the newest statement stand of those that count, for each of the keys, and enters what changed.
 *
 * @throws RollbookError `corrupted` where the value of a statement is not there
 */
export async function settle(
  tx: Transaction,
  claim: UndoClaim & { readonly undoId: number },
  ranges: readonly Range[],
): Promise<Settled> {
  const undone = await listUndone(tx, claim);
  await findRepaired(tx);
  if (await isLastToKeep(tx, claim)) await takeReplaced(tx, claim.subject);
  else await findNewest(tx, claim, undone);
  await leaveOutAbsent(tx);
  await findValues(tx, undone);
  await leaveOutUnchanged(tx);
  return byKey(tx, () => enterChanged(tx, claim.undoId, ranges));
}

/** The other loads that are undone. */
async function listUndone(tx: Transaction, { subject }: UndoClaim): Promise<readonly number[]> {
  const { rows } = await tx.db.execute<{ load_id: number }>(
    sql`select load_id from ${loads} where status = 'undone' and load_id <> ${subject.loadId}`,
  );
  return rows.map(({ load_id }) => load_id);
}

/**
 * The statements of the groups that do not stand, each with the entry that kept it.
 *
 * @param isRead a condition on whose statements are read
 */
function saidOf(isRead: (load: SQL) => SQL): SQL {
  return sql`
      select c.created_on, c.venue_key, c.invoice_id, c.old_load_id as load_id, c.old_synced_on as synced_on,
             ${eachValue((value, oldValue) => sql`c.${oldValue} as ${value}`)}, null::integer as same_as, c.load_id as kept_by
      from ${GROUPS} g
      join ${corrections} c on c.created_on = g.created_on and c.venue_key = g.venue_key
      where ${isRead(sql`c.old_load_id`)}
      union all
      select s.created_on, s.venue_key, each.invoice_id, s.stated_by, s.synced_on,
             ${eachValue((value) => sql`each.${value}`)}, s.same_as, s.load_id
      from ${GROUPS} g
      join ${statements} s on s.created_on = g.created_on and s.venue_key = g.venue_key
      cross join lateral unnest(s.invoice_ids, ${eachValue((value) => sql`s.${value}`)})
        as each (invoice_id, ${values()})
      where ${isRead(sql`s.stated_by`)}
      union all
      select ${KEY}, load_id, synced_on, ${values()}, null, load_id
      from ${ARCHIVED} a
      where ${isRead(sql`a.load_id`)}`;
}

/** Finds which of the keys a repair took out that counts, and when the newest did. */
async function findRepaired(tx: Transaction): Promise<void> {
  await tx.db.execute(sql`
    insert into ${REPAIRED} (${KEY}, known_at)
    select ${KEY}, known_at
    from (${takenOutBy(sql`exists (select from ${STANDING} k where ${isSameKey(sql`k`, sql`c`)})`)}) repaired`);
  await tx.db.execute(sql`analyze ${REPAIRED}`);
}

/** Takes for the newest what the load replaced: where it is known as the same, it has the values that stand. */
async function takeReplaced(tx: Transaction, { loadId, knownAt }: Load): Promise<void> {
  await tx.db.execute(sql`
    insert into ${CHANGED} (
      ${KEY}, old_load_id, old_synced_on, ${oldValues()}, old_counts,
      load_id, synced_on, ${values()}, kept_at, kept_by, differs
    )
    select *, ${knownAt}::timestamptz, ${loadId}::integer, (${oldValues()}) is distinct from (${values()})
    from (
      select s.created_on, s.venue_key, s.invoice_id, s.load_id as old_load_id, s.synced_on as old_synced_on,
             ${eachValue((value, oldValue) => sql`s.${value} as ${oldValue}`)}, s.counts,
             k.load_id, k.synced_on,
             ${eachValue((value) => sql`case when k.is_same then s.${value} else k.${value} end as ${value}`)}
      from ${STANDING} s
      left join (${replacedBy(loadId)}) k on ${isSameKey(sql`k`, sql`s`)}
    ) replaced`);
  await tx.db.execute(sql`analyze ${CHANGED}`);
}

const SINCE = sql`(select statements_kept_since from ${settings})`;

/**
 * Entries that were undone, or undone and so on again, since statements are kept. As warehouse.prune_statements has
 * it.
 */
function turnedLately(): SQL {
  return sql`
      with recursive turned (load_id, by) as (
        select u.undo_of, u.load_id from ${loads} u where u.undo_of is not null
        union all
        select t.load_id, u.load_id from turned t join ${loads} u on u.undo_of = t.by
      )
      select t.load_id from turned t join ${loads} b on b.load_id = t.by where b.known_at > ${SINCE}`;
}

/**
 * Finds the newest statement of each key, of loads that are not undone. What was kept before
 * `statements_kept_since` is not needed, and may not be all of it: the newest of that time stood then, because
 * nothing of that time is undone any more, and so it was kept later or stands. Unless an undo of that time was taken
 * back since, so that its load counts again below what came in between: what it kept is there still. Or something of
 * that time is undone: then an archive was read, and all is known. If a load said the same twice, of its retries the
 * last counts.
 *
 * A statement that is known as the same as another load's mostly is the same as what stands: if no statement of
 * that load was kept since. Then the values are at hand.
 *
 * @param undone loads whose statements are not read
 */
async function findNewest(
  tx: Transaction,
  { kind, subject, isPruned }: UndoClaim,
  undone: readonly number[],
): Promise<void> {
  const isRead = (load: SQL) => sql`${load} <> all (${sql.param(undone)}::integer[])`;
  const isWithdrawn = kind === "load" ? sql`said.load_id = ${subject.loadId}::integer` : sql`false`;
  const isKnown = isPruned ? sql`true` : sql`(l.known_at > ${SINCE} or said.kept_by in (${turnedLately()}))`;
  const ofCounting = (column: SQLChunk, atHand: SQLChunk = column) =>
    sql`case when counting then case when is_standing then ${atHand} else ${column} end end as ${column}`;
  await tx.db.execute(sql`
    insert into ${CHANGED} (
      ${KEY}, old_load_id, old_synced_on, ${oldValues()}, old_counts,
      load_id, synced_on, ${values()}, same_as, kept_at, kept_by, differs
    )
    select *, (${oldValues()}) is distinct from (${values()})
    from (
      select distinct on (${KEY}) ${KEY}, old_load_id, old_synced_on, ${oldValues()}, old_counts,
             ${ofCounting(sql`load_id`)}, ${ofCounting(sql`synced_on`)}, ${eachValue(ofCounting)},
             ${ofCounting(sql`same_as`, sql`null`)}, ${ofCounting(sql`kept_at`)}, ${ofCounting(sql`kept_by`)}
      from (
        select s.created_on, s.venue_key, s.invoice_id, s.load_id as old_load_id, s.synced_on as old_synced_on,
               ${eachValue((value, oldValue) => sql`s.${value} as ${oldValue}`)}, s.counts as old_counts,
               said.load_id, said.synced_on, ${eachValue((value) => sql`said.${value}`)},
               said.same_as, l.known_at as kept_at, said.kept_by,
               coalesce(not ${isWithdrawn} and ${isKnown}, false)
                 and r.known_at >= l.known_at is not true as counting,
               said.same_as = s.load_id and (
                 max(l.known_at) filter (where said.load_id = s.load_id)
                   over (partition by s.created_on, s.venue_key, s.invoice_id) > l.known_at
               ) is not true as is_standing
        from ${STANDING} s
        left join (${saidOf(isRead)}) said on ${isSameKey(sql`said`, sql`s`)}
        left join ${loads} l on l.load_id = said.kept_by
        left join ${REPAIRED} r on ${isSameKey(sql`r`, sql`s`)}
      ) said
      order by ${KEY}, counting desc, synced_on desc, load_id desc, kept_at desc, kept_by desc
    ) newest`);
  await tx.db.execute(sql`analyze ${CHANGED}`);
}

/**
 * Leaves out the statements that an absence of a greater rank makes void. A snapshot does not meet statements of
 * its own load. A load may state an invoice and say that it is void, by a retry: then what it said last counts.
 */
async function leaveOutAbsent(tx: Transaction): Promise<void> {
  const found = await tx.db.execute(sql`
    insert into ${ABSENT} (${KEY}, load_id, synced_on, known_at)
    select a.created_on, a.venue_key, each.invoice_id, a.stated_by, a.synced_on, l.known_at
    from ${GROUPS} g
    join ${absences} a on a.created_on = g.created_on and a.venue_key = g.venue_key
    join ${loads} l on l.load_id = a.load_id and l.status <> 'undone'
    left join lateral unnest(a.invoice_ids) as each (invoice_id) on true`);
  if (found.rowCount === 0) return;
  await tx.db.execute(sql`analyze ${ABSENT}`);
  const ofGroup = sql`a.created_on = c.created_on and a.venue_key = c.venue_key and a.invoice_id is null`;
  const isGreater = sql`(a.synced_on, a.load_id) > (c.synced_on, c.load_id)`;
  const isLater = sql`(a.synced_on, a.load_id, a.known_at) >= (c.synced_on, c.load_id, c.kept_at)`;
  const isAboveOld = sql`(a.synced_on, a.load_id) > (c.old_synced_on, c.old_load_id)`;
  const nothing = sql`load_id = null, synced_on = null, ${eachValue((value) => sql`${value} = null`)},
    same_as = null, differs = old_load_id is not null`;
  for (const [set, covers] of [
    [nothing, sql`${ofGroup} and ${isGreater}`],
    [nothing, sql`${isSameKey(sql`a`, sql`c`)} and ${isLater}`],
    [sql`old_counts = false`, sql`${ofGroup} and ${isAboveOld}`],
    [sql`old_counts = false`, sql`${isSameKey(sql`a`, sql`c`)} and ${isAboveOld}`],
  ] as const) {
    await tx.db.execute(sql`
      update ${CHANGED} c
      set ${set}
      from ${ABSENT} a
      where ${covers}
        and not exists (
          select from ${REPAIRED} r where ${isSameKey(sql`r`, sql`c`)} and r.known_at >= a.known_at
        )`);
  }
}

/** Reads the statements of the keys whose newest statement is known as the same as another load's. */
async function readKept(tx: Transaction, isRead: (load: SQL) => SQL): Promise<void> {
  await tx.db.execute(sql`
    insert into ${KEPT} (${KEY}, load_id, synced_on, ${values()}, same_as, kept_at, kept_by)
    select c.created_on, c.venue_key, c.invoice_id, said.load_id, said.synced_on,
           ${eachValue((value) => sql`said.${value}`)}, said.same_as, l.known_at, said.kept_by
    from (${saidOf(isRead)}) said
    join ${CHANGED} c on ${isSameKey(sql`c`, sql`said`)} and c.same_as is not null
    left join ${loads} l on l.load_id = said.kept_by`);
  await tx.db.execute(sql`analyze ${KEPT}`);
}

/**
 * Finds the values of those that are known as the same as another load's: that load's were kept when they
 * ceased to stand, or stood until now. A load's values may change, by a retry; so the first that were kept after
 * count.
 *
 * @param undone loads whose statements are not read unless they are asked for
 */
async function findValues(tx: Transaction, undone: readonly number[]): Promise<void> {
  const unread = new Set(undone);
  for (let first = true; ; first = false) {
    const open = await tx.db.execute<{ same_as: number }>(
      sql`select distinct same_as from ${CHANGED} where same_as is not null`,
    );
    if (open.rowCount === 0) return;
    if (first) await readKept(tx, (load) => sql`${load} <> all (${sql.param(undone)}::integer[])`);
    const missing = open.rows.map(({ same_as }) => same_as).filter((load) => unread.delete(load));
    if (missing.length > 0) {
      await readKept(tx, (load) => sql`${load} = any (${sql.param(missing)}::integer[])`);
    }
    const found = await tx.db.execute(sql`
      with next as (
        select distinct on (o.created_on, o.venue_key, o.invoice_id)
               o.created_on, o.venue_key, o.invoice_id,
               ${eachValue((value, oldValue) => sql`case when k.load_id is null then o.${oldValue} else k.${value} end as ${value}`)},
               k.same_as, k.kept_at, k.kept_by
        from ${CHANGED} o
        left join ${KEPT} k on ${isSameKey(sql`k`, sql`o`)} and k.load_id = o.same_as
          and (k.kept_at, k.kept_by) > (o.kept_at, o.kept_by)
        where o.same_as is not null and (k.load_id is not null or o.old_load_id = o.same_as)
        order by o.created_on, o.venue_key, o.invoice_id, k.kept_at, k.kept_by
      )
      update ${CHANGED} c
      set ${eachValue((value) => sql`${value} = next.${value}`)},
          same_as = next.same_as, kept_at = next.kept_at, kept_by = next.kept_by,
          differs = (${eachValue((_, oldValue) => sql`c.${oldValue}`)})
            is distinct from (${eachValue((value) => sql`next.${value}`)})
      from next
      where ${isSameKey(sql`next`, sql`c`)}`);
    if (found.rowCount === 0) {
      throw new RollbookError({
        code: "corrupted",
        message:
          "some statements are known as the same as those of a load that are not there, so what they say is lost. Nothing was changed. Find out what is missing with: rollbook verify",
      });
    }
  }
}

/** Leaves out the keys for which the same statement stands as before. */
async function leaveOutUnchanged(tx: Transaction): Promise<void> {
  await tx.db.execute(sql`
    delete from ${CHANGED}
    where case
      when old_load_id is null then load_id is null
      else old_counts and ((synced_on, load_id) > (old_synced_on, old_load_id)) is not true
    end`);
}

async function enterChanged(tx: Transaction, undoId: number, ranges: readonly Range[]): Promise<Settled> {
  try {
    const { rows } = await tx.db.execute<SettledRow>(sql`
      with removed as (
        delete from ${invoices} i
        using ${CHANGED} c
        where ${isSameKey(sql`i`, sql`c`)} and c.load_id is null and ${inRanges(sql`i.created_on`, ranges)}
      ),
      replaced as (
        update ${invoices} i
        set ${eachValue((value) => sql`${value} = c.${value}`)}, load_id = c.load_id, synced_on = c.synced_on
        from ${CHANGED} c
        where ${isSameKey(sql`i`, sql`c`)} and c.load_id is not null and c.old_load_id is not null
          and ${inRanges(sql`i.created_on`, ranges)}
      ),
      inserted as (
        insert into ${invoices} (${KEY}, load_id, synced_on, ${values()})
        select ${KEY}, load_id, synced_on, ${values()}
        from ${CHANGED}
        where old_load_id is null
        order by ${KEY}
      ),
      kept as (
        insert into ${statements}
          (load_id, stated_by, synced_on, same_as, created_on, venue_key, invoice_ids, ${values()})
        select ${undoId}::integer, old_load_id, old_synced_on, same_as, created_on, venue_key,
               array_agg(invoice_id),
               ${eachValue((_, oldValue) => sql`case when same_as is null then array_agg(${oldValue}) end`)}
        from (
          select created_on, venue_key, invoice_id, old_load_id, old_synced_on, ${oldValues()},
                 case when not differs then load_id end as same_as
          from ${CHANGED}
          where old_load_id is not null
        ) old
        group by created_on, venue_key, old_load_id, old_synced_on, same_as
      ),
      net as (
        select created_on, venue_key, count(load_id) - count(old_load_id) as invoices,
               coalesce(sum(total), 0) - coalesce(sum(old_total), 0) as total
        from ${CHANGED}
        where differs
        group by created_on, venue_key
        having count(load_id) <> count(old_load_id) or coalesce(sum(total), 0) <> coalesce(sum(old_total), 0)
      ),
      ${recordNet(undoId)}
      select count(*) filter (where load_id is null) as removed,
             count(*) filter (where old_load_id is null) as inserted,
             count(*) filter (where load_id is not null and old_load_id is not null and differs) as corrected,
             count(*) filter (where not differs) as unchanged,
             (select count(*) from net) as groups,
             (select coalesce(sum(invoices), 0) from net) as invoices,
             (select coalesce(sum(total), 0)::numeric(24, 2)::text from net) as total,
             ${changedPartitions()} as partitions
      from ${CHANGED}`);
    return readSettled(rows);
  } catch (error) {
    if (errorState(error) !== SQLSTATE.uniqueViolation) throw error;
    // A load brought one of the invoices meanwhile that are to come back. The next attempt sees it.
    throw new RollbookError({
      code: "partitions_changed",
      message: "loads brought some of the invoices all the while that are to come back. Run it again.",
      cause: error,
    });
  }
}
