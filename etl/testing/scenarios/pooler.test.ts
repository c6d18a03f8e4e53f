/** Rollbook through PgBouncer: refused where sessions are shared, and at work where they are not. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { openDatabase } from "../../../db/client.ts";
import { createEmptyDatabase, createTestDatabase } from "../../../db/testing/database.ts";
import { environmentOf } from "../../../db/testing/environment.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { type Pooler, startPgBouncer } from "../../../db/testing/pgbouncer.ts";
import { jsonLines, rollbook } from "../cli.ts";
import { invoiceId, writeDrop } from "../lines.ts";

const REFUSED =
  /through a connection pooler in transaction mode.* name the server's own host and port instead, or set pool_mode = session/;

/** What a session of the pool has that no role or database has set. */
const STRANDED = `
  select (select array_agg(name order by name) from pg_settings where source = 'session'
            and name not in ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings'))
           as settings,
         (select count(*)::integer from pg_locks where locktype = 'advisory'
            and database = (select oid from pg_database where datname = current_database())) as locks`;

/** Another client of the pooler, as long as the test runs. */
async function connectTo(pooler: Pooler, database: string): Promise<pg.Client> {
  const { host, port, user } = pooler;
  const client = new pg.Client({ host, port, user, database, ssl: false });
  client.on("error", () => {});
  await client.connect();
  return client;
}

/** Keeps a pool busy until `stop`: short statements, in and out of transactions. */
async function keepBusy(pooler: Pooler, database: string, clients: number) {
  const stopped = new AbortController();
  const working = Array.from({ length: clients }, async (_, lane) => {
    const client = await connectTo(pooler, database);
    for (let round = lane; !stopped.signal.aborted; round += 1) {
      if (round % 3 === 0) await client.query("begin; select pg_sleep(0.002); commit");
      else await client.query("select 1");
      await sleep(round % 5);
    }
    await client.end();
  });
  return async () => {
    stopped.abort();
    await Promise.all(working);
  };
}

test.each([
  { pool_mode: "transaction" },
  { pool_mode: "transaction", default_pool_size: 1 },
  { pool_mode: "transaction", server_round_robin: 1 },
  { pool_mode: "statement" },
])("a pooler with %o is refused in one sentence, and nothing is left on its sessions", async (settings) => {
  const { name, database } = await createEmptyDatabase();
  const pooler = await startPgBouncer(settings);
  const environment = environmentOf({ ...pooler, database: name });
  const other = await connectTo(pooler, name);
  // Three sessions in the pool, so that there is something to give out by turns.
  if (settings.default_pool_size !== 1) {
    const busy = await Promise.all([1, 2, 3].map(() => connectTo(pooler, name)));
    await Promise.all(busy.map((client) => client.query("select pg_sleep(0.3)")));
    await Promise.all(busy.map((client) => client.end()));
  }
  const runs = await Promise.all(
    [1, 2, 3].map(() => rollbook(["init"], { environment, folder: makeFolder() })),
  );
  for (const { code, stdout, stderr } of runs) {
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(REFUSED);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  }
  for (let n = 0; n < 4; n += 1) {
    expect((await other.query(STRANDED)).rows).toEqual([{ settings: null, locks: 0 }]);
  }
  await other.end();
  const made = await database.pool.query("select from pg_namespace where nspname = 'warehouse'");
  expect(made.rowCount).toBe(0);
});

test("a busy pool in transaction mode is refused, every time, by every verb", async () => {
  const warehouse = await createTestDatabase();
  const database = warehouse.environment.PGDATABASE ?? "";
  const pooler = await startPgBouncer({ pool_mode: "transaction", default_pool_size: 4 });
  const environment = environmentOf({ ...pooler, database });
  const folder = makeFolder();
  const path = writeDrop(folder, "drop_2026-10-05.csv", [`v1,${invoiceId(1)},2026-10-01,1.00`]);
  const stop = await keepBusy(pooler, database, 8);
  try {
    for (const args of [
      ["status"],
      ["load", path],
      ["refresh"],
      ["verify"],
      ["totals"],
      ["init"],
      ["status"],
    ]) {
      const { code, stderr } = await rollbook(args, { environment, folder });
      expect([args, code, stderr]).toEqual([args, 2, expect.stringMatching(REFUSED)]);
    }
    const other = await connectTo(pooler, database);
    for (let n = 0; n < 20; n += 1) {
      expect((await other.query(STRANDED)).rows).toEqual([{ settings: null, locks: 0 }]);
    }
    await other.end();
  } finally {
    await stop();
  }
  expect(await warehouse.query("select from warehouse.loads")).toEqual([]);
});

