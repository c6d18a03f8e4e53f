/**
 * Loads that are cut off: the loader killed, PostgreSQL killed, a connection ended, the disk full, the file changed. Whatever happens, a drop
 * is in wholly or not at all, and the next run finishes without help.
 */

import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import { connect as connectSocket, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../../db/client.ts";
import { LOCK } from "../../../db/locks.ts";
import { STAGING_SLOTS } from "../../../db/schema.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { makeServerHome } from "../../../db/testing/home.ts";
import { type OwnServer, openOwnServer, stateOf, until } from "../../../db/testing/own_server.ts";
import { loadDrop } from "../../load/load.ts";
import type { LoadReport } from "../../load/report.ts";
import { LOAD_STEPS, type LoadStep } from "../../load/steps.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { replaceLoad } from "../../undo/replace.ts";
import { expectedTotals, type MadeDrop, makeDrop, writeLargeDrop } from "../drops.ts";
import {
  disagreements,
  expectNothingHeld,
  jobOn,
  SESSIONS,
  startOwnWorker,
  totalsOf,
  type Worker,
} from "../warehouse.ts";
import type { JobResult } from "../worker.ts";

/** Bytes after which a load is cut off in the middle of staging. The drops are larger. */
const MIDWAY = 250_000;
const ROWS = 6000;

function load(warehouse: TestWarehouse, { path }: { readonly path: string }): Promise<LoadReport> {
  return loadDrop({ database: warehouse.database, settings: warehouse.settings, path });
}

function loadReport(result: JobResult): LoadReport {
  if ("load" in result) return result.load;
  throw new Error(`no load: ${JSON.stringify(result)}`);
}

/** A drop with history before it: what it changes is partly new, partly a correction, over four partitions. */
async function makeHistory(warehouse: TestWarehouse): Promise<readonly [MadeDrop, MadeDrop]> {
  const folder = makeFolder();
  const before = await makeDrop({ folder, syncedOn: "2026-04-01", rows: 1500 });
  const drop = await makeDrop({ folder, syncedOn: "2026-04-02", rows: ROWS, first: 750, version: 1 });
  expect((await load(warehouse, before)).outcome).toBe("loaded");
  await refreshPartitions({ database: warehouse.database });
  return [before, drop];
}

async function expectWhole(warehouse: TestWarehouse, drops: readonly MadeDrop[]): Promise<void> {
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await totalsOf(warehouse)).toEqual(expectedTotals(drops));
  const staged = Array.from(
    { length: STAGING_SLOTS },
    (_, slot) => `select from warehouse.staging_${slot + 1}`,
  );
  expect(await warehouse.query(staged.join(" union all "))).toEqual([]);
  const uneven = await warehouse.query(
    `select load_id from warehouse.loads
     where status = 'loaded' and read <> inserted + corrected + unchanged + superseded + rejected + summed + voided`,
  );
  expect(uneven).toEqual([]);
}

/** After a cut-off nothing is half done; then a run, and a refresh, finish the job. */
async function expectFinished(
  warehouse: TestWarehouse,
  [before, drop]: readonly [MadeDrop, MadeDrop],
  isIn: boolean,
): Promise<void> {
  await expectNothingHeld(warehouse);
  await expectWhole(warehouse, isIn ? [before, drop] : [before]);
  const again = await load(warehouse, drop);
  expect(again.outcome, JSON.stringify(again)).toBe(isIn ? "already_loaded" : "loaded");
  await expectWhole(warehouse, [before, drop]);
  await refreshPartitions({ database: warehouse.database, partitions: again.touched });
  expect(await warehouse.query("select * from warehouse.venue_day_pending")).toEqual([]);
  await expectWhole(warehouse, [before, drop]);
  await expectNothingHeld(warehouse);
  const loaded = await warehouse.query(
    "select from warehouse.loads where status = 'loaded' and synced_on = $1",
    [drop.syncedOn],
  );
  expect(loaded.length).toBe(1);
}

/** Where loads are cut off: each step's beginning, and the middle of staging. `merge` begins when venues and partitions are made. */
const POINTS: readonly { readonly point: string; readonly step: LoadStep; readonly afterBytes?: number }[] = [
  ...LOAD_STEPS.map((step) => ({ point: `step ${step}`, step })),
  { point: "the middle of stage", step: "stage", afterBytes: MIDWAY },
];

