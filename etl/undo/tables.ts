/** The temporary tables of an undo, and how its statements look up invoices. */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { invoices, partitions } from "../../db/schema.ts";
import { eachValue, values } from "../load/net.ts";

/** Groups that the load touched. */
export const GROUPS = sql`pg_temp.undo_groups`;
/** Keys of which an entry that counts again says something. */
export const KEYS = sql`pg_temp.undo_keys`;
/**
 * The keys for which another statement may stand from now on, and what stands for them, locked; without a load
 * where nothing does. What does not count is not what stands from now on.
 */
export const STANDING = sql`pg_temp.undo_standing`;
/** Statements about the groups that were read from an archive. */
export const ARCHIVED = sql`pg_temp.undo_archived`;
/** All statements about some of them that do not stand, and since when. */
export const KEPT = sql`pg_temp.undo_kept`;
/** The absences that count: of a whole group, without an invoice, or of a key. */
export const ABSENT = sql`pg_temp.undo_absent`;
/** The keys that a repair took out, and when: all that had been said of them up to then is void. */
export const REPAIRED = sql`pg_temp.undo_repaired`;
/** The keys, what stood, and of the other statements that count the newest: what stands from now on. */
export const CHANGED = sql`pg_temp.undo_changed`;

export const KEY = sql`created_on, venue_key, invoice_id`;

export async function makeTables(tx: Transaction): Promise<void> {
  const kept = sql`null::integer as same_as, null::timestamptz as kept_at, null::integer as kept_by`;
  const tables: Readonly<Record<string, SQL>> = {
    undo_groups: sql`created_on, venue_key`,
    undo_keys: KEY,
    undo_standing: sql`${KEY}, load_id, synced_on, ${values()}, null::boolean as counts`,
    undo_kept: sql`${KEY}, load_id, synced_on, ${values()}, ${kept}`,
    undo_archived: sql`${KEY}, load_id, synced_on, ${values()}`,
    undo_absent: sql`${KEY}, load_id, synced_on, null::timestamptz as known_at`,
    undo_repaired: sql`${KEY}, null::timestamptz as known_at`,
    undo_changed: sql`
      ${KEY}, load_id as old_load_id, synced_on as old_synced_on,
      ${eachValue((value, oldValue) => sql`${value} as ${oldValue}`)}, null::boolean as old_counts,
      load_id, synced_on, ${values()}, ${kept}, null::boolean as differs`,
  };
  for (const [name, columns] of Object.entries(tables)) {
    await tx.db.execute(sql`
      create temp table ${sql.identifier(name)} on commit drop as select ${columns} from ${invoices} with no data`);
  }
}

/** Whether two rows are about one invoice. */
export function isSameKey(one: SQL, other: SQL): SQL {
  return sql`${one}.created_on = ${other}.created_on and ${one}.venue_key = ${other}.venue_key
    and ${one}.invoice_id = ${other}.invoice_id`;
}

/** The creation dates of the groups. */
export async function readGroupDates(tx: Transaction): Promise<readonly string[]> {
  const { rows } = await tx.db.execute<{ date: string }>(
    sql`select distinct created_on::text as date from ${GROUPS} order by 1`,
  );
  return rows.map(({ date }) => date);
}

/** A range of creation dates: from `lower` on, before `upper`. */
export interface Range {
  readonly lower: string;
  readonly upper: string;
}

/** The dates of partitions, in as few ranges as can be. */
export async function readRanges(tx: Transaction, names: readonly string[]): Promise<readonly Range[]> {
  const bounds = await tx.db.execute<{ lower: string; upper: string }>(sql`
    select lower::text, upper::text
    from ${partitions}
    where partition = any (${sql.param([...names])}::text[])
    order by ${partitions.lower}`);
  const ranges: { lower: string; upper: string }[] = [];
  for (const { lower, upper } of bounds.rows) {
    const last = ranges.at(-1);
    if (last?.upper === lower) last.upper = upper;
    else ranges.push({ lower, upper });
  }
  return ranges;
}

/** A condition by which PostgreSQL leaves out the other partitions when it plans. */
export function inRanges(date: SQL, ranges: readonly Range[]): SQL {
  if (ranges.length === 0) return sql`false`;
  const each = ranges.map(({ lower, upper }) => sql`${date} >= ${lower}::date and ${date} < ${upper}::date`);
  return sql`(${sql.join(each, sql` or `)})`;
}
