import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import type pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../db/client.ts";
import { addDays } from "../db/dates.ts";
import { initWarehouse } from "../db/migrate.ts";
import { attachPartition } from "../db/partitions/attach.ts";
import { ensurePartitions } from "../db/partitions/create.ts";
import { createTestDatabase, type TestWarehouse } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { makeServerHome } from "../db/testing/home.ts";
import { stateOf, until } from "../db/testing/own_server.ts";
import { openTestServer } from "../db/testing/server.ts";
import { loadDrop } from "./load/load.ts";
import type { LoadReport } from "./load/report.ts";
import type { LoadStep } from "./load/steps.ts";
import { refreshPartitions } from "./refresh/refresh.ts";
import { detachRefreshed, dropVerified } from "./retire.ts";
import { COMMAND } from "./testing/cli.ts";
import { findDivergences, type Invoice, load, writeInvoices } from "./testing/invoices.ts";
import { startWorker, totalsOf, type Worker } from "./testing/warehouse.ts";

const FIRST: readonly Invoice[] = [
  ["a", 1, "2026-01-05", "10.00"],
  ["b", 2, "2026-01-06", "20.00"],
  ["a", 3, "2026-02-07", "30.00"],
  ["b", 4, "2026-03-08", "40.00"],
];
/** Corrects and adds in January and February. */
const SECOND: readonly Invoice[] = [
  ["a", 1, "2026-01-05", "11.00"],
  ["c", 5, "2026-01-05", "50.00"],
  ["c", 6, "2026-02-07", "60.00"],
];

async function makeWarehouse(): Promise<TestWarehouse & { readonly folder: string }> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  await load(warehouse, writeInvoices(folder, "2026-03-10.csv", FIRST));
  return { ...warehouse, folder };
}

const january = ({ database, settings }: TestWarehouse) => ({ database, settings, partition: "2026-01" });

function rejectsOf(warehouse: TestWarehouse, report: LoadReport): Promise<unknown[]> {
  return warehouse.query("select line::int, reason from warehouse.rejects where load_id = $1 order by line", [
    report.loadId,
  ]);
}

function statesOf(warehouse: TestWarehouse): Promise<readonly unknown[]> {
  return warehouse
    .query<{ state: string }>(
      "select partition || ' ' || state as state from warehouse.partitions order by lower",
    )
    .then((rows) => rows.map((row) => row.state));
}

function waits(warehouse: TestWarehouse): Promise<readonly { pid: number; query: string }[]> {
  return warehouse.query(`
    select pid, query from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query !~ 'pg_stat_activity'`);
}

test("lines for a detached partition are rejected, the others load; attached again it is all there", async () => {
  const warehouse = await makeWarehouse();
  const { folder } = warehouse;
  const before = await totalsOf(warehouse);
  await detachRefreshed(january(warehouse));
  expect(await totalsOf(warehouse)).toEqual(
    before.filter((row) => row.created_on?.slice(0, 7) !== "2026-01"),
  );
  const second = writeInvoices(folder, "2026-03-11.csv", SECOND);
  const report = await load(warehouse, second);
  expect(report).toMatchObject({ rows: { read: 3, inserted: 1, rejected: 2 }, partitions: ["2026-02"] });
  expect(await rejectsOf(warehouse, report)).toEqual([
    { line: 2, reason: "partition_closed" },
    { line: 3, reason: "partition_closed" },
  ]);
  await refreshPartitions({ database: warehouse.database, strategy: "full" });
  expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
  await attachPartition(january(warehouse));
  expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
  expect(await totalsOf(warehouse)).toEqual([
    ...before.slice(0, 3),
    { venue_id: "b", created_on: "2026-03-08", invoices: 1, total: "40.00" },
    { venue_id: "c", created_on: "2026-02-07", invoices: 1, total: "60.00" },
  ]);
  // The rejected lines come with the next drop.
  await load(warehouse, writeInvoices(folder, "2026-03-12.csv", SECOND));
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(await totalsOf(warehouse)).toContainEqual({
    venue_id: "a",
    created_on: "2026-01-05",
    invoices: 1,
    total: "11.00",
  });
});

