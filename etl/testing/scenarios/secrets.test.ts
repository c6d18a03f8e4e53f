/** A password goes to the server and nowhere else: not into output, errors, processes' arguments, the warehouse, or the server's log. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Database, openDatabase, withSession } from "../../../db/client.ts";
import { readConfig } from "../../../db/connection/config.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { until } from "../../../db/testing/own_server.ts";
import { ADDRESS, openTlsServer, type TlsServer } from "../../../db/testing/tls_server.ts";
import { type Run, rollbook, rollbookHere, startRollbook } from "../cli.ts";
import { commandLines } from "../command_lines.ts";
import { invoiceId, writeDrop } from "../lines.ts";

/** Letters at both ends: whatever encodes, quotes, splits or shortens the password leaves one of them as it is. */
const ENDS = ["q7Zk3vXw", "x9Lm2TbR"] as const;
const PASSWORD = ENDS.join("p@ss:w/rd%?#'\" &");
const WRONG = ENDS.join("wr@ng:w/rd%?#'\" &");

let server: TlsServer;

beforeAll(async () => {
  server = await openTlsServer();
  await server.query(`create role clerk login password '${PASSWORD.replaceAll("'", "''")}'`);
  await server.query("create database shop template template0 owner clerk");
  await server.query("create database empty template template0 owner clerk");
});

afterAll(() => server?.close());

function fileOf(text: string): string {
  const file = join(makeFolder(), "file");
  writeFileSync(file, text);
  chmodSync(file, 0o600);
  return file;
}

interface Target {
  readonly password?: string;
  readonly host?: string;
  readonly port?: number;
  readonly database?: string;
}

/** The ways to give a password. */
const WAYS = {
  DATABASE_URL: ({ password = PASSWORD, host = ADDRESS, port = server.port, database = "shop" }: Target) => ({
    DATABASE_URL: `postgresql://clerk:${encodeURIComponent(password)}@${host}:${port}/${database}?sslmode=verify-full`,
  }),
  "DATABASE_URL's parameter": ({
    password = PASSWORD,
    host = ADDRESS,
    port = server.port,
    database,
  }: Target) => ({
    DATABASE_URL: `postgresql://${host}:${port}/${database ?? "shop"}?user=clerk&password=${encodeURIComponent(password)}`,
  }),
  PGPASSWORD: (target: Target) => ({ ...variablesOf(target), PGPASSWORD: target.password ?? PASSWORD }),
  PGPASSFILE: (target: Target) => ({
    ...variablesOf(target),
    PGPASSFILE: fileOf(`*:*:*:clerk:${(target.password ?? PASSWORD).replace(/[:\\]/g, "\\$&")}\n`),
  }),
  "a service": ({ password = PASSWORD, host = ADDRESS, port = server.port, database = "shop" }: Target) => ({
    PGSERVICE: "s",
    PGSERVICEFILE: fileOf(
      `[s]\nhost=${host}\nport=${port}\nuser=clerk\ndbname=${database}\npassword=${password}\n`,
    ),
  }),
} as const;

function variablesOf({ host = ADDRESS, port = server.port, database = "shop" }: Target) {
  return { PGHOST: host, PGPORT: String(port), PGUSER: "clerk", PGDATABASE: database };
}

/** The environment of a command: connected to the server by this way, with a home of its own. */
function environmentOf(way: keyof typeof WAYS, target: Target = {}): Record<string, string> {
  return {
    HOME: makeFolder(),
    ROLLBOOK_DEBUG: "1",
    PGSSLROOTCERT: fileOf(server.authority.certificate),
    ...WAYS[way](target),
  };
}

function expectNoSecret(text: string): void {
  // Not the text itself: a failure would print the password.
  expect(ENDS.filter((end) => text.includes(end)).map((end) => text.indexOf(end))).toEqual([]);
}

function expectSilence({ stdout, stderr }: Run): void {
  expectNoSecret(stdout);
  expectNoSecret(stderr);
}

const ways = Object.keys(WAYS) as (keyof typeof WAYS)[];
const LINES = [`v1,${invoiceId(1)},2026-01-01,1.00`, `v2,${invoiceId(2)},2026-01-02,2.00`];

