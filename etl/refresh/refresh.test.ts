import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openDatabase, withSession } from "../../db/client.ts";
import { LOCK } from "../../db/locks.ts";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { openTransaction } from "../../db/testing/partitions.ts";
import { findDivergences, type Invoice, load, writeInvoices } from "../testing/invoices.ts";
import { invoiceId } from "../testing/lines.ts";
import { disagreements, startWorker, totalsOf, type Worker } from "../testing/warehouse.ts";
import { refreshPartition } from "./partition.ts";
import { refreshPartitions } from "./refresh.ts";
import { STRATEGIES, type Strategy } from "./strategy.ts";
import { findTargets } from "./targets.ts";

const FIRST: readonly Invoice[] = [
  ["a", 1, "2026-01-05", "10.00"],
  ["a", 2, "2026-01-05", "5.50"],
  ["b", 3, "2026-01-06", "-2.00"],
  ["a", 4, "2026-02-07", "1.00"],
  ["b", 5, "2026-03-08", "0.00"],
];
const SECOND: readonly Invoice[] = [
  ["a", 1, "2026-01-05", "11.00"],
  ["c", 6, "2026-01-05", "7.00"],
  ["b", 7, "2026-02-07", "8.25"],
];

const ROLLUP = `
  select 'group' as what, created_on::text, venue_key, invoices, total from warehouse.venue_day_rollup
  union all
  select partition || ' ' || state, lower::text, null, rollup_invoices, rollup_total from warehouse.partitions
  union all
  select 'pending', created_on::text, venue_key, invoices, total from warehouse.venue_day_pending
  order by 1, 2, 3`;

/** Loads both drops; the second is left pending. */
async function makePending(): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  await load(warehouse, writeInvoices(folder, "2026-03-10.csv", FIRST));
  await refresh(warehouse);
  await load(warehouse, writeInvoices(folder, "2026-03-11.csv", SECOND));
  return warehouse;
}

function refresh({ database }: TestWarehouse, strategy?: Strategy, partitions?: readonly string[]) {
  return refreshPartitions({ database, strategy, partitions });
}

/** Takes an invoice out as a load would that could: with its delta, which is pending. */
function takeOut(warehouse: TestWarehouse, number: number): Promise<unknown> {
  return warehouse.query(
    `with gone as (
       delete from warehouse.invoices where invoice_id = $1 returning created_on, venue_key, total
     ),
     delta as (
       insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
       select 1, created_on, venue_key, -1, -total from gone
     )
     insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
     select created_on, venue_key, -1, -total from gone`,
    [invoiceId(number)],
  );
}

const SITUATIONS: Readonly<Record<string, (warehouse: TestWarehouse) => Promise<unknown>>> = {
  "with changes pending": async () => {},
  "with nothing pending": (warehouse) => refresh(warehouse),
  "with groups that are emptied": async (warehouse) => {
    await takeOut(warehouse, 3);
    await takeOut(warehouse, 5);
  },
  "with a stale partition whose rollup is wrong": async (warehouse) => {
    await warehouse.query("update warehouse.venue_day_rollup set total = total + 1, invoices = invoices + 2");
    await warehouse.query("delete from warehouse.venue_day_rollup where created_on = '2026-01-06'");
    await warehouse.query("update warehouse.partitions set state = 'stale', rollup_total = 77");
  },
};

test.each(Object.keys(SITUATIONS))("%s, every strategy ends in the same rollup", async (situation) => {
  const rollups = await Promise.all(
    STRATEGIES.map(async (strategy) => {
      const warehouse = await makePending();
      await SITUATIONS[situation]?.(warehouse);
      const totals = situation.includes("wrong") ? undefined : await totalsOf(warehouse);
      await refresh(warehouse, strategy);
      expect(await disagreements(warehouse)).toEqual([]);
      expect(await warehouse.query("select from warehouse.venue_day_pending")).toEqual([]);
      if (totals !== undefined) expect(await totalsOf(warehouse)).toEqual(totals);
      return warehouse.query(ROLLUP);
    }),
  );
  for (const rollup of rollups) expect(rollup).toEqual(rollups[0]);
});

