/** Till lines as a register would send them: a file a week, with a row for each product of a basket. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";

/** What reads these files: it names the data set's own columns, and adds up the rows of a basket. */
export const SOURCE = `# Till lines of the data set Complete Journey, a file a week.
files: tills_*.csv
columns:
  venue_id: store_id
  datetime_created: transaction_timestamp
  total: sales_value
invoice_id:
  uuid5_of: [basket_id]
total:
  sum_rows: true
`;

export interface Drops {
  /** Their paths, by their sync dates. */
  readonly paths: readonly string[];
  readonly lines: number;
  /** Of them those of baskets that come a week late. */
  readonly late: number;
}

/**
 * The file of a line is that of the week in which its basket was sold, and each seventh basket comes a week
 * late. All lines of a basket are in one file. The totals are written as the binary floats that they are:
 * `0.99`, but `2.220446e-16`, too.
 *
 * @param options.parquet the till lines
 * @param options.folder where the files are written; made if it is missing
 */
export async function writeDrops(
  connection: DuckDBConnection,
  options: { readonly parquet: string; readonly folder: string },
): Promise<Drops> {
  const { parquet, folder } = options;
  await mkdir(folder, { recursive: true });
  await connection.run(
    `create table lines as
     select *,
       (date_trunc('week', transaction_timestamp) + interval 6 days)::date
         + case when basket_id % 7 = 0 then 7 else 0 end as synced_on
     from read_parquet($parquet)`,
    { parquet },
  );
  const counted = await connection.runAndReadAll(
    `select synced_on::varchar, count(*)::integer, count(*) filter (basket_id % 7 = 0)::integer
     from lines group by synced_on order by synced_on`,
  );
  const files = counted.getRows() as [date: string, lines: number, late: number][];
  const paths: string[] = [];
  for (const [date] of files) {
    const path = join(folder, `tills_${date}.csv`);
    await connection.run(
      `copy (select * exclude (synced_on) from lines where synced_on = '${date}') to '${path}' (header)`,
    );
    paths.push(path);
  }
  return {
    paths,
    lines: files.reduce((sum, [, lines]) => sum + lines, 0),
    late: files.reduce((sum, [, , late]) => sum + late, 0),
  };
}
