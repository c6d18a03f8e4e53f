/** Whether the tables of the partitions are where the catalog says: somebody may have dropped or detached one by hand. */
import { type Database, type Session, withSession } from "../client.ts";
import { errorState, RollbookError, SQLSTATE } from "../errors.ts";
import { leafName, PARENTS, type Parent } from "./tables.ts";

/** A table of a partition that the reports, or the next load, would miss. */
export interface MissingTable {
  readonly partition: string;
  readonly parent: Parent;
  /** `warehouse.venue_day_rollup_2026_10` */
  readonly table: string;
  /** `apart`: it is there, and not attached to its parent. */
  readonly whereabouts: "gone" | "apart";
}

/**
 * The tables that live partitions should have, and that are gone or not attached, oldest partition first. One statement, so that a partition that is
 * just attached, detached or made is seen before or after. It asks nothing of schema warehouse, which a reader may not enter.
 *
 * @param names of the partitions to look at; left out, all
 */
export async function listMissingTables(
  { client }: Session,
  names?: readonly string[],
): Promise<readonly MissingTable[]> {
  const result = await client.query<{ partition: string; parent: Parent; gone: boolean }>(
    `select p.partition, parent, c.oid is null as gone
     from reports.partition_freshness p
     cross join unnest($1::text[]) with ordinality as parents (parent, position)
     join pg_namespace n on n.nspname = 'warehouse'
     left join pg_class t on t.relnamespace = n.oid and t.relname = parent
     left join pg_class c
       on c.relnamespace = n.oid and c.relname = parent || '_' || lower(replace(p.partition, '-', '_'))
     left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = t.oid and not i.inhdetachpending
     where p.state <> 'detached' and not (p.state = 'dropped' and parent = 'invoices') and i.inhrelid is null
       and ($2::text[] is null or p.partition = any ($2))
     order by p.lower, position`,
    [PARENTS, names ?? null],
  );
  return result.rows.map(({ partition, parent, gone }) => ({
    partition,
    parent,
    table: `warehouse.${leafName(parent, partition)}`,
    whereabouts: gone ? "gone" : "apart",
  }));
}

/** What is amiss, and the way back. */
export function describeMissing({ partition, table, whereabouts }: Omit<MissingTable, "parent">): string {
  const is = whereabouts === "gone" ? "is gone" : "is not attached";
  return `partition ${partition}: the table ${table} ${is}. Run: rollbook partitions attach ${partition}`;
}

/** The same in a line for any number of them. */
export function describeFirst(first: MissingTable, others: readonly MissingTable[]): string {
  const more = others.length === 0 ? "" : ` (and ${others.length} more: rollbook verify names all)`;
  return describeMissing(first) + more;
}

/** What PostgreSQL says where a table is gone: it is unknown, or a row finds no partition. */
const OF_A_MISSING_TABLE: ReadonlySet<string | undefined> = new Set([
  SQLSTATE.undefinedTable,
  SQLSTATE.checkViolation,
]);

/** In place of an error that came of a table that is amiss, one that names it and the remedy; any other is returned as it is. */
export async function explainMissing(error: unknown, database: Database): Promise<unknown> {
  if (error instanceof RollbookError || !OF_A_MISSING_TABLE.has(errorState(error))) return error;
  const [first, ...others] = await withSession({ database }, (session) => listMissingTables(session)).catch(
    () => [],
  );
  if (first === undefined) return error;
  return new RollbookError({ code: "table_missing", message: describeFirst(first, others), cause: error });
}