test("auto applies few changes, and says so", async () => {
  const warehouse = await makePending();
  const drop = Array.from({ length: 500 }, (_, n): Invoice => [`v${n % 5}`, 100 + n, "2026-01-09", "1.00"]);
  await load(warehouse, writeInvoices(makeFolder(), "2026-03-12.csv", drop));
  await refresh(warehouse, "full");
  await load(warehouse, writeInvoices(makeFolder(), "2026-03-13.csv", [["a", 900, "2026-01-05", "3.00"]]));
  expect(await refresh(warehouse)).toMatchObject([
    {
      partition: "2026-01",
      method: "delta",
      reason: "1 changes against 505 invoices",
      predictedMs: 1,
      changes: 1,
      groups: { inserted: 0, updated: 1, deleted: 0 },
    },
  ]);
});

test("auto rebuilds where so much is pending that a rebuild is cheaper, and says so", async () => {
  const warehouse = await createTestDatabase();
  const drop = Array.from({ length: 400 }, (_, n): Invoice => [`v${n}`, n, "2026-01-09", "1.00"]);
  await load(warehouse, writeInvoices(makeFolder(), "2026-03-12.csv", drop));
  expect(await refresh(warehouse)).toMatchObject([
    { method: "rebuild", reason: "400 changes against 400 invoices", predictedMs: 1, changes: 400 },
  ]);
});

test("a partition that became stale after its refresh was planned is rebuilt", async () => {
  const warehouse = await makePending();
  const { database } = warehouse;
  const [target] = await withSession(warehouse, (session) =>
    findTargets(session, { partitions: ["2026-01"], strategy: "auto" }),
  );
  if (target === undefined) throw new Error("no partition 2026-01");
  await warehouse.query("update warehouse.venue_day_rollup set total = total + 1");
  await warehouse.query("update warehouse.partitions set state = 'stale'");
  const options = { database, target, strategy: "auto", explicit: false, signal: undefined } as const;
  expect(await refreshPartition(options)).toMatchObject({
    method: "rebuild",
    reason: "the partition is stale",
  });
});

test("auto rebuilds a stale partition, and says so; one that was named and needs nothing is reported, too", async () => {
  const warehouse = await makePending();
  await refresh(warehouse);
  await warehouse.query("update warehouse.partitions set state = 'stale' where partition = '2026-02'");
  expect(await refresh(warehouse)).toMatchObject([
    { partition: "2026-02", method: "rebuild", reason: "the partition is stale", changes: 0 },
  ]);
  expect(await refresh(warehouse, "auto", ["2026-02"])).toMatchObject([
    { partition: "2026-02", method: "none", reason: "nothing is pending" },
  ]);
  expect(await refresh(warehouse)).toEqual([]);
});

test("partition rebuilds what is touched or named, full rebuilds all", async () => {
  const warehouse = await makePending();
  const methods = async (strategy: Strategy, partitions?: readonly string[]) =>
    (await refresh(warehouse, strategy, partitions)).map((report) => `${report.partition} ${report.method}`);
  expect(await methods("partition")).toEqual(["2026-01 rebuild", "2026-02 rebuild"]);
  expect(await methods("partition")).toEqual([]);
  expect(await methods("partition", ["2026-03"])).toEqual(["2026-03 rebuild"]);
  expect(await methods("full")).toEqual(["2026-01 rebuild", "2026-02 rebuild", "2026-03 rebuild"]);
  await expect(methods("delta", ["2031-01"])).rejects.toMatchObject({ code: "not_found" });
});

