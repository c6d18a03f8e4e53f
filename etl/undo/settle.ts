/**
 * Settles what stands for some invoices. Of all statements about an invoice that of the greatest rank,
 * `(synced_on, load_id)`, stands, of those loads that are not undone. The statements are in `invoices`,
 * `corrections` and `statements`. Those that an invoice is not there are in `absences`: if one of them is the
 * greatest, the invoice is gone.
 *
 * All of it is done by the server, in temporary tables, so memory is the same for a load of any size.
 */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { errorState, RollbookError, SQLSTATE } from "../../db/errors.ts";
import { absences, corrections, invoices, loads, settings, statements } from "../../db/schema.ts";
import type { RestatedPeriod } from "../closings/period.ts";
import { changedPartitions, eachValue, oldValues, recordNet, values } from "../load/net.ts";
import { TAKEN_OUT } from "../verify/ledger.ts";
import type { UndoClaim } from "./claim.ts";
import {
  ABSENT,
  byKey,
  CHANGED,
  GROUPS,
  inRanges,
  isSameKey,
  KEPT,
  KEY,
  KEYS,
  NEWEST,
  type Range,
  REPAIRED,
  STANDING,
} from "./tables.ts";

/** What became of the invoices. */
export interface UndoCounts {
  /** No other load states them, so they are gone. */
  readonly removed: number;
  /** What another load says of them stands, and differs. */
  readonly corrected: number;
  /** Another load says the same of them. */
  readonly unchanged: number;
  /** They came back, where an undo or a repair is taken back. */
  readonly inserted: number;
}

export interface Settled {
  readonly rows: UndoCounts;
  /** How many groups have another count or total. */
  readonly groups: number;
  /** By how much the number of all invoices changes. */
  readonly invoices: number;
  /** By how much their total changes, in euros. */
  readonly total: string;
  /** Partitions in which the count or total of a group changed: those to refresh. */
  readonly partitions: readonly string[];
  /** What changed in periods that are closed. Left out where that is nothing. */
  readonly restated?: readonly RestatedPeriod[];
}

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
  await readKept(tx, (load) => sql`${load} <> all (${sql.param(undone)}::integer[])`);
  await findRepaired(tx);
  await findNewest(tx);
  await leaveOutAbsent(tx);
  await findValues(tx, undone);
  return apply(tx, claim.undoId, ranges);
}

/** The other loads that are undone. */
async function listUndone(tx: Transaction, { subject }: UndoClaim): Promise<readonly number[]> {
  const { rows } = await tx.db.execute<{ load_id: number }>(
    sql`select load_id from ${loads} where status = 'undone' and load_id <> ${subject.loadId}`,
  );
  return rows.map(({ load_id }) => load_id);
}

/**
 * Reads the statements about the keys that do not stand.
 *
 * @param counts a condition on whose statements are read
 */
async function readKept(tx: Transaction, counts: (load: SQL) => SQL): Promise<void> {
  await tx.db.execute(sql`
    insert into ${KEPT} (${KEY}, load_id, synced_on, ${values()}, same_as, kept_at, kept_by)
    select k.created_on, k.venue_key, k.invoice_id, said.load_id, said.synced_on,
           ${eachValue((value) => sql`said.${value}`)}, said.same_as, l.known_at, said.kept_by
    from (
      select c.created_on, c.venue_key, c.invoice_id, c.old_load_id as load_id, c.old_synced_on as synced_on,
             ${eachValue((value, oldValue) => sql`c.${oldValue} as ${value}`)}, null::integer as same_as, c.load_id as kept_by
      from ${GROUPS} g
      join ${corrections} c on c.created_on = g.created_on and c.venue_key = g.venue_key
      where ${counts(sql`c.old_load_id`)}
      union all
      select s.created_on, s.venue_key, each.invoice_id, s.stated_by, s.synced_on,
             ${eachValue((value) => sql`each.${value}`)}, s.same_as, s.load_id
      from ${GROUPS} g
      join ${statements} s on s.created_on = g.created_on and s.venue_key = g.venue_key
      cross join lateral unnest(s.invoice_ids, ${eachValue((value) => sql`s.${value}`)})
        as each (invoice_id, ${values()})
      where ${counts(sql`s.stated_by`)}
    ) said
    join ${KEYS} k on k.created_on = said.created_on and k.venue_key = said.venue_key and k.invoice_id = said.invoice_id
    left join ${loads} l on l.load_id = said.kept_by`);
  await tx.db.execute(sql`analyze ${KEPT}`);
}

