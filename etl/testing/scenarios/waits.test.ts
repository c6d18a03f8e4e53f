/** Whoever waits long for a lock of another session is told for what, and who holds it. */
import { randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { type Database, openDatabase, withTransaction } from "../../../db/client.ts";
import { LOCK } from "../../../db/locks.ts";
import { initWarehouse } from "../../../db/migrate.ts";
import { ensurePartitions } from "../../../db/partitions/create.ts";
import { detachPartition } from "../../../db/partitions/remove.ts";
import { STAGING_SLOTS } from "../../../db/schema.ts";
import {
  createEmptyDatabase,
  createTestDatabase,
  onServer,
  type TestWarehouse,
  testConnection,
} from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { until } from "../../../db/testing/own_server.ts";
import { loginAs } from "../../../db/testing/roles.ts";
import type { ReportedWait } from "../../../db/waits/watch.ts";
import { closePeriod } from "../../closings/close.ts";
import { parsePeriod } from "../../closings/period.ts";
import { loadDrop } from "../../load/load.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { undo } from "../../undo/undo.ts";
import { verifyWarehouse } from "../../verify/verify.ts";
import { startRollbook } from "../cli.ts";
import { load, writeInvoices } from "../invoices.ts";

/** A warehouse with one load of invoices, and a second one that has another total. */
async function warehouseOf(roles = false) {
  const warehouse = await createTestDatabase({ roles });
  const folder = makeFolder();
  const { loadId } = await load(
    warehouse,
    writeInvoices(folder, "a_2026-10-05.csv", [["v", 1, "2026-09-01", "1.00"]]),
  );
  const next = writeInvoices(folder, "b_2026-10-06.csv", [["v", 1, "2026-09-01", "2.00"]]);
  return { warehouse, folder, loadId: loadId ?? 0, next };
}

/** Another session, with a transaction that is left open after these statements. */
async function leaveOpen(warehouse: TestWarehouse, ...statements: readonly string[]) {
  const { user, database = "" } = warehouse.database.pool.options;
  const client = new pg.Client({ ...testConnection(database), user, application_name: "somebody" });
  client.on("error", () => {});
  await client.connect();
  onTestFinished(() => client.end().catch(() => {}));
  for (const statement of ["begin", ...statements]) await client.query(statement);
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return { pid: rows[0]?.pid ?? 0, end: () => client.query("rollback") };
}

/**
 * Runs `work` on a pool of its own while somebody holds what it needs, until the wait is reported; then lets it
 * go on to its end.
 */
async function reportOf(
  warehouse: TestWarehouse,
  held: { readonly pid: number; readonly end: () => Promise<unknown> },
  work: (database: Database) => Promise<unknown>,
): Promise<ReportedWait> {
  const { user, database: name = "" } = warehouse.database.pool.options;
  const told = new EventEmitter();
  const reported = once(told, "wait").then(([wait]) => wait as ReportedWait);
  const database = openDatabase({
    connection: { ...testConnection(name), user },
    reportWaitsAfterMs: 150,
    onWait: (wait) => told.emit("wait", wait),
  });
  try {
    const working = work(database);
    const wait = await Promise.race([
      reported,
      working.then(() => Promise.reject(new Error("it did not wait"))),
    ]);
    await held.end();
    await working;
    expect(wait.holders.map(({ pid }) => pid)).toContain(held.pid);
    return wait;
  } finally {
    await database.pool.end();
  }
}

type Verb = (
  database: Database,
  given: Omit<Awaited<ReturnType<typeof warehouseOf>>, "warehouse"> & {
    readonly settings: TestWarehouse["settings"];
  },
) => Promise<unknown>;

const VERBS = {
  load: async (database, { settings, next }) =>
    expect(await loadDrop({ database, settings, path: next })).toMatchObject({ outcome: "loaded" }),
  refresh: (database) => refreshPartitions({ database, strategy: "full" }),
  undo: (database, { settings, loadId }) => undo({ database, settings, loadId, because: "a test" }),
  close: (database, { settings }) => {
    const period = parsePeriod("2026-09");
    if (period === undefined) throw new Error("no period");
    return closePeriod({ database, settings, period });
  },
  verify: (database, { settings }) => verifyWarehouse({ database, settings }),
  init: (database) => initWarehouse({ database, roles: false }),
  "partitions ensure": (database, { settings }) =>
    ensurePartitions({ database, ...settings, dates: ["2026-01-01"] }),
  "partitions detach": async (database) => {
    await refreshPartitions({ database });
    await detachPartition({ database, partition: "2026-09" });
  },
} satisfies Record<string, Verb>;

const advisory = (lock: number, which = 0, how = "") =>
  `select pg_advisory_xact_lock${how}(${lock}, ${which})`;

test.each<{ verb: keyof typeof VERBS; held: string; what: string }>([
  { verb: "load", held: advisory(LOCK.knownAt), what: "the order of commits" },
  { verb: "undo", held: advisory(LOCK.knownAt), what: "the order of commits" },
  { verb: "close", held: advisory(LOCK.knownAt), what: "the order of commits" },
  { verb: "close", held: advisory(LOCK.closings), what: "the closings, and the loads that heed them" },
  { verb: "load", held: "lock table warehouse.invoices", what: "relation warehouse.invoices" },
  {
    verb: "refresh",
    held: "lock table warehouse.venue_day_pending",
    what: "relation warehouse.venue_day_pending",
  },
  { verb: "verify", held: "lock table warehouse.loads", what: "relation warehouse.loads" },
  { verb: "undo", held: "lock table warehouse.statements", what: "relation warehouse.statements" },
  {
    verb: "load",
    held: "select from warehouse.partitions for update",
    what: "a row of warehouse.partitions that another session is writing",
  },
  {
    verb: "load",
    held: "select from warehouse.invoices for update",
    what: "a row of warehouse.invoices_2026_09 that another session is writing",
  },
  {
    verb: "undo",
    held: advisory(LOCK.statements),
    what: "the statements that do not stand, at which another undo, repair or prune works",
  },
  { verb: "init", held: advisory(LOCK.migrate), what: "the end of another init" },
  { verb: "partitions ensure", held: advisory(LOCK.ensurePartitions), what: "the turn to make partitions" },
  {
    verb: "partitions detach",
    held: advisory(LOCK.removePartition),
    what: "the turn to detach, attach or drop a partition",
  },
  {
    verb: "partitions detach",
    held: `select pg_advisory_xact_lock(${LOCK.closePartition}, partition_id) from warehouse.partitions`,
    what: "partition 2026-09, into which others load",
  },
  {
    verb: "refresh",
    held: `select pg_advisory_xact_lock(${LOCK.refreshPartition}, partition_id) from warehouse.partitions`,
    what: "partition 2026-09, which is being refreshed",
  },
  {
    verb: "verify",
    held: `select pg_advisory_xact_lock(${LOCK.verifyPartition}, partition_id) from warehouse.partitions`,
    what: "partition 2026-09, which is being detached or dropped",
  },
])("$verb says that it waits for $what", async ({ verb, held, what }) => {
  const { warehouse, ...given } = await warehouseOf();
  const holder = await leaveOpen(warehouse, held);
  const run: Verb = VERBS[verb];
  const wait = await reportOf(warehouse, holder, (database) =>
    run(database, { ...given, settings: warehouse.settings }),
  );
  expect(wait.what).toBe(what);
  const { user } = warehouse.database.pool.options;
  expect(wait.message).toMatch(
    new RegExp(
      `^waiting for .+, for \\d+ s so far\\. Held by pid ${holder.pid} \\(user ${user}, somebody, idle in transaction for \\d+ s, in a transaction since [-\\d]+ [:\\d]+ UTC\\)\\. Nothing happens in pid ${holder.pid}: .*select pg_terminate_backend\\(${holder.pid}\\)$`,
    ),
  );
});

test("a load that finds no staging table says who has them", async () => {
  const { warehouse, next } = await warehouseOf();
  const slots = `select pg_advisory_xact_lock(${LOCK.stagingSlot}, slot) from generate_series(1, ${STAGING_SLOTS}) slot`;
  const holder = await leaveOpen(warehouse, slots);
  const wait = await reportOf(warehouse, holder, (database) =>
    loadDrop({ database, settings: warehouse.settings, path: next, careful: true }),
  );
  expect(wait).toMatchObject({ what: "a staging table (all 16 are in use)", holders: [{ pid: holder.pid }] });
});

test("a rival load of the same drop is named, and who keeps it waiting", async () => {
  const { warehouse, next } = await warehouseOf();
  const { settings } = warehouse;
  const holder = await leaveOpen(warehouse, advisory(LOCK.knownAt));
  const rival = loadDrop({ database: warehouse.database, settings, path: next });
  const wait = await reportOf(warehouse, holder, async (database) => {
    // The rival is at its commit, and so has claimed the drop.
    await untilWaiting(warehouse, LOCK.knownAt);
    expect(await loadDrop({ database, settings, path: next })).toMatchObject({ outcome: "already_loaded" });
  });
  expect(await rival).toMatchObject({ outcome: "loaded" });
  expect(wait.what).toBe("an entry of the ledger that another session is writing (warehouse.loads)");
  const [first, second] = wait.holders;
  expect(first).toMatchObject({ application: "rollbook", state: "active", waitsFor: [holder.pid] });
  expect(second).toMatchObject({ pid: holder.pid, application: "somebody", state: "idle in transaction" });
  expect(wait.message).toMatch(new RegExp(`rollbook, active .*itself waiting for pid ${holder.pid}`));
});

async function untilWaiting(warehouse: TestWarehouse, lock: number): Promise<void> {
  for (;;) {
    const found = await warehouse.query(
      `select from pg_locks
       where locktype = 'advisory' and classid::int8 = $1 and not granted
         and database = (select oid from pg_database where datname = current_database())`,
      [lock],
    );
    if (found.length > 0) return;
  }
}

test("a wait that is given up and begun anew is reported, and the error at the end names the holder", async () => {
  const { warehouse } = await warehouseOf();
  const holder = await leaveOpen(warehouse, "lock table warehouse.venue_day_deltas");
  const { database: name = "" } = warehouse.database.pool.options;
  const waits: ReportedWait[] = [];
  const database = openDatabase({
    connection: testConnection(name),
    // Longer than one attempt waits.
    reportWaitsAfterMs: 700,
    onWait: (wait) => waits.push(wait),
  });
  onTestFinished(() => database.pool.end());
  const dates = ["2026-02-01"];
  const making = ensurePartitions({ database, granularity: "month", dates, lockTimeoutMs: 300 });
  const held = `Held by pid ${holder.pid} (`;
  await expect(making).rejects.toMatchObject({
    code: "partition_busy",
    message: expect.stringContaining(held),
  });
  expect(waits).toEqual([
    expect.objectContaining({
      what: "relation warehouse.venue_day_deltas",
      message: expect.stringContaining(held),
    }),
  ]);
});

test("what a login may not see of the holder is said to be hidden", async () => {
  const { warehouse, next } = await warehouseOf(true);
  const loader = await loginAs(warehouse, "loader");
  const holder = await leaveOpen(warehouse, "lock table warehouse.invoices");
  const wait = await reportOf(loader, holder, (database) =>
    loadDrop({ database, settings: warehouse.settings, path: next }),
  );
  expect(wait).toMatchObject({
    what: "relation warehouse.invoices",
    holders: [{ pid: holder.pid, state: null }],
  });
  expect(wait.message).toMatch(/what it does is hidden from this login/);
});

test("a reader is told, too", async () => {
  const { warehouse } = await warehouseOf(true);
  const reader = await loginAs(warehouse, "reader");
  const holder = await leaveOpen(warehouse, "lock table warehouse.venue_day_rollup");
  const wait = await reportOf(reader, holder, (database) =>
    database.pool.query("select from reports.venue_daily_totals"),
  );
  expect(wait.what).toBe("relation warehouse.venue_day_rollup");
});

test("a look that fails leaves the work alone: the login has no connection left", async () => {
  const { warehouse } = await warehouseOf(true);
  const user = `single_${randomBytes(8).toString("hex")}`;
  await onServer((client) =>
    client.query(`create role ${user} login connection limit 1 in role rollbook_loader`),
  );
  onTestFinished(() => onServer(async (client) => void (await client.query(`drop role ${user}`))));
  const { database: name = "" } = warehouse.database.pool.options;
  const waits: ReportedWait[] = [];
  const database = openDatabase({
    connection: { ...testConnection(name), user },
    max: 1,
    reportWaitsAfterMs: 50,
    onWait: (wait) => waits.push(wait),
  });
  onTestFinished(() => database.pool.end());
  const holder = await leaveOpen(warehouse, advisory(LOCK.knownAt));
  const waiting = withTransaction({ database }, async ({ client }) => {
    await client.query(advisory(LOCK.knownAt));
    return "got it";
  });
  await warehouse.query("select pg_sleep(0.5)");
  await holder.end();
  expect(await waiting).toBe("got it");
  expect(waits).toEqual([]);
});

test("short work makes no connections but those of its pool", async () => {
  const { name } = await createEmptyDatabase();
  const database = openDatabase({ connection: testConnection(name), reportWaitsAfterMs: 60_000 });
  let own = 0;
  database.pool.on("connect", () => {
    own += 1;
  });
  const { settings } = await initWarehouse({ database });
  const path = writeInvoices(makeFolder(), "a_2026-10-05.csv", [["v", 1, "2026-09-01", "1.00"]]);
  expect(await loadDrop({ database, settings, path })).toMatchObject({ outcome: "loaded" });
  await database.pool.end();
  // A session is counted when it has ended, at the latest.
  await until("the sessions have ended", () =>
    onServer(async (client) => {
      const open = await client.query("select from pg_stat_activity where datname = $1", [name]);
      return open.rowCount === 0;
    }),
  );
  const counted = "select sessions::integer from pg_stat_database where datname = $1";
  expect((await onServer((client) => client.query(counted, [name]))).rows).toEqual([{ sessions: own }]);
});

test("the command line says it on stderr, and its output stays as it is", async () => {
  const { warehouse, next, folder } = await warehouseOf();
  const holder = await leaveOpen(warehouse, advisory(LOCK.knownAt));
  const { child, ended } = startRollbook(["load", "--json", next], { ...warehouse, folder });
  await new Promise<void>((resolve) => {
    let said = "";
    child.stderr.on("data", (piece) => {
      said += piece;
      if (said.includes("\n")) resolve();
    });
    child.once("exit", () => resolve());
  });
  await holder.end();
  const { code, stdout, stderr } = await ended;
  expect(code).toBe(0);
  expect(stderr).toMatch(
    new RegExp(`^waiting for the order of commits, for \\d+ s so far\\. Held by pid ${holder.pid} .*\n$`),
  );
  expect(
    stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).outcome),
  ).toEqual(["loaded"]);
});

