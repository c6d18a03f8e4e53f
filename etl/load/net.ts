/** Pieces of the statements that change invoices: their values, and what that changes in each group. */
import { type SQL, type SQLChunk, sql } from "drizzle-orm";
import { VALUES } from "../drop/row.ts";
import { CURRENT_EPOCH } from "./queue.ts";

/** A list with an item for each value of an invoice: its column in `invoices`, and in `corrections`. */
export function eachValue(write: (value: SQLChunk, oldValue: SQLChunk) => SQL): SQL {
  const items = Object.values(VALUES).map((name) =>
    write(sql.identifier(name), sql.identifier(`old_${name}`)),
  );
  return sql.join(items, sql`, `);
}

/** The columns of an invoice's values. */
export const values = () => eachValue((value) => sql`${value}`);
/** The columns of `corrections` for them. */
export const oldValues = () => eachValue((_, oldValue) => sql`${oldValue}`);

/** Enters `net`, the changes by group, in the ledger and in the queue of the refresh. */
export function recordNet(loadId: number): SQL {
  return sql`
    ledger as (
      insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
      select ${loadId}::integer, created_on, venue_key, invoices, total from net order by created_on, venue_key
    ),
    queued as (
      insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total, epoch)
      select created_on, venue_key, invoices, total, ${CURRENT_EPOCH}
      from net order by created_on, venue_key
    )`;
}

/** The partitions of `net`. */
export function changedPartitions(): SQL {
  return sql`
           array(
             select p.partition
             from warehouse.partitions p
             where exists (
               select from (select distinct created_on from net) changed
               where changed.created_on >= p.lower and changed.created_on < p.upper
             )
             order by p.lower
           )`;
}
