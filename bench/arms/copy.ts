/** Floors: COPY alone, of rows that have their keys. It keeps no totals and checks nothing. */
import { ensurePartitions } from "../../db/partitions/create.ts";
import type { Arm } from "../run/arm.ts";
import { MOST_SORTED } from "../run/batch.ts";
import { datesOf, makeVenues } from "../run/history.ts";
import type { Run } from "../run/sample.ts";
import { copyBatch, openSession, timePhase } from "../run/session.ts";
import type { Site } from "../run/site.ts";

export const copy: Arm = {
  name: "copy",
  title: "bare COPY",
  group: "floor",
  site: "own",
  appliesTo: ({ corrections }) => corrections === 0,
  open: (site) => openCopy(site, site.batch.keyed),
};

export const copySorted: Arm = {
  name: "copy_sorted",
  title: "bare COPY, sorted by key",
  group: "floor",
  site: "own",
  appliesTo: ({ corrections, batch }) => corrections === 0 && batch <= MOST_SORTED,
  open: (site) => openCopy(site, site.batch.keyedSorted ?? site.batch.keyed),
};

async function openCopy(site: Site, path: string): Promise<Run> {
  if (site.cell.history === 0) await makePlace(site);
  return openSession(site, {
    run: async (client) => ({
      phases: [await timePhase("copy", () => copyBatch(client, "warehouse.invoices", path))],
      rows: site.batch.rows,
    }),
  });
}

/** In an empty warehouse the floor finds venues and partitions made; ours makes them within the time. */
async function makePlace({ database, settings, scale }: Site): Promise<void> {
  await makeVenues(database, scale);
  await ensurePartitions({ database, granularity: settings.granularity, dates: datesOf(scale) });
}
