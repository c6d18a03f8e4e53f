/**
 * Brute force on a columnar copy: DuckDB appends the drops and groups all invoices anew, once without and
 * once with the dedupe that ours does.
 */
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Arm, totalsOf } from "../run/arm.ts";
import { appendDrop, openDuckDb } from "../run/columnar.ts";
import type { Run } from "../run/sample.ts";
import { SYNCED_ON } from "../run/scale.ts";
import { copyFile, timePhase } from "../run/session.ts";
import type { Site } from "../run/site.ts";

export const duckdb: Arm = duckdbArm({
  name: "duckdb",
  title: "DuckDB, all regrouped, no dedupe",
  invoices: "invoices",
});

/** The newest line of each invoice; of one file's lines any, for a batch has no key twice. */
export const duckdbDedupe: Arm = duckdbArm({
  name: "duckdb_dedupe",
  title: "DuckDB, deduped and regrouped",
  invoices: `(
    select created_on, venue_key, arg_max(total, synced_on) as total
    from invoices
    group by created_on, venue_key, invoice_id
  )`,
});

function duckdbArm(options: Pick<Arm, "name" | "title"> & { readonly invoices: string }): Arm {
  const { name, title, invoices } = options;
  return {
    name,
    title,
    group: "other",
    site: "shared",
    appliesTo: ({ history }) => history > 0,
    open: (site) => openDuck(site, name, invoices),
    totals: async (site) => {
      await fetchTotals(site, name);
      return totalsOf(`bench.${name}`);
    },
  };
}

const totalsPath = ({ scratch }: Site, name: string) => join(scratch, `${name}_totals.csv`);

/**
 * The batch goes into a file beside that of the history, which stays as it is: to copy it would take minutes
 * and gigabytes. What is read is the same. PostgreSQL compares the totals, which are written to a file after
 * the time.
 */
async function openDuck(site: Site, name: string, invoices: string): Promise<Run> {
  const { history, scratch, batch } = site;
  const path = join(scratch, `${name}.duckdb`);
  await rm(path, { force: true });
  const { connection, close } = await openDuckDb(path);
  await connection.run(`
    attach '${history.columnar}' as history (read_only);
    create table arrived as from history.invoices limit 0;
    create temp view invoices as from history.invoices union all from arrived;
    checkpoint`);
  const before = (await stat(path)).size;
  const append = async () => {
    for (const drop of batch.drops)
      await appendDrop(connection, {
        path: drop,
        syncedOn: SYNCED_ON,
        into: "arrived",
        venues: "history.venues",
      });
    await connection.run("checkpoint");
  };
  const regroup = () =>
    connection.run(
      `create or replace table totals as
       select created_on, venue_key, count(*) as invoices, sum(total) as total
       from ${invoices}
       group by created_on, venue_key`,
    );
  return {
    run: async () => {
      const phases = [await timePhase("append", append), await timePhase("refresh", regroup)];
      await connection.run("checkpoint");
      return { phases, rows: batch.rows, fileBytes: (await stat(path)).size - before };
    },
    close: async () => {
      await connection.run(`copy totals to '${totalsPath(site, name)}' (header false)`);
      close();
      await rm(path, { force: true });
    },
  };
}

async function fetchTotals(site: Site, name: string): Promise<void> {
  const client = await site.database.pool.connect();
  client.on("error", () => {});
  try {
    await client.query(`create table bench.${name} (like bench.summary)`);
    await copyFile(client, `bench.${name} (created_on, venue_key, invoices, total)`, totalsPath(site, name));
  } finally {
    client.release();
  }
}