describe("a loader that is killed", () => {
  test.each(POINTS)("at $point leaves a drop that the next run finishes", async ({ step, afterBytes }) => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const job = { ...jobOn(warehouse), path: drops[1].path, dieAt: step };
    const result = await startOwnWorker().run(afterBytes === undefined ? job : { ...job, afterBytes });
    expect(result).toEqual({ error: "the worker ended: SIGKILL" });
    const venuesAndPartitions = await warehouse.query("select from warehouse.partitions");
    expect(venuesAndPartitions.length).toBeGreaterThan(0);
    await expectFinished(warehouse, drops, step === "committed");
  });

  test.each(["insert", "commit", "committed"] as const)(
    "at step %s of the direct way leaves a drop that the next run finishes",
    async (step) => {
      const warehouse = await createTestDatabase();
      const folder = makeFolder();
      const before = await makeDrop({ folder, syncedOn: "2026-04-02", rows: 500 });
      const drop = await makeDrop({ folder, syncedOn: "2026-04-03", rows: 4000, first: 500 });
      expect((await load(warehouse, before)).outcome).toBe("loaded");
      const result = await startOwnWorker().run({ ...jobOn(warehouse), path: drop.path, dieAt: step });
      expect(result).toEqual({ error: "the worker ended: SIGKILL" });
      await expectFinished(warehouse, [before, drop], step === "committed");
      const [entry] = await warehouse.query<{ direct: boolean }>(
        "select timings ? 'insert' and not timings ? 'merge' as direct from warehouse.loads where status = 'loaded' and synced_on = $1",
        [drop.syncedOn],
      );
      expect(entry?.direct).toBe(true);
    },
  );

  test("in the middle of the merge leaves a drop that the next run finishes", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    // The merge appends to pending last; this keeps it waiting there.
    const held = await holdLock(warehouse, "lock table warehouse.venue_day_pending in share mode");
    const worker = startOwnWorker();
    const result = worker.run({ ...jobOn(warehouse), path: drops[1].path });
    await until("the merge waits", () => isWaiting(warehouse, "%with winners%"));
    worker.kill();
    expect(await result).toEqual({ error: "the worker ended: SIGKILL" });
    await held.release();
    await expectFinished(warehouse, drops, false);
  });

  test("between two partitions of a refresh leaves the rest pending, and the next refresh takes it", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    expect((await load(warehouse, drops[1])).outcome).toBe("loaded");
    const result = await startOwnWorker().run({ ...jobOn(warehouse), strategy: "delta", dieAt: "refresh" });
    expect(result).toEqual({ error: "the worker ended: SIGKILL" });
    expect((await warehouse.query("select from warehouse.venue_day_pending")).length).toBeGreaterThan(0);
    await expectFinished(warehouse, drops, true);
  });

  test.each(["delta", "partition"] as const)(
    "in the middle of a refresh by %s leaves the rollup as it was",
    async (strategy) => {
      const warehouse = await createTestDatabase();
      const drops = await makeHistory(warehouse);
      expect((await load(warehouse, drops[1])).outcome).toBe("loaded");
      const rollup = "select * from warehouse.venue_day_rollup order by created_on, venue_key";
      const before = await warehouse.query(rollup);
      const held = await holdLock(warehouse, "select from warehouse.partitions for update");
      const worker = startOwnWorker();
      const result = worker.run({ ...jobOn(warehouse), strategy });
      await until("the refresh waits", () => isWaiting(warehouse, "%with taken%"));
      worker.kill();
      expect(await result).toEqual({ error: "the worker ended: SIGKILL" });
      await held.release();
      await expectNothingHeld(warehouse);
      expect(await warehouse.query(rollup)).toEqual(before);
      await expectFinished(warehouse, drops, true);
    },
  );
});

interface Held {
  readonly client: pg.PoolClient;
  readonly release: () => Promise<void>;
}

/** Runs a statement in a transaction that stays open until it is released. */
async function holdLock(warehouse: TestWarehouse, statement: string): Promise<Held> {
  const client = await warehouse.database.pool.connect();
  let released = false;
  const release = async () => {
    if (released) return;
    released = true;
    await client.query("rollback");
    client.release();
  };
  onTestFinished(release);
  await client.query("begin");
  await client.query("set application_name = 'holder'");
  await client.query(statement);
  return { client, release };
}

async function isWaiting(warehouse: TestWarehouse, query: string): Promise<boolean> {
  const waiting = await warehouse.query(
    `select from pg_stat_activity where ${SESSIONS} and wait_event_type = 'Lock' and query like $1`,
    [query],
  );
  return waiting.length > 0;
}

