/**
 * A lookback window, as incremental models are usually run: the last days are deleted and inserted anew. It
 * misses what arrives later, so with late rows its totals are wrong. By how much, this arm shows.
 */

import { type Arm, totalsOf } from "../run/arm.ts";
import { SYNCED_ON } from "../run/scale.ts";
import { openSession, runRefresh } from "../run/session.ts";

const DAYS = 3;

export const lookback: Arm = {
  name: "lookback",
  title: `lookback window of ${DAYS} days`,
  group: "other",
  site: "shared",
  loadedBy: "floor",
  appliesTo: ({ history }) => history > 0,
  open: (site) => openSession(site, { run: (client) => runRefresh(client, DELETE, INSERT) }),
  totals: () => totalsOf("bench.summary"),
  restore: async ({ database }) => {
    await database.pool.query(`${DELETE};
      insert into bench.summary (created_on, venue_key, invoices, total)
      select created_on, venue_key, invoices, total from warehouse.venue_day_rollup where ${WINDOW}`);
  },
};

const WINDOW = `created_on >= date '${SYNCED_ON}' - ${DAYS}`;
const DELETE = `delete from bench.summary where ${WINDOW}`;
const INSERT = `
  insert into bench.summary (created_on, venue_key, invoices, total)
  select created_on, venue_key, count(*), sum(total)
  from warehouse.invoices
  where ${WINDOW}
  group by created_on, venue_key
  order by created_on, venue_key`;
