/** A look beforehand at some lines of a drop: whether their invoices are in the warehouse already. */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import type { Settings } from "../../db/schema.ts";
import { createdOnSql } from "../../db/settings.ts";

/**
 * Whether the warehouse has any invoice of the sample. The lookup is lateral, so that each goes by the key. Their
 * dates are asked for first and then given, so that other partitions are neither planned nor locked.
 *
 * @param sample an item of a FROM clause, named `sample`, with columns `venue_id`, `invoice_id` and
 *   `datetime_created`; the same rows each time
 */
export async function sampleIsKnown(tx: Transaction, sample: SQL, settings: Settings): Promise<boolean> {
  const createdOn = createdOnSql(sql`sample.datetime_created`, settings);
  const sampled = await tx.db.execute<{ dates: readonly string[] | null }>(
    sql`select array_agg(distinct ${createdOn}) as dates from ${sample}`,
  );
  const dates = sampled.rows[0]?.dates ?? [];
  const result = await tx.db.execute<{ known: boolean }>(sql`
    select exists (
      select
      from ${sample}
      cross join lateral (
        select v.venue_key from warehouse.venues v where v.venue_id = sample.venue_id limit 1
      ) v
      cross join lateral (
        select
        from warehouse.invoices i
        where i.created_on = ${createdOn}
          and i.created_on = any (${sql.param(dates)}::date[])
          and i.venue_key = v.venue_key
          and i.invoice_id = sample.invoice_id
        limit 1
      ) stored
    ) as known`);
  return result.rows[0]?.known === true;
}