async function untilStopped({ pid }: Worker): Promise<void> {
  await until("the worker has stopped", () => stateOf(pid) === "T");
}

describe("PostgreSQL killed with all its processes", () => {
  let own: OwnServer;
  beforeAll(async () => {
    own = await openOwnServer();
  });
  afterAll(() => own.close());

  test.each(POINTS)("while a load is at $point loses and doubles nothing", async ({ step, afterBytes }) => {
    const warehouse = await own.makeWarehouse();
    const drops = await makeHistory(warehouse);
    const worker = startOwnWorker();
    const job = { ...jobOn(warehouse), path: drops[1].path, stopAt: step };
    const result = worker.run(afterBytes === undefined ? job : { ...job, afterBytes });
    await untilStopped(worker);
    own.kill();
    process.kill(worker.pid, "SIGCONT");
    const report = loadReport(await result);
    expect(["loaded", "failed"], JSON.stringify(report)).toContain(report.outcome);
    if (report.outcome === "failed") expect(report.error?.code).toBe("connection");
    await untilReachable(warehouse);
    await expectFinished(warehouse, drops, report.outcome === "loaded");
  });

  test("right after a refresh has said that it is done takes none of it back", async () => {
    const warehouse = await own.makeWarehouse();
    const drops = await makeHistory(warehouse);
    expect((await load(warehouse, drops[1])).outcome).toBe("loaded");
    await refreshPartitions({ database: warehouse.database });
    own.kill();
    await untilReachable(warehouse);
    expect(await warehouse.query("select * from warehouse.venue_day_pending")).toEqual([]);
    await expectFinished(warehouse, drops, true);
  });

  test("while a refresh is at work loses and doubles nothing", async () => {
    const warehouse = await own.makeWarehouse();
    const drops = await makeHistory(warehouse);
    expect((await load(warehouse, drops[1])).outcome).toBe("loaded");
    const worker = startOwnWorker();
    const result = worker.run({ ...jobOn(warehouse), strategy: "delta", stopAt: "refresh" });
    await untilStopped(worker);
    own.kill();
    process.kill(worker.pid, "SIGCONT");
    const refreshed = await result;
    if ("error" in refreshed) expect(refreshed.error).toMatch(/connect|terminat|ECONN|EPIPE/);
    await untilReachable(warehouse);
    await expectFinished(warehouse, drops, true);
  });
});

async function untilReachable(warehouse: TestWarehouse): Promise<void> {
  await until("the server is back", () =>
    warehouse.query("select 1").then(
      () => true,
      () => false,
    ),
  );
}

describe("a load whose connections are ended", () => {
  test.each(POINTS.filter(({ step }) => step !== "committed"))(
    "at $point is tried again and succeeds",
    async ({ step, afterBytes }) => {
      const warehouse = await createTestDatabase();
      const drops = await makeHistory(warehouse);
      const worker = startOwnWorker();
      const job = { ...jobOn(warehouse), path: drops[1].path, stopAt: step };
      const result = worker.run(afterBytes === undefined ? job : { ...job, afterBytes });
      await untilStopped(worker);
      await endSessions(warehouse);
      process.kill(worker.pid, "SIGCONT");
      const report = loadReport(await result);
      expect(report.outcome, JSON.stringify(report)).toBe("loaded");
      expect(report.rows).toMatchObject({ read: ROWS, rejected: 0 });
      await expectFinished(warehouse, drops, true);
    },
  );

  test("all the while fails as connection, is in the ledger, and succeeds later", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const retries: number[] = [];
    // A pool of its own: the test's own sessions stay.
    const database = openDatabase({
      connection: { ...jobOn(warehouse).connection, application_name: "victim" },
      max: 2,
    });
    onTestFinished(() => database.pool.end());
    let ending: Promise<void> | undefined;
    const report = await loadDrop({
      database,
      settings: warehouse.settings,
      path: drops[1].path,
      onProgress: ({ step, bytes }) => {
        if (step === "stage" && bytes > MIDWAY) ending ??= endSessions(warehouse, "victim");
      },
      onRetry: (attempt) => {
        retries.push(attempt);
        ending = undefined;
      },
    });
    await ending;
    expect(report, JSON.stringify(report)).toMatchObject({
      outcome: "failed",
      error: { code: "connection" },
    });
    expect(retries).toEqual([1, 2, 3, 4]);
    const ledger = await warehouse.query(
      "select error_code, length(sha256) as hash from warehouse.loads where status = 'failed'",
    );
    expect(ledger).toEqual([{ error_code: "connection", hash: 32 }]);
    await expectFinished(warehouse, drops, false);
  });
});

