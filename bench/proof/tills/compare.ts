/** Compares the warehouse's totals with DuckDB's own sums of the till lines. */
import type { DuckDBConnection } from "@duckdb/node-api";

export interface Difference {
  readonly venue_id: string;
  readonly created_on: string;
  /** Of the till lines; null where they have no such store and day. */
  readonly expected: string | null;
  /** Of the warehouse; null where it has no such venue and day. */
  readonly found: string | null;
}

export interface Comparison {
  readonly stores: number;
  /** Stores and days with sales. */
  readonly groups: number;
  readonly baskets: number;
  readonly total: string;
  readonly differences: readonly Difference[];
}

/**
 * The table `lines` holds the till lines. A day is the date of their wall-clock times. Each value is rounded
 * to the cent before it is added, so the sums are exact.
 *
 * @param totals the file that `rollbook totals --by venue,day --format csv` wrote
 */
export async function compareTotals(connection: DuckDBConnection, totals: string): Promise<Comparison> {
  await connection.run(
    `create table expected as
     select store_id::varchar as venue_id, transaction_timestamp::date as created_on,
       count(distinct basket_id) as invoices, sum(sales_value::decimal(18, 2)) as total
     from lines group by all`,
  );
  await connection.run(
    `create table found as from read_csv($totals, header = true, auto_detect = false, delim = ',', columns = {
       venue_id: 'varchar', created_on: 'date', invoices: 'bigint', total: 'decimal(38, 2)'
     })`,
    { totals },
  );
  const differences = await connection.runAndReadAll(
    `select coalesce(e.venue_id, f.venue_id) as venue_id,
       coalesce(e.created_on, f.created_on)::varchar as created_on,
       e.invoices || ' for ' || e.total as expected, f.invoices || ' for ' || f.total as found
     from expected e full join found f using (venue_id, created_on)
     where (e.invoices, e.total) is distinct from (f.invoices, f.total)
     order by all`,
  );
  const summed = await connection.runAndReadAll(
    `select count(distinct venue_id)::integer as stores, count(*)::integer as groups,
       sum(invoices)::integer as baskets, sum(total)::varchar as total
     from expected`,
  );
  const [summary] = summed.getRowObjectsJson();
  return {
    ...(summary as unknown as Omit<Comparison, "differences">),
    differences: differences.getRowObjectsJson() as unknown as readonly Difference[],
  };
}
