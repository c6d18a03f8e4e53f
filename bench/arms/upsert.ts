/** The floor where a batch corrects: COPY into a temporary table, then insert on conflict, newest wins. */
import type pg from "pg";
import type { Arm } from "../run/arm.ts";
import { copyBatch, inTransaction, openSession, timePhase } from "../run/session.ts";

export const upsert: Arm = {
  name: "upsert",
  title: "COPY and INSERT ON CONFLICT",
  group: "floor",
  site: "own",
  appliesTo: ({ corrections, history }) => corrections > 0 && history > 0,
  open: (site) =>
    openSession(site, {
      run: async (client) => {
        const work = () => inTransaction(client, () => upsertBatch(client, site.batch.keyed));
        return { phases: [await timePhase("upsert", work)], rows: site.batch.rows };
      },
    }),
};

/** To be called in a transaction. */
export async function upsertBatch(client: pg.ClientBase, path: string): Promise<void> {
  await client.query("create temporary table batch (like warehouse.invoices) on commit drop");
  await copyBatch(client, "pg_temp.batch", path);
  await client.query(UPSERT);
}

const UPSERT = `
  insert into warehouse.invoices as stored (created_on, venue_key, invoice_id, created_at, load_id, synced_on, total)
  select created_on, venue_key, invoice_id, created_at, load_id, synced_on, total
  from pg_temp.batch
  order by created_on, venue_key, invoice_id
  on conflict (created_on, venue_key, invoice_id) do update
    set created_at = excluded.created_at, load_id = excluded.load_id,
        synced_on = excluded.synced_on, total = excluded.total
    where (stored.synced_on, stored.load_id) < (excluded.synced_on, excluded.load_id)`;