/** Ends the sessions of a name but the pool's idle ones that no load uses, and waits until they are gone. */
async function endSessions(warehouse: TestWarehouse, name = "rollbook"): Promise<void> {
  const { host, port, user, database } = warehouse.database.pool.options;
  const admin = openDatabase({
    connection: { host, port, user, database, ssl: false, application_name: "admin" },
    max: 1,
  });
  await admin.pool.query(
    `select pg_terminate_backend(pid, 10000) from pg_stat_activity
     where application_name = $1 and datname = current_database() and pid <> pg_backend_pid()`,
    [name],
  );
  await admin.pool.end();
}

describe("a load that collides with another session", () => {
  test("in a deadlock is rolled back, tried again, and succeeds", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    // It has an invoice that the load will correct, and waits for the staging slot that the load has taken. The load then waits for the
    // invoice, and is the first to look for a deadlock.
    const holder = await holdLock(
      warehouse,
      `select from warehouse.invoices where load_id = 1 order by created_on desc, venue_key desc, invoice_id desc limit 1 for update`,
    );
    const corrected = await warehouse.query(
      "select from warehouse.invoices where xmax <> 0 and load_id = 1 limit 1",
    );
    expect(corrected.length).toBe(1);
    await holder.client.query("set deadlock_timeout = '10min'");
    const retries: unknown[] = [];
    let waiting: Promise<unknown> | undefined;
    const report = await loadDrop({
      database: warehouse.database,
      settings: warehouse.settings,
      path: drops[1].path,
      onProgress: ({ step }) => {
        if (step !== "prepare" || waiting !== undefined) return;
        waiting = holder.client
          .query("select pg_advisory_xact_lock($1, slot) from generate_series(1, 16) slots (slot)", [
            LOCK.stagingSlot,
          ])
          .then(() => holder.release());
      },
      onRetry: (_attempt, error) => retries.push(error),
    });
    await waiting;
    expect(report.outcome, JSON.stringify(report)).toBe("loaded");
    expect(retries).toHaveLength(1);
    expect(retries[0]).toMatchObject({ cause: { code: "40P01" } });
    await expectFinished(warehouse, drops, true);
  });

  test("in a serialization failure is rolled back, tried again, and succeeds", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    // READ COMMITTED knows no such failure of its own; a sequence is not rolled back, so it comes once.
    await raiseIn(warehouse, "corrections", "40001", "nextval('warehouse.once') = 1");
    const retries: unknown[] = [];
    const report = await loadDrop({
      database: warehouse.database,
      settings: warehouse.settings,
      path: drops[1].path,
      onRetry: (_attempt, error) => retries.push(error),
    });
    expect(report.outcome, JSON.stringify(report)).toBe("loaded");
    expect(retries).toMatchObject([{ cause: { code: "40001" } }]);
    await expectFinished(warehouse, drops, true);
  });

  test("again and again fails as database, not as connection", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const remove = await raiseIn(warehouse, "corrections", "40001", "true");
    const report = await load(warehouse, drops[1]);
    expect(report).toMatchObject({ outcome: "failed", error: { code: "database" } });
    await remove();
    await expectFinished(warehouse, drops, false);
  });
});

/** Makes PostgreSQL raise this SQLSTATE when the load writes to a table; returns what ends that. */
async function raiseIn(
  warehouse: TestWarehouse,
  table: string,
  state: string,
  when: string,
): Promise<() => Promise<void>> {
  await warehouse.query("create sequence warehouse.once");
  await warehouse.query(`
    create function warehouse.raise_once() returns trigger language plpgsql as $$
    begin
      if ${when} then raise exception 'provoked' using errcode = '${state}'; end if;
      return null;
    end $$`);
  await warehouse.query(
    `create trigger provoke after insert on warehouse.${table} for each statement execute function warehouse.raise_once()`,
  );
  return async () => {
    await warehouse.query(`drop trigger provoke on warehouse.${table}`);
  };
}