test("a group whose last invoice went away is in no rollup and no report", async () => {
  const warehouse = await makePending();
  await refresh(warehouse);
  await takeOut(warehouse, 3);
  const groups = async () =>
    (await warehouse.query("select from warehouse.venue_day_rollup where created_on = '2026-01-06'")).length;
  const reported = async () => (await totalsOf(warehouse)).filter((row) => row.created_on === "2026-01-06");
  expect(await reported()).toEqual([]);
  expect(await groups()).toBe(1);
  expect(await refresh(warehouse, "delta")).toMatchObject([
    { groups: { inserted: 0, updated: 0, deleted: 1 } },
  ]);
  expect(await groups()).toBe(0);
  expect(await reported()).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test("changes that cancel out write nothing", async () => {
  const warehouse = await makePending();
  await refresh(warehouse);
  await warehouse.query(`
    insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
    select created_on, venue_key, n, n * 5 from warehouse.venue_day_rollup cross join (values (1), (-1)) as signs (n)
    where created_on = '2026-01-06'`);
  expect(await refresh(warehouse, "delta")).toMatchObject([
    { method: "delta", changes: 2, groups: { inserted: 0, updated: 0, deleted: 0 } },
  ]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test.each([
  [
    "fewer invoices than are taken away",
    "update warehouse.venue_day_rollup set invoices = 0 where created_on = '2026-01-06'",
  ],
  [
    "euros that no invoice brought",
    "update warehouse.venue_day_rollup set total = 100 where created_on = '2026-01-06'",
  ],
  ["nothing of the group", "delete from warehouse.venue_day_rollup where created_on = '2026-01-06'"],
])(
  "a rollup that was changed by hand, and has %s, is rebuilt and not built upon, and that is said",
  async (_, change) => {
    const warehouse = await makePending();
    await refresh(warehouse);
    await takeOut(warehouse, 3);
    await warehouse.query(change);
    const [report] = await refresh(warehouse, "delta");
    expect(report).toMatchObject({
      method: "rebuild",
      reason: expect.stringMatching(/contradict each other in 1 groups.*by hand.*rollbook verify/),
      changes: 1,
    });
    expect(await disagreements(warehouse)).toEqual([]);
    expect(await findDivergences(warehouse)).toMatchObject([{ kind: "load", loadId: 1 }]);
  },
);

test("a refresh leaves the planner's settings of its session alone", async () => {
  const warehouse = await makePending();
  const { host, port, user, database: name } = warehouse.database.pool.options;
  const database = openDatabase({ connection: { host, port, user, database: name, ssl: false }, max: 1 });
  onTestFinished(() => database.pool.end());
  await database.pool.query("set enable_hashjoin = off");
  await refreshPartitions({ database, strategy: "delta", concurrency: 1 });
  const { rows } = await database.pool.query(
    "select current_setting('enable_hashjoin') as hash, current_setting('enable_mergejoin') as merge",
  );
  expect(rows).toEqual([{ hash: "off", merge: "on" }]);
});

test("a queue that has grown is vacuumed once it is empty, and not each time while it cannot be cleaned", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-01"] });
  await warehouse.query("alter table warehouse.venue_day_pending set (autovacuum_enabled = off)");
  const queue = (groups: number) =>
    warehouse.query(
      `insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
       select '2026-01-01', venue, 1, 1 from generate_series(1, $1::integer) venue`,
      [groups],
    );
  const vacuums = async () => {
    await warehouse.query("select pg_stat_clear_snapshot()");
    const [row] = await warehouse.query<{ bytes: number; vacuums: number }>(`
      select pg_relation_size(relid)::int as bytes, vacuum_count::int as vacuums
      from pg_stat_all_tables where relid = 'warehouse.venue_day_pending'::regclass`);
    return row;
  };
  await queue(100);
  await refreshPartitions({ database });
  expect(await vacuums()).toMatchObject({ vacuums: 0 });
  await queue(20_000);
  await refreshPartitions({ database });
  await expect.poll(vacuums, { timeout: 10_000 }).toEqual({ bytes: 0, vacuums: 1 });
  const holder = await openTransaction(warehouse);
  await holder.query("select pg_current_xact_id()");
  // Again where the machine is so busy that it takes longer than a vacuum is spared.
  const vacuumedAgain = async () => {
    await warehouse.query("vacuum warehouse.venue_day_pending");
    const before = (await vacuums())?.vacuums ?? 0;
    await queue(20_000);
    await refreshPartitions({ database });
    return ((await vacuums())?.vacuums ?? 0) - before;
  };
  await expect.poll(vacuumedAgain, { timeout: 60_000 }).toBe(0);
  await holder.query("rollback");
});

test("a delta of ten groups reads ten rows of a rollup of 100,000", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-01"] });
  await warehouse.query(`
    insert into warehouse.venue_day_rollup (created_on, venue_key, invoices, total)
    select date '2026-01-01' + day, venue, 3, 30 from generate_series(0, 30) day cross join generate_series(1, 3226) venue`);
  await warehouse.query("analyze warehouse.venue_day_rollup_2026_01");
  await warehouse.query(`
    insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
    select date '2026-01-01' + n, n * 300 + 1, 1, 10 from generate_series(1, 10) n`);
  const reads = async () => {
    // What a session counted is there when it has ended.
    const rows = await warehouse.query<Record<string, string>>(`
      select seq_tup_read, coalesce(idx_tup_fetch, 0) as idx_tup_fetch, n_tup_upd from pg_stat_all_tables
      where relid = 'warehouse.venue_day_rollup_2026_01'::regclass`);
    return Object.fromEntries(Object.entries(rows[0] ?? {}).map(([key, value]) => [key, Number(value)]));
  };
  await warehouse.query("select pg_stat_force_next_flush()");
  const before = await reads();
  const { host, port, user, database: name } = database.pool.options;
  const own = openDatabase({ connection: { host, port, user, database: name, ssl: false }, max: 2 });
  const [report] = await refreshPartitions({ database: own, strategy: "delta" });
  await own.pool.end();
  expect(report?.groups).toEqual({ inserted: 0, updated: 10, deleted: 0 });
  await expect
    .poll(async () => (await reads()).n_tup_upd, { timeout: 20_000 })
    .toBe((before.n_tup_upd ?? 0) + 10);
  const after = await reads();
  expect(after.seq_tup_read).toBe(before.seq_tup_read);
  expect((after.idx_tup_fetch ?? 0) - (before.idx_tup_fetch ?? 0)).toBeLessThanOrEqual(20);
});

test("a partition whose lock is held keeps no other from its refresh, and is refreshed afterwards", async () => {
  const warehouse = await makePending();
  const holder = await warehouse.database.pool.connect();
  onTestFinished(() => holder.release(true));
  await holder.query("begin");
  await holder.query(
    "select pg_advisory_xact_lock($1, partition_id) from warehouse.partitions where partition = '2026-01'",
    [LOCK.refreshPartition],
  );
  const waiting = refresh(warehouse, "delta");
  await expect
    .poll(() =>
      warehouse.query("select distinct to_char(created_on, 'YYYY-MM') as m from warehouse.venue_day_pending"),
    )
    .toEqual([{ m: "2026-01" }]);
  expect(await refresh(warehouse, "full", ["2026-02", "2026-03"])).toHaveLength(2);
  await holder.query("commit");
  expect(await waiting).toMatchObject([{ partition: "2026-01", method: "delta" }, { partition: "2026-02" }]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test("after a failure no refresh is under way any more", async () => {
  const warehouse = await makePending();
  await warehouse.query("alter table warehouse.venue_day_rollup_2026_01 rename to away");
  await expect(refresh(warehouse, "full")).rejects.toThrow();
  const active = await warehouse.query(`
    select query from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid() and state <> 'idle'`);
  expect(active).toEqual([]);
});

let workers: readonly Worker[] = [];
beforeAll(() => {
  workers = Array.from({ length: 4 }, startWorker);
});
afterAll(() => {
  for (const worker of workers) worker.kill();
});

test.each(STRATEGIES)(
  "refreshes of one partition by three processes beside a load take each change once: %s",
  async (strategy) => {
    const warehouse = await makePending();
    const { host, port, user, database } = warehouse.database.pool.options;
    const base = {
      connection: { host, port, user, database, ssl: false } as const,
      settings: warehouse.settings,
    };
    const [loader, ...refreshers] = workers;
    const folder = makeFolder();
    for (let round = 0; round < 4; round += 1) {
      const invoices = Array.from(
        { length: 300 },
        (_, n): Invoice => [`v${n % 50}`, round * 200 + n, `2026-01-${10 + (n % 7)}`, `${round}.50`],
      );
      const path = writeInvoices(folder, `2026-04-0${round + 1}.csv`, invoices);
      const results = await Promise.all([
        loader?.run({ ...base, path }),
        ...refreshers.map((refresher) => refresher.run({ ...base, strategy })),
      ]);
      expect(results.filter((result) => result === undefined || "error" in result)).toEqual([]);
      expect(await disagreements(warehouse)).toEqual([]);
    }
    await refresh(warehouse);
    expect(await findDivergences(warehouse)).toEqual([]);
  },
);