test("a dropped partition keeps its totals, takes no lines, and nothing brings it back", async () => {
  const warehouse = await makeWarehouse();
  const { database, folder } = warehouse;
  await load(warehouse, writeInvoices(folder, "2026-03-11.csv", SECOND));
  const before = await totalsOf(warehouse);
  await dropVerified(january(warehouse));
  expect(await totalsOf(warehouse)).toEqual(before);
  const report = await load(warehouse, writeInvoices(folder, "2026-03-12.csv", FIRST));
  expect(report).toMatchObject({ rows: { read: 4, rejected: 2, unchanged: 2 }, partitions: [] });
  for (const strategy of ["auto", "delta", "partition", "full"] as const) {
    await refreshPartitions({ database, strategy });
    await refreshPartitions({ database, strategy, partitions: ["2026-01"] });
    expect(await totalsOf(warehouse)).toEqual(before);
  }
  expect(await ensurePartitions({ database, granularity: "month", dates: ["2026-01-01"] })).toEqual([]);
  expect(await warehouse.query("select to_regclass('warehouse.invoices_2026_01') as leaf")).toEqual([
    { leaf: null },
  ]);
  expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
  expect(await findDivergences(warehouse, { partition: "2026-01", identity: true })).toEqual([]);
  expect(await statesOf(warehouse)).toEqual(["2026-01 dropped", "2026-02 open", "2026-03 open"]);
});

test("the rollup of a dropped partition is verified against its deltas, and rebuilt from them", async () => {
  const warehouse = await makeWarehouse();
  const { database } = warehouse;
  await dropVerified(january(warehouse));
  const before = await totalsOf(warehouse);
  const tamper = () =>
    warehouse.query(
      "update warehouse.venue_day_rollup set total = total + 1 where created_on = '2026-01-05'",
    );
  await tamper();
  expect(await findDivergences(warehouse)).toMatchObject([
    {
      kind: "group",
      partition: "2026-01",
      venueId: "a",
      createdOn: "2026-01-05",
      recomputed: { total: "10.00" },
    },
    { kind: "control", partition: "2026-01" },
  ]);
  expect(await statesOf(warehouse)).toContain("2026-01 dropped");
  await refreshPartitions({ database, strategy: "full" });
  expect(await findDivergences(warehouse)).toEqual([]);
  await tamper();
  expect(await findDivergences(warehouse, { repair: true })).not.toEqual([]);
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(await totalsOf(warehouse)).toEqual(before);
  expect(await statesOf(warehouse)).toContain("2026-01 dropped");
});

test("the invoices of a partition that does not verify are not dropped", async () => {
  const warehouse = await makeWarehouse();
  await warehouse.query(
    "update warehouse.venue_day_deltas set total = total + 1 where created_on = '2026-01-05'",
  );
  await expect(dropVerified(january(warehouse))).rejects.toMatchObject({
    code: "usage",
    message: expect.stringContaining("rollbook verify --partition 2026-01"),
  });
  expect(await statesOf(warehouse)).toContain("2026-01 open");
  expect(await warehouse.query("select from warehouse.invoices_2026_01")).toHaveLength(2);
});

/** The job of a load, and a process that does it. */
function startLoading(warehouse: TestWarehouse, path: string, stopAt?: LoadStep) {
  const worker = startWorker();
  onTestFinished(() => {
    worker.kill();
  });
  const { host, port, user, database } = warehouse.database.pool.options;
  const connection = { host, port, user, database, ssl: false } as const;
  const job = { connection, settings: warehouse.settings, path, maxRejects: 1, ...(stopAt && { stopAt }) };
  return { worker, result: worker.run(job) };
}