test.each([{ default_pool_size: 1 }, { default_pool_size: 2 }, { default_pool_size: 5 }, {}])(
  "loads, inits and a verify at once through a pool in transaction mode with %o are all refused",
  async (size) => {
    const warehouse = await createTestDatabase();
    const database = warehouse.environment.PGDATABASE ?? "";
    const pooler = await startPgBouncer({ pool_mode: "transaction", ...size });
    const environment = environmentOf({ ...pooler, database });
    const folder = makeFolder();
    const path = writeDrop(folder, "drop_2026-10-05.csv", [`v1,${invoiceId(1)},2026-10-01,1.00`]);
    const verbs = [["load", path], ["load", path], ["load", path], ["init"], ["init"], ["init"], ["verify"]];
    const runs = await Promise.all(verbs.map((args) => rollbook(args, { environment, folder })));
    expect(runs.map(({ code, stderr }) => [code, stderr])).toEqual(
      verbs.map(() => [2, expect.stringMatching(REFUSED)]),
    );
    // Processes take long to start; so many connections in one process come in the same moment.
    const { host, port, user } = pooler;
    for (let round = 0; round < 20; round += 1) {
      const opened = Array.from({ length: 7 }, () =>
        openDatabase({ connection: { host, port, user, database, ssl: false } }),
      );
      const outcomes = await Promise.allSettled(opened.map(({ pool }) => pool.connect()));
      expect(outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.message)).toEqual(
        outcomes.map(() => expect.stringMatching(REFUSED)),
      );
      await Promise.all(opened.map(({ pool }) => pool.end()));
    }
    const other = await connectTo(pooler, database);
    expect((await other.query(STRANDED)).rows).toEqual([{ settings: null, locks: 0 }]);
    await other.end();
    expect(await warehouse.query("select from warehouse.loads")).toEqual([]);
  },
);

test.each(["transaction", "session"])(
  "a pool in %s mode, of which another client has the only session, is no wait without end",
  async (mode) => {
    const { environment: direct } = await createTestDatabase();
    const database = direct.PGDATABASE ?? "";
    const pooler = await startPgBouncer({ pool_mode: mode, default_pool_size: 1 });
    const environment = environmentOf({ ...pooler, database });
    const other = await connectTo(pooler, database);
    await other.query("begin");
    const folder = makeFolder();
    const path = writeDrop(folder, "drop_2026-10-05.csv", [`v1,${invoiceId(1)},2026-10-01,1.00`]);
    const verbs = [["load", path], ["init"], ["verify"]];
    const runs = await Promise.all(verbs.map((args) => rollbook(args, { environment, folder })));
    expect(runs.map(({ code, stderr }) => [code, stderr])).toEqual(
      verbs.map(() => [1, expect.stringMatching(/no session within 15 s.*default_pool_size/)]),
    );
    await other.end();
  },
);

test("everything works through a pooler in session mode", async () => {
  const { name } = await createEmptyDatabase();
  const pooler = await startPgBouncer({ pool_mode: "session" });
  const environment = environmentOf({ ...pooler, database: name });
  const folder = makeFolder();
  const run = (...args: string[]) => rollbook(args, { environment, folder });
  const made = await Promise.all([1, 2, 3].map(() => run("init")));
  expect(made.map(({ code, stderr }) => [code, stderr])).toEqual(made.map(({ stderr }) => [0, stderr]));
  const stop = await keepBusy(pooler, name, 4);
  try {
    const lines = Array.from(
      { length: 300 },
      (_, n) => `v${n % 7},${invoiceId(n)},2026-0${1 + (n % 9)}-03,1.25`,
    );
    const path = writeDrop(folder, "drop_2026-10-05.csv", lines);
    expect((await run("load", path)).code).toBe(0);
    expect((await run("refresh")).code).toBe(0);
    expect((await run("partitions", "detach", "2026-01")).code).toBe(0);
    expect((await run("partitions", "attach", "2026-01")).code).toBe(0);
    expect((await run("status")).code).toBe(0);
    expect(await run("verify", "--identity")).toMatchObject({ code: 0 });
    const totals = jsonLines((await run("totals", "--json")).stdout);
    expect(totals.reduce((sum, { invoices }) => sum + Number(invoices), 0)).toBe(300);
  } finally {
    await stop();
  }
  // PgBouncer resets a session before the next client gets it.
  const other = await connectTo(pooler, name);
  expect((await other.query(STRANDED)).rows).toEqual([{ settings: null, locks: 0 }]);
  await other.end();
});

test("a pool with room for one session only is refused with its remedy", async () => {
  const { environment: direct } = await createTestDatabase();
  const pooler = await startPgBouncer({ pool_mode: "session", default_pool_size: 1 });
  const environment = environmentOf({ ...pooler, database: direct.PGDATABASE ?? "" });
  const { code, stderr } = await rollbook(["status"], { environment, folder: makeFolder() });
  expect([code, stderr]).toEqual([1, expect.stringMatching(/no session within 15 s.*default_pool_size/)]);
});