describe("an answer that is lost", () => {
  test("of a commit: the load is reported as loaded, once", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const proxy = await startProxy(warehouse);
    const retries: unknown[] = [];
    const report = await loadDrop({
      database: proxy.database,
      settings: warehouse.settings,
      path: drops[1].path,
      onProgress: ({ step }) => {
        if (step === "commit") proxy.cutAfterNextCommit();
      },
      onRetry: (_attempt, error) => retries.push(error),
    });
    expect(proxy.cuts()).toBe(1);
    expect(retries).toHaveLength(1);
    expect(report, JSON.stringify(report)).toMatchObject({
      outcome: "loaded",
      loadId: 2,
      syncedOn: "2026-04-02",
      rows: {
        read: ROWS,
        inserted: 5250,
        corrected: 750,
        unchanged: 0,
        superseded: 0,
        rejected: 0,
        skipped: 0,
        summed: 0,
        voided: 0,
        absent: 0,
      },
    });
    expect(report.touched).toEqual(report.partitions);
    expect(report.partitions).toHaveLength(4);
    await expectFinished(warehouse, drops, true);
  });

  test("of a commit that replaces a load: both are reported, with all partitions to refresh", async () => {
    const warehouse = await createTestDatabase();
    const proxy = await startProxy(warehouse);
    const folder = makeFolder();
    const drop = async (name: string, line: string) => {
      const path = join(folder, name);
      await writeFile(path, `${line}\n`);
      return path;
    };
    const id = "00000000-0000-4000-8000-000000000001";
    const wrong = await drop("a_2026-03-02.csv", `v,${id},2026-03-01,1.00`);
    const { loadId = 0 } = await loadDrop({ ...warehouse, path: wrong });
    const replace = replaceLoad({ ...warehouse, loadId: loadId ?? 0, because: "a wrong date" });
    const report = await loadDrop({
      database: proxy.database,
      settings: warehouse.settings,
      path: await drop("b_2026-04-02.csv", `v,${id},2026-04-01,1.00`),
      replace,
      onProgress: ({ step }) => {
        if (step === "commit") proxy.cutAfterNextCommit();
      },
    });
    expect(proxy.cuts()).toBe(1);
    expect(report).toMatchObject({
      outcome: "loaded",
      partitions: ["2026-04"],
      touched: ["2026-04", "2026-03"],
    });
    expect(replace.report()).toMatchObject({ undoOf: loadId, partitions: ["2026-03"] });
  });

  test("of a refusal's commit: the drop is reported as rejected, and is in the ledger once", async () => {
    const warehouse = await createTestDatabase();
    const proxy = await startProxy(warehouse);
    const path = join(makeFolder(), "bad_2026-04-02.csv");
    await writeFile(path, "a,b,c,d\ne,f,g,h\n");
    const report = await loadDrop({
      database: proxy.database,
      settings: warehouse.settings,
      path,
      onProgress: ({ step }) => {
        if (step === "stage") proxy.cutAfterNextCommit();
      },
    });
    expect(proxy.cuts()).toBe(1);
    expect(report).toMatchObject({
      outcome: "rejected",
      loadId: 1,
      rows: { read: 2, rejected: 2 },
      reasons: [{ reason: "bad_uuid", column: "invoice_id", count: 2, line: 1, cell: "b", total: null }],
      error: { code: "too_many_rejects" },
    });
    expect(await warehouse.query("select status from warehouse.loads")).toEqual([{ status: "rejected" }]);
  });

  test("of a commit, with the server away afterwards: the failure says that it is not known", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const proxy = await startProxy(warehouse);
    const report = await loadDrop({
      database: proxy.database,
      settings: warehouse.settings,
      path: drops[1].path,
      onProgress: ({ step }) => {
        if (step === "commit") proxy.cutAfterNextCommit();
      },
      onRetry: () => proxy.refuse(),
    });
    expect(report).toMatchObject({ outcome: "failed", loadId: null, error: { code: "connection" } });
    expect(report.error?.message).toContain("not known whether the drop is in");
    await expectFinished(warehouse, drops, true);
  });
});