async function stopped(worker: Worker): Promise<void> {
  await until("the load stops at its step", () => stateOf(worker.pid) === "T");
}

test("a partition that is detached after a load staged lines for it: they are rejected, none is stranded", async () => {
  const warehouse = await makeWarehouse();
  const loading = startLoading(
    warehouse,
    writeInvoices(warehouse.folder, "2026-03-11.csv", SECOND),
    "prepare",
  );
  await stopped(loading.worker);
  // The load has used the tables, so the detach waits for its end; the partition is closed to it before.
  const detached = detachRefreshed(january(warehouse));
  await until("the partition is closed", async () =>
    (await statesOf(warehouse)).includes("2026-01 detached"),
  );
  process.kill(loading.worker.pid, "SIGCONT");
  expect(await loading.result).toMatchObject({
    load: { outcome: "loaded", rows: { read: 3, inserted: 1, rejected: 2 }, partitions: ["2026-02"] },
  });
  await detached;
  expect(await findDivergences(warehouse)).toEqual([]);
  await attachPartition(january(warehouse));
  expect(await findDivergences(warehouse)).toEqual([]);
});

test.each([detachRefreshed, dropVerified])(
  "a load that holds the partition is waited for, and its changes are refreshed before it closes: %o",
  async (leave) => {
    const warehouse = await makeWarehouse();
    await refreshPartitions(warehouse);
    const loading = startLoading(
      warehouse,
      writeInvoices(warehouse.folder, "2026-03-11.csv", SECOND),
      "merge",
    );
    await stopped(loading.worker);
    const left = leave(january(warehouse));
    await until("the closing waits for the load", async () => (await waits(warehouse)).length === 1);
    expect(await statesOf(warehouse)).toContain("2026-01 open");
    process.kill(loading.worker.pid, "SIGCONT");
    expect(await loading.result).toMatchObject({
      load: { outcome: "loaded", rows: { inserted: 2, corrected: 1, rejected: 0 } },
    });
    await left;
    expect(
      await warehouse.query("select from warehouse.venue_day_pending where created_on < '2026-02-01'"),
    ).toEqual([]);
    if (leave === detachRefreshed) await attachPartition(january(warehouse));
    expect(await findDivergences(warehouse)).toEqual([]);
    expect(await totalsOf(warehouse)).toContainEqual({
      venue_id: "a",
      created_on: "2026-01-05",
      invoices: 1,
      total: "11.00",
    });
  },
);

test("a load that comes back to a partition that it holds, while that is being closed, goes on", async () => {
  const warehouse = await makeWarehouse();
  await refreshPartitions(warehouse);
  const { settings, folder } = warehouse;
  const { host, port, user, database: name } = warehouse.database.pool.options;
  // Nobody ends a deadlock.
  const options = "-c deadlock_timeout=1h";
  const database = openDatabase({
    connection: { host, port, user, database: name, ssl: false, options },
    max: 8,
  });
  onTestFinished(() => database.pool.end());
  // Longer than a chunk, so the line of a new venue is left to the end.
  const path = writeInvoices(folder, "2026-03-11.csv", [
    ...Array.from({ length: 20 }, (_, index): Invoice => ["a", 100 + index, "2026-01-10", "1.00"]),
    ["z", 200, "2026-01-11", "2.00"],
  ]);
  const blocker = await warehouse.database.pool.connect();
  onTestFinished(() => blocker.release(true));
  await blocker.query("begin; lock table warehouse.invoices_2026_01 in share mode");
  const loaded = loadDrop({ database, settings, path, chunkLines: 5 });
  await until("the load waits with its first chunk", async () =>
    (await waits(warehouse)).some(({ query }) => query.startsWith("copy")),
  );
  const detached = detachRefreshed({ database, partition: "2026-01" });
  await until("the closing waits for the load", async () =>
    (await waits(warehouse)).some(({ query }) => query.endsWith("for update")),
  );
  await blocker.query("rollback");
  expect(await loaded).toMatchObject({ outcome: "loaded", rows: { inserted: 21, rejected: 0 } });
  await detached;
  await attachPartition(january(warehouse));
  expect(await findDivergences(warehouse)).toEqual([]);
});

