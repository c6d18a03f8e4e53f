/**
 * The three tables of a partition: what they are called, how each is made and attached, and where it is now.
 */
import { getTableName, sql } from "drizzle-orm";
import pg from "pg";
import type { Session, Transaction } from "../client.ts";
import { deltas, invoices, type Partition, partitions, rollup } from "../schema.ts";
import { listPartitions } from "./catalog.ts";
import { partitionOf } from "./ranges.ts";

/** Each partition has a table, its leaf, under each of these. */
export const PARENTS = [getTableName(invoices), getTableName(deltas), getTableName(rollup)] as const;
export type Parent = (typeof PARENTS)[number];

/** What the catalog says of the names. */
export type PartitionTables = Pick<Partition, "invoicesTable" | "deltasTable" | "rollupTable">;

const NAME: Readonly<Record<Parent, keyof PartitionTables>> = {
  invoices: "invoicesTable",
  venue_day_deltas: "deltasTable",
  venue_day_rollup: "rollupTable",
};

/** The names of a partition's tables by its own. The catalog makes the same; a test compares them. */
export function tablesOf(partition: string): PartitionTables {
  const suffix = partition.replaceAll("-", "_").toLowerCase();
  return {
    invoicesTable: `invoices_${suffix}`,
    deltasTable: `venue_day_deltas_${suffix}`,
    rollupTable: `venue_day_rollup_${suffix}`,
  };
}

/** The name of a partition's table, without its schema: `invoices_2026_10`. */
export function leafName(parent: Parent, partition: PartitionTables): string {
  return partition[NAME[parent]];
}

/** The same with its schema and quoted, to be put into SQL: `warehouse."invoices_2026_10"`. */
export function leafTable(parent: Parent, partition: PartitionTables): string {
  return quoteLeaf(leafName(parent, partition));
}

export function quoteLeaf(name: string): string {
  return `warehouse.${pg.escapeIdentifier(name)}`;
}

/** Makes a table of a partition, beside its parent. */
export function createStatement(parent: Parent, partition: PartitionTables): string {
  // A rollup row is updated over and over: room on its page keeps the update out of the index.
  const storage = parent === "venue_day_rollup" ? "with (fillfactor = 85)" : "";
  return `create table ${leafTable(parent, partition)} (like warehouse.${parent} including defaults including constraints including indexes) ${storage}`;
}

/** The table that a partition's table is attached to, with its schema: the parent, or that of its year. */
export async function findHome(session: Session, parent: Parent, { lower }: Partition): Promise<string> {
  const { rows } = await session.db.execute<{ home: string }>(
    sql`select warehouse.partition_parent(${parent}, ${lower})::text as home`,
  );
  return rows[0]?.home ?? `warehouse.${parent}`;
}

/**
 * Attaches a partition's table, where it is not, and the table of its year, where somebody detached that.
 * ATTACH, not PARTITION OF: the latter takes ACCESS EXCLUSIVE on the parent and blocks every reader.
 */
export async function attachLeaf(tx: Transaction, parent: Parent, partition: Partition): Promise<void> {
  const home = await findHome(tx, parent, partition);
  const leaf = leafTable(parent, partition);
  const attach = async (table: string, to: string, { lower, upper }: { lower: string; upper: string }) => {
    const { rowCount } = await tx.db.execute(
      sql`select from pg_inherits where inhrelid = ${table}::regclass`,
    );
    if (rowCount !== 0) return;
    const bounds = `from (${pg.escapeLiteral(lower)}) to (${pg.escapeLiteral(upper)})`;
    await tx.client.query(`alter table ${to} attach partition ${table} for values ${bounds}`);
  };
  const root = `warehouse.${parent}`;
  if (home !== root) await attach(home, root, partitionOf("year", partition.lower));
  await attach(leaf, home, partition);
}

/**
 * `half_detached`: DETACH CONCURRENTLY was cut off. `separate`: the table is there, and not attached to its
 * parent, nor to a table that is.
 */
export type TableState = "attached" | "half_detached" | "separate" | "gone";

export async function readTableState(
  session: Session,
  parent: Parent,
  partition: PartitionTables,
): Promise<TableState> {
  const result = await session.db.execute<{ halfway: boolean | null }>(sql`
    select i.inhdetachpending as halfway
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'warehouse'
    left join pg_inherits i on i.inhrelid = c.oid and (
      i.inhparent = ${`warehouse.${parent}`}::regclass
      or i.inhparent in (select inhrelid from pg_inherits where inhparent = ${`warehouse.${parent}`}::regclass)
    )
    where c.relname = ${leafName(parent, partition)}`);
  const [row] = result.rows;
  if (row === undefined) return "gone";
  if (row.halfway === null) return "separate";
  return row.halfway ? "half_detached" : "attached";
}

/** @param home the table that it is detached from, as {@link findHome} says */
export async function finalizeDetach(tx: Transaction, home: string, leaf: string): Promise<void> {
  await tx.client.query(`alter table ${home} detach partition ${leaf} finalize`);
}

/**
 * The partitions that end on or before a date and still have a table among the live ones, oldest first. A
 * detach that was cut off leaves such partitions, too.
 *
 * @param before the date, `YYYY-MM-DD`
 */
export async function listDetachable(session: Session, before: string): Promise<readonly string[]> {
  const attached = await session.db.execute<{ name: string }>(sql`
    select c.relname as name
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where c.relnamespace = 'warehouse'::regnamespace and c.relkind = 'r'`);
  const leaves = new Set(attached.rows.map(({ name }) => name));
  const all = await listPartitions(session);
  return all
    .filter(({ upper, state }) => upper <= before && state !== "dropped")
    .filter((partition) => PARENTS.some((parent) => leaves.has(leafName(parent, partition))))
    .map(({ partition }) => partition);
}

/**
 * The deltas tables of detached partitions. A query of `venue_day_deltas` leaves out all of them or, while a
 * detach is going on, some. Also the names of the partitions whose table is not in the database any more,
 * because somebody archived it.
 */
export async function listDetachedDeltas(
  session: Session,
): Promise<{ readonly tables: readonly string[]; readonly archived: readonly string[] }> {
  const result = await session.db.execute<{ partition: string; table: string; there: boolean }>(sql`
    select p.partition, p.deltas_table as table, c.oid is not null as there
    from ${partitions} p
    left join pg_class c on c.relnamespace = 'warehouse'::regnamespace and c.relname = p.deltas_table
    where p.state = 'detached'
    order by p.lower`);
  return {
    tables: result.rows.filter(({ there }) => there).map(({ table }) => quoteLeaf(table)),
    archived: result.rows.filter(({ there }) => !there).map(({ partition }) => partition),
  };
}

/**
 * From the next snapshot on the tables of the deltas stay where that snapshot sees them: a detach that it does
 * not see waits for this lock before it takes a table away.
 */
export async function holdDeltas(tx: Transaction): Promise<void> {
  await tx.client.query("lock table only warehouse.venue_day_deltas in access share mode");
}
