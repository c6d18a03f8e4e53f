/** Takes what is pending in a partition into its rollup. */
import { sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { type Partition, partitions, pending, pendingFloor } from "../../db/schema.ts";
import { leafOf } from "./recompute.ts";
import { readWritten, type Written, type WrittenRow } from "./report.ts";
import { countRefresh, ended } from "./times.ts";

/**
 * Takes what is pending into the rollup, in one statement under the partition's lock: it deletes the pending
 * rows that it sees, adds them up by group and merges them in key order. Two statements would lose or double
 * what commits between them. To be run with {@link PROBE_BY_KEY}. Nothing is taken where the partition is
 * stale, detached or gone.
 *
 * @returns beside what was written: how many groups cannot be right afterwards
 */
export async function applyPending(
  tx: Transaction,
  refreshed: Partition,
): Promise<Written & { readonly impossible: number }> {
  const { partition, lower, upper } = refreshed;
  const result = await tx.db.execute<WrittenRow & { readonly impossible: string }>(sql`
    with taken as (
      delete from ${pending}
      where epoch >= (select epoch from ${pendingFloor}) and created_on >= ${lower} and created_on < ${upper}
        and exists (select from ${partitions} where partition = ${partition} and state in ('open', 'dropped'))
      returning created_on, venue_key, invoices, total
    ),
    net as (
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
      from taken
      group by created_on, venue_key
      having sum(invoices) <> 0 or sum(total) <> 0
      order by created_on, venue_key
    ),
    merged as (
      merge into ${leafOf("venue_day_rollup", refreshed)} as stored
      using net on stored.created_on = net.created_on and stored.venue_key = net.venue_key
      when matched and stored.invoices + net.invoices = 0 then delete
      when matched then update set invoices = stored.invoices + net.invoices, total = stored.total + net.total
      when not matched then
        insert (created_on, venue_key, invoices, total)
        values (net.created_on, net.venue_key, net.invoices, net.total)
      returning merge_action() as action,
                coalesce(old.invoices, 0) + net.invoices as invoices,
                coalesce(old.total, 0) + net.total as total
    ),
    controlled as (
      update ${partitions}
      set rollup_invoices = rollup_invoices + (select coalesce(sum(invoices), 0) from net),
          rollup_total = rollup_total + (select coalesce(sum(total), 0) from net),
          refreshed_at = clock_timestamp(),${countRefresh}
      from ${ended}
      where partition = ${partition}
    )
    select (select count(*) from taken) as changes,
           count(*) filter (where action = 'INSERT') as inserted,
           count(*) filter (where action = 'UPDATE') as updated,
           count(*) filter (where action = 'DELETE') as deleted,
           count(*) filter (where invoices < 0 or (invoices = 0 and total <> 0)) as impossible
    from merged`);
  return { ...readWritten(result.rows), impossible: Number(result.rows[0]?.impossible) };
}
