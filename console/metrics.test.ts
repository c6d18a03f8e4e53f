import { expect, test } from "vitest";
import { detachPartition } from "../db/partitions/remove.ts";
import { createTestDatabase, type TestWarehouse } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { loginAs } from "../db/testing/roles.ts";
import { closePeriod } from "../etl/closings/close.ts";
import { periodOf } from "../etl/closings/period.ts";
import { loadDrop } from "../etl/load/load.ts";
import { refreshPartitions } from "../etl/refresh/refresh.ts";
import type { Topic } from "../etl/reports/metrics.ts";
import { findDivergences, load, writeInvoices } from "../etl/testing/invoices.ts";
import { invoiceId, writeDrop } from "../etl/testing/lines.ts";
import { pruneStatements } from "../etl/undo/prune.ts";
import { undo } from "../etl/undo/undo.ts";
import { openMetrics } from "./metrics.ts";

/** Reads everything anew each time. */
const ALWAYS = { keepMs: 0, rest: 0, waitMs: 600_000 };

/** The series of a text: name and labels as it has them, and the value. */
function seriesOf(text: string): ReadonlyMap<string, number> {
  const rows = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const series = rows.map((line) => {
    const [, name = "", value = ""] = /^(.*) (\S+)$/.exec(line) ?? [];
    return [name, Number(value)] as const;
  });
  expect(new Set(series.map(([name]) => name)).size, "each series comes once").toBe(series.length);
  return new Map(series);
}

/** What a login that may only read the reports gets. */
async function scrape(warehouse: TestWarehouse): Promise<ReadonlyMap<string, number>> {
  const { database } = await loginAs(warehouse, "reader");
  return seriesOf(await openMetrics({ database, ...ALWAYS }).read());
}

const startingWith = (series: ReadonlyMap<string, number>, start: string) =>
  Object.fromEntries([...series].filter(([name]) => name.startsWith(start)));

/** One with some of everything. */
async function makeWarehouse(): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase({ roles: true, timeZone: "Europe/Berlin" });
  const { database, settings } = warehouse;
  const folder = makeFolder();
  await load(
    warehouse,
    writeInvoices(folder, "a_2026-03-20.csv", [
      ["v", 1, "2026-01-10", "1.00"],
      ["v", 2, "2026-02-10", "2.00"],
      ["w", 3, "2026-03-10", "3.00"],
    ]),
  );
  await refreshPartitions({ database });
  await closePeriod({ database, settings, period: periodOf({ from: "2026-01-01", to: "2026-02-01" }) });
  const lines = [
    `v,${invoiceId(1)},2026-01-10T12:00:00,1.50`,
    `v,${invoiceId(2)},2026-02-10T12:00:00,2.00`,
    `v,${invoiceId(4)},2026-03-11T12:00:00,4.00`,
    `v,${invoiceId(5)},never,5.25`,
  ];
  const path = writeDrop(folder, "b_2026-03-21.csv", lines);
  expect(await loadDrop({ ...warehouse, path, maxRejects: 1 })).toMatchObject({
    outcome: "loaded",
    loadId: 2,
  });
  const bad = writeDrop(folder, "c_2026-03-22.csv", ["v,bad,never,1.00"]);
  expect(await loadDrop({ ...warehouse, path: bad })).toMatchObject({ outcome: "rejected" });
  return warehouse;
}

