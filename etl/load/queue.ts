/** The queue of pending changes, and its epochs. See docs/design.md, "The queue". */
import { sql } from "drizzle-orm";
import type pg from "pg";
import type { Transaction } from "../../db/client.ts";

/**
 * The epoch in which something is entered just now: part of the statement that enters it, so that the queue is
 * locked before it is read.
 */
export const CURRENT_EPOCH = sql`(select pg_sequence_last_value('warehouse.pending_epoch')::integer)`;

/** Locks the queue to be written, as each insert does, and then reads the epoch, for a COPY. */
export async function openQueue({ client }: Pick<Transaction, "client">): Promise<number> {
  // Of several statements in one message the driver returns an array of results, and its types do not say so.
  const [, read] = (await client.query(
    "lock table warehouse.venue_day_pending in row exclusive mode;" +
      "select pg_sequence_last_value('warehouse.pending_epoch')::integer as epoch",
  )) as unknown as [unknown, pg.QueryResult<{ epoch: number }>];
  const [row] = read.rows;
  if (row === undefined) throw new Error("a select without a table returned no row");
  return row.epoch;
}
