/**
 * How the planner is told what to do. Its own choices rest on statistics, and those of the tables that a load,
 * a refresh or an undo changes may be of any moment: autoanalyze runs beside it, and counts rows as missing that
 * are not committed yet. A join of two large tables that it takes for small never ends.
 */
import { sql } from "drizzle-orm";
import type pg from "pg";
import type { Transaction } from "./client.ts";

/**
 * Lets the planner probe a key for each row. A hash join or a merge join would read whole partitions for a few
 * groups or invoices. A scan, which the planner prefers in an empty partition, would read for each of them all
 * those that were inserted before it. Which side is probed is still the planner's choice where it may choose: so
 * such a statement is a lateral subquery, or a MERGE with {@link LEAVE_UNMATCHED}.
 */
export const PROBE_BY_KEY: readonly string[] = [
  "set local enable_nestloop = on",
  // Else one scan of what it takes for few rows is kept, and gone through for each.
  "set local enable_material = off",
  "set local enable_hashjoin = off",
  "set local enable_mergejoin = off",
  "set local enable_seqscan = off",
];

/** Reads both sides of each join once, and whole. For what is about all rows of a partition. */
export const READ_WHOLE: readonly string[] = [
  "set local enable_nestloop = off",
  "set local enable_material = on",
  "set local enable_hashjoin = on",
  "set local enable_mergejoin = on",
  "set local enable_seqscan = on",
];

/**
 * Lets a lookup that is written as a lateral subquery, which cannot become another join, go by an index, and
 * reads both sides of every other join once. For a load.
 */
export const PLAN_AS_WRITTEN: readonly string[] = [
  "set local enable_nestloop = off",
  "set local enable_hashjoin = on",
  "set local enable_mergejoin = on",
  "set local enable_seqscan = off",
];

/**
 * The end of a MERGE that is about rows of the target alone. With an action for the others, if one that is never
 * taken, the join is an outer one: the target is looked up for each row of the source, never the other way round.
 */
export const LEAVE_UNMATCHED = sql`when not matched and false then insert default values`;

const SWITCHES = [
  "enable_nestloop",
  "enable_material",
  "enable_hashjoin",
  "enable_mergejoin",
  "enable_seqscan",
];

/** Runs what looks up rows by their keys, as {@link PROBE_BY_KEY} says; then it is as it was before. */
export async function byKey<T>(tx: Transaction, run: () => Promise<T>): Promise<T> {
  const current = `select ${SWITCHES.map((name) => `current_setting('${name}') as ${name}`).join(", ")}`;
  // Of several statements in one message the driver returns an array of results, and its types do not say so.
  const [before] = (await tx.client.query([current, ...PROBE_BY_KEY].join(";"))) as unknown as [
    pg.QueryResult<Record<string, string>>,
  ];
  const result = await run();
  const [was = {}] = before.rows;
  await tx.client.query(SWITCHES.map((name) => `set local ${name} = ${was[name]}`).join(";"));
  return result;
}
