/**
 * Finds the invoices of which a load says something, and locks them. Read are the groups that it touched, and
 * no others.
 */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { byKey } from "../../db/plans.ts";
import { absences, corrections, deltas, invoices, loads, statements } from "../../db/schema.ts";
import { TAKEN_OUT } from "../load/absence.ts";
import { eachValue, values } from "../load/net.ts";
import { refusal, type UndoClaim } from "./claim.ts";
import {
  ARCHIVED,
  GROUPS,
  inRanges,
  isSameKey,
  KEY,
  KEYS,
  type Range,
  readRanges,
  STANDING,
} from "./tables.ts";

/** Finds the groups that the entries touched, as far as the warehouse knows them. */
export async function findGroups(tx: Transaction, { family, partitions }: UndoClaim): Promise<void> {
  const ids = sql.param(family);
  const inserted = await readRanges(tx, partitions);
  await tx.db.execute(sql`
    insert into ${GROUPS} (created_on, venue_key)
    select distinct created_on, venue_key
    from (
      select created_on, venue_key from ${deltas}
      where load_id = any (${ids}::integer[]) and ${inRanges(sql`created_on`, inserted)}
      union all
      select created_on, venue_key from ${corrections} where load_id = any (${ids}::integer[])
      union all
      select created_on, venue_key from ${statements} where load_id = any (${ids}::integer[])
      union all
      select created_on, venue_key from ${absences} where load_id = any (${ids}::integer[])
    ) touched`);
  await tx.db.execute(sql`analyze ${GROUPS}`);
}

/**
 * A repair may have taken out older statements of an invoice because this load stated it under another key.
 *
 * @throws RollbookError `usage` where one did: it has to be undone first
 */
export async function refuseCause(tx: Transaction, { kind, subject }: UndoClaim): Promise<void> {
  if (kind !== "load") return;
  const isAnother = (row: SQL) => sql`(${row}.created_on, ${row}.venue_key) <> (c.created_on, c.venue_key)`;
  const { rows } = await tx.db.execute<{ load_id: number }>(sql`
    select r.load_id
    from ${loads} r
    where r.status = 'repair' and r.file_name = ${TAKEN_OUT} and r.known_at > ${subject.knownAt}::timestamptz
      and exists (
        select
        from ${corrections} c
        cross join ${GROUPS} g
        where c.load_id = r.load_id
          and (
            exists (
              select from ${invoices} i
              where i.created_on = g.created_on and i.venue_key = g.venue_key and i.invoice_id = c.invoice_id
                and i.load_id = ${subject.loadId} and ${isAnother(sql`i`)}
            )
            or exists (
              select from ${corrections} k
              where k.created_on = g.created_on and k.venue_key = g.venue_key and k.invoice_id = c.invoice_id
                and k.old_load_id = ${subject.loadId} and ${isAnother(sql`k`)}
            )
            or exists (
              select from ${statements} s
              where s.created_on = g.created_on and s.venue_key = g.venue_key
                and c.invoice_id = any (s.invoice_ids)
                and s.stated_by = ${subject.loadId} and ${isAnother(sql`s`)}
            )
          )
      )
    order by r.load_id desc
    limit 1`);
  const [repair] = rows;
  if (repair === undefined) return;
  throw refusal(
    "usage",
    `load ${subject.loadId} cannot be undone as it is: because it stated some invoices anew, repair ${repair.load_id} took out what other loads had said of them under another venue or date. Undo the repair first: rollbook undo ${repair.load_id}`,
  );
}

/**
 * Finds the keys for which something else may stand from now on, and locks what stands for them. Each load that
 * meets one of them waits from then on, and what those before said of them is committed: the statements after
 * this one see it.
 */
