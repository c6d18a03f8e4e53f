/** The three tables of a partition: their names, how each is made and attached, and where it is now. */
import { sql } from "drizzle-orm";
import pg from "pg";
import type { Session, Transaction } from "../client.ts";
import { listPartitions } from "./catalog.ts";
import type { PartitionRange } from "./ranges.ts";

/** The three tables of a set, by their parents. */
export const PARENTS = ["invoices", "venue_day_deltas", "venue_day_rollup"] as const;
export type Parent = (typeof PARENTS)[number];

/** The table of a partition under one of the parents, schema-qualified and quoted, e.g. `warehouse."invoices_2026_10"`. */
export function leafTable(parent: Parent, partition: string): string {
  return `warehouse.${pg.escapeIdentifier(leafName(parent, partition))}`;
}

/** The name alone: `invoices_2026_10`. */
export function leafName(parent: Parent, partition: string): string {
  return `${parent}_${partition.toLowerCase().replaceAll("-", "_")}`;
}

/** Makes the table of a partition, beside its parent. */
export function createStatement(parent: Parent, partition: string): string {
  // A rollup row is updated over and over: room on its page keeps the update out of the index.
  const storage = parent === "venue_day_rollup" ? "with (fillfactor = 85)" : "";
  return `create table ${leafTable(parent, partition)} (like warehouse.${parent} including defaults including constraints including indexes) ${storage}`;
}

/** ATTACH, not PARTITION OF: the latter takes ACCESS EXCLUSIVE on the parent and blocks every reader. */
export function attachStatement(parent: Parent, { partition, lower, upper }: PartitionRange): string {
  const bounds = `from (${pg.escapeLiteral(lower)}) to (${pg.escapeLiteral(upper)})`;
  return `alter table warehouse.${parent} attach partition ${leafTable(parent, partition)} for values ${bounds}`;
}

export type TableState = "attached" | "pending" | "apart" | "gone";

/** Where a leaf is: attached, half detached (a crash in DETACH CONCURRENTLY), apart from its parent, or gone. */
export async function readTableState(
  session: Session,
  parent: Parent,
  partition: string,
): Promise<TableState> {
  const result = await session.db.execute<{ leaf: string | null; pending: boolean | null }>(sql`
    select c.oid::text as leaf, i.inhdetachpending as pending
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'warehouse'
    left join pg_inherits i on i.inhrelid = c.oid
    where c.relname = ${leafName(parent, partition)}`);
  const [row] = result.rows;
  if (row === undefined) return "gone";
  if (row.pending === null) return "apart";
  return row.pending ? "pending" : "attached";
}

export async function finalizeDetach(tx: Transaction, parent: Parent, leaf: string): Promise<void> {
  await tx.client.query(`alter table warehouse.${parent} detach partition ${leaf} finalize`);
}

/**
 * The partitions that end on or before a date and are not out of the live tables yet, oldest first; also those whose detach was cut off.
 *
 * @param before the date, `YYYY-MM-DD`
 */
export async function listDetachable(session: Session, before: string): Promise<readonly string[]> {
  const attached = await session.client.query<{ name: string }>(
    `select c.relname as name
     from pg_inherits i
     join pg_class c on c.oid = i.inhrelid
     where i.inhparent = any ($1::regclass[])`,
    [PARENTS.map((parent) => `warehouse.${parent}`)],
  );
  const leaves = new Set(attached.rows.map(({ name }) => name));
  const all = await listPartitions(session);
  return all
    .filter(({ upper, state }) => upper <= before && state !== "dropped")
    .filter(({ partition }) => PARENTS.some((parent) => leaves.has(leafName(parent, partition))))
    .map(({ partition }) => partition);
}

/**
 * The deltas tables of detached partitions: those that a query of `venue_day_deltas` leaves out, all of them or, while a detach is
 * going on, some. And the names of the partitions whose table is not in the database any more: somebody archived it.
 */
export async function listDetachedDeltas(
  session: Session,
): Promise<{ readonly tables: readonly string[]; readonly archived: readonly string[] }> {
  const result = await session.client.query<{ partition: string; there: boolean }>(
    `select p.partition, c.oid is not null as there
     from warehouse.partitions p
     left join pg_class c
       on c.relnamespace = 'warehouse'::regnamespace
       and c.relname = 'venue_day_deltas_' || lower(replace(p.partition, '-', '_'))
     where p.state = 'detached'
     order by p.lower`,
  );
  const named = (there: boolean) =>
    result.rows.filter((row) => row.there === there).map(({ partition }) => partition);
  return {
    tables: named(true).map((partition) => leafTable("venue_day_deltas", partition)),
    archived: named(false),
  };
}
