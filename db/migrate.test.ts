import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { expect, inject, onTestFinished, test } from "vitest";
import { openDatabase, withSession } from "./client.ts";
import { RollbookError } from "./errors.ts";
import { initWarehouse } from "./migrate.ts";
import { ensurePartitions } from "./partitions/create.ts";
import { readSettings } from "./settings.ts";
import { createEmptyDatabase, createTestDatabase, testConnection } from "./testing/database.ts";
import { migrateAsFarAs } from "./testing/versions.ts";
import { readJournal, refuseOldServer } from "./version.ts";

const COMMAND = fileURLToPath(new URL("../dist/rollbook.js", import.meta.url));

/** Runs `rollbook init` in a process of its own. */
async function runInit(database: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const { host, port, user } = inject("postgres");
  const child = spawn(process.execPath, [COMMAND, "init", "--json"], {
    env: {
      PATH: process.env.PATH,
      PGHOST: host,
      PGPORT: String(port),
      PGUSER: user,
      PGDATABASE: database,
      PGSSLMODE: "disable",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit"),
  ]);
  // What it waits for is said after five seconds, which a busy machine may take.
  return { code, stdout, stderr: stderr.replaceAll(/^.*waiting for .*\n/gm, "") };
}

/** The error that `work` ends with; a success is none. */
async function errorOf(work: Promise<unknown>): Promise<RollbookError> {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (error instanceof RollbookError) return error;
  throw new Error("no RollbookError", { cause: error });
}

/** Everything in the warehouse's schemas that a second init could change. */
const SNAPSHOT = `
  select c.oid::text, c.relname as name, c.relfilenode::text, obj_description(c.oid) as comment
  from pg_class c where c.relnamespace in ('warehouse'::regnamespace, 'reports'::regnamespace)
  union all
  select 'settings', time_zone, granularity, earliest::text from warehouse.settings
  union all
  select 'migration', id::text, hash, created_at::text from warehouse.migrations
  order by 1, 2`;

test("six processes that make one warehouse at once all succeed, and one of them makes it", async () => {
  const { database, name } = await createEmptyDatabase();
  const runs = await Promise.all(Array.from({ length: 6 }, () => runInit(name)));
  expect(runs.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
    runs.map(() => ({ code: 0, stderr: "" })),
  );
  const reports = runs.map(({ stdout }) => JSON.parse(stdout));
  const tags = (await readJournal()).map((entry) => entry.tag);
  expect(reports.filter((report) => report.created)).toHaveLength(1);
  expect(reports.flatMap((report) => report.migrations)).toEqual(tags);
  const applied = await database.pool.query("select count(*)::int as count from warehouse.migrations");
  expect(applied.rows).toEqual([{ count: tags.length }]);
  expect(await withSession({ database }, readSettings)).toEqual({
    timeZone: "UTC",
    granularity: "month",
    earliest: "2000-01-01",
    dayStarts: "00:00",
  });
});

test("of pools that make one warehouse with different settings at once one makes it, and the last decides", async () => {
  const { database } = await createEmptyDatabase();
  const zones = ["Europe/Berlin", "Asia/Tokyo", "America/Lima", "UTC"];
  const made = await Promise.all(zones.map((timeZone) => initWarehouse({ database, timeZone })));
  expect(made.filter(({ created }) => created)).toHaveLength(1);
  expect(made.filter(({ changed }) => changed)).toHaveLength(3);
  expect(made.map(({ settings }) => settings.timeZone)).toEqual(zones);
  expect(zones).toContain((await withSession({ database }, readSettings)).timeZone);
});

test("a second init changes nothing, with the same settings or with none", async () => {
  const { database } = await createEmptyDatabase();
  const wanted = {
    timeZone: "Europe/Berlin",
    granularity: "week",
    earliest: "2015-06-01",
    dayStarts: "04:00",
  } as const;
  const first = await initWarehouse({ database, ...wanted });
  expect(first).toMatchObject({ created: true, settings: wanted });
  const before = await database.pool.query(SNAPSHOT);
  for (const again of [{}, wanted, { timeZone: "europe/berlin" }]) {
    const second = await initWarehouse({ database, ...again });
    expect(second).toEqual({
      settings: wanted,
      keepStatementsDays: 400,
      refuseClosed: false,
      applied: [],
      created: false,
      changed: false,
      roles: false,
    });
  }
  const after = await database.pool.query(SNAPSHOT);
  expect(after.rows).toEqual(before.rows);
});

test("settings may change as long as there are no partitions", async () => {
  const { database } = await createTestDatabase();
  const wanted = { timeZone: "Europe/Berlin", granularity: "week" } as const;
  const settings = { ...wanted, earliest: "2000-01-01", dayStarts: "00:00" };
  expect(await initWarehouse({ database, ...wanted })).toMatchObject({ changed: true, settings });
  expect(await withSession({ database }, readSettings)).toEqual(settings);
  expect(await initWarehouse({ database, ...wanted })).toMatchObject({ changed: false, settings });
});

test("settings that differ are refused once there is a partition, each with what it is and what was asked", async () => {
  const { database } = await createTestDatabase();
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-05"] });
  const error = await errorOf(
    initWarehouse({ database, timeZone: "Europe/Berlin", granularity: "day", earliest: "2000-01-01" }),
  );
  expect(error.code).toBe("configuration");
  expect(error.message).toContain("timeZone is UTC, not Europe/Berlin");
  expect(error.message).toContain("granularity is month, not day");
  expect(error.message).not.toContain("earliest is");
});

test("an unknown time zone is refused by name, and the next init makes the warehouse", async () => {
  const { database } = await createEmptyDatabase();
  const error = await errorOf(initWarehouse({ database, timeZone: "Europe/Atlantis" }));
  expect(error.code).toBe("configuration");
  expect(error.message).toContain('"Europe/Atlantis"');
  const missing = await errorOf(withSession({ database }, readSettings));
  expect(missing.code).toBe("warehouse_missing");
  expect(missing.message).toContain("rollbook init");
  const made = await initWarehouse({ database, timeZone: "europe/berlin" });
  expect(made).toMatchObject({ created: true, settings: { timeZone: "Europe/Berlin" } });
});

test("a database without a warehouse is told to run init", async () => {
  const { database } = await createEmptyDatabase();
  const error = await errorOf(withSession({ database }, readSettings));
  expect(error.code).toBe("warehouse_missing");
  expect(error.message).toContain("rollbook init");
});

test("a warehouse newer than the code is refused, and stays as it is", async () => {
  const { database } = await createTestDatabase();
  await database.pool.query("update warehouse.migrations set created_at = created_at + 86400000");
  const before = await database.pool.query(SNAPSHOT);
  for (const work of [() => initWarehouse({ database }), () => withSession({ database }, readSettings)]) {
    const error = await errorOf(work());
    expect(error.code).toBe("warehouse_newer");
    expect(error.message).toContain("Update rollbook");
  }
  const after = await database.pool.query(SNAPSHOT);
  expect(after.rows).toEqual(before.rows);
});

test("a warehouse older than the code is told to run init, which brings it up to date", async () => {
  const { database } = await createEmptyDatabase();
  const [oldest, ...later] = await readJournal();
  await migrateAsFarAs(database, oldest?.tag ?? "");
  const error = await errorOf(withSession({ database }, readSettings));
  expect(error.code).toBe("warehouse_missing");
  expect(error.message).toContain("rollbook init");
  const { applied, created } = await initWarehouse({ database });
  expect({ applied, created }).toEqual({ applied: later.map((entry) => entry.tag), created: false });
  expect(await withSession({ database }, readSettings)).toMatchObject({ timeZone: "UTC" });
});

/** A role that may connect and nothing else; dropped with what it was given. */
async function createRole(): Promise<string> {
  const role = `Role ${randomBytes(4).toString("hex")}`;
  const quoted = pg.escapeIdentifier(role);
  const run = async (text: string) => {
    const client = new pg.Client(testConnection("postgres"));
    await client.connect();
    await client.query(text).finally(() => client.end());
  };
  await run(`create role ${quoted} login`);
  onTestFinished(() => run(`drop role ${quoted}`));
  return role;
}

test("a role that may not create is told what to grant, and after that it makes the warehouse", async () => {
  const role = await createRole();
  const { database: asOwner, name } = await createEmptyDatabase();
  const database = openDatabase({ connection: { ...testConnection(name), user: role } });
  onTestFinished(() => database.pool.end());
  const error = await errorOf(initWarehouse({ database }));
  expect(error.code).toBe("permission");
  const [, remedy = ""] = error.message.split("run: ");
  expect(remedy).toBe(`grant create on database "${name}" to "${role}"`);
  await asOwner.pool.query(remedy);
  expect(await initWarehouse({ database })).toMatchObject({ created: true });
  expect(await withSession({ database }, readSettings)).toMatchObject({ timeZone: "UTC" });
});

test("a role to which the warehouse of another is closed is told what to grant", async () => {
  const role = await createRole();
  const { database: asOwner } = await createTestDatabase();
  const { database: name, user: owner } = asOwner.pool.options;
  const database = openDatabase({ connection: { ...testConnection(name ?? ""), user: role } });
  onTestFinished(() => database.pool.end());
  for (const work of [() => initWarehouse({ database }), () => withSession({ database }, readSettings)]) {
    const error = await errorOf(work());
    expect(error.code).toBe("permission");
    expect(error.message).toContain(`grant "${owner}" to "${role}"`);
  }
  await asOwner.pool.query(`grant "${owner}" to "${role}"`);
  expect(await withSession({ database }, readSettings)).toMatchObject({ timeZone: "UTC" });
});

test.each([
  { number: 180_000, name: "18.0" },
  { number: 180_004, name: "18.4" },
  { number: 190_000, name: "19beta1" },
])("PostgreSQL $name is taken", (server) => {
  expect(() => refuseOldServer(server)).not.toThrow();
});

test.each([
  { number: 170_006, name: "17.6" },
  { number: 150_014, name: "15.14 (Debian 15.14-0+deb12u1)" },
  { number: 90_624, name: "9.6.24" },
])("PostgreSQL $name is refused by name", async (server) => {
  const error = await errorOf(Promise.resolve().then(() => refuseOldServer(server)));
  expect(error.code).toBe("unsupported_server");
  expect(error.message).toContain(server.name);
  expect(error.message).toContain("PostgreSQL 18 or newer");
});

test("an init that is cut off at the end of the migrations leaves nothing half done, and the next one finishes", async () => {
  const { database } = await createEmptyDatabase();
  const { pool } = database;
  // Each function of the migrations, the last of what they make, waits for a lock that the test holds.
  await pool.query(`
    create function public.wait_for_test() returns event_trigger language plpgsql
    as $$ begin perform pg_advisory_xact_lock(42); end $$;
    create event trigger wait_for_test on ddl_command_end when tag in ('CREATE FUNCTION')
    execute function public.wait_for_test()`);
  const holder = await pool.connect();
  onTestFinished(() => holder.release(true));
  await holder.query("select pg_advisory_lock(42)");
  const abort = new AbortController();
  const cut = errorOf(initWarehouse({ database, signal: abort.signal }));
  await expect
    .poll(() => waitingStatements(pool), { timeout: 30_000 })
    .toEqual([expect.stringContaining("create function reports.")]);
  abort.abort(new Error("cut off by the test"));
  expect((await cut).code).toBe("aborted");
  await expect.poll(() => waitingStatements(pool), { timeout: 30_000 }).toEqual([]);
  await pool.query("drop event trigger wait_for_test");
  const left = await pool.query(
    "select relname from pg_class where relnamespace = to_regnamespace('warehouse') and relname !~ '^migrations'",
  );
  expect(left.rows).toEqual([]);
  expect((await errorOf(withSession({ database }, readSettings))).code).toBe("warehouse_missing");
  const { created, applied } = await initWarehouse({ database });
  expect(created).toBe(true);
  expect(applied).toEqual((await readJournal()).map((entry) => entry.tag));
});

async function waitingStatements(pool: pg.Pool): Promise<readonly string[]> {
  const result = await pool.query(
    "select query from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  return result.rows.map((row) => row.query.trim());
}
