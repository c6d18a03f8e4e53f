/** Finds invoice ids that were sent with another venue or creation date: they stand under several keys. */
import { type SQL, sql } from "drizzle-orm";
import type { Session } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { invoices, loads, type Partition, venues } from "../../db/schema.ts";
import { leafOf } from "../refresh/recompute.ts";
import type { OnDivergence, Statement } from "./divergence.ts";
import { venueName } from "./groups.ts";

/**
 * A query for the invoices whose id stands under several keys, in one partition or in all: their keys, their
 * loads, and `place`, 1 for the newest of each id. The greatest `(synced_on, load_id)` is the newest, as with
 * two statements under one key. Of two keys that one load brought both have the same place: the lines of a
 * drop are not kept, so nothing says which of them came later. Reads all invoices, twice.
 */
export function selectDoubled(partition: Partition | undefined): SQL {
  const source = partition === undefined ? sql`${invoices}` : leafOf("invoices", partition);
  return sql`
    select i.created_on, i.venue_key, i.invoice_id, i.total, i.load_id, i.synced_on,
           rank() over (partition by i.invoice_id order by i.synced_on desc, i.load_id desc) as place
    from ${source} i
    where i.invoice_id in (
      select invoice_id from ${source} group by invoice_id having count(*) > 1
    )`;
}

interface StatementRow extends Omit<Statement, "newest"> {
  readonly invoiceId: string;
  readonly place: string;
}

/** Names the invoice ids that stand under several keys, newest statement first. */
export async function checkIdentity(
  session: Session,
  partition: Partition | undefined,
  found: OnDivergence,
): Promise<void> {
  if (partition?.state === "dropped") return;
  const rows = streamRows<StatementRow>(
    session,
    sql`
      select d.invoice_id as "invoiceId", ${venueName(sql`d.venue_key`)} as "venueId",
             d.created_on::text as "createdOn", d.total::text, d.load_id as "loadId",
             l.file_name as "fileName", d.synced_on::text as "syncedOn", d.place
      from (${selectDoubled(partition)}) d
      left join ${venues} v on v.venue_key = d.venue_key
      left join ${loads} l on l.load_id = d.load_id
      order by d.invoice_id, d.place, d.created_on, v.venue_id`,
  );
  let current: { readonly invoiceId: string; readonly statements: Statement[] } | undefined;
  for await (const { invoiceId, place, ...statement } of rows) {
    if (invoiceId !== current?.invoiceId) {
      if (current !== undefined) found({ kind: "identity", ...current });
      current = { invoiceId, statements: [] };
    }
    current.statements.push({ ...statement, newest: Number(place) === 1 });
  }
  if (current !== undefined) found({ kind: "identity", ...current });
}
