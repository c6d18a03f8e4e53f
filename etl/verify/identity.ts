/** Finds invoice ids that were sent with another venue or creation date: they stand under two keys. */
import { sql } from "drizzle-orm";
import type { Session } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { invoices, type Partition, venues } from "../../db/schema.ts";
import { leafOf } from "../refresh/recompute.ts";
import type { OnDivergence } from "./divergence.ts";

/**
 * Names the invoice ids that stand under several keys, in one partition or in all. Reads all their invoices.
 */
export async function checkIdentity(
  session: Session,
  partition: Partition | undefined,
  found: OnDivergence,
): Promise<void> {
  if (partition?.state === "dropped") return;
  const source = partition === undefined ? invoices : leafOf("invoices", partition);
  const rows = streamRows<{ readonly invoice_id: string; readonly keys: string[] }>(
    session,
    sql`
      select i.invoice_id,
             array_agg(v.venue_id || ' on ' || i.created_on order by i.created_on, v.venue_id) as keys
      from ${source} i
      join ${venues} v on v.venue_key = i.venue_key
      group by i.invoice_id
      having count(*) > 1`,
  );
  for await (const row of rows) found({ kind: "identity", invoiceId: row.invoice_id, keys: row.keys });
}
