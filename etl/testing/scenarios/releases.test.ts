/** The warehouse of each released version, brought to this one: docs/recovery.md, "An upgrade". */
import { expect, test } from "vitest";
import { withSession } from "../../../db/client.ts";
import { initWarehouse } from "../../../db/migrate.ts";
import { readSettings } from "../../../db/settings.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { expectFitting } from "../../../db/testing/partitions.ts";
import { readJournal } from "../../../db/version.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { attachRebuilt } from "../../retire.ts";
import { makeDrop } from "../drops.ts";
import { findDivergences } from "../invoices.ts";
import { loadAll, openRestored } from "../recovery.ts";
import { RELEASES, restoreRelease } from "../releases.ts";
import { disagreements, totalsOf } from "../warehouse.ts";

test("there is a fixture of each released version", () => {
  expect(RELEASES.map(({ version }) => version)).toEqual(expect.arrayContaining(["0.1.0", "0.2.0"]));
});

test.each(RELEASES)(
  "a warehouse of version $version is migrated, shows what it showed, and goes on",
  async (release) => {
    const { database } = await restoreRelease(release);
    const tags = (await readJournal()).map(({ tag }) => tag);
    const missing = tags.slice(tags.indexOf(release.migration) + 1);
    if (missing.length > 0) {
      const told = withSession({ database }, readSettings);
      await expect(told).rejects.toMatchObject({ code: "warehouse_missing", message: /rollbook init/ });
    }
    const { applied, created, settings } = await initWarehouse({ database });
    expect({ applied, created, settings }).toEqual({
      applied: missing,
      created: false,
      settings: { ...release.settings, dayStarts: "00:00" },
    });

    const warehouse = await openRestored(database, {});
    expect(await totalsOf(warehouse)).toEqual(release.totals);
    expect(await totalsOf(warehouse, release.between)).toEqual(release.totalsBetween);
    const counts = await warehouse.query(`
    select (select count(*)::int from warehouse.loads) as loads, (select count(*)::int from warehouse.rejects) as rejects,
           (select count(*)::int from warehouse.corrections) as corrections,
           (select count(*)::int from warehouse.venue_day_pending) as pending`);
    expect(counts).toEqual([release.counts]);
    const open = await warehouse.query(`
      select (select coalesce(sum(lines), 0)::int from reports.open_rejects) as open,
             (select count(*)::int from warehouse.rejects join warehouse.loads using (load_id) where status = 'loaded') as kept`);
    expect(open[0]?.open).toBe(open[0]?.kept);
    expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
    await expectFitting(warehouse);

    const methods = (await refreshPartitions({ database })).map(({ method }) => method);
    expect(methods).toContain("rebuild");
    expect(methods).toContain("delta");
    expect(await totalsOf(warehouse)).toEqual(release.totals);
    await attachRebuilt({ database, settings, partition: "2026-01" });
    const drop = await makeDrop({
      folder: makeFolder(),
      syncedOn: "2026-04-20",
      rows: 200,
      first: 30,
      version: 8,
    });
    await loadAll(warehouse, [drop]);
    await refreshPartitions({ database });
    expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
    // The invoices of December were dropped.
    const differing = (await disagreements(warehouse)) as { created_on: string }[];
    expect(differing.filter(({ created_on: date }) => !date.startsWith("2025-12"))).toEqual([]);
  },
);
