/** What one load changes in periods that are closed. */
import { sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { LOCK, shareLockUntilEnd } from "../../db/locks.ts";
import { closings, deltas, partitions, reportedClosings } from "../../db/schema.ts";
import type { LineRules } from "../drop/rules.ts";
import type { RestatedPeriod } from "./period.ts";

interface TouchedClosing extends Record<string, unknown> {
  readonly closing: number;
  readonly period: string;
  /** The dates of the closing that are in partitions of the load: from the first on, before the second. */
  readonly lower: string;
  readonly upper: string;
}

/**
 * Finds what a load of lines changes in closed periods ({@link findRestated}). Where its rules refuse that, it
 * waits for a closing that is being made, and looks again: a period may have been closed after the lines were
 * read. To be called at the end of the load's transaction, because from then on closings wait for it.
 *
 * @throws RollbookError `period_closed`: the next attempt rejects the lines
 */
export async function checkRestated(
  tx: Transaction,
  load: {
    readonly loadId: number;
    readonly partitions: readonly string[];
    readonly rules: Pick<LineRules, "closedPeriods">;
  },
): Promise<readonly RestatedPeriod[]> {
  const refuses = load.rules.closedPeriods !== null;
  if (refuses) await shareLockUntilEnd(tx, LOCK.closings);
  const restated = await findRestated(tx, load);
  if (!refuses || restated.length === 0) return restated;
  throw new RollbookError({
    code: "period_closed",
    message:
      "periods were closed all the while, and the warehouse refuses changes of closed periods. The load was rolled back; load it again.",
  });
}

/**
 * Finds what a load changes in closed periods, from its own deltas. Where nothing is closed, that takes one look
 * at an empty table. A closing that commits at the same moment may not be among them.
 *
 * @param load.partitions names of the partitions in which it changed something
 */
export async function findRestated(
  { db }: Transaction,
  { loadId, partitions: names }: { readonly loadId: number; readonly partitions: readonly string[] },
): Promise<readonly RestatedPeriod[]> {
  if (names.length === 0) return [];
  // Most warehouses have no closings, and to plan the next query takes longer than to look.
  const some = await db.select({ closing: closings.closingId }).from(closings).limit(1);
  if (some.length === 0) return [];
  const touched = await db.execute<TouchedClosing>(sql`
    select c.closing, c.period, greatest(c.first_date, min(p.lower))::text as lower,
           least(c.date_after, max(p.upper))::text as upper
    from ${reportedClosings} c
    join ${partitions} p on p.lower < c.date_after and p.upper > c.first_date
    where c.replaced_by is null and p.partition = any (${sql.param(names)}::text[])
    group by c.closing, c.period, c.first_date, c.date_after
    order by c.closing`);
  const restated: RestatedPeriod[] = [];
  for (const { closing, period, lower, upper } of touched.rows) {
    // Each closing by itself, so that the planner sees its dates, and reads no other partitions.
    const { rows } = await db.execute<{ groups: string; invoices: string; total: string }>(sql`
      select count(*) as groups, coalesce(sum(invoices), 0)::bigint as invoices,
             coalesce(sum(total), 0)::numeric(24, 2)::text as total
      from (
        select sum(invoices) as invoices, sum(total) as total
        from ${deltas}
        where load_id = ${loadId}::integer and created_on >= ${lower}::date and created_on < ${upper}::date
        group by created_on, venue_key
        having sum(invoices) <> 0 or sum(total) <> 0
      ) changed`);
    const [row] = rows;
    const groups = Number(row?.groups ?? 0);
    if (row === undefined || groups === 0) continue;
    restated.push({ closing, period, groups, invoices: Number(row.invoices), total: row.total });
  }
  return restated;
}