export async function lockInvoices(
  tx: Transaction,
  { kind, subject, family, hasAbsences }: UndoClaim,
  ranges: readonly Range[],
): Promise<void> {
  const { loadId } = subject;
  const standing = sql`i.created_on, i.venue_key, i.invoice_id, i.load_id, i.synced_on, ${eachValue((value) => sql`i.${value}`)}`;
  const columns = sql`${KEY}, load_id, synced_on, ${values()}, counts`;
  if (kind === "load") {
    const ofLoad = sql`
      insert into ${STANDING} (${columns})
      select ${standing}, false
      from ${GROUPS} g
      join ${invoices} i on i.created_on = g.created_on and i.venue_key = g.venue_key
      where i.load_id = ${loadId} and ${inRanges(sql`i.created_on`, ranges)}
      order by i.created_on, i.venue_key, i.invoice_id
      for update of i`;
    await byKey(tx, () => tx.db.execute(ofLoad));
    if (hasAbsences) await addAbsentKeys(tx, family, ranges);
  } else {
    // Of a repair what it took out, of a load all that it says and that does not stand.
    const kept = kind === "repair" ? sql`c.load_id = ${loadId}` : sql`c.old_load_id = ${loadId}`;
    await tx.db.execute(sql`
      insert into ${KEYS} (${KEY})
      select c.created_on, c.venue_key, c.invoice_id
      from ${GROUPS} g
      join ${corrections} c on c.created_on = g.created_on and c.venue_key = g.venue_key
      where ${kept}
      union
      select s.created_on, s.venue_key, unnest(s.invoice_ids)
      from ${GROUPS} g
      join ${statements} s on s.created_on = g.created_on and s.venue_key = g.venue_key
      where s.stated_by = ${loadId}`);
    if (hasAbsences) await addCoveredKeys(tx, family, ranges);
    await tx.db.execute(sql`analyze ${KEYS}`);
    const ofKeys = sql`
      insert into ${STANDING} (${columns})
      select ${standing}, true
      from ${KEYS} k
      join ${invoices} i on ${isSameKey(sql`i`, sql`k`)}
      where ${inRanges(sql`i.created_on`, ranges)}
      order by i.created_on, i.venue_key, i.invoice_id
      for update of i`;
    await byKey(tx, () => tx.db.execute(ofKeys));
    await tx.db.execute(sql`
      insert into ${STANDING} (${KEY})
      select ${KEY} from ${KEYS} k
      where not exists (select from ${STANDING} s where ${isSameKey(sql`s`, sql`k`)})`);
  }
  await tx.db.execute(sql`analyze ${STANDING}`);
}

/** Adds the keys that may come back when these entries' absences cease to count: those of which something is kept. */
async function addAbsentKeys(
  tx: Transaction,
  family: readonly number[],
  ranges: readonly Range[],
): Promise<void> {
  const ids = sql.param(family);
  const ofGroup = (row: SQL) => sql`
    from ${absences} a
    join ${row} k on k.created_on = a.created_on and k.venue_key = a.venue_key
    where a.load_id = any (${ids}::integer[]) and a.invoice_ids is null`;
  const add = sql`
    insert into ${STANDING} (${KEY})
    select ${KEY}
    from (
      select k.created_on, k.venue_key, k.invoice_id ${ofGroup(sql`${corrections}`)}
      union
      select k.created_on, k.venue_key, unnest(k.invoice_ids) ${ofGroup(sql`${statements}`)}
      union
      select k.created_on, k.venue_key, k.invoice_id ${ofGroup(ARCHIVED)}
      union
      select created_on, venue_key, unnest(invoice_ids) from ${absences}
      where load_id = any (${ids}::integer[]) and invoice_ids is not null
    ) k
    where not exists (
      select from ${invoices} i where ${isSameKey(sql`i`, sql`k`)} and ${inRanges(sql`i.created_on`, ranges)}
    )`;
  await byKey(tx, () => tx.db.execute(add));
}

/** Adds the keys that leave when these entries' absences count again: what stands for them is older. */
async function addCoveredKeys(
  tx: Transaction,
  family: readonly number[],
  ranges: readonly Range[],
): Promise<void> {
  const older = sql`a.load_id = any (${sql.param(family)}::integer[])
    and (i.synced_on, i.load_id) < (a.synced_on, a.stated_by) and ${inRanges(sql`i.created_on`, ranges)}`;
  const add = sql`
    insert into ${KEYS} (${KEY})
    select ${KEY}
    from (
      select i.created_on, i.venue_key, i.invoice_id
      from ${absences} a
      join ${invoices} i on i.created_on = a.created_on and i.venue_key = a.venue_key
      where ${older} and a.invoice_ids is null
      union
      select i.created_on, i.venue_key, i.invoice_id
      from ${absences} a
      cross join lateral unnest(a.invoice_ids) as each (invoice_id)
      join ${invoices} i on i.created_on = a.created_on and i.venue_key = a.venue_key and i.invoice_id = each.invoice_id
      where ${older}
    ) covered
    except
    select ${KEY} from ${KEYS}`;
  await byKey(tx, () => tx.db.execute(add));
}
