/** Readers beside loads, refreshes and new partitions: they never wait, and in one snapshot the reports are the sum of the invoices. */
import type pg from "pg";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../../db/client.ts";
import { LOCK } from "../../../db/locks.ts";
import { ensurePartitions } from "../../../db/partitions/create.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { until } from "../../../db/testing/own_server.ts";
import { loadDrop } from "../../load/load.ts";
import type { LoadReport } from "../../load/report.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import type { RefreshReport } from "../../refresh/report.ts";
import { STRATEGIES } from "../../refresh/strategy.ts";
import { expectedTotals, type MadeDrop, makeDrop } from "../drops.ts";
import { disagreements, jobOn, startWorker, totalsOf, type Worker } from "../warehouse.ts";

const LOADERS = 4;
const DROPS = 100;

let workers: readonly Worker[] = [];
beforeAll(() => {
  workers = Array.from({ length: LOADERS + 1 }, startWorker);
});
afterAll(() => {
  for (const worker of workers) worker.kill();
});

/** Numbers from 0 up to `limit`, the same every time. */
function randomFrom(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

test("a reader never sees reports and invoices differ, while four loaders and refreshes run", async () => {
  const warehouse = await createTestDatabase({ granularity: "week" });
  const random = randomFrom(4711);
  const folder = makeFolder();
  const drops: MadeDrop[] = [];
  for (let index = 0; index < DROPS; index += 1) {
    const syncedOn = `2026-04-0${1 + random(4)}`;
    const [rows, first] = [200 + random(1200), random(4000)];
    drops.push(await makeDrop({ folder, syncedOn, rows, first, version: index }));
  }

  const loadIds = new Map<MadeDrop, number>();
  const queue = drops.values();
  let loading = true;
  const loaders = workers.slice(0, LOADERS).map(async (worker) => {
    for (const drop of queue) {
      const result = await worker.run({ ...jobOn(warehouse), path: drop.path });
      if (!("load" in result)) throw new Error(JSON.stringify(result));
      expect(result.load.outcome, JSON.stringify(result.load)).toBe("loaded");
      loadIds.set(drop, result.load.loadId ?? 0);
    }
  });
  const refreshing = (async () => {
    let refreshes = 0;
    while (loading) {
      const strategy = STRATEGIES[random(STRATEGIES.length)] ?? "auto";
      const result = await workers[LOADERS]?.run({ ...jobOn(warehouse), strategy });
      if (result === undefined || !("refreshed" in result)) throw new Error(JSON.stringify(result));
      refreshes += 1;
    }
    return refreshes;
  })();
  const raising = (async () => {
    while (loading) await warehouse.query("select warehouse.raise_pending_floor()");
    return warehouse.query<{ epoch: number }>("select epoch from warehouse.pending_floor");
  })();
  const reading = (async () => {
    const session = await warehouse.database.pool.connect();
    onTestFinished(() => session.release());
    const counts: number[] = [];
    while (loading) {
      counts.push(await compareInSnapshot(session));
      expect(await disagreements(warehouse)).toEqual([]);
    }
    return counts;
  })();
  await Promise.all(loaders).finally(() => {
    loading = false;
  });
  const [refreshes, counts, [floor]] = await Promise.all([refreshing, reading, raising]);

  // It saw the warehouse grow, and refreshes were at work.
  expect(new Set(counts).size).toBeGreaterThan(5);
  expect(refreshes).toBeGreaterThan(3);
  expect(floor?.epoch).toBeGreaterThan(3);
  await refreshPartitions({ database: warehouse.database });
  expect(await disagreements(warehouse)).toEqual([]);
  const inOrder = [...drops].sort((a, b) => (loadIds.get(a) ?? 0) - (loadIds.get(b) ?? 0));
  expect(await totalsOf(warehouse)).toEqual(expectedTotals(inOrder));
});

/** Reads the reports, then the invoices, in one snapshot, and compares; returns the number of invoices. */
async function compareInSnapshot(session: pg.PoolClient): Promise<number> {
  await session.query("begin isolation level repeatable read read only");
  const reported = await session.query(
    "select venue_id, created_on::text, invoices, total from reports.venue_daily_totals order by 1, 2",
  );
  const summed = await session.query(`
    select venue_id, created_on::text, count(*) as invoices, sum(total)::numeric(24, 2) as total
    from warehouse.invoices join warehouse.venues using (venue_key) group by 1, 2 order by 1, 2`);
  await session.query("commit");
  expect(reported.rows).toEqual(summed.rows);
  return summed.rows.reduce((sum, { invoices }) => sum + Number(invoices), 0);
}

/** A lock that transactions wait for between their last statement and their COMMIT, once they have written such rows to this table. */
async function holdCommits(
  warehouse: TestWarehouse,
  table: string,
  event: "insert" | "update",
  rows = "true",
) {
  await warehouse.query(`
    create function warehouse.wait_at_commit() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_xact_lock_shared(42, 42);
      return null;
    end $$`);
  await warehouse.query(`
    create constraint trigger wait_at_commit after ${event} on warehouse.${table}
    deferrable initially deferred for each row when (${rows}) execute function warehouse.wait_at_commit()`);
  const holder = await warehouse.database.pool.connect();
  await holder.query("select pg_advisory_lock(42, 42)");
  let held = true;
  const release = async () => {
    if (!held) return;
    held = false;
    await holder.query("select pg_advisory_unlock(42, 42)");
    holder.release();
  };
  onTestFinished(release);
  const someoneWaits = async () => {
    const waiting = await warehouse.query(
      `select from pg_stat_activity
       where datname = current_database() and wait_event = 'advisory' and query = 'commit'`,
    );
    return waiting.length > 0;
  };
  return { release, untilSomeoneWaits: () => until("a transaction waits at its commit", someoneWaits) };
}

/** New sessions and old ones read everything; a wait for a lock is an error. */
async function expectReadable(warehouse: TestWarehouse, drops: readonly MadeDrop[]): Promise<void> {
  const fresh = openDatabase({ connection: jobOn(warehouse).connection, max: 1 });
  try {
    for (const pool of [fresh.pool, warehouse.database.pool]) {
      const session = await pool.connect();
      try {
        await session.query("set lock_timeout = '1ms'");
        expect(await compareInSnapshot(session)).toBeGreaterThan(0);
        await session.query("reset lock_timeout");
      } finally {
        session.release();
      }
    }
  } finally {
    await fresh.pool.end();
  }
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await totalsOf(warehouse)).toEqual(expectedTotals(drops));
}