/** A socket between client and server that can swallow the answer to a commit. */
async function startProxy(warehouse: TestWarehouse) {
  const { connection } = jobOn(warehouse);
  const folder = makeFolder();
  const sockets = new Set<Socket>();
  let armed = false;
  let refusing = false;
  let cuts = 0;
  const server = createServer((near) => {
    const far = connectSocket(join(connection.host ?? "", `.s.PGSQL.${connection.port}`));
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
    }
    if (refusing) near.destroy();
    let cutting = false;
    near.on("data", (bytes) => {
      if (armed && bytes.includes("commit\0")) {
        armed = false;
        cutting = true;
      }
      far.write(bytes);
    });
    far.on("data", (bytes) => {
      if (!cutting) {
        near.write(bytes);
        return;
      }
      cuts += 1;
      near.destroy();
      far.destroy();
    });
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(join(folder, ".s.PGSQL.5432"), resolve));
  const database = openDatabase({ connection: { ...connection, host: folder, port: 5432 }, max: 4 });
  onTestFinished(async () => {
    await database.pool.end();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    database,
    cutAfterNextCommit: () => {
      armed = true;
    },
    refuse: () => {
      refusing = true;
    },
    cuts: () => cuts,
  };
}

describe("one drop in two processes", () => {
  test("is loaded by one; the other says already_loaded", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const workers = [startOwnWorker(), startOwnWorker()];
    const job = { ...jobOn(warehouse), path: drops[1].path };
    const reports = (await Promise.all(workers.map((worker) => worker.run(job)))).map(loadReport);
    expect(reports.map(({ outcome }) => outcome).sort()).toEqual(["already_loaded", "loaded"]);
    expect(new Set(reports.map(({ loadId }) => loadId)).size).toBe(1);
    await expectFinished(warehouse, drops, true);
  });

  test("is loaded by the second when the first is killed", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const [first, second] = [startOwnWorker(), startOwnWorker()];
    const job = { ...jobOn(warehouse), path: drops[1].path };
    const killed = first.run({ ...job, stopAt: "merge" });
    await untilStopped(first);
    const waiting = second.run(job);
    await until("the second waits for the first", () =>
      isWaiting(warehouse, "%insert into warehouse.loads%"),
    );
    first.kill();
    expect(await killed).toEqual({ error: "the worker ended: SIGKILL" });
    expect(loadReport(await waiting).outcome).toBe("loaded");
    await expectFinished(warehouse, drops, true);
  });

  test("is loaded by the second when the first rejects it", async () => {
    const warehouse = await createTestDatabase();
    const path = join(makeFolder(), "mixed_2026-04-02.csv");
    await writeFile(path, `v,${"0".repeat(32)},2026-04-01,1\nv,x,2026-04-01,1\n`);
    const [first, second] = [startOwnWorker(), startOwnWorker()];
    const job = { ...jobOn(warehouse), path };
    const strict = first.run({ ...job, stopAt: "stage", maxRejects: 0 });
    await untilStopped(first);
    const lenient = second.run({ ...job, maxRejects: 1 });
    await until("the second waits for the first", () =>
      isWaiting(warehouse, "%insert into warehouse.loads%"),
    );
    process.kill(first.pid, "SIGCONT");
    expect(loadReport(await strict).outcome).toBe("rejected");
    expect(loadReport(await lenient)).toMatchObject({
      outcome: "loaded",
      rows: { inserted: 1, rejected: 1 },
    });
    expect(await disagreements(warehouse)).toEqual([]);
  });
});

test("twenty loads at once, more than there are staging slots, wait for each other and succeed", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const drops = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      makeDrop({ folder, syncedOn: "2026-04-02", rows: 300, first: index * 300 }),
    ),
  );
  const held = await holdLock(warehouse, "lock table warehouse.venue_day_pending in share mode");
  const running = drops.map(async ({ path }) => {
    const database = openDatabase({ connection: jobOn(warehouse).connection, max: 2 });
    try {
      return await loadDrop({ database, settings: warehouse.settings, path, careful: true });
    } finally {
      await database.pool.end();
    }
  });
  const slots =
    "select from pg_locks where locktype = 'advisory' and granted and classid::bigint = $1 and database = (select oid from pg_database where datname = current_database())";
  await until("all slots are taken", async () => {
    return (await warehouse.query(slots, [LOCK.stagingSlot])).length === STAGING_SLOTS;
  });
  await sleep(300);
  await held.release();
  const reports = await Promise.all(running);
  expect(reports.map(({ outcome }) => outcome)).toEqual(drops.map(() => "loaded"));
  await expectNothingHeld(warehouse);
  await expectWhole(warehouse, drops);
});

