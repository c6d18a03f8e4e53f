/** Tables of a partition that somebody dropped, detached or emptied by hand: what each verb says, and the ways back that need no backup. */
import { expect, test } from "vitest";
import { withSession } from "../../../db/client.ts";
import { attachPartition } from "../../../db/partitions/attach.ts";
import { ensurePartitions } from "../../../db/partitions/create.ts";
import { listMissingTables } from "../../../db/partitions/missing.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { datesIn, expectFitting, fill } from "../../../db/testing/partitions.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { jsonLines, rollbookHere } from "../cli.ts";
import { expectedTotals, type MadeDrop, makeDrop } from "../drops.ts";
import { findDivergences } from "../invoices.ts";
import { loadAll, makeHistory } from "../recovery.ts";
import { disagreements, totalsOf } from "../warehouse.ts";

interface Lost {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  readonly drops: readonly MadeDrop[];
  readonly run: (...args: string[]) => ReturnType<typeof rollbookHere>;
}

async function lose(sql: string, options: { readonly leaving?: boolean } = {}): Promise<Lost> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const drops = await makeHistory(warehouse, folder, options);
  await warehouse.query(sql);
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  return { warehouse, folder, drops, run };
}

const TABLES = ["invoices", "venue_day_deltas", "venue_day_rollup"] as const;
const WAYS_TO_LOSE = TABLES.flatMap((table) => [
  { table, is: "gone", sql: `drop table warehouse.${table}_2026_03` },
  {
    table,
    is: "not attached",
    sql: `alter table warehouse.${table} detach partition warehouse.${table}_2026_03`,
  },
]);

test.each(WAYS_TO_LOSE)(
  "where $table is $is, every verb that needs it names it and the remedy",
  async ({ table, is, sql }) => {
    const { warehouse, folder, run } = await lose(sql);
    const remedy = `partition 2026-03: the table warehouse.${table}_2026_03 is ${is}. Run: rollbook partitions attach 2026-03`;
    const verified = await run("verify", "--partition", "2026-03");
    expect(verified).toMatchObject({ code: 1, stdout: expect.stringContaining(remedy) });
    expect((await run("status")).stderr).toContain(remedy);

    const drop = await makeDrop({ folder, syncedOn: "2026-04-08", rows: 300, version: 5 });
    const loaded = await run("load", "--json", "--no-refresh", drop.path);
    const [report] = jsonLines(loaded.stdout);
    // The rollup is not needed to load, but to refresh.
    if (table === "venue_day_rollup") {
      expect(report).toMatchObject({ outcome: "loaded" });
      const refreshed = await run("refresh");
      expect(refreshed).toMatchObject(
        is === "gone" ? { code: 2, stderr: expect.stringContaining(remedy) } : { code: 0 },
      );
    } else {
      expect(report).toMatchObject({ outcome: "failed", error: { code: "table_missing", message: remedy } });
    }
    const rebuilt = await run("refresh", "--partition", "2026-03", "--strategy", "partition");
    const needs = is === "gone" && table !== "venue_day_deltas";
    expect(rebuilt).toMatchObject(needs ? { code: 2, stderr: expect.stringContaining(remedy) } : { code: 0 });

    const repaired = await run("verify", "--repair");
    expect(repaired).toMatchObject({ code: 1, stdout: expect.stringContaining(remedy) });
    const dropped = await run("partitions", "drop", "2026-03", "--yes");
    expect(dropped.code).toBe(2);
    // Nothing of that has entered what may come back yet as lost for good.
    const [repairs] = await warehouse.query<{ count: number }>(
      "select count(*)::int as count from warehouse.loads where status = 'repair'",
    );
    expect(repairs).toEqual({ count: 0 });
  },
);

test("a rollup dropped by mistake is made anew and rebuilt by attach, exactly", async () => {
  const { warehouse, drops, run } = await lose("drop table warehouse.venue_day_rollup_2026_03");
  expect(await totalsOf(warehouse)).not.toEqual(expectedTotals(drops));
  expect(await run("partitions", "attach", "2026-03")).toMatchObject({
    code: 0,
    stdout: "2026-03: attached\n",
  });
  expect(await totalsOf(warehouse)).toEqual(expectedTotals(drops));
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
  await expectFitting(warehouse);
  expect(await run("partitions", "attach", "2026-03")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("there is nothing to attach"),
  });
});

test("a rollup of a dropped partition is summed from its deltas", async () => {
  const { warehouse, drops, run } = await lose("drop table warehouse.venue_day_rollup_2026_02", {
    leaving: true,
  });
  expect(await run("partitions", "attach", "2026-02")).toMatchObject({ code: 0 });
  await run("partitions", "attach", "2026-01");
  const shown = (await totalsOf(warehouse)).filter(({ created_on: date = "" }) => date.startsWith("2026-02"));
  // What came for it after it was dropped was rejected.
  const expected = expectedTotals(drops.slice(0, 2));
  expect(shown).toEqual(expected.filter(({ created_on: date = "" }) => date.startsWith("2026-02")));
  expect(await findDivergences(warehouse)).toEqual([]);
  await expectFitting(warehouse);
});

