/** Migrations that are cut off, between any two of their statements: docs/recovery.md, "A migration was cut off". */

import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { type Database, openDatabase, withSession } from "../../../db/client.ts";
import { initWarehouse } from "../../../db/migrate.ts";
import { readSettings } from "../../../db/settings.ts";
import { createEmptyDatabase, testConnection } from "../../../db/testing/database.ts";
import { environmentOf } from "../../../db/testing/environment.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { openOwnServer } from "../../../db/testing/own_server.ts";
import { readJournal } from "../../../db/version.ts";
import { startRollbook } from "../cli.ts";
import { findDivergences } from "../invoices.ts";
import { openRestored } from "../recovery.ts";
import { RELEASES, restoreRelease } from "../releases.ts";
import { totalsOf } from "../warehouse.ts";

/** What is asked before each statement of a connection: false cuts it off there. */
type Gate = (statement: string) => boolean | Promise<boolean>;

interface Cutter {
  /** A pool whose one connection is cut where the gate says so. Comments are let through. */
  readonly openCut: (database: string, gate: Gate) => Database;
  /** The statement that was not let through. */
  readonly withheld: () => string | undefined;
}

/** Between client and server, on a socket of its own: it knows where a statement begins, and there it cuts the connection. */
async function startCutter(): Promise<Cutter> {
  const folder = mkdtempSync(join(tmpdir(), "rollbook-cut-"));
  const { host, port } = inject("postgres");
  let isOpen: Gate = () => true;
  let withheld: string | undefined;
  const server = createServer((client) => {
    const upstream = connect(join(host, `.s.PGSQL.${port}`));
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on("error", cut).on("close", cut);
    upstream.pipe(client);
    forwardMessages(client, upstream, async (statement) => {
      if (/^\s*comment on/i.test(statement) || (await isOpen(statement))) return true;
      withheld = statement;
      cut();
      return false;
    });
  });
  await new Promise<void>((resolve) => server.listen(join(folder, `.s.PGSQL.${port}`), resolve));
  onTestFinished(async () => {
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    withheld: () => withheld,
    openCut: (database, gate) => {
      isOpen = gate;
      withheld = undefined;
      return openDatabase({ connection: { ...testConnection(database), host: folder }, max: 1 });
    },
  };
}

/** Hands on whole messages of the client. Source: PostgreSQL 18, "Frontend/Backend Protocol": the first has no type, the others have. */
function forwardMessages(
  from: Socket,
  to: Socket,
  letThrough: (statement: string) => Promise<boolean>,
): void {
  let buffer = Buffer.alloc(0);
  let started = false;
  let isCut = false;
  let handedOn: Promise<unknown> = Promise.resolve();
  const handOn = async (message: Buffer, type: string) => {
    if (isCut) return;
    // Simple queries, and the parsing of the others; without the name of a prepared statement.
    const isStatement = type === "Q" || type === "P";
    isCut = isStatement && !(await letThrough(message.subarray(5).toString("utf8").replaceAll("\0", "")));
    if (!isCut) to.write(message);
  };
  from.on("data", (chunk) => {
    buffer = Buffer.concat([buffer, chunk]);
    for (;;) {
      const head = started ? 1 : 0;
      if (buffer.length < head + 4) return;
      const length = head + buffer.readUInt32BE(head);
      if (buffer.length < length) return;
      const message = buffer.subarray(0, length);
      buffer = buffer.subarray(length);
      const type = started ? String.fromCharCode(message[0] ?? 0) : "";
      started = true;
      handedOn = handedOn
        .then(() => handOn(message, type))
        .catch((error: unknown) => from.destroy(error as Error));
    }
  });
}

const STATE = `
  select (select count(*)::int from pg_class
          where relnamespace in (to_regnamespace('warehouse'), to_regnamespace('reports')) and relname !~ '^migrations') as relations`;

/** Of the statements in one transaction one in so many is a place to cut. */
const EACH = 16;

/**
 * Cuts `init` off before its first statement, then before its second, and so on until one comes to its end. The
 * migrations are one transaction, and that is watched before each of their statements: so wherever it is cut, the
 * server takes all of it back. There it is cut before the first statement, before the commit, and at places between.
 */
async function cutEverywhere(
  name: string,
  database: Database,
  expectWhole: (before: unknown) => Promise<void>,
): Promise<readonly string[]> {
  const cutter = await startCutter();
  const before = (await database.pool.query(STATE)).rows[0];
  /** Runs init with this gate; whether it came to its end. */
  const run = async (gate: Gate): Promise<boolean> => {
    const cut = cutter.openCut(name, gate);
    const error = await initWarehouse({ database: cut }).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    await cut.pool.end();
    const withheld = cutter.withheld();
    if (withheld === undefined) {
      expect(error).toBeUndefined();
      return true;
    }
    // Role and lock are given back last, and by the end of the session as well.
    if (!/pg_advisory_unlock|^reset role/.test(withheld)) expect(error, withheld).toBeDefined();
    // The server may take a moment to see that the client is gone.
    await expect
      .poll(
        async () =>
          (
            await database.pool.query(
              "select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name = 'rollbook' and state <> 'idle'",
            )
          ).rowCount,
      )
      .toBe(0);
    await expectWhole(before);
    return false;
  };
  const statements: string[] = [];
  const runTo = (at: number) => {
    let nth = 0;
    return run((statement) => {
      nth += 1;
      if (nth === at) statements[at - 1] = statement;
      return nth !== at;
    });
  };
  for (let at = 1; ; at += 1) {
    if (await runTo(at)) return statements;
    if (!/^begin/.test(statements[at - 1] ?? "")) continue;
    const watched = await watchTransaction(database, run, at);
    statements.push(...watched);
    for (let within = 1; within < watched.length; within += EACH) await runTo(at + within);
    at += watched.length;
  }
}

/**
 * Cuts `init` off before it commits the transaction that its nth statement begins. Before each statement in it the
 * server is asked whether it is still the same transaction. Returns these statements, the commit among them.
 */
async function watchTransaction(
  database: Database,
  run: (gate: Gate) => Promise<boolean>,
  begin: number,
): Promise<readonly string[]> {
  const within: string[] = [];
  const transactions = new Set<string>();
  let nth = 0;
  await run(async (statement) => {
    nth += 1;
    if (nth <= begin) return true;
    within.push(statement);
    const open = await database.pool.query<{ since: string }>(
      "select xact_start::text as since from pg_stat_activity where datname = current_database() and application_name = 'rollbook' and state = 'idle in transaction'",
    );
    transactions.add(open.rows.map(({ since }) => since).join(" and "));
    return !/^commit/.test(statement);
  });
  expect([...transactions]).toEqual([expect.stringMatching(/^[\d: .+-]+$/)]);
  return within;
}

test("an init of a new warehouse that is cut off before any statement leaves all of it or nothing, and the next one finishes", async () => {
  const { database, name } = await createEmptyDatabase();
  const whole = new Set<number>();
  const statements = await cutEverywhere(name, database, async () => {
    whole.add((await database.pool.query(STATE)).rows[0].relations);
  });
  // No relation but drizzle's own, or all of them.
  expect(whole.size).toBeLessThanOrEqual(2);
  expect(whole).toContain(0);
  for (const text of [
    "create table warehouse.loads",
    "create unlogged table",
    "create view reports.venue_totals",
    "create or replace view",
  ]) {
    expect(
      statements.some((statement) => statement.toLowerCase().includes(text)),
      text,
    ).toBe(true);
  }
  expect(statements.length).toBeGreaterThan(40);
  const tags = (await readJournal()).map(({ tag }) => tag);
  const applied = await database.pool.query("select count(*)::int as count from warehouse.migrations");
  expect(applied.rows).toEqual([{ count: tags.length }]);
  expect(await withSession({ database }, readSettings)).toMatchObject({ timeZone: "UTC" });
  expect(await findDivergences(await openRestored(database, {}))).toEqual([]);
});

test.each(RELEASES)(
  "an upgrade from version $version that is cut off before any statement loses nothing",
  async (release) => {
    const { database, name } = await restoreRelease(release);
    await cutEverywhere(name, database, async () => {
      const shown = await database.pool.query(
        "select count(*)::int as groups from reports.venue_daily_totals",
      );
      expect(shown.rows).toEqual([{ groups: release.totals.length }]);
    });
    const warehouse = await openRestored(database, {});
    expect(await totalsOf(warehouse)).toEqual(release.totals);
    expect(await findDivergences(warehouse)).toEqual([]);
  },
);

/** Every statement of this kind waits for a lock that the test holds. */
function waitAt(tag: string): string {
  return `
    create function public.wait_for_test() returns event_trigger language plpgsql
    as $$ begin perform pg_advisory_xact_lock(42); end $$;
    create event trigger wait_for_test on ddl_command_end when tag in ('${tag}')
    execute function public.wait_for_test()`;
}

/** Two processes at `init`, of which the first stands in the middle of the migrations, holding all that it holds. */
async function startTwo(environment: Readonly<Record<string, string>>, database: Database, tag: string) {
  await database.pool.query(waitAt(tag));
  const holder = await database.pool.connect();
  holder.on("error", () => {});
  onTestFinished(() => holder.release(true));
  await holder.query("select pg_advisory_lock(42)");
  const run = () => startRollbook(["init", "--json"], { environment, folder: makeFolder() });
  const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  const begin = async (nth: number) => {
    const started = run();
    await expect
      .poll(async () => (await database.pool.query(waiting)).rowCount, { timeout: 60_000 })
      .toBe(nth);
    return started;
  };
  return {
    first: await begin(1),
    second: await begin(2),
    letOn: () => holder.query("select pg_advisory_unlock(42)"),
    run,
  };
}

async function expectMade(database: Database): Promise<void> {
  const tags = (await readJournal()).map((entry) => entry.tag);
  const applied = await database.pool.query("select count(*)::int as count from warehouse.migrations");
  expect(applied.rows).toEqual([{ count: tags.length }]);
  expect(await findDivergences(await openRestored(database, {}))).toEqual([]);
}

test.each(["CREATE TABLE", "CREATE VIEW"])(
  "a process killed at a %s of the migrations leaves them to the one that waits",
  async (tag) => {
    const { database, name } = await createEmptyDatabase();
    const { host, port, user } = inject("postgres");
    const environment = environmentOf({ host, port, user, database: name });
    const { first, second, letOn } = await startTwo(environment, database, tag);
    first.child.kill("SIGKILL");
    await first.ended;
    await letOn();
    expect(await second.ended).toMatchObject({ code: 0, stderr: "" });
    await expectMade(database);
  },
);

test("a server killed in the middle of the migrations has none of them, and the next init makes them", async () => {
  const own = await openOwnServer();
  onTestFinished(own.close);
  const { host, port, user, database: name } = own.server;
  const environment = environmentOf({ host, port, user, database: name });
  const database = openDatabase({ connection: { host, port, user, database: name, ssl: false } });
  onTestFinished(() => database.pool.end());
  const { first, second, run } = await startTwo(environment, database, "CREATE VIEW");
  own.kill();
  for (const { ended } of [first, second]) expect((await ended).code).toBe(1);
  const comesBack = () =>
    database.pool.query("select 1").then(
      () => true,
      () => false,
    );
  await expect.poll(comesBack, { timeout: 60_000 }).toBe(true);
  expect((await database.pool.query(STATE)).rows).toEqual([{ relations: 0 }]);
  await database.pool.query("drop event trigger wait_for_test");
  expect(await run().ended).toMatchObject({ code: 0, stderr: "" });
  await expectMade(database);
});
