/** A look beforehand at some lines of a drop: whether their invoices are in the warehouse already. */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import type { Settings } from "../../db/schema.ts";
import { createdOnSql } from "../../db/settings.ts";

/**
 * Whether the warehouse has any invoice of the sample. The lookup is lateral, so that each goes by the key.
 *
 * @param sample an item of a FROM clause, named `sample`, with columns `venue_id`, `invoice_id` and
 *   `datetime_created`
 */
export async function sampleIsKnown(tx: Transaction, sample: SQL, settings: Settings): Promise<boolean> {
  const result = await tx.db.execute<{ known: boolean }>(sql`
    select exists (
      select
      from ${sample}
      join warehouse.venues v on v.venue_id = sample.venue_id
      cross join lateral (
        select
        from warehouse.invoices i
        where i.created_on = ${createdOnSql(sql`sample.datetime_created`, settings)}
          and i.venue_key = v.venue_key
          and i.invoice_id = sample.invoice_id
        limit 1
      ) stored
    ) as known`);
  return result.rows[0]?.known === true;
}