/** Sessions that wait for a lock of this table. */
async function waitersFor(warehouse: TestWarehouse, table: string): Promise<number> {
  const found = await warehouse.query("select from pg_locks where not granted and relation = $1::regclass", [
    table,
  ]);
  return found.length;
}

test("a load whose other connection waits for somebody who waits for the load is tried again", async () => {
  const { warehouse, folder } = await warehouseOf();
  const { database: name = "" } = warehouse.database.pool.options;
  const database = openDatabase({ connection: testConnection(name), max: 2 });
  onTestFinished(() => database.pool.end());
  const lines = Array.from({ length: 20 }, (_, line): Parameters<typeof writeInvoices>[2][number] => [
    line < 12 ? "v" : "w",
    line + 2,
    "2026-09-01",
    "1.00",
  ]);
  const path = writeInvoices(folder, "c_2026-10-07.csv", lines);
  const [table, venues] = ["warehouse.invoices_2026_09", "warehouse.venues"];
  const holder = await leaveOpen(warehouse, `lock table ${table} in share mode`);
  const other = await database.pool.connect();
  const retries: unknown[] = [];
  const loading = loadDrop({
    database,
    settings: warehouse.settings,
    path,
    chunkLines: 10,
    onRetry: (_attempt, error) => retries.push(error),
  });
  await until("the first lines are being written", async () => (await waitersFor(warehouse, table)) === 1);
  const ddl = warehouse.query(`begin; lock table ${venues} in access exclusive mode; commit`);
  await until("somebody waits for the load", async () => (await waitersFor(warehouse, venues)) === 1);
  other.release();
  await until("the load waits for them", async () => (await waitersFor(warehouse, venues)) === 2);
  await holder.end();
  expect(await loading).toMatchObject({ outcome: "loaded", rows: { inserted: 20 } });
  await ddl;
  expect(retries).toHaveLength(1);
  expect(String(retries[0])).toMatch(/another session keeps a lock, and may be waiting for this one/);
});
