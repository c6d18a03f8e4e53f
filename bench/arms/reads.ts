/** The arms of axis `reads`: one question about a year, asked of the view and of the bare rollup. */
export interface ReadArm {
  readonly name: string;
  readonly title: string;
  readonly query: string;
  /** SQL for all totals that it reads from; left out: it may lag behind. */
  readonly totals?: string;
}

const YEAR = "created_on >= date '2025-10-01' and created_on < date '2026-10-01'";
const perMonth = (table: string) => `
  select date_trunc('month', created_on) as month, sum(invoices) as invoices, sum(total) as total
  from ${table}
  where ${YEAR}
  group by 1`;

export const READ_ARMS: readonly ReadArm[] = [
  {
    name: "view",
    title: "a year from reports.venue_daily_totals",
    query: perMonth("reports.venue_daily_totals"),
    totals: `
      select created_on, venue_key, invoices, total
      from reports.venue_daily_totals
      join warehouse.venues using (venue_id)`,
  },
  {
    name: "rollup_table",
    title: "a year from the bare rollup table",
    query: perMonth("warehouse.venue_day_rollup"),
  },
];