test("what a reader scrapes is what the warehouse holds", async () => {
  const warehouse = await makeWarehouse();
  await findDivergences(warehouse, { partition: "2026-01" });
  const series = await scrape(warehouse);
  expect(startingWith(series, "rollbook_topic_ok")).toEqual(
    Object.fromEntries(
      ["partitions", "proofs", "ledger", "refreshes", "rejects", "closings", "silence"].map((topic) => [
        `rollbook_topic_ok{topic="${topic}"}`,
        1,
      ]),
    ),
  );
  expect(Object.fromEntries(series)).toMatchObject({
    'rollbook_warehouse_info{time_zone="Europe/Berlin",granularity="month",day_starts="00:00"}': 1,
    'rollbook_partitions{state="open"}': 3,
    'rollbook_partitions{state="detached"}': 0,
    rollbook_invoices: 4,
    rollbook_pending_changes: 2,
    'rollbook_partition_invoices{partition="2026-03"}': 2,
    'rollbook_partition_pending_changes{partition="2026-02"}': 0,
    'rollbook_partition_pending_changes{partition="2026-03"}': 1,
    'rollbook_proof_parts{subject="partition"}': 3,
    'rollbook_proof_never_parts{subject="partition"}': 2,
    'rollbook_proof_never_parts{subject="ledger"}': 1,
    'rollbook_proof_diverged_parts{subject="partition"}': 0,
    'rollbook_loads_total{outcome="loaded",source="(none)"}': 2,
    'rollbook_loads_total{outcome="rejected",source="(none)"}': 1,
    'rollbook_rows_total{outcome="inserted",source="(none)"}': 4,
    'rollbook_rows_total{outcome="corrected",source="(none)"}': 1,
    'rollbook_rows_total{outcome="unchanged",source="(none)"}': 1,
    'rollbook_rows_total{outcome="rejected",source="(none)"}': 1,
    rollbook_undone_loads: 0,
    rollbook_load_duration_seconds_count: 2,
    'rollbook_load_duration_seconds_bucket{le="+Inf"}': 2,
    rollbook_refresh_duration_seconds_count: 3,
    'rollbook_open_reject_lines{reason="bad_timestamp"}': 1,
    'rollbook_open_reject_euros{reason="bad_timestamp"}': 5.25,
    rollbook_open_reject_files: 1,
    rollbook_closings: 1,
    rollbook_restated_closings: 1,
    rollbook_restated_groups: 1,
    rollbook_restated_euros: 0.5,
    rollbook_venues: 2,
  });
  const [known] = await warehouse.query<Record<string, number>>(`
    select extract(epoch from known_at)::float8 as loaded from warehouse.loads where load_id = 2`);
  for (const name of ["rollbook_last_load_timestamp_seconds", "rollbook_pending_oldest_timestamp_seconds"]) {
    expect(series.get(name)).toBeCloseTo(known?.loaded ?? 0, 3);
  }
  // None of what there is not.
  expect(series.has("rollbook_statements_kept_since_timestamp_seconds")).toBe(false);
  expect(series.has('rollbook_partition_proved_timestamp_seconds{partition="2026-02"}')).toBe(false);
  expect(series.has('rollbook_partition_proved_timestamp_seconds{partition="2026-01"}')).toBe(true);
});

test("an empty warehouse has metrics, too", async () => {
  const series = await scrape(await createTestDatabase({ roles: true }));
  expect(Object.values(startingWith(series, "rollbook_topic_ok"))).toEqual(Array(7).fill(1));
  expect(Object.fromEntries(series)).toMatchObject({
    rollbook_invoices: 0,
    rollbook_load_duration_seconds_count: 0,
  });
  expect(series.has("rollbook_pending_oldest_timestamp_seconds")).toBe(false);
});

