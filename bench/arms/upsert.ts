/** The floor where a batch corrects: COPY into a temporary table, then insert on conflict, newest wins. */
import type { Arm } from "./arm.ts";
import { copyBatch, inTransaction, openSession, timed } from "./statements.ts";

export const upsert: Arm = {
  name: "upsert",
  title: "COPY and INSERT ON CONFLICT",
  group: "floor",
  site: "own",
  appliesTo: ({ corrections, history }) => corrections > 0 && history > 0,
  open: (site) =>
    openSession(site, {
      run: async (client) => ({
        phases: [
          {
            name: "upsert",
            ms: await timed(() =>
              inTransaction(client, async () => {
                await client.query("create temporary table batch (like warehouse.invoices) on commit drop");
                await copyBatch(client, "pg_temp.batch", site.batch.keyed);
                await client.query(UPSERT);
              }),
            ),
          },
        ],
        rows: site.batch.rows,
        groups: null,
      }),
    }),
};

/** From `pg_temp.batch` into the invoices. */
export const UPSERT = `
  insert into warehouse.invoices as stored (created_on, venue_key, invoice_id, created_at, load_id, synced_on, total)
  select created_on, venue_key, invoice_id, created_at, load_id, synced_on, total
  from pg_temp.batch
  order by created_on, venue_key, invoice_id
  on conflict (created_on, venue_key, invoice_id) do update
    set created_at = excluded.created_at, load_id = excluded.load_id,
        synced_on = excluded.synced_on, total = excluded.total
    where (stored.synced_on, stored.load_id) < (excluded.synced_on, excluded.load_id)`;
