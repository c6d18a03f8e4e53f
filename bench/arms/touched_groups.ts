/**
 * Only the groups that the batch touches: they are deleted from a summary table and inserted anew from the
 * invoices. A table of the batch's rows says which they are. Making that table is not measured, in this arm's
 * favour.
 */
import { type Arm, totalsOf } from "../run/arm.ts";
import { copyBatch, openSession, runRefresh } from "../run/session.ts";

export const touchedGroups: Arm = {
  name: "touched_groups",
  title: "recompute of the touched groups",
  group: "other",
  site: "shared",
  loadedBy: "floor",
  appliesTo: ({ history }) => history > 0,
  open: (site) =>
    openSession(site, {
      prepare: async (client) => {
        await client.query("create table if not exists bench.batch (like warehouse.invoices)");
        await client.query("truncate bench.batch");
        await copyBatch(client, "bench.batch", site.batch.keyed);
        await client.query("vacuum (analyze) bench.batch");
      },
      run: (client) => runRefresh(client, FIND, DELETE, INSERT),
    }),
  totals: () => totalsOf("bench.summary"),
  restore: async ({ database }) => {
    await database.pool.query(
      `${DELETE.replace("pg_temp.touched", BATCH_GROUPS)};
       insert into bench.summary (created_on, venue_key, invoices, total)
       select created_on, venue_key, r.invoices, r.total
       from warehouse.venue_day_rollup r
       join ${BATCH_GROUPS} touched using (created_on, venue_key)`,
    );
  },
};

const BATCH_GROUPS = "(select distinct created_on, venue_key from bench.batch)";

const FIND = `
  create temporary table touched on commit drop as
  select distinct created_on, venue_key from bench.batch;
  analyze pg_temp.touched`;

const DELETE = `
  delete from bench.summary s
  using pg_temp.touched touched
  where s.created_on = touched.created_on and s.venue_key = touched.venue_key`;

const INSERT = `
  insert into bench.summary (created_on, venue_key, invoices, total)
  select created_on, venue_key, count(*), sum(i.total)
  from warehouse.invoices i
  join pg_temp.touched using (created_on, venue_key)
  group by created_on, venue_key
  order by created_on, venue_key`;
