/** Recomputes the rollup of a partition from its invoices. */
import { eq, sql } from "drizzle-orm";
import { ALLOW_WORK_MEM, type Transaction } from "../../db/client.ts";
import { READ_WHOLE } from "../../db/plans.ts";
import { type Partition, partitions, pending } from "../../db/schema.ts";
import { leafOf, recomputeGroups } from "./recompute.ts";
import { readWritten, type Written, type WrittenRow } from "./report.ts";
import { countRefresh, ended } from "./times.ts";

/**
 * Recomputes the rollup of a partition in one statement, under the partition's lock. The pending rows that
 * the snapshot sees are in the invoices of the same snapshot, so they are deleted, and rollup and control
 * totals are set. Only rows that differ are written, so readers never see an empty partition. Where the
 * invoices were dropped the deltas are summed.
 */
export async function rebuildRollup(tx: Transaction, partition: Partition): Promise<Written> {
  await tx.client.query([...READ_WHOLE, ALLOW_WORK_MEM].join(";"));
  // What the caller knows may be older than the lock: the invoices may have been dropped since.
  const [{ state } = { state: "open" as const }] = await tx.db
    .select({ state: partitions.state })
    .from(partitions)
    .where(eq(partitions.partition, partition.partition));
  const rollup = leafOf("venue_day_rollup", partition);
  const result = await tx.db.execute<WrittenRow>(sql`
    with taken as (
      delete from ${pending}
      where created_on >= ${partition.lower} and created_on < ${partition.upper}
      returning 1
    ),
    fresh as materialized (${recomputeGroups({ partition: { ...partition, state } })}),
    differing as (
      select created_on, venue_key, fresh.invoices, fresh.total
      from fresh
      full join ${rollup} as stored using (created_on, venue_key)
      where (fresh.invoices, fresh.total) is distinct from (stored.invoices, stored.total)
    ),
    merged as (
      merge into ${rollup} as stored
      using differing on stored.created_on = differing.created_on and stored.venue_key = differing.venue_key
      when matched and differing.invoices is null then delete
      when matched then update set invoices = differing.invoices, total = differing.total
      when not matched then
        insert (created_on, venue_key, invoices, total)
        values (differing.created_on, differing.venue_key, differing.invoices, differing.total)
      returning merge_action() as action
    ),
    controlled as (
      update ${partitions}
      set (rollup_invoices, rollup_total) = (
            select coalesce(sum(invoices), 0), coalesce(sum(total), 0) from fresh
          ),
          state = case state when 'stale' then 'open' else state end,
          refreshed_at = clock_timestamp(),${countRefresh}
      from ${ended}
      where partition = ${partition.partition}
    )
    select (select count(*) from taken) as changes,
           count(*) filter (where action = 'INSERT') as inserted,
           count(*) filter (where action = 'UPDATE') as updated,
           count(*) filter (where action = 'DELETE') as deleted
    from merged`);
  return readWritten(result.rows);
}