describe("a file", () => {
  const changes: readonly { readonly what: string; readonly change: (path: string) => void }[] = [
    { what: "grows", change: (path) => appendFileSync(path, "v,x,y,z\n") },
    { what: "shrinks", change: (path) => truncateSync(path, 1000) },
    { what: "is emptied", change: (path) => truncateSync(path, 0) },
    { what: "becomes bad throughout", change: (path) => writeFileSync(path, "a,b,c,d\n".repeat(1000)) },
    { what: "gets another header", change: (path) => writeFileSync(path, "total,total,venue_id\n") },
  ];
  test.each(changes)("that $what between hash and stage fails as file_changed", async ({ change }) => {
    const failed = await loadWhile({ at: "claim", change });
    await expectUntouched(failed, "file_changed");
  });

  test("that grows while it is staged fails as file_changed", async () => {
    const change = (path: string) => appendFileSync(path, "v,x,y,z\n");
    await expectUntouched(await loadWhile({ at: "stage", afterBytes: MIDWAY, change }), "file_changed");
  });

  test("that vanishes between hash and stage fails as file_unreadable, at once", async () => {
    const failed = await loadWhile({ at: "claim", change: (path) => rmSync(path) });
    await expectUntouched(failed, "file_unreadable");
    expect(failed.report.error?.message).toContain(failed.path);
  });

  test("that is still being uploaded, compressed, fails as file_changed and is not rejected as truncated", async () => {
    const warehouse = await createTestDatabase();
    const { path } = await makeDrop({ folder: makeFolder(), syncedOn: "2026-04-02", rows: 5000 });
    const whole = gzipSync(readFileSync(path));
    const [half, more] = [whole.subarray(0, 50_000), whole.subarray(50_000, -100)];
    await writeFile(`${path}.gz`, half);
    const report = await loadDrop({
      database: warehouse.database,
      settings: warehouse.settings,
      path: `${path}.gz`,
      onProgress: ({ step }) => {
        if (step === "claim") appendFileSync(`${path}.gz`, more);
      },
    });
    expect(report).toMatchObject({ outcome: "failed", error: { code: "file_changed" } });
  });

  test("whose reading breaks off in the middle of a COPY fails, and the next load goes well", async () => {
    // An error on the reading side, as of a disk or a network share: thrown where the reader is.
    const failed = await loadWhile({
      at: "stage",
      afterBytes: MIDWAY,
      change: () => {
        throw new Error("input/output error");
      },
    });
    await expectUntouched(failed, "database");
    expect(failed.report.error?.message).toContain("input/output error");
    await expectFinished(failed.warehouse, failed.drops, false);
  });

  interface Failed {
    readonly warehouse: TestWarehouse;
    readonly drops: readonly [MadeDrop, MadeDrop];
    readonly path: string;
    readonly report: LoadReport;
    readonly retries: number;
  }

  /** Loads a copy of the second drop, and does something to it at a step. */
  async function loadWhile(options: {
    readonly at: LoadStep;
    readonly afterBytes?: number;
    readonly change: (path: string) => void;
  }): Promise<Failed> {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const path = join(makeFolder(), "copy_2026-04-02.csv");
    copyFileSync(drops[1].path, path);
    let changed = false;
    let retries = 0;
    const report = await loadDrop({
      database: warehouse.database,
      settings: warehouse.settings,
      path,
      onProgress: ({ step, bytes }) => {
        if (changed || step !== options.at || bytes < (options.afterBytes ?? 0)) return;
        changed = true;
        options.change(path);
      },
      onRetry: () => {
        retries += 1;
      },
    });
    return { warehouse, drops, path, report, retries };
  }

  async function expectUntouched({ warehouse, drops, report, retries }: Failed, code: string): Promise<void> {
    expect(report, JSON.stringify(report)).toMatchObject({ outcome: "failed", error: { code } });
    expect(retries).toBe(0);
    const ledger = await warehouse.query(
      "select load_id, status, error_code from warehouse.loads where status <> 'loaded'",
    );
    expect(ledger).toEqual([{ load_id: report.loadId, status: "failed", error_code: code }]);
    expect(await warehouse.query("select * from warehouse.rejects")).toEqual([]);
    await expectNothingHeld(warehouse);
    await expectWhole(warehouse, [drops[0]]);
  }
});