/** Finds which of the keys a repair took out that counts, and when the newest did. */
async function findRepaired(tx: Transaction): Promise<void> {
  await tx.db.execute(sql`
    insert into ${REPAIRED} (${KEY}, known_at)
    select k.created_on, k.venue_key, k.invoice_id, max(r.known_at)
    from ${loads} r
    join ${corrections} c on c.load_id = r.load_id
    join ${KEYS} k on ${isSameKey(sql`k`, sql`c`)}
    where r.status = 'repair' and r.file_name = ${TAKEN_OUT}
    group by k.created_on, k.venue_key, k.invoice_id`);
  await tx.db.execute(sql`analyze ${REPAIRED}`);
}

/**
 * Finds the newest statement of each key, of loads that are not undone. What was kept before
 * `statements_kept_since` is not needed, and may not be all of it: the newest of that time stood then, because
 * nothing of that time is undone any more, and so it was kept later or stands. If a load said the same twice, of
 * its retries the last counts.
 */
async function findNewest(tx: Transaction): Promise<void> {
  await tx.db.execute(sql`
    insert into ${NEWEST} (${KEY}, load_id, synced_on, ${values()}, same_as, kept_at, kept_by)
    select distinct on (${KEY}) ${KEY}, load_id, synced_on, ${values()}, same_as, kept_at, kept_by
    from ${KEPT} k
    where not exists (select from ${loads} l where l.load_id = k.load_id and l.status = 'undone')
      and k.kept_at > (select statements_kept_since from ${settings})
      and not exists (
        select from ${REPAIRED} r where ${isSameKey(sql`r`, sql`k`)} and r.known_at >= k.kept_at
      )
    order by ${KEY}, synced_on desc, load_id desc, kept_at desc, kept_by desc`);
  await tx.db.execute(sql`analyze ${NEWEST}`);
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
  const ofGroup = (row: SQL) => sql`
    a.created_on = ${row}.created_on and a.venue_key = ${row}.venue_key and a.invoice_id is null
    and (a.synced_on, a.load_id) > (${row}.synced_on, ${row}.load_id) and ${isLater(row)}`;
  await tx.db.execute(sql`delete from ${NEWEST} n using ${ABSENT} a where ${ofGroup(sql`n`)}`);
  await tx.db.execute(sql`
    delete from ${NEWEST} n
    using ${ABSENT} a
    where ${isSameKey(sql`a`, sql`n`)} and ${isLater(sql`n`)}
      and (a.synced_on, a.load_id, a.known_at) >= (n.synced_on, n.load_id, n.kept_at)`);
  await tx.db.execute(sql`update ${STANDING} s set counts = false from ${ABSENT} a where ${ofGroup(sql`s`)}`);
  await tx.db.execute(sql`
    update ${STANDING} s
    set counts = false
    from ${ABSENT} a
    where ${isSameKey(sql`a`, sql`s`)} and ${isLater(sql`s`)}
      and (a.synced_on, a.load_id) > (s.synced_on, s.load_id)`);
}

/** Whether an absence, `a`, is later than each repair that took out the key of a row. */
function isLater(row: SQL): SQL {
  return sql`not exists (
    select from ${REPAIRED} r where ${isSameKey(sql`r`, row)} and r.known_at >= a.known_at
  )`;
}

/**
 * Finds the values of those that are known as the same as another load's: that load's were kept when they
 * ceased to stand, or stand now. A load's values may change, by a retry; so the first that were kept after
 * count.
 *
 * @param undone loads whose statements were not read
 */