function load(warehouse: TestWarehouse, drop: MadeDrop): Promise<LoadReport> {
  return loadDrop({ database: warehouse.database, settings: warehouse.settings, path: drop.path });
}

test.each(["delta", "partition", "full"] as const)(
  "a refresh by %s that has not committed yet keeps neither readers nor loaders waiting",
  async (strategy) => {
    const warehouse = await createTestDatabase();
    const folder = makeFolder();
    const first = await makeDrop({ folder, syncedOn: "2026-04-01", rows: 1000 });
    const second = await makeDrop({ folder, syncedOn: "2026-04-02", rows: 1000, first: 500, version: 1 });
    const third = await makeDrop({ folder, syncedOn: "2026-04-03", rows: 1000, first: 700, version: 2 });
    expect((await load(warehouse, first)).outcome).toBe("loaded");
    await refreshPartitions({ database: warehouse.database });
    expect((await load(warehouse, second)).outcome).toBe("loaded");

    const commits = await holdCommits(warehouse, "partitions", "update");
    const database = openDatabase({ connection: jobOn(warehouse).connection, max: 4 });
    onTestFinished(() => database.pool.end());
    const refresh: Promise<readonly RefreshReport[]> = refreshPartitions({ database, strategy });
    await commits.untilSomeoneWaits();
    await expectReadable(warehouse, [first, second]);
    // A loader appends to what is pending; the refresh that is under way leaves that for the next one.
    expect((await load(warehouse, third)).outcome).toBe("loaded");
    await expectReadable(warehouse, [first, second, third]);
    await commits.release();
    expect(
      (await refresh).every(({ method }) => method === (strategy === "delta" ? "delta" : "rebuild")),
    ).toBe(true);
    await expectReadable(warehouse, [first, second, third]);
    await refreshPartitions({ database: warehouse.database });
    expect(await warehouse.query("select * from warehouse.venue_day_pending")).toEqual([]);
    await expectReadable(warehouse, [first, second, third]);
  },
);

test("partitions that are being made, and are not committed yet, keep neither readers nor loaders waiting", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const first = await makeDrop({ folder, syncedOn: "2026-04-01", rows: 1000 });
  const second = await makeDrop({ folder, syncedOn: "2026-04-02", rows: 1000, first: 500, version: 1 });
  expect((await load(warehouse, first)).outcome).toBe("loaded");

  const commits = await holdCommits(warehouse, "partitions", "insert");
  const { database, settings } = warehouse;
  const dates = ["2020-01-01", "2020-02-01", "2020-03-01"];
  const ensured = ensurePartitions({ database, granularity: settings.granularity, dates });
  await commits.untilSomeoneWaits();
  await expectReadable(warehouse, [first]);
  // Its partitions are all there, so it has nothing to wait for.
  expect((await load(warehouse, second)).outcome).toBe("loaded");
  await refreshPartitions({ database });
  await expectReadable(warehouse, [first, second]);
  await commits.release();
  expect(await ensured).toEqual(["2020-01", "2020-02", "2020-03"]);
  await expectReadable(warehouse, [first, second]);
});