test("no counter goes back, whatever is undone, loaded again, pruned, repaired or detached", async () => {
  const warehouse = await makeWarehouse();
  const { database, settings } = warehouse;
  const isCounter = (name: string) => /^rollbook_\w+_(total|bucket|sum|count)(\{|$)/.test(name);
  let before = await scrape(warehouse);
  const acts: Readonly<Record<string, () => Promise<unknown>>> = {
    undo: () => undo({ database, settings, loadId: 2, because: "a test" }),
    "undo of the undo": async () => {
      const [last] = await warehouse.query<{ id: number }>("select max(load_id) as id from warehouse.loads");
      return undo({ database, settings, loadId: last?.id ?? 0, because: "a test" });
    },
    prune: async () => {
      await warehouse.query("update warehouse.loads set known_at = known_at - interval '2 years'");
      return pruneStatements(warehouse);
    },
    "rows that are lost": async () => {
      await warehouse.query("delete from warehouse.venue_day_deltas where load_id = 1");
      return findDivergences(warehouse, { repair: true });
    },
    "a drop that is loaded again": () =>
      warehouse.query(
        "update warehouse.loads set status = 'failed', error_code = 'loaded_again' where load_id = 1",
      ),
    "a partition that leaves": () => detachPartition({ database, partition: "2026-02" }),
    refresh: () => refreshPartitions({ database, strategy: "full" }),
  };
  for (const [act, run] of Object.entries(acts)) {
    await run();
    const after = await scrape(warehouse);
    const counters = [...before].filter(([name]) => isCounter(name));
    expect(counters.length).toBeGreaterThan(20);
    const back = counters.filter(([name, value]) => !((after.get(name) ?? Number.NaN) >= value));
    expect(back, `after ${act}`).toEqual([]);
    before = after;
  }
  expect(before.get('rollbook_loads_total{outcome="undo",source="(none)"}')).toBe(2);
  expect(before.get('rollbook_loads_total{outcome="loaded",source="(none)"}')).toBe(2);
});

test("a histogram grows from bucket to bucket, and its last one is its count", async () => {
  const warehouse = await makeWarehouse();
  await warehouse.query(`
    update warehouse.loads
    set started_at = '2026-03-01', finished_at = timestamptz '2026-03-01' + case load_id when 1 then interval '5 s' else interval '5.000001 s' end
    where load_id in (1, 2)`);
  const series = startingWith(await scrape(warehouse), "rollbook_load_duration_seconds");
  const counts = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, "+Inf"].map(
    (bound) => series[`rollbook_load_duration_seconds_bucket{le="${bound}"}`],
  );
  expect(counts).toEqual([0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2]);
  expect(series.rollbook_load_duration_seconds_count).toBe(2);
  expect(series.rollbook_load_duration_seconds_sum).toBe(10.000001);
});

test("the number of series has a bound, and the sums have all", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  await warehouse.query(
    "select warehouse.open_partitions(array(select '2020-01-01'::date + n * 31 from generate_series(0, 99) n))",
  );
  await warehouse.query("update warehouse.partitions set rollup_invoices = 1");
  const enter = (from: number, to: number) =>
    warehouse.query(`
      insert into warehouse.loads (file_name, sha256, synced_on, status, source, source_sha256, inserted, read, started_at, finished_at, known_at)
      select 'x', sha256(n::text::bytea), '2026-01-01', 'loaded', 's"\\' || chr(10) || n, sha256('s'), 1, 1, now(), now(), now() + n * interval '1 ms'
      from generate_series(${from}, ${to}) n`);
  await enter(1, 60);
  const series = await scrape(warehouse);
  const partitions = Object.keys(startingWith(series, "rollbook_partition_invoices"));
  expect(partitions).toHaveLength(36);
  expect(series.get("rollbook_invoices")).toBe(100);
  const loaded = 'rollbook_loads_total{outcome="loaded",source="';
  // 50, those of the others, and those without a source, which begin with 0.
  expect(Object.keys(startingWith(series, loaded))).toHaveLength(52);
  expect(series.get(`${loaded}(none)"}`)).toBe(0);
  expect(series.get(`${loaded}(others)"}`)).toBe(10);
  expect(series.get(`${loaded}s\\"\\\\\\n50"}`)).toBe(1);
  // Those that have a series keep it, so none of them goes back.
  await enter(61, 70);
  await enter(60, 60).catch(() => {});
  const later = await scrape(warehouse);
  expect(later.get(`${loaded}(others)"}`)).toBe(20);
  expect(later.get(`${loaded}s\\"\\\\\\n50"}`)).toBe(1);
});

