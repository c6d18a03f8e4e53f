/** Whether totals are those of the invoices, group by group and to the cent. */
import type { Verdict } from "../results.ts";
import type { Site } from "./site.ts";

/** Recomputes the totals of all invoices into `bench.truth`, once the batch is in. */
export async function recomputeTruth({ database }: Site): Promise<void> {
  await database.pool.query(`
    create table bench.truth as
    select created_on, venue_key, count(*) as invoices, sum(total) as total
    from warehouse.invoices
    group by created_on, venue_key`);
}

/** @param totals SQL that gives created_on, venue_key, invoices and total of each group */
export async function compareTotals({ database }: Site, totals: string): Promise<Verdict> {
  const { rows } = await database.pool.query(`
    select count(*)::int as groups,
           coalesce(sum(abs(coalesce(t.total, 0) - coalesce(a.total, 0))) * 100, 0)::numeric(40, 0)::text as cents
    from bench.truth t
    full join (${totals}) a using (created_on, venue_key)
    where (t.invoices, t.total) is distinct from (a.invoices, a.total)`);
  const [{ groups, cents }] = rows;
  return { exact: groups === 0, groups, cents };
}

/** The worse of two. */
export function joinVerdicts(one: Verdict | null, other: Verdict | null): Verdict | null {
  if (one === null || other === null) return one ?? other;
  return one.exact ? other : one;
}