describe("a disk that is full", () => {
  test.each(["loads", "venue_day_pending", "venues", "partitions"])(
    "as PostgreSQL reports it at %s is named, with the remedy, and the load succeeds later",
    async (table) => {
      const warehouse = await createTestDatabase();
      const folder = makeFolder();
      const drop = await makeDrop({ folder, syncedOn: "2026-04-02", rows: 1000 });
      // The ledger cannot be written either, then: the failure is reported all the same.
      const remove = await raiseIn(warehouse, table, "53100", "true");
      const report = await load(warehouse, drop);
      expectDiskFull(report, drop.path);
      expect(report.loadId === null).toBe(table === "loads");
      await expectNothingHeld(warehouse);
      await expectWhole(warehouse, []);
      await remove();
      expect((await load(warehouse, drop)).outcome).toBe("loaded");
      await expectWhole(warehouse, [drop]);
    },
  );

  test("in the middle of a COPY into staging is named, and nothing of the load is left", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    await warehouse.query("create sequence warehouse.written");
    await warehouse.query(`
      create function warehouse.fill_disk(total numeric) returns boolean language plpgsql as $$
      begin
        if nextval('warehouse.written') > ${ROWS / 2} then raise exception 'provoked' using errcode = '53100'; end if;
        return true;
      end $$`);
    const alterAll = async (what: string) => {
      for (let slot = 1; slot <= STAGING_SLOTS; slot += 1) {
        await warehouse.query(`alter table warehouse.staging_${slot} ${what}`);
      }
    };
    await alterAll("add constraint full_disk check (warehouse.fill_disk(total))");
    expectDiskFull(await load(warehouse, drops[1]), drops[1].path);
    await expectNothingHeld(warehouse);
    await alterAll("drop constraint full_disk");
    await expectFinished(warehouse, drops, false);
  });

  // Nobody but root can have a small disk of his own. The tests above are about the same errors, and run for all.
  if (canMount()) {
    test("for real, in staging, is named, and the load succeeds when there is room again", async () => {
      await withSmallDisk(async (disk) => {
        disk.fillUpTo(12);
        const report = await load(disk.warehouse, disk.drop);
        expectDiskFull(report, disk.drop.path);
      });
    });

    test("for real, where the write-ahead log is, loses nothing, and the load succeeds when there is room again", async () => {
      await withSmallDisk(async (disk) => {
        disk.fillUpTo(70);
        // PostgreSQL itself breaks down when it has no room for its log, and comes back.
        const report = await load(disk.warehouse, disk.drop);
        expect(report.outcome, JSON.stringify(report)).toBe("failed");
        expect(["disk_full", "connection"]).toContain(report.error?.code);
      });
    });
  }
});

function expectDiskFull(report: LoadReport, path: string): void {
  expect(report, JSON.stringify(report)).toMatchObject({ outcome: "failed", error: { code: "disk_full" } });
  expect(report.error?.message).toContain(path);
  expect(report.error?.message).toContain("Make room and load it again.");
}

function canMount(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  const script = 'mount -t tmpfs -o size=1m rollbook-test "$0" && umount "$0"';
  const folder = makeServerHome();
  const { status } = spawnSync("sh", ["-c", script, folder], { stdio: "ignore" });
  rmSync(folder, { recursive: true });
  return status === 0;
}

interface SmallDisk {
  readonly warehouse: TestWarehouse;
  readonly drop: { readonly path: string };
  /** Leaves so many megabytes free. */
  readonly fillUpTo: (megabytes: number) => void;
}

/** A server whose whole home is on a disk of its own; afterwards room is made, and the load must go well. */
async function withSmallDisk(work: (disk: SmallDisk) => Promise<void>): Promise<void> {
  const rows = 300_000;
  const path = join(makeFolder(), "large_2026-03-31.csv");
  await writeLargeDrop({ path, rows });
  const home = makeServerHome();
  expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=400m,mode=711", "rollbook-test", home]).status).toBe(
    0,
  );
  let own: OwnServer | undefined;
  try {
    own = await openOwnServer(home);
    const warehouse = await own.makeWarehouse();
    const filler = join(home, "filler");
    const fillUpTo = (megabytes: number) => {
      const { bavail, bsize } = statfsSync(home);
      writeFileSync(filler, Buffer.alloc(bavail * bsize - megabytes * 1_000_000));
    };
    await work({ warehouse, drop: { path }, fillUpTo });
    rmSync(filler);
    await untilReachable(warehouse);
    await expectNothingHeld(warehouse);
    await expectWhole(warehouse, []);
    const { database, settings } = warehouse;
    const report = await loadDrop({ database, settings, path });
    expect(report, JSON.stringify(report)).toMatchObject({ outcome: "loaded", rows: { inserted: rows } });
    expect(await disagreements(warehouse)).toEqual([]);
  } finally {
    await own?.close();
    // The keeper may still be closing the log.
    await until("the disk is out of use", () => spawnSync("umount", [home]).status === 0);
    rmSync(home, { recursive: true, force: true });
  }
}