test("a detach beside a long load on another partition closes at once, and other loads go on meanwhile", async () => {
  const warehouse = await makeWarehouse();
  const { folder } = warehouse;
  const long = writeInvoices(folder, "2026-03-11.csv", [["z", 9, "2026-03-09", "1.00"]]);
  const loading = startLoading(warehouse, long, "commit");
  await stopped(loading.worker);
  const detached = detachRefreshed(january(warehouse));
  await until("the partition is closed", async () =>
    (await statesOf(warehouse)).includes("2026-01 detached"),
  );
  await until("the detach waits for the long load", async () =>
    (await waits(warehouse)).some(({ query }) => query.includes("concurrently")),
  );
  const report = await load(
    warehouse,
    writeInvoices(folder, "2026-05-01.csv", [
      ["a", 20, "2026-02-20", "2.00"],
      ["a", 21, "2026-04-30", "3.00"],
      ["a", 22, "2026-01-31", "4.00"],
    ]),
  );
  expect(report).toMatchObject({ rows: { inserted: 2, rejected: 1 }, partitions: ["2026-02", "2026-04"] });
  process.kill(loading.worker.pid, "SIGCONT");
  expect(await loading.result).toMatchObject({ load: { outcome: "loaded" } });
  await detached;
  expect(await findDivergences(warehouse)).toEqual([]);
});

test("partitions leave and come back while loads keep coming for them, and nothing is lost", async () => {
  const warehouse = await makeWarehouse();
  const { database, folder, settings } = warehouse;
  let leaving = true;
  const lanes = [0, 1, 2].map(async (lane) => {
    const taken: { path: string; report: LoadReport }[] = [];
    for (let round = 0; leaving && round < 500; round += 1) {
      const number = 1000 + lane * 1000 + round;
      const path = writeInvoices(folder, `drop${lane}_${round}_2026-03-${12 + lane}.csv`, [
        [`v${lane}`, number, "2026-01-15", "1.25"],
        [`v${lane}`, number + 10_000, "2026-02-15", "1.25"],
      ]);
      const report = await loadDrop({ database, settings, path, maxRejects: 1 });
      expect(report.outcome).toBe("loaded");
      taken.push({ path, report });
    }
    return taken;
  });
  for (let round = 0; round < 4; round += 1) {
    await detachRefreshed(january(warehouse));
    await attachPartition(january(warehouse));
  }
  leaving = false;
  const reports = (await Promise.all(lanes)).flat().map(({ report }) => report);
  expect(await findDivergences(warehouse)).toEqual([]);
  const sum = (of: "inserted" | "rejected") => reports.reduce((total, { rows }) => total + rows[of], 0);
  expect(sum("inserted") + sum("rejected")).toBe(reports.length * 2);
  expect(sum("rejected")).toBeLessThanOrEqual(reports.length);
  const invoices = await warehouse.query(
    "select from warehouse.invoices where created_on::text like '2026-0_-15'",
  );
  expect(invoices).toHaveLength(sum("inserted"));
});