test("figures and times that somebody has forged make nothing less than nothing", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  await warehouse.query(`
    insert into warehouse.loads (file_name, sha256, synced_on, status, inserted, skipped, read, started_at, finished_at, known_at)
    values ('x', sha256('x'), 'infinity', 'loaded', -5, -1, -7, 'infinity', '-infinity', now()),
           ('y', sha256('y'), '2026-01-01', 'loaded', 3, 0, 3, now(), now() - interval '1 day', now() + interval '1 s')`);
  const series = await scrape(warehouse);
  expect([...series.values()].every((value) => value >= 0)).toBe(true);
  expect(series.get('rollbook_rows_total{outcome="inserted",source="(none)"}')).toBe(3);
  expect(series.get("rollbook_load_duration_seconds_sum")).toBe(0);
});

test("a topic that cannot be read is said to be, and the others are there", async () => {
  const warehouse = await makeWarehouse();
  await warehouse.query("revoke select on reports.venue_activity from rollbook_reader");
  const series = await scrape(warehouse);
  expect(series.get('rollbook_topic_ok{topic="silence"}')).toBe(0);
  expect(series.has("rollbook_silent_venues")).toBe(false);
  expect(series.get('rollbook_topic_ok{topic="closings"}')).toBe(1);
  expect(series.get("rollbook_closings")).toBe(1);
});

/** A topic of the test's own, which counts how often it is read. */
function countReads(statement: string): { readonly topic: Topic; readonly reads: () => number } {
  let reads = 0;
  const read: Topic["read"] = async ({ client }) => {
    reads += 1;
    await client.query(statement);
    return [
      {
        type: "gauge",
        name: "rollbook_reads",
        help: "Reads.",
        labels: [],
        samples: [{ labels: {}, value: reads }],
      },
    ];
  };
  return { topic: { name: "test", read }, reads: () => reads };
}

test("those who ask at the same time, and soon after, share what is read", async () => {
  const { database } = await createTestDatabase();
  const { topic, reads } = countReads("select pg_sleep(0.05)");
  const metrics = openMetrics({ database, topics: [topic], keepMs: 600_000, waitMs: 600_000 });
  const texts = await Promise.all(Array.from({ length: 20 }, () => metrics.read()));
  for (const text of [...texts, await metrics.read()]) expect(text).toContain("\nrollbook_reads 1\n");
  expect(reads()).toBe(1);
});

test("what takes long to read is read the more rarely", async () => {
  const { database } = await createTestDatabase();
  const { topic, reads } = countReads("select pg_sleep(0.05)");
  const metrics = openMetrics({ database, topics: [topic], keepMs: 0, rest: 1e6, waitMs: 600_000 });
  await metrics.read();
  await metrics.read();
  expect(reads()).toBe(1);
});

test("nobody waits for what takes too long: it comes with a later call", async () => {
  const warehouse = await createTestDatabase();
  const { topic } = countReads("select pg_advisory_lock(77, 1)");
  const client = await warehouse.database.pool.connect();
  await client.query("select pg_advisory_lock(77, 1)");
  const metrics = openMetrics({ database: warehouse.database, topics: [topic], keepMs: 600_000, waitMs: 20 });
  const first = seriesOf(await metrics.read());
  expect(first.get('rollbook_topic_ok{topic="test"}')).toBe(0);
  expect(first.has("rollbook_reads")).toBe(false);
  await client.query("select pg_advisory_unlock(77, 1)");
  client.release();
  await expect
    .poll(async () => seriesOf(await metrics.read()).get("rollbook_reads"), { timeout: 60_000 })
    .toBe(1);
});

test("a query that takes too long is given up, and tried again later", async () => {
  const { database } = await createTestDatabase();
  const { topic, reads } = countReads("select pg_sleep(600)");
  const metrics = openMetrics({
    database,
    topics: [topic],
    keepMs: 0,
    rest: 0,
    waitMs: 600_000,
    statementTimeoutMs: 50,
  });
  for (const turn of [1, 2]) {
    expect(seriesOf(await metrics.read()).get('rollbook_topic_ok{topic="test"}')).toBe(0);
    expect(reads()).toBe(turn);
  }
});
