/** The real command line, interrupted: it ends in time, rolled back, with the exit code a shell expects, and leaves nothing behind. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { Socket } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase, type TestWarehouse, testConnection } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { makeServerHome } from "../../../db/testing/home.ts";
import { isRunning, postmasterOf, until } from "../../../db/testing/own_server.ts";
import { COMMAND } from "../cli.ts";
import { writeLargeDrop } from "../drops.ts";
import { disagreements } from "../warehouse.ts";

/** What is promised from the signal to the end of the process. */
const END_WITHIN_MS = 5000;
/** Reading them takes a while; most repeat an invoice, so that the rest does not. */
const ROWS = 300_000;
const INVOICES = 20_000;
/** Where a lock keeps the load waiting, it does so however many lines there are. */
const HELD_ROWS = 30_000;
/** So many of them are in beforehand where a load is to go the careful way. */
const KNOWN = 100;

interface Cli {
  readonly child: ChildProcess;
  /** Both streams, as far as they have come. */
  readonly output: () => { readonly stdout: string; readonly stderr: string };
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** No variable of the environment that the tests run in has a say. */
function cleanEnvironment(more: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, ...(TMPDIR !== undefined && { TMPDIR }), ...more };
}

function startCli(environment: Readonly<Record<string, string>>, args: readonly string[]): Cli {
  const [program, ...first] = COMMAND;
  const child = spawn(program, [...first, ...args], {
    env: cleanEnvironment(environment),
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  const ended = once(child, "close").then(([code, signal]) => ({ code, signal }));
  return { child, output: () => ({ stdout, stderr }), ended };
}

/** Sends a signal and expects the end in time, with this exit code. */
async function expectEnd(cli: Cli, exitCode: number, signal: NodeJS.Signals): Promise<void> {
  const from = performance.now();
  cli.child.kill(signal);
  expect(await cli.ended, cli.output().stderr).toEqual({ code: exitCode, signal: null });
  expect(performance.now() - from).toBeLessThan(END_WITHIN_MS);
  expectQuiet(cli);
}

function expectQuiet(cli: Cli): void {
  expect(cli.output().stdout).toBe("");
  // What takes long says how far it is.
  const said = cli.output().stderr.replaceAll(/^\d+% .*\n/gm, "");
  expect(said).toMatch(/^rollbook: ended by SIG\w+; what was not committed is rolled back\n$/);
}

/** A session of another name than rollbook's, so that the two can be told apart. */
async function observe(connection: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client({ ...connection, application_name: "observer" });
  client.on("error", () => {});
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

interface Scene {
  readonly warehouse: TestWarehouse;
  readonly observer: pg.Client;
  readonly path: string;
  /** Lines of the drop. */
  readonly rows: number;
  /** Invoices of the drop that are in beforehand, by another drop. */
  readonly known: number;
}

/** @param options.known left out: none, so that the load goes the direct way */
async function setScene({
  rows,
  known = 0,
}: {
  readonly rows: number;
  readonly known?: number;
}): Promise<Scene> {
  const warehouse = await createTestDatabase();
  if (known > 0) {
    const path = join(makeFolder(), "known_2026-03-31.csv");
    await writeLargeDrop({ path, rows: known });
    expect(await startCli(warehouse.environment, ["load", path]).ended).toEqual({ code: 0, signal: null });
  }
  const observer = await observe(testConnection(warehouse.environment.PGDATABASE ?? ""));
  // The sessions that the test opened itself are none of the command's.
  await observer.query(
    "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'rollbook' and datname = current_database()",
  );
  const path = join(makeFolder(), "large_2026-03-31.csv");
  await writeLargeDrop({ path, rows, distinct: INVOICES });
  return { warehouse, observer, path, rows, known };
}

async function sessions(observer: pg.Client, query = "%"): Promise<readonly number[]> {
  const result = await observer.query<{ pid: number }>(
    `select pid from pg_stat_activity
     where application_name = 'rollbook' and datname = current_database() and query ilike $1`,
    [query],
  );
  return result.rows.map(({ pid }) => pid);
}

async function untilBusyWith(observer: pg.Client, query: string): Promise<number> {
  let found: readonly number[] = [];
  await until(`a session runs ${query}`, async () => {
    found = await sessions(observer, query);
    return found.length > 0;
  });
  return found[0] ?? 0;
}

/** Holds a lock in a session of its own (in a transaction the observer would see the same activity for ever) until it is released. */
async function holdLock({ warehouse }: Scene, statement: string): Promise<() => Promise<void>> {
  const holder = await observe(testConnection(warehouse.environment.PGDATABASE ?? ""));
  await holder.query("begin");
  await holder.query(statement);
  return async () => {
    await holder.query("rollback");
  };
}

/** The careful way. */
const STAGING = "copy warehouse.staging%";
const MERGE = "%with winners%";
/** The direct way. */
const INSERT = "copy warehouse.invoices %";
const QUEUE = "lock table warehouse.venue_day_pending %";

/** Nothing of the drop is in, and nobody is left; then the same command loads the drop. */
async function expectRolledBack({ warehouse, observer, path, rows, known }: Scene): Promise<void> {
  await until("no session is left", async () => (await sessions(observer)).length === 0);
  const found = await observer.query(
    `select (select count(*) from warehouse.loads) as loads, (select count(*) from warehouse.invoices) as invoices,
            (select count(*) from warehouse.venue_day_pending) as pending`,
  );
  expect(found.rows).toEqual([{ loads: known > 0 ? "1" : "0", invoices: String(known), pending: "0" }]);
  const again = startCli(warehouse.environment, ["load", path, "--json"]);
  expect(await again.ended).toEqual({ code: 0, signal: null });
  expect(JSON.parse(again.output().stdout.split("\n")[0] ?? "")).toMatchObject({
    outcome: "loaded",
    rows: { read: rows, inserted: INVOICES - known, unchanged: known, superseded: rows - INVOICES },
  });
  expect(await disagreements(warehouse)).toEqual([]);
  const totals = await observer.query(
    "select sum(invoices)::int as invoices, sum(total)::text as total from reports.venue_totals",
  );
  let cents = 0n;
  for (let row = 0; row < INVOICES; row += 1) cents += BigInt((row % 1000) * 100 + 25);
  expect(totals.rows).toEqual([
    { invoices: INVOICES, total: `${cents / 100n}.${String(cents % 100n).padStart(2, "0")}` },
  ]);
}

const SIGNALS = [
  { signal: "SIGINT", exitCode: 130 },
  { signal: "SIGTERM", exitCode: 143 },
] as const;

test.each(SIGNALS)(
  "$signal in the middle of staging rolls the load back and ends with $exitCode",
  async ({ signal, exitCode }) => {
    const scene = await setScene({ rows: ROWS, known: KNOWN });
    const cli = startCli(scene.warehouse.environment, ["load", scene.path]);
    await untilBusyWith(scene.observer, STAGING);
    await expectEnd(cli, exitCode, signal);
    await expectRolledBack(scene);
  },
);

test.each(SIGNALS)(
  "$signal in the middle of the merge rolls the load back and ends with $exitCode",
  async ({ signal, exitCode }) => {
    const scene = await setScene({ rows: HELD_ROWS, known: KNOWN });
    const release = await holdLock(scene, "lock table warehouse.venue_day_pending in share mode");
    const cli = startCli(scene.warehouse.environment, ["load", scene.path]);
    await untilBusyWith(scene.observer, MERGE);
    await expectEnd(cli, exitCode, signal);
    await release();
    await expectRolledBack(scene);
  },
);

test.each(SIGNALS)(
  "$signal in the middle of the direct way rolls the load back and ends with $exitCode",
  async ({ signal, exitCode }) => {
    const scene = await setScene({ rows: HELD_ROWS });
    const release = await holdLock(scene, "lock table warehouse.venue_day_pending in share mode");
    const cli = startCli(scene.warehouse.environment, ["load", scene.path]);
    await untilBusyWith(scene.observer, QUEUE);
    await expectEnd(cli, exitCode, signal);
    await release();
    await expectRolledBack(scene);
  },
);

test("SIGINT while the load waits for a lock ends it in time, too", async () => {
  const scene = await setScene({ rows: HELD_ROWS });
  const release = await holdLock(scene, "lock table warehouse.venues in share mode");
  const cli = startCli(scene.warehouse.environment, ["load", scene.path]);
  await untilBusyWith(scene.observer, `%insert into "warehouse"."venues"%`);
  await expectEnd(cli, 130, "SIGINT");
  await release();
  await expectRolledBack(scene);
});

test("SIGINT ends a load whose server has stopped answering", async () => {
  const scene = await setScene({ rows: ROWS, known: KNOWN });
  const cli = startCli(scene.warehouse.environment, ["load", scene.path]);
  const backend = await untilBusyWith(scene.observer, STAGING);
  process.kill(backend, "SIGSTOP");
  try {
    await expectEnd(cli, 130, "SIGINT");
  } finally {
    process.kill(backend, "SIGCONT");
  }
  await expectRolledBack(scene);
});

test("a Ctrl-C that comes twice, from the terminal and from npm, ends the load in order", async () => {
  const scene = await setScene({ rows: ROWS, known: KNOWN });
  const cli = startCli(scene.warehouse.environment, ["load", scene.path]);
  await untilBusyWith(scene.observer, STAGING);
  cli.child.kill("SIGINT");
  await sleep(30);
  cli.child.kill("SIGINT");
  // When it was on its way out already the second ends it: a shell says 130 of both.
  expect(["130", "SIGINT"]).toContain(String((await cli.ended).code ?? (await cli.ended).signal));
  expectQuiet(cli);
  await expectRolledBack(scene);
});

/** Starts the command line as the child of a process that can be killed. */
async function startWithParent(
  environment: Readonly<Record<string, string>>,
  args: readonly string[],
): Promise<{ readonly parent: ChildProcess; readonly pid: number }> {
  const script = `
    const [program, ...args] = ${JSON.stringify([...COMMAND, ...args])};
    const child = require("node:child_process").spawn(program, args, { stdio: "ignore" });
    process.stdout.write(String(child.pid));
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ["-e", script], {
    env: cleanEnvironment(environment),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pid = Number(String((await once(parent.stdout, "data"))[0]));
  onTestFinished(() => {
    parent.kill("SIGKILL");
    if (isRunning(pid)) process.kill(pid, "SIGKILL");
  });
  return { parent, pid };
}

test("with --exit-with-parent a load ends, rolled back, when its parent is killed", async () => {
  const scene = await setScene({ rows: HELD_ROWS, known: KNOWN });
  const { parent, pid } = await startWithParent(scene.warehouse.environment, [
    "load",
    scene.path,
    "--exit-with-parent",
  ]);
  // It stays in the merge until its parent is gone.
  const release = await holdLock(scene, "lock table warehouse.venue_day_pending in share mode");
  await untilBusyWith(scene.observer, MERGE);
  expect(isRunning(pid)).toBe(true);
  parent.kill("SIGKILL");
  await until("the load has ended", () => !isRunning(pid));
  await release();
  await expectRolledBack(scene);
});

test.each([["verify"], ["status", "--json"], ["partitions", "list"], ["inbox", "archive"]])(
  "with ROLLBOOK_EXIT_WITH_PARENT=1 any verb ends when its parent is killed: %s %s",
  async (...verb) => {
    const scene = await setScene({ rows: HELD_ROWS });
    const inbox = dirname(scene.path);
    const args = verb[0] === "inbox" ? [...verb, inbox, scene.path] : verb;
    const release = await holdLock(scene, "lock table warehouse.loads, warehouse.partitions");
    const start = (environment: Readonly<Record<string, string>>) =>
      startWithParent({ ...scene.warehouse.environment, ...environment }, args);
    const [bound, free] = [await start({ ROLLBOOK_EXIT_WITH_PARENT: "1" }), await start({})];
    await until("both wait for the lock", async () => {
      const waiting = await scene.observer.query(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return waiting.rowCount === 2;
    });
    for (const { parent } of [bound, free]) parent.kill("SIGKILL");
    await until("the one that was told so has ended", () => !isRunning(bound.pid));
    expect(isRunning(free.pid)).toBe(true);
    await release();
    await until("the other has ended, too", () => !isRunning(free.pid));
  },
);

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s in the middle of a load on the embedded server leaves no process of it",
  async (signal) => {
    const home = makeOwnHome();
    const path = join(makeFolder(), "large_2026-03-31.csv");
    await writeLargeDrop({ path, rows: ROWS });
    const environment = { ROLLBOOK_HOME: home };
    const cli = startCli(environment, ["load", path]);
    const observer = await observeEmbedded(home);
    await untilBusyWith(observer, INSERT);
    const postmaster = postmasterOf(home) ?? 0;
    expect(isRunning(postmaster)).toBe(true);
    const from = performance.now();
    cli.child.kill(signal);
    expect(await cli.ended, cli.output().stderr).toEqual({
      code: signal === "SIGINT" ? 130 : 143,
      signal: null,
    });
    expect(performance.now() - from).toBeLessThan(END_WITHIN_MS);
    await expectNothingRuns(home, postmaster);
    const again = startCli(environment, ["load", path, "--json"]);
    expect(await again.ended).toEqual({ code: 0, signal: null });
    expect(again.output().stdout).toContain(`"inserted":${ROWS}`);
    const verified = startCli(environment, ["verify"]);
    expect(await verified.ended, verified.output().stdout).toEqual({ code: 0, signal: null });
    await expectNothingRuns(home);
  },
);

test("SIGINT while the embedded server is being made leaves no process, and the next run makes it", async () => {
  const home = makeOwnHome();
  const path = join(makeFolder(), "small_2026-03-31.csv");
  await writeLargeDrop({ path, rows: 1000 });
  const cli = startCli({ ROLLBOOK_HOME: home }, ["load", path]);
  await until("the data folder is being made", () =>
    readdirSync(home).some((name) => name.startsWith("data")),
  );
  const from = performance.now();
  cli.child.kill("SIGINT");
  expect(await cli.ended, cli.output().stderr).toEqual({ code: 130, signal: null });
  expect(performance.now() - from).toBeLessThan(END_WITHIN_MS);
  await expectNothingRuns(home);
  const again = startCli({ ROLLBOOK_HOME: home }, ["load", path, "--json"]);
  expect(await again.ended, again.output().stderr).toEqual({ code: 0, signal: null });
  await expectNothingRuns(home);
});

function makeOwnHome(): string {
  const home = makeServerHome();
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  return home;
}

async function observeEmbedded(home: string): Promise<pg.Client> {
  const connection = {
    host: join(home, "run"),
    port: 5432,
    user: "rollbook",
    database: "rollbook",
    ssl: false,
  };
  let observer: pg.Client | undefined;
  await until("the embedded server is up", async () => {
    observer = await observe(connection).catch(() => undefined);
    return observer !== undefined;
  });
  if (observer === undefined) throw new Error("no observer");
  return observer;
}

/** Neither server nor keeper: no process has the home in its command line, and the postmaster is gone. */
async function expectNothingRuns(home: string, postmaster?: number): Promise<void> {
  await until("the server and its keeper are gone", () => {
    if (postmaster !== undefined && isRunning(postmaster)) return false;
    return !commandLines().some((line) => line.includes(home));
  });
  expect(existsSync(join(home, "data", "postmaster.pid"))).toBe(false);
}

function commandLines(): readonly string[] {
  if (process.platform !== "linux") {
    return spawnSync("ps", ["-A", "-o", "args="], { encoding: "utf8" }).stdout.split("\n");
  }
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8");
      } catch {
        return "";
      }
    });
}

/**
 * Starts the command line with a reader that takes nothing of its output but what `skim` takes at once, until `read` takes all of it, slowly.
 * A real pipe: what Node makes for its children is a socket.
 */
function startUnread(environment: Readonly<Record<string, string>>, args: readonly string[]) {
  const pipe = join(makeFolder(), "pipe");
  execFileSync("mkfifo", [pipe]);
  const output = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const input = openSync(pipe, "w");
  const [program, ...first] = COMMAND;
  const child = spawn(program, [...first, ...args], {
    env: cleanEnvironment(environment),
    stdio: ["ignore", input, "ignore"],
  });
  closeSync(input);
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const ended = once(child, "exit");
  let text = "";
  const skim = (bytes: number) => {
    const piece = Buffer.alloc(bytes);
    text += piece.toString("latin1", 0, readSync(output, piece));
  };
  const read = async (bytesPerSecond: number) => {
    for await (const piece of new Socket({ fd: output, readable: true, writable: false })) {
      text += piece;
      await sleep((piece.length / bytesPerSecond) * 1000);
    }
    return text;
  };
  return { child, ended, skim, read };
}

/** Whether a process waits for its reader is read from /proc. */
const onLinux = process.platform === "linux";

/** Output that fills the pipe, the buffers on both sides, and then some. */
async function makeManyRejects(): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase();
  await warehouse.query(`
    insert into warehouse.rejects (load_id, line, reason, raw)
    select 1, n, 'bad_total', convert_to(repeat(n::text || ' ', 200), 'UTF8') from generate_series(1, 5000) n`);
  await warehouse.query(
    "insert into warehouse.loads (load_id, file_name, status) values (1, 'a_2026-01-05.csv', 'rejected')",
  );
  return warehouse;
}

test.runIf(onLinux).each(["SIGTERM", "SIGKILL"] as const)(
  "%s in the middle of output whose reader takes a break leaves whole lines of it",
  async (signal) => {
    const warehouse = await makeManyRejects();
    const args = ["rejects", "--load", "1", "--json"];
    const { child, ended, skim, read } = startUnread(warehouse.environment, args);
    for (const bytes of [10_000, 20_001, 7000]) {
      await until("it waits for its reader", () => isStuckWriting(child.pid ?? 0));
      skim(bytes);
    }
    await until("it waits for its reader", () => isStuckWriting(child.pid ?? 0));
    child.kill(signal);
    const text = read(2_000_000);
    expect(await ended).toEqual(signal === "SIGTERM" ? [143, null] : [null, signal]);
    const lines = (await text).split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.length).toBeGreaterThan(10);
    expect(lines.length).toBeLessThan(5000);
    expect(lines.map((line) => JSON.parse(line).line)).toEqual(lines.map((_, index) => index + 1));
  },
);

test.runIf(onLinux)(
  "SIGTERM in the middle of one long line to a slow reader: the line comes whole, though it takes long",
  async () => {
    const inbox = makeFolder();
    for (let n = 0; n < 1500; n += 1)
      writeFileSync(join(inbox, `${"n".repeat(180)}-${n}_2026-01-05.csv`), "");
    const args = ["inbox", "list", inbox, "--interval", "1", "--batches", "1", "--json"];
    const { child, ended, read } = startUnread({}, args);
    await until("it waits for its reader", () => isStuckWriting(child.pid ?? 0));
    child.kill("SIGTERM");
    const text = read(45_000);
    expect(await ended).toEqual([143, null]);
    const line = await text;
    expect(line.endsWith("\n")).toBe(true);
    expect(JSON.parse(line).files).toHaveLength(1500);
  },
);

/** Whether a process has written something, and neither runs nor writes any more. */
async function isStuckWriting(pid: number): Promise<boolean> {
  const look = () => /^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1];
  const before = Number(look());
  await sleep(400);
  return before > 60_000 && Number(look()) === before;
}
