/** How the planner is told to look up rows by their keys. */
import type { Transaction } from "./client.ts";

/**
 * Lets the planner probe a key for each row. A hash join or a merge join would read whole partitions for a few
 * groups or invoices. A scan, which the planner prefers in an empty partition, would read for each of them all
 * those that were inserted before it.
 */
export const PROBE_BY_KEY: readonly string[] = [
  "set local enable_hashjoin = off",
  "set local enable_mergejoin = off",
  "set local enable_seqscan = off",
];

/** Lets the planner choose as our sessions do (db/client.ts), after `PROBE_BY_KEY`. */
export const PLAN_FREELY: readonly string[] = [
  "set local enable_hashjoin = on",
  "set local enable_mergejoin = on",
  "set local enable_seqscan = on",
];

/** Runs what looks up rows by their keys, as {@link PROBE_BY_KEY} says. */
export async function byKey<T>(tx: Transaction, run: () => Promise<T>): Promise<T> {
  await tx.client.query(PROBE_BY_KEY.join(";"));
  const result = await run();
  await tx.client.query(PLAN_FREELY.join(";"));
  return result;
}