test("it opens the warehouse, and is in the output of no verb", async () => {
  const environment = environmentOf("DATABASE_URL");
  const folder = makeFolder();
  writeDrop(folder, "a_2026-01-02.csv", LINES);
  writeDrop(folder, "inbox/bad_2026-01-02.csv", ["v1,no uuid,2026-01-01,1"]);
  for (const args of [
    ["init"],
    ["load", "a_2026-01-02.csv", "--json"],
    ["watch", "inbox", "--once"],
    ["totals"],
    ["explain-total", "--venue", "v1"],
    ["status", "--json"],
    ["status"],
    ["loads"],
    ["rejects"],
    ["partitions", "list"],
    ["verify"],
  ]) {
    const run = await rollbookHere(args, { environment, folder });
    expectSilence(run);
    // The drop in the inbox is rejected.
    expect([args[0], run.code]).toEqual([args[0], args[0] === "watch" ? 3 : 0]);
  }
});

test.each(ways)("given by %s, it opens the warehouse", async (way) => {
  const environment = environmentOf(way);
  expect((await rollbookHere(["init"], { environment, folder: makeFolder() })).code).toBe(0);
  const run = await rollbookHere(["status", "--json"], { environment, folder: makeFolder() });
  expectSilence(run);
  expect([run.code, run.stderr]).toEqual([0, ""]);
});

const VERBS = [
  ["init"],
  ["load", "a_2026-01-02.csv", "--json"],
  ["watch", "inbox", "--once"],
  ["totals"],
  ["status", "--json"],
  ["verify"],
];

/** Runs verbs that must fail. */
async function expectFailures(environment: Record<string, string>, verbs = VERBS): Promise<void> {
  const folder = makeFolder();
  writeDrop(folder, "a_2026-01-02.csv", LINES);
  writeDrop(folder, "inbox/b_2026-01-02.csv", LINES);
  for (const args of verbs) {
    const run = await rollbookHere(args, { environment, folder });
    expectSilence(run);
    expect([args[0], run.code === 0, run.stderr === ""]).toEqual([args[0], false, false]);
  }
}

test.each(ways)("given by %s, it is in no message of a command that cannot connect", async (way) => {
  await expectFailures(environmentOf(way, { password: WRONG }));
  await expectFailures(environmentOf(way, { database: "nowhere" }));
  await expectFailures(environmentOf(way, { database: "empty" }), VERBS.slice(1));
  await expectFailures(environmentOf(way, { port: 1 }), [["status"], ["totals"]]);
  await expectFailures(environmentOf(way, { host: "no-such-host.invalid" }), [["status"]]);
  const strict = { ...environmentOf(way), PGSSLROOTCERT: "" };
  await expectFailures({ ...strict, PGSSLMODE: "verify-full" }, [["status"]]);
  await expectFailures({ ...strict, PGSSLMODE: "prefer", PGSSLCERT: "/nowhere" }, [["status"]]);
});

test("a URL that is written wrongly is not repeated, nor any piece of it", async () => {
  const place = `${ADDRESS}:${server.port}/shop`;
  const urls = [
    `postgresql://clerk:${PASSWORD}@${place}`,
    `postgresql://clerk:${ENDS[0]}@${ENDS[1]}@${place}`,
    `postgresql://clerk:1/${ENDS[1]}@${place}`,
    `postgresql://clerk:1?${ENDS[1]}@${place}`,
    `postgresql://clerk:1?${ENDS[0]}=${ENDS[1]}@${place}`,
    `postgresql://clerk:1#${ENDS[1]}@${place}`,
    `postgresql://clerk:${ENDS[0]}%${ENDS[1]}@${place}:x`,
    `postgresql://clerk:${ENDS[0]}@${ADDRESS}:port/shop`,
    `postgresql://clerk:${ENDS[0]}%ff@${place}`,
    `postgres:/clerk:${ENDS[0]}@${place}`,
    `clerk:${ENDS[0]}@${place}`,
    `postgresql://clerk@${place}?pasword=${ENDS[0]}`,
    `postgresql://clerk@${place}?sslpassword=${ENDS[0]}&sslmode=${ENDS[1]}`,
    `postgresql://clerk@${place}?connect_timeout=${ENDS[0]}&port=${ENDS[1]}&sslnegotiation=${ENDS[0]}`,
  ];
  for (const DATABASE_URL of urls) {
    const run = await rollbookHere(["status"], {
      environment: { HOME: "/nowhere", DATABASE_URL },
      folder: makeFolder(),
    });
    expectSilence(run);
    expect([run.code, run.stderr.includes("DATABASE_URL")]).toEqual([2, true]);
  }
});