/** Runs `rollbook partitions` in a process of its own. */
function runPartitions(warehouse: TestWarehouse, ...args: readonly string[]) {
  const [program, ...first] = COMMAND;
  const child = spawn(program, [...first, "partitions", ...args], {
    env: { PATH: process.env.PATH, ...warehouse.environment },
    stdio: ["ignore", "ignore", "inherit"],
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  return { child, exited: once(child, "exit") };
}

test.each([
  ["detach", "2026-01"],
  ["drop", "2026-01", "--yes"],
])("a %s killed while it waits for a reader is finished by the next one", async (...args) => {
  const warehouse = await makeWarehouse();
  const reader: pg.PoolClient = await warehouse.database.pool.connect();
  onTestFinished(() => reader.release(true));
  await reader.query("begin isolation level repeatable read");
  await reader.query("select count(*) from warehouse.invoices");
  const first = runPartitions(warehouse, ...args);
  await until("the detach waits for the reader", async () =>
    (await waits(warehouse)).some(({ query }) => query.includes("invoices detach")),
  );
  first.child.kill("SIGKILL");
  await first.exited;
  await until("the server noticed", async () => (await waits(warehouse)).length === 0);
  expect(
    await warehouse.query("select from pg_inherits where inhdetachpending"),
    "the partition hangs between attached and detached",
  ).toHaveLength(1);
  const report = await load(warehouse, writeInvoices(warehouse.folder, "2026-03-11.csv", SECOND));
  expect(report).toMatchObject({ rows: { inserted: 1, rejected: 2 } });
  await reader.query("commit");
  const second = runPartitions(warehouse, ...args);
  expect(await second.exited).toEqual([0, null]);
  expect(await warehouse.query("select from pg_inherits where inhdetachpending")).toEqual([]);
  expect(await findDivergences(warehouse)).toEqual([]);
  if (args[0] === "detach") await attachPartition(january(warehouse));
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(await totalsOf(warehouse)).toHaveLength(5);
});

test("three hundred daily partitions are made, loaded and read with PostgreSQL's default lock table", async () => {
  const home = makeServerHome();
  const server = await openTestServer({
    home,
    settings: { max_locks_per_transaction: "64", fsync: "off" },
  });
  onTestFinished(async () => {
    await server.release({ withinMs: 5000 });
    rmSync(home, { recursive: true, force: true });
  });
  const { host, port, user, database: name } = server;
  const database = openDatabase({ connection: { host, port, user, database: name, ssl: false }, max: 4 });
  onTestFinished(() => database.pool.end());
  const { settings } = await initWarehouse({ database, granularity: "day" });
  const warehouse: TestWarehouse = {
    database,
    settings,
    environment: {},
    query: async (text, values) => (await database.pool.query(text, values && [...values])).rows,
  };
  expect(await warehouse.query("show max_locks_per_transaction")).toEqual([
    { max_locks_per_transaction: "64" },
  ]);
  const folder = makeFolder();
  // The first makes three hundred partitions in one call, the second corrects every line in them.
  for (const [name, total] of [
    ["2026-01-01.csv", "1.00"],
    ["2026-01-02.csv", "2.00"],
  ] as const) {
    const invoices = Array.from(
      { length: 600 },
      (_, n): Invoice => [`v${n % 3}`, n, addDays("2025-01-01", n % 300), total],
    );
    const report = await load(warehouse, writeInvoices(folder, name, invoices));
    expect(report.partitions).toHaveLength(300);
  }
  await refreshPartitions({ database });
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(
    await warehouse.query(
      "select sum(invoices)::int as invoices, sum(total) as total from reports.venue_daily_totals",
    ),
  ).toEqual([{ invoices: 600, total: "1200.00" }]);
  // A load of so many would fail in the end: it is refused before it makes any.
  const many = Array.from({ length: 3000 }, (_, n): Invoice => ["v0", n, addDays("2005-01-01", n), "1.00"]);
  const path = writeInvoices(folder, "2026-01-03.csv", many);
  const refused = await loadDrop({ database, settings, path });
  expect(refused).toMatchObject({
    outcome: "failed",
    error: {
      code: "configuration",
      message: expect.stringMatching(
        /3000 partitions.* 9000 locks.* max_locks_per_transaction is 64\. Set it to 128 /,
      ),
    },
  });
  expect(await warehouse.query("select count(*)::int as count from warehouse.partitions")).toEqual([
    { count: 300 },
  ]);
});