test("the deltas of a dropped partition are not replaced by nothing: they alone prove its totals", async () => {
  const { warehouse, run } = await lose("drop table warehouse.venue_day_deltas_2026_02", { leaving: true });
  const before = await totalsOf(warehouse);
  for (const flags of [[], ["--anew"]]) {
    const refused = await run("partitions", "attach", "2026-02", ...flags);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("from a backup") });
  }
  expect((await run("verify", "--repair")).code).toBe(1);
  expect(await totalsOf(warehouse)).toEqual(before);
});

test.each(["venue_day_rollup", "invoices", "venue_day_deltas"])(
  "a table of %s that was detached by hand is attached again",
  async (table) => {
    const { warehouse, drops, run } = await lose(
      `alter table warehouse.${table} detach partition warehouse.${table}_2026_03`,
    );
    expect(await run("partitions", "attach", "2026-03")).toMatchObject({ code: 0 });
    expect(await totalsOf(warehouse)).toEqual(expectedTotals(drops));
    expect(await findDivergences(warehouse)).toEqual([]);
    await expectFitting(warehouse);
  },
);

test.each(["venue_day_rollup", "invoices", "venue_day_deltas"])(
  "the table of a year of %s that was detached by hand is named, and attached again",
  async (table) => {
    const warehouse = await createTestDatabase({ granularity: "day" });
    const { database } = warehouse;
    const dates = ["2025-12-31", "2026-01-01", "2026-01-02"];
    await ensurePartitions({ database, granularity: "day", dates });
    for (const date of dates) await fill(database.pool, date);
    await refreshPartitions({ database });
    await warehouse.query(`alter table warehouse.${table} detach partition warehouse.${table}_y2026`);
    const missing = await withSession(warehouse, (session) => listMissingTables(session));
    expect(missing.map(({ partition, parent, whereabouts }) => [partition, parent, whereabouts])).toEqual([
      ["2026-01-01", table, "separate"],
      ["2026-01-02", table, "separate"],
    ]);
    await attachPartition({ database, partition: "2026-01-02" });
    expect(await withSession(warehouse, (session) => listMissingTables(session))).toEqual([]);
    await refreshPartitions({ database });
    expect(await datesIn(warehouse)).toEqual(dates);
    await expectFitting(warehouse);
  },
);

test("an emptied rollup is named by verify, and the next refresh rebuilds it", async () => {
  const { warehouse, drops, run } = await lose("truncate warehouse.venue_day_rollup_2026_03");
  expect(await run("verify")).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("its control totals say"),
  });
  expect(await run("refresh")).toMatchObject({ code: 0 });
  expect(await totalsOf(warehouse)).toEqual(expectedTotals(drops));
  expect(await findDivergences(warehouse)).toEqual([]);
});

test("deltas dropped by mistake: made anew, the totals stay right, and what is lost is lineage alone", async () => {
  const { warehouse, drops, run } = await lose("drop table warehouse.venue_day_deltas_2026_03");
  const refused = await run("partitions", "attach", "2026-03");
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("pg_restore") });
  expect(await run("partitions", "attach", "2026-03", "--anew")).toMatchObject({ code: 0 });
  // Loads are still short of the deltas that they brought: entered as lost by the repair.
  expect(await run("verify", "--repair")).toMatchObject({ code: 0 });
  expect(await totalsOf(warehouse)).toEqual(expectedTotals(drops));
  expect(await findDivergences(warehouse)).toEqual([]);
  await expectFitting(warehouse);
});

test("invoices dropped by mistake, without a backup: made anew, and their drops are loaded again", async () => {
  const { warehouse, drops, run } = await lose("drop table warehouse.invoices_2026_03");
  const [before] = await warehouse.query<{ at: string }>("select clock_timestamp()::text as at");
  const refused = await run("partitions", "attach", "2026-03");
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("--anew") });
  expect(await run("partitions", "attach", "2026-03", "--anew")).toMatchObject({ code: 0 });
  // Consistent at once: the reports show less, and say nothing wrong.
  expect(await findDivergences(warehouse)).toEqual([]);
  const less = await totalsOf(warehouse);
  expect(less.some(({ created_on: date = "" }) => date.startsWith("2026-03"))).toBe(false);
  const paths = drops.map(({ path }) => path);
  expect(jsonLines((await run("load", "--json", ...paths)).stdout).map(({ outcome }) => outcome)).toEqual(
    paths.map(() => "already_loaded"),
  );
  expect(
    jsonLines((await run("load", "--again", "--json", ...paths)).stdout).map(({ outcome }) => outcome),
  ).toEqual(paths.map(() => "loaded"));
  expect(await totalsOf(warehouse)).toEqual(expectedTotals(drops));
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
  // What was known before the accident still is.
  expect(await totalsOf(warehouse, before?.at)).toEqual(expectedTotals(drops));
  await expectFitting(warehouse);
  await loadAll(warehouse, [
    await makeDrop({ folder: makeFolder(), syncedOn: "2026-04-08", rows: 100, version: 7 }),
  ]);
  expect(await disagreements(warehouse)).toEqual([]);
});
