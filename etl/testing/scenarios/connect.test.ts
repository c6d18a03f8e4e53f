/** Where the warehouse is, and what is said when it cannot be used: servers that refuse, servers without a warehouse, the embedded one. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { EmbeddedServer } from "../../../db/embedded/server.ts";
import { createEmptyDatabase, testConnection } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { makeServerHome } from "../../../db/testing/home.ts";
import { openTestServer } from "../../../db/testing/server.ts";
import { jsonLines, type Run, rollbook, rollbookHere } from "../cli.ts";
import { invoiceId, writeDrop } from "../lines.ts";

const LINE = `v1,${invoiceId(1)},2026-01-01,1.00`;
/** Of the role `clerk`: what a service file must not take for a comment or for quotes. */
const PASSWORD = "p#a;s's \"w@:/%";

/** A server of its own that asks for passwords. */
let home: string;
let server: EmbeddedServer;

beforeAll(async () => {
  home = makeServerHome();
  server = await openTestServer({ home, settings: { fsync: "off" } });
  await asOwner("rollbook", async (owner) => {
    await owner.query(`create role clerk login password ${pg.escapeLiteral(PASSWORD)}`);
    await owner.query("create database shop template template0 owner clerk");
    await owner.query("create database closed template template0");
    writeFileSync(join(home, "data/pg_hba.conf"), "local all rollbook trust\nlocal all all scram-sha-256\n");
    await owner.query("select pg_reload_conf()");
  });
});

afterAll(async () => {
  await server?.release({ withinMs: 5000 });
  rmSync(home, { recursive: true, force: true });
});

