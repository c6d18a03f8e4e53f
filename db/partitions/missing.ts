/**
 * Finds the tables of partitions that are not where they should be: somebody may have dropped or detached one
 * by hand.
 */
import { sql } from "drizzle-orm";
import { type Database, type Session, withSession } from "../client.ts";
import { errorState, RollbookError, SQLSTATE } from "../errors.ts";
import { partitionFreshness } from "../schema.ts";
import type { Parent } from "./tables.ts";

/** A table that a partition should have. */
export interface MissingTable {
  readonly partition: string;
  readonly parent: Parent;
  /** `warehouse.venue_day_rollup_2026_10` */
  readonly table: string;
  /** `separate`: it is there, and not attached to its parent. */
  readonly whereabouts: "gone" | "separate";
}

/**
 * The tables that live partitions should have, and that are gone or not attached, oldest partition first. One
 * statement, so that a partition that is just being attached, detached or made is seen before or after. It
 * reads nothing in schema warehouse, which a reader may not enter.
 *
 * @param names of the partitions to look at; left out, all
 */
export async function listMissingTables(
  { db }: Session,
  names?: readonly string[],
): Promise<readonly MissingTable[]> {
  const result = await db.execute<{ partition: string; parent: Parent; leaf: string; gone: boolean }>(sql`
    select p.partition, leaves.parent, leaves.leaf, c.oid is null as gone
    from ${partitionFreshness} p
    cross join lateral (
      values (1, 'invoices', p.invoices_table), (2, 'venue_day_deltas', p.deltas_table), (3, 'venue_day_rollup', p.rollup_table)
    ) as leaves (position, parent, leaf)
    join pg_namespace n on n.nspname = 'warehouse'
    left join pg_class t on t.relnamespace = n.oid and t.relname = leaves.parent
    left join pg_class c on c.relnamespace = n.oid and c.relname = leaves.leaf
    left join pg_inherits i on i.inhrelid = c.oid and not i.inhdetachpending
    left join pg_inherits year on year.inhrelid = i.inhparent
    where p.state <> 'detached' and not (p.state = 'dropped' and leaves.parent = 'invoices')
      and (coalesce(year.inhparent, i.inhparent) = t.oid) is not true
      and (${sql.param(names ?? null)}::text[] is null or p.partition = any (${sql.param(names ?? null)}::text[]))
    order by p.lower, leaves.position`);
  return result.rows.map(({ partition, parent, leaf, gone }) => ({
    partition,
    parent,
    table: `warehouse.${leaf}`,
    whereabouts: gone ? "gone" : "separate",
  }));
}

/** What is wrong, and what to run. */
export function describeMissing({ partition, table, whereabouts }: Omit<MissingTable, "parent">): string {
  const is = whereabouts === "gone" ? "is gone" : "is not attached";
  return `partition ${partition}: the table ${table} ${is}. Run: rollbook partitions attach ${partition}`;
}

/** Any number of them in one line. */
export function describeFirst(first: MissingTable, others: readonly MissingTable[]): string {
  const more = others.length === 0 ? "" : ` (and ${others.length} more: rollbook verify names all)`;
  return describeMissing(first) + more;
}

/** PostgreSQL's errors for a table that is gone: the table is unknown, or there is no partition for a row. */
const OF_A_MISSING_TABLE: ReadonlySet<string | undefined> = new Set([
  SQLSTATE.undefinedTable,
  SQLSTATE.checkViolation,
]);

/**
 * In place of an error that a missing table caused, one that names the table and the remedy; any other error
 * is returned as it is.
 */
export async function explainMissing(error: unknown, database: Database): Promise<unknown> {
  if (error instanceof RollbookError || !OF_A_MISSING_TABLE.has(errorState(error))) return error;
  const [first, ...others] = await withSession({ database }, (session) => listMissingTables(session)).catch(
    () => [],
  );
  if (first === undefined) return error;
  return new RollbookError({ code: "table_missing", message: describeFirst(first, others), cause: error });
}