test("as a process, no command writes it, and warns of nothing", async () => {
  for (const way of ["DATABASE_URL", "PGPASSFILE"] as const) {
    const right = await rollbook(["partitions", "list"], {
      environment: environmentOf(way),
      folder: makeFolder(),
    });
    expectSilence(right);
    expect([right.code, right.stderr]).toEqual([0, ""]);
  }
  const environment = {
    ...environmentOf("DATABASE_URL", { password: WRONG }),
    NODE_OPTIONS: "--trace-warnings",
  };
  const wrong = await rollbook(["init"], { environment, folder: makeFolder() });
  expectSilence(wrong);
  expect(wrong.code).toBe(2);
});

test("what a crash would print of a connection or an error has no password in it", async () => {
  const all = { depth: Number.POSITIVE_INFINITY, maxArrayLength: null, maxStringLength: null } as const;
  const open = (target: Target): Database => {
    const config = readConfig({ environment: environmentOf("DATABASE_URL", target), folder: makeFolder() });
    if (config.kind !== "server") throw new Error("not a server");
    return openDatabase({ connection: config.connection, max: 1 });
  };
  const right = open({});
  await withSession({ database: right }, async (session) => {
    expectNoSecret(inspect(session.client, all));
    const failed = await session.client.query("select no_such_column").catch((error: unknown) => error);
    expectNoSecret(inspect(failed, all));
  });
  expectNoSecret(inspect(right.pool, all));
  await right.pool.end();
  const wrong = open({ password: WRONG });
  const refused = await withSession({ database: wrong }, async () => {}).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(Error);
  expectNoSecret(inspect(refused, all));
  expectNoSecret(JSON.stringify(refused));
  await wrong.pool.end();
});

/** Every row of every table and view of ours, as text. */
async function warehouseTexts(): Promise<string> {
  const tables = await server.query(
    "select format('%I.%I', nspname, relname) as name from pg_class join pg_namespace n on n.oid = relnamespace where nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and relkind in ('r', 'p', 'v')",
    "shop",
  );
  expect(tables.rows.length).toBeGreaterThan(15);
  const texts = [];
  for (const { name } of tables.rows) {
    texts.push(JSON.stringify((await server.query(`select t::text from ${name} t`, "shop")).rows));
  }
  return texts.join("\n");
}

// The last one: it ends the server.
test("of a load whose server dies, neither arguments, output, warehouse nor the server's log have it", async () => {
  const environment = environmentOf("DATABASE_URL");
  const folder = makeFolder();
  expect((await rollbookHere(["init"], { environment, folder })).code).toBe(0);
  writeDrop(folder, "late_2026-01-02.csv", [`v3,${invoiceId(3)},2026-01-01,3.00`]);
  // The load waits in the middle of its work, until the server dies.
  const held = server
    .query("begin; lock table warehouse.invoices in share mode; select pg_sleep(600)", "shop")
    .catch(() => {});
  const isHeld = "select from pg_stat_activity where query like '%pg_sleep(600)%' and wait_event = 'PgSleep'";
  await until("the lock is held", async () => (await server.query(isHeld)).rows.length > 0);
  const { ended } = startRollbook(["load", "late_2026-01-02.csv", "--json"], { environment, folder });
  const waits = "select from pg_stat_activity where usename = 'clerk' and wait_event_type = 'Lock'";
  await until("the load waits", async () => {
    expectNoSecret(commandLines());
    return (await server.query(waits)).rows.length > 0;
  });
  expectNoSecret(commandLines());
  expectNoSecret(JSON.stringify((await server.query("select * from pg_stat_activity")).rows));
  expectNoSecret(await warehouseTexts());
  await server.kill();
  await held;
  const run = await ended;
  expect(run.code).toBe(1);
  expectSilence(run);
  const log = readFileSync(server.logFile, "utf8");
  // The statement that made the role is the test's own.
  expect(log).toContain("create role clerk");
  expectNoSecret(
    log
      .split("\n")
      .filter((line) => !line.includes("create role clerk"))
      .join("\n"),
  );
  expect(existsSync(join(folder, "late_2026-01-02.csv"))).toBe(true);
});