async function asOwner(database: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const { host, port, user } = server;
  const client = new pg.Client({ host, port, user, database, ssl: false });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

function urlOf(database: string, password: string | undefined): Record<string, string> {
  const user = password === undefined ? "clerk" : `clerk:${encodeURIComponent(password)}`;
  return { DATABASE_URL: `postgresql://${user}@/${database}?host=${encodeURIComponent(server.host)}` };
}

async function run(environment: Record<string, string>, ...args: string[]): Promise<Run> {
  return rollbookHere(args, { environment, folder: makeFolder() });
}

test("a refused password exits 2 and is never shown", async () => {
  for (const verb of ["init", "status"]) {
    const { code, stdout, stderr } = await run(urlOf("shop", "hunter2!"), verb);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("cannot connect to the database shop at socket");
    expect(stderr).toContain("Check user and password");
    expect(stderr).not.toContain("hunter2");
  }
});

test("a password that is asked for and not given exits 2", async () => {
  const { code, stderr } = await run(urlOf("shop", undefined), "status");
  expect(code).toBe(2);
  expect(stderr).toContain("PGPASSWORD");
});

test("a database that is not there exits 2", async () => {
  const { code, stdout, stderr } = await run(urlOf("nowhere", PASSWORD), "totals");
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain("Create the database, or name another");
});

test("a server that is not there exits 1, for it may come back", async () => {
  for (const environment of [
    { PGHOST: "127.0.0.1", PGPORT: "1", PGUSER: "me", PGDATABASE: "shop" },
    { DATABASE_URL: "postgres://me:hunter2@127.0.0.1:1/shop" },
  ]) {
    const { code, stdout, stderr } = await run(environment, "status", "--json");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("cannot connect to the database shop at 127.0.0.1:1");
    expect(stderr).toContain("Check that the server runs");
    expect(stderr).not.toContain("hunter2");
  }
});

test("a DATABASE_URL that is none exits 2, and its password is not repeated", async () => {
  const { code, stdout, stderr } = await rollbook(["status"], {
    environment: { DATABASE_URL: "postgresql://me:hunter2@host:99999/db" },
    folder: makeFolder(),
  });
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(/^rollbook: DATABASE_URL is no valid URL/);
  expect(stderr).not.toContain("hunter2");
});

test("without the right to create, init exits 2 and says how to get it; without the right to read, so does a query", async () => {
  const init = await run(urlOf("closed", PASSWORD), "init");
  expect([init.code, init.stdout]).toEqual([2, ""]);
  expect(init.stderr).toContain("grant create on database");
  const { host, port, user } = server;
  const owner = { PGHOST: host, PGPORT: String(port), PGUSER: user, PGDATABASE: "closed" };
  expect((await run(owner, "init")).code).toBe(0);
  const folder = makeFolder();
  writeDrop(folder, "a_2026-01-02.csv", [LINE]);
  for (const args of [["totals"], ["load", "a_2026-01-02.csv"], ["verify"]]) {
    const { code, stdout, stderr } = await rollbookHere(args, {
      environment: urlOf("closed", PASSWORD),
      folder,
    });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("may not use the warehouse in database closed");
  }
});

test("a service with dots in its name and anything in its password opens the warehouse", async () => {
  const folder = makeFolder();
  const service = ["[shop.example.com]", `host=${server.host}`, `port=${server.port}`, "user=clerk"];
  writeFileSync(
    join(folder, ".pg_service.conf"),
    [...service, "dbname=shop", `password=${PASSWORD}`, ""].join("\n"),
  );
  const environment = { PGSERVICE: "shop.example.com", HOME: folder };
  const made = await rollbook(["init", "--time-zone", "europe/berlin", "--granularity", "week", "--json"], {
    environment,
    folder,
  });
  expect([made.code, made.stderr]).toEqual([0, ""]);
  expect(jsonLines(made.stdout)).toEqual([
    {
      keepStatementsDays: 400,
      refuseClosed: false,
      timeZone: "Europe/Berlin",
      granularity: "week",
      earliest: "2000-01-01",
      dayStarts: "00:00",
      created: true,
      changed: false,
      migrations: expect.arrayContaining([expect.any(String)]),
      roles: false,
    },
  ]);
  const again = await rollbookHere(["init"], { environment, folder });
  expect(again).toMatchObject({ code: 0, stderr: "" });
  expect(again.stdout).toContain("is up to date");
  const other = await rollbookHere(["init", "--granularity", "day"], { environment, folder });
  expect(other).toMatchObject({ code: 0, stderr: "" });
  expect(other.stdout).toContain(
    "The warehouse has other settings now: time zone Europe/Berlin, one partition per day",
  );
  const ensure = ["partitions", "ensure", "--from", "2026-01-05", "--to", "2026-01-06"];
  expect((await rollbookHere(ensure, { environment, folder })).code).toBe(0);
  const differing = await rollbookHere(["init", "--granularity", "week"], { environment, folder });
  expect(differing.code).toBe(2);
  expect(differing.stderr).toContain("granularity is day, not week");
  const unknownZone = await rollbookHere(["init", "--time-zone", "Mars/Olympus"], { environment, folder });
  expect(unknownZone.code).toBe(2);
  expect(unknownZone.stderr).toContain("Europe/Berlin");
});

test("on a server without a warehouse every verb but init exits 2, says so, and creates nothing", async () => {
  const { database, name } = await createEmptyDatabase();
  const { host, port, user } = testConnection(name);
  const environment = { PGHOST: String(host), PGPORT: String(port), PGUSER: String(user), PGDATABASE: name };
  const folder = makeFolder();
  writeDrop(folder, "a_2026-01-02.csv", [LINE]);
  for (const args of [
    ["load", "a_2026-01-02.csv", "--json"],
    ["watch", ".", "--once"],
    ...["refresh", "totals", "explain-total", "status", "loads", "rejects", "verify"].map((verb) => [verb]),
    ["partitions", "list"],
    ["partitions", "ensure", "--from", "2026-01-01", "--to", "2026-02-01"],
    ["partitions", "detach", "2026-01"],
    ["partitions", "attach", "2026-01"],
    ["partitions", "drop", "2026-01", "--yes"],
  ]) {
    const { code, stdout, stderr } = await rollbookHere(args, { environment, folder });
    expect([args, code, stdout]).toEqual([args, 2, ""]);
    expect(stderr).toContain("Run: rollbook init");
  }
  const made = await database.pool.query(
    "select nspname from pg_namespace where nspname in ('warehouse', 'reports', 'drizzle') union all select relname from pg_class where relnamespace = 'public'::regnamespace",
  );
  expect(made.rows).toEqual([]);
  expect(existsSync(join(folder, "a_2026-01-02.csv"))).toBe(true);
  expect(existsSync(join(folder, ".rollbook"))).toBe(false);
});

test("embedded: a query on a new home exits 2 and makes nothing, a load makes the warehouse, and no server is left", async () => {
  const folder = makeFolder();
  const environment = { ROLLBOOK_HOME: "ware house" };
  const early = await rollbookHere(["totals"], { environment, folder });
  expect([early.code, early.stdout]).toEqual([2, ""]);
  expect(early.stderr).toContain("rollbook init");
  expect(existsSync(join(folder, "ware house"))).toBe(false);
  writeDrop(folder, "a_2026-01-02.csv", [LINE]);
  const loaded = await rollbook(["load", "a_2026-01-02.csv", "--json"], { environment, folder });
  expect(loaded.code).toBe(0);
  expect(loaded.stderr).toContain(
    "made a warehouse with the defaults: time zone UTC, one partition per month",
  );
  expect(jsonLines(loaded.stdout)).toMatchObject([{ outcome: "loaded", partitions: ["2026-01"] }]);
  expect(existsSync(join(folder, "ware house/data/postmaster.pid"))).toBe(false);
  // Of another server: none of it is for the embedded one.
  const elsewhere = { PGSSLMODE: "verify-full", PGSSLNEGOTIATION: "direct", PGSSLROOTCERT: "/nowhere" };
  const status = await rollbook(["status"], { environment: { ...environment, ...elsewhere }, folder });
  expect([status.code, status.stderr]).toEqual([0, ""]);
  expect(status.stdout).toContain("time zone UTC, one partition per month, invoices from 2000-01-01 on");
  expect(readFileSync(join(folder, "ware house/server.log"), "utf8")).toContain(
    "database system is shut down",
  );
});