test("loads commit in the order of known_at: one that is later waits for one that is not in yet", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const before = await makeDrop({ folder, syncedOn: "2026-04-01", rows: 1000 });
  const first = await makeDrop({ folder, syncedOn: "2026-04-02", rows: 1000, first: 2000 });
  const second = await makeDrop({ folder, syncedOn: "2026-04-03", rows: 1000, first: 4000 });
  expect((await load(warehouse, before)).outcome).toBe("loaded");

  const rows = "new.status = 'loaded' and new.synced_on = '2026-04-02'";
  const commits = await holdCommits(warehouse, "loads", "update", rows);
  const one = load(warehouse, first);
  await commits.untilSomeoneWaits();
  let over = false;
  const other = load(warehouse, second).finally(() => {
    over = true;
  });
  await until("the second load waits for the first, or is over", async () => {
    const waiting = await warehouse.query(
      `select from pg_locks
       where locktype = 'advisory' and not granted and classid::bigint = $1
         and database = (select oid from pg_database where datname = current_database())`,
      [LOCK.knownAt],
    );
    return over || waiting.length > 0;
  });
  expect(over).toBe(false);
  await commits.release();
  const loadIds = (await Promise.all([one, other])).map(({ loadId }) => loadId);
  const ledger = await warehouse.query<{ load_id: number }>(
    "select load_id from warehouse.loads where status = 'loaded' order by known_at",
  );
  expect(ledger.slice(1).map(({ load_id }) => load_id)).toEqual(loadIds);
});

interface PlanNode {
  readonly "Relation Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly Plans?: readonly PlanNode[];
}

/** How many rows of a table the execution of a plan looked at. */
function rowsLookedAt(node: PlanNode, table: string): number {
  const below = (node.Plans ?? []).reduce((sum, plan) => sum + rowsLookedAt(plan, table), 0);
  if (node["Relation Name"] !== table) return below;
  return below + node["Actual Loops"] * (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0));
}

test("with many changes pending, of which the statistics know nothing yet, a report looks at each only a few times", async () => {
  const warehouse = await createTestDatabase();
  const { database, settings } = warehouse;
  await ensurePartitions({
    database,
    granularity: settings.granularity,
    dates: ["2026-04-01"],
  });
  // As between two visits of the autovacuum.
  await warehouse.query(`
    alter table warehouse.venue_day_pending set (autovacuum_enabled = off);
    alter table warehouse.venue_day_rollup_2026_04 set (autovacuum_enabled = off)`);
  await warehouse.query(
    "insert into warehouse.venues (venue_id) select 'venue-' || n from generate_series(1, 200) n",
  );
  const insert = (table: string, first: string) =>
    warehouse.query(`
      insert into warehouse.${table}
      select date '${first}' + day, venue_key, 1, 10.00 from generate_series(0, 9) day, warehouse.venues`);
  const loads = 5;
  // Statistics of what was pending before: other dates, few changes for each.
  await warehouse.query(`
    insert into warehouse.venue_day_pending
    select date '2025-01-01' + day, venue_key, 1, 10.00 from generate_series(0, 399) day, warehouse.venues where venue_key <= 20`);
  await warehouse.query("analyze warehouse.venue_day_pending");
  await warehouse.query("delete from warehouse.venue_day_pending");
  await insert("venue_day_rollup", "2026-04-01");
  for (let load = 0; load < loads; load += 1) await insert("venue_day_pending", "2026-04-01");
  for (const venue of ["true", "venue_id = 'venue-77'"]) {
    const [explained] = await warehouse.query<{ "QUERY PLAN": [{ readonly Plan: PlanNode }] }>(`
      explain (analyze, format json)
      select created_on, invoices, total from reports.venue_daily_totals
      where ${venue} and created_on >= '2026-04-01' and created_on < '2026-05-01'`);
    const plan = explained?.["QUERY PLAN"][0].Plan;
    if (plan === undefined) throw new Error("no plan");
    const looked = rowsLookedAt(plan, "venue_day_pending");
    expect(looked).toBeGreaterThan(0);
    expect(looked).toBeLessThanOrEqual(5 * loads * 2000);
  }
});