async function findValues(tx: Transaction, undone: readonly number[]): Promise<void> {
  const unread = new Set(undone);
  for (;;) {
    const open = await tx.db.execute<{ same_as: number }>(
      sql`select distinct same_as from ${NEWEST} where same_as is not null`,
    );
    if (open.rowCount === 0) return;
    const missing = open.rows.map(({ same_as }) => same_as).filter((load) => unread.delete(load));
    if (missing.length > 0)
      await readKept(tx, (load) => sql`${load} = any (${sql.param(missing)}::integer[])`);
    const found = await tx.db.execute(sql`
      with next as (
        select distinct on (o.created_on, o.venue_key, o.invoice_id)
               o.created_on, o.venue_key, o.invoice_id,
               ${eachValue((value) => sql`coalesce(k.${value}, s.${value}) as ${value}`)},
               k.same_as, k.kept_at, k.kept_by
        from ${NEWEST} o
        left join ${KEPT} k on ${isSameKey(sql`k`, sql`o`)} and k.load_id = o.same_as
          and (k.kept_at, k.kept_by) > (o.kept_at, o.kept_by)
        left join ${STANDING} s on ${isSameKey(sql`s`, sql`o`)} and s.load_id = o.same_as and k.load_id is null
        where o.same_as is not null and (k.load_id is not null or s.load_id is not null)
        order by o.created_on, o.venue_key, o.invoice_id, k.kept_at, k.kept_by
      )
      update ${NEWEST} n
      set ${eachValue((value) => sql`${value} = next.${value}`)},
          same_as = next.same_as, kept_at = next.kept_at, kept_by = next.kept_by
      from next
      where ${isSameKey(sql`next`, sql`n`)}`);
    if (found.rowCount === 0) {
      throw new RollbookError({
        code: "corrupted",
        message:
          "some statements are known as the same as those of a load that are not there, so what they say is lost. Nothing was changed. Find out what is missing with: rollbook verify",
      });
    }
  }
}

interface SettledRow extends Record<string, unknown> {
  readonly removed: string;
  readonly corrected: string;
  readonly unchanged: string;
  readonly inserted: string;
  readonly groups: string;
  readonly invoices: string;
  readonly total: string;
  readonly partitions: readonly string[];
}

async function apply(tx: Transaction, undoId: number, ranges: readonly Range[]): Promise<Settled> {
  const isNewer = sql`(n.synced_on, n.load_id) > (s.synced_on, s.load_id)`;
  await tx.db.execute(sql`
    insert into ${CHANGED} (${KEY}, old_load_id, old_synced_on, ${oldValues()}, load_id, synced_on, ${values()}, differs)
    select k.created_on, k.venue_key, k.invoice_id, s.load_id, s.synced_on, ${eachValue((value) => sql`s.${value}`)},
           n.load_id, n.synced_on, ${eachValue((value) => sql`n.${value}`)},
           (${eachValue((value) => sql`s.${value}`)}) is distinct from (${eachValue((value) => sql`n.${value}`)})
    from ${KEYS} k
    left join ${STANDING} s on ${isSameKey(sql`s`, sql`k`)}
    left join ${NEWEST} n on ${isSameKey(sql`n`, sql`k`)}
    where case
      when s.load_id is null then n.load_id is not null
      else not s.counts or ${isNewer}
    end`);
  await tx.db.execute(sql`analyze ${CHANGED}`);
  return byKey(tx, () => enterChanged(tx, undoId, ranges));
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
    const [row] = rows;
    if (row === undefined) throw new Error("an aggregate returned no row");
    return {
      rows: {
        removed: Number(row.removed),
        corrected: Number(row.corrected),
        unchanged: Number(row.unchanged),
        inserted: Number(row.inserted),
      },
      groups: Number(row.groups),
      invoices: Number(row.invoices),
      total: row.total,
      partitions: row.partitions,
    };
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
