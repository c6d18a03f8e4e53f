/**
 * Runs the services of docker-compose.yml as processes of this machine: the same commands in the same environment, with the containers'
 * places replaced by local ones. Airflow's own database is an embedded PostgreSQL in the home.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Client } from "pg";
import { type EmbeddedServer, openEmbeddedServer } from "../../db/embedded.ts";
import { findReferences, readCompose, type Service, type Variables } from "./compose.ts";
import { AirflowError, aborted } from "./errors.ts";
import { type Database, localizeEnvironment, localizePaths, type Places } from "./places.ts";
import { findFreePorts, findPort, LOOPBACK } from "./ports.ts";
import {
  endMarked,
  findMarked,
  hasEnded,
  killMarked,
  MARK,
  markOf,
  sendSignal,
  startProcess,
  tailOf,
} from "./processes.ts";
import type { Python } from "./python.ts";
import { openRest, type Rest, untilHealthy } from "./rest.ts";
import { readSecrets } from "./secrets.ts";

export const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
export const COMPOSE_FILE = join(CHECKOUT, "docker-compose.yml");

/** Where the image has what. */
const IMAGE = { checkout: "/opt/rollbook", airflow: "/opt/airflow", inbox: "/data/inbox" } as const;

/** Done once, at the start; both at the same time. */
const INITS = ["airflow-init", "warehouse-init"] as const;

/** Kept up; in the order of their start. */
export const SERVICES = [
  "airflow-apiserver",
  "airflow-scheduler",
  "airflow-dag-processor",
  "airflow-triggerer",
] as const;

export type ServiceName = (typeof SERVICES)[number];

export interface AirflowOptions {
  /** Folder of everything that this Airflow keeps; made if it is not there. One Airflow at a time runs in a home. */
  readonly home: string;
  readonly inbox: string;
  readonly python: Python;
  readonly warehouse: Database;
  /** Of the API server. Default: any free one. */
  readonly port?: number;
  /** Takes the next free port when that one is taken. Default: false, an error. */
  readonly orNextPort?: boolean;
  /** What docker-compose.yml's `${NAME}` stand for, as .env has it; secrets are made. Default: nothing is set. */
  readonly variables?: Variables;
  /** More for the environment of all services, before anything of docker-compose.yml. For tests. */
  readonly overrides?: Readonly<Record<string, string>>;
  /** The environment that `PATH`, locale and proxies are taken from. */
  readonly environment: Variables;
  /** Aborts the start. What is started is ended by `stop`. */
  readonly signal?: AbortSignal | undefined;
  readonly onLog?: ((message: string) => void) | undefined;
}

export interface Airflow {
  /** Of Airflow's pages. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly rest: Rest;
  /** The environment in which a service runs. */
  readonly environment: (service: ServiceName) => Readonly<Record<string, string>>;
  /** The file with what a service prints. */
  readonly log: (service: ServiceName) => string;
  /** The folder of the tasks' logs. */
  readonly taskLogs: string;
  /** Airflow's own database. */
  readonly metadata: Database;
  /** Main processes of the services that now run. */
  readonly pids: () => Readonly<Partial<Record<ServiceName, number>>>;
  /** All processes of a service. */
  readonly processes: (service: ServiceName) => readonly number[];
  /**
   * SIGKILL to a service, which then stays down.
   * - `all`: to what it has started, too (default), or to its main process alone, as a crash does.
   */
  readonly kill: (service: ServiceName, options?: { readonly all?: boolean }) => Promise<void>;
  /** Starts a service again, in the same environment; what is left of it runs on. Does not wait until it is healthy. */
  readonly restart: (service: ServiceName) => void;
  /** Waits until all four are healthy, as heard of since `since` (milliseconds since 1970, default: now). */
  readonly untilHealthy: (options?: { readonly since?: number; readonly withinMs?: number }) => Promise<void>;
  /** Runs a command in the scheduler's environment, for example `["airflow", "dags", "list"]`. */
  readonly run: (command: readonly string[]) => Promise<Finished>;
  /** Ends all services, in order, and the database. Further calls return the first one's promise. */
  readonly stop: () => Promise<void>;
}

export interface Finished {
  readonly exitCode: number | null;
  readonly output: string;
}

const HEALTHY_WITHIN_MS = 180_000;
/** A service that ends so often before all are healthy will not do any better. */
const FAILED_STARTS = 3;
const PATIENCE = { leadersMs: 2_000, allMs: 2_000 } as const;
/** The two-part key of the advisory lock that says: a runner uses this home. */
const LOCK = [0x726f6c6c, 2] as const;
const METADATA = "airflow";

/**
 * Starts Airflow and returns when it is healthy.
 *
 * @throws AirflowError `already_running`, `service_failed` with the end of the log, `compose`, `configuration`, `timeout`, `aborted`;
 *   RollbookError `embedded_server`
 */
export async function startAirflow(options: AirflowOptions): Promise<Airflow> {
  const { signal, onLog } = options;
  if (signal?.aborted) throw aborted(signal.reason);
  mkdirSync(options.home, { recursive: true });
  const home = realpathSync(options.home);
  for (const folder of ["home", "logs", "postgres"]) mkdirSync(join(home, folder), { recursive: true });
  const undo: (() => Promise<void>)[] = [];
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= (async () => {
      const failures: unknown[] = [];
      // The last first; each is tried, whatever the others do.
      for (const step of undo.toReversed()) await step().catch((error) => failures.push(error));
      if (failures.length > 0) throw failures[0];
    })();
    return stopped;
  };
  try {
    const server = await openEmbeddedServer({
      home: join(home, "postgres"),
      ...(signal && { signal }),
      ...(onLog && { onProgress: onLog }),
    });
    undo.push(() => server.release({ withinMs: 3_000 }));
    const lock = await lockHome(home, server);
    undo.push(lock.release);
    const airflow = await startServices({ options, home, server, undo, stop });
    writeFileSync(join(home, RUNNING), `${JSON.stringify({ pid: process.pid, url: airflow.url })}\n`);
    return airflow;
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

/** Tells whoever comes second who was first. */
const RUNNING = "running.json";

/** Of two runners in one home the second fails. The lock is a session's, so it ends with its process, however that ends. */
async function lockHome(
  home: string,
  server: EmbeddedServer,
): Promise<{ readonly release: () => Promise<void> }> {
  const { host, port, user, database } = server;
  const client = new Client({ host, port, user, database, ssl: false, application_name: "rollbook airflow" });
  // A server that was killed comes back, the lock does not: it only matters to a second runner.
  client.on("error", () => {});
  await client.connect();
  const release = () => client.end();
  try {
    const { rows } = await client.query<{ ours: boolean }>("select pg_try_advisory_lock($1, $2) as ours", [
      ...LOCK,
    ]);
    if (rows[0]?.ours !== true) throw alreadyRunning(home);
    const { rows: found } = await client.query("select from pg_database where datname = $1", [METADATA]);
    if (found.length === 0) await client.query(`create database ${METADATA} template template0`);
    return { release };
  } catch (error) {
    await release();
    throw error;
  }
}

function alreadyRunning(home: string): AirflowError {
  let who = "";
  try {
    const { pid, url } = JSON.parse(readFileSync(join(home, RUNNING), "utf8")) as Record<string, unknown>;
    who = ` (process ${pid}, ${url})`;
  } catch {
    // It is still starting.
  }
  return new AirflowError({
    code: "already_running",
    message: `Airflow already runs in ${home}${who}. Stop that one, or give this one a folder of its own: --home DIR`,
  });
}

interface Starting {
  readonly options: AirflowOptions;
  readonly home: string;
  readonly server: EmbeddedServer;
  /** What is to be done at the end, the last first. */
  readonly undo: (() => Promise<void>)[];
  readonly stop: () => Promise<void>;
}

async function startServices({ options, home, server, undo, stop }: Starting): Promise<Airflow> {
  const { signal, onLog, python } = options;
  const mark = { home: homeMark(home), run: randomId() };
  const runMark = markOf({ ...mark, service: "" });
  // Of a runner that was killed together with its guardian, or whose guardian is still at it.
  await killMarked(`${mark.home}:`);
  const guardian = spawnGuardian(runMark, options.environment);
  undo.push(() => guardian.end());

  const { host, port: pgPort, user: pgUser } = server;
  const metadata: Database = { host, port: pgPort, user: pgUser, database: METADATA };
  const port = await findPort(options.port ?? 0, options.orNextPort ?? false);
  const url = `http://localhost:${port}`;
  const secrets = readSecrets(
    home,
    findReferences(COMPOSE_FILE).flatMap(({ name, kind }) => (kind === "required" ? [name] : [])),
  );
  const { services } = readCompose({
    file: COMPOSE_FILE,
    variables: { ...options.variables, ...secrets, AIRFLOW_PORT: String(port), AIRFLOW_URL: url },
  });
  const places: Places = {
    folders: {
      ...mountedFolders(services, options.inbox),
      [IMAGE.checkout]: CHECKOUT,
      [IMAGE.airflow]: join(home, "home"),
    },
    databases: { "airflow-db": metadata, "warehouse-db": options.warehouse },
    servers: { "airflow-apiserver:8080": `${LOOPBACK}:${port}` },
  };
  const [health, worker, trigger] = await findFreePorts(3);
  const ours = {
    AIRFLOW__API__HOST: LOOPBACK,
    AIRFLOW__API__PORT: String(port),
    AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST: LOOPBACK,
    AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT: String(health),
    AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT: String(worker),
    AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT: String(trigger),
  };
  const serviceNamed = (name: string): Service => {
    const service = services[name];
    if (service === undefined) throw composeLacks(name);
    return service;
  };
  const environmentOf = (name: string): Readonly<Record<string, string>> => ({
    ...baseEnvironment(options.environment, python),
    ...localizeEnvironment(serviceNamed(name).environment, places),
    ...ours,
    ...options.overrides,
    [MARK]: markOf({ ...mark, service: name }),
  });
  const commandOf = (name: string) =>
    serviceNamed(name).command.map((part) => localizePaths(part, places.folders));
  const logOf = (name: string) => join(home, "logs", `${name.replace(/^airflow-/, "")}.log`);
  const launch = (name: string, append: boolean) =>
    startProcess({
      command: commandOf(name),
      environment: environmentOf(name),
      folder: join(home, "home"),
      log: logOf(name),
      append,
    });

  const children = new Map<ServiceName, ChildProcess>();
  const down = new Set<ServiceName>();
  const ends = new Map<ServiceName, number>();
  let stopping = false;
  const startService = (name: ServiceName, append: boolean) => {
    const child = launch(name, append);
    children.set(name, child);
    child.once("error", (error) => onLog?.(`${name} cannot be started: ${error.message}`));
    child.once("exit", (code, exitSignal) => {
      if (stopping || down.has(name) || children.get(name) !== child) return;
      // As `restart: unless-stopped` does it: soon, and less soon each time.
      const count = (ends.get(name) ?? 0) + 1;
      ends.set(name, count);
      onLog?.(
        `${name} ended (${exitSignal ?? `exit code ${code}`}) and is started again; log: ${logOf(name)}`,
      );
      setTimeout(
        () => {
          if (!stopping && !down.has(name) && children.get(name) === child) startService(name, true);
        },
        Math.min(500 * 2 ** count, 30_000),
      ).unref();
    });
  };
  const leaders = (names: readonly ServiceName[]) =>
    names.flatMap((name) => {
      const child = children.get(name);
      return child?.pid === undefined || hasEnded(child) ? [] : [child.pid];
    });
  undo.push(async () => {
    stopping = true;
    rmSync(join(home, RUNNING), { force: true });
    // The API server last: tasks tell it how they ended.
    const others = SERVICES.filter((name) => name !== "airflow-apiserver");
    await Promise.all(
      others.map((name) =>
        endMarked({
          beginning: markOf({ ...mark, service: name }),
          leaders: leaders([name]),
          patience: PATIENCE,
        }),
      ),
    );
    await endMarked({
      beginning: runMark,
      leaders: leaders(SERVICES),
      patience: { leadersMs: 1_500, allMs: 500 },
    });
  });

  await initialize({ options, home, launch, environmentOf, logOf });
  if (signal?.aborted) throw aborted(signal.reason);
  const began = Date.now();
  onLog?.("starting the API server, scheduler, DAG processor and triggerer");
  for (const name of SERVICES) startService(name, false);
  const rest = openRest({ url: `http://${LOOPBACK}:${port}`, user: "admin", password: passwordOf(secrets) });
  const failOnFailedStart = () => {
    for (const [name, count] of ends) {
      if (count >= FAILED_STARTS) throw serviceFailed(name, logOf(name));
    }
  };
  await untilHealthy({
    rest,
    since: began,
    withinMs: HEALTHY_WITHIN_MS,
    signal,
    onPoll: failOnFailedStart,
  });

  return {
    url,
    user: "admin",
    password: passwordOf(secrets),
    rest,
    environment: environmentOf,
    log: logOf,
    taskLogs: join(home, "home", "logs"),
    metadata,
    pids: () =>
      Object.fromEntries(SERVICES.flatMap((name) => leaders([name]).map((pid) => [name, pid] as const))),
    processes: (name) => findMarked(markOf({ ...mark, service: name })),
    kill: async (name, { all = true } = {}) => {
      down.add(name);
      const child = children.get(name);
      const gone = child === undefined || hasEnded(child) ? undefined : ended(child);
      if (all) await killMarked(markOf({ ...mark, service: name }));
      else for (const pid of leaders([name])) sendSignal(pid, "SIGKILL");
      await gone;
    },
    restart: (name) => {
      const child = children.get(name);
      if (child !== undefined && !hasEnded(child)) throw new Error(`${name} still runs`);
      down.delete(name);
      startService(name, true);
    },
    untilHealthy: ({ since = Date.now(), withinMs = HEALTHY_WITHIN_MS } = {}) =>
      untilHealthy({ rest, since, withinMs, signal }),
    run: (command) =>
      finish(
        command.map((part) => localizePaths(part, places.folders)),
        environmentOf("airflow-scheduler"),
        join(home, "home"),
      ),
    stop,
  };
}

/** What marks the processes of a home, whatever run of it they are from. */
export function homeMark(home: string): string {
  return createHash("sha256").update(realpathSync(home)).digest("hex").slice(0, 16);
}

const randomId = () => randomBytes(6).toString("hex");

function passwordOf(secrets: Readonly<Record<string, string>>): string {
  return secrets.AIRFLOW_ADMIN_PASSWORD ?? "";
}

/** Folders of this machine that docker-compose.yml mounts; its volumes are within Airflow's home. */
function mountedFolders(
  services: Readonly<Record<string, Service>>,
  inbox: string,
): Readonly<Record<string, string>> {
  const binds = SERVICES.flatMap((name) => services[name]?.mounts ?? []).filter(
    ({ kind }) => kind === "bind",
  );
  const strange = binds.find(({ target }) => target !== IMAGE.inbox);
  if (strange !== undefined) {
    throw new AirflowError({
      code: "compose",
      message: `docker-compose.yml mounts ${strange.target}, which npm run airflow does not know`,
    });
  }
  return Object.fromEntries(binds.map(({ target }) => [target, inbox]));
}

/** What of the user's environment the services get: nothing that Airflow, Python or PostgreSQL would take for settings. */
const INHERITED = [
  ...["HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM"],
  ...[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
  ],
];

function baseEnvironment(environment: Variables, python: Python): Readonly<Record<string, string>> {
  const inherited = INHERITED.flatMap((name) => {
    const value = environment[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const nobody = [environment.NO_PROXY ?? environment.no_proxy, "localhost", LOOPBACK]
    .filter(Boolean)
    .join(",");
  return {
    ...Object.fromEntries(inherited),
    PATH: [python.bin, dirname(process.execPath), environment.PATH ?? "/usr/bin:/bin"].join(delimiter),
    VIRTUAL_ENV: python.venv,
    NO_PROXY: nobody,
    no_proxy: nobody,
    // Processes name themselves, which else overwrites the environment, and with it our mark.
    SPT_NOENV: "1",
    // Else macOS ends a forked process that uses the system's libraries.
    ...(process.platform === "darwin" && { OBJC_DISABLE_INITIALIZE_FORK_SAFETY: "YES" }),
  };
}

interface Initialization {
  readonly options: AirflowOptions;
  readonly home: string;
  readonly launch: (name: string, append: boolean) => ChildProcess;
  readonly environmentOf: (name: string) => Readonly<Record<string, string>>;
  readonly logOf: (name: string) => string;
}

async function initialize(given: Initialization): Promise<void> {
  const { options, home, launch, environmentOf, logOf } = given;
  const airflow = environmentOf("airflow-init");
  // Kept with the data that it speaks of, and gone with it.
  const stamp = join(home, "postgres", "airflow-init");
  const key = createHash("sha256")
    .update(readFileSync(join(CHECKOUT, "dags/requirements.txt")))
    .update(readFileSync(join(CHECKOUT, "dags/docker/airflow-init.sh")))
    .update(JSON.stringify([airflow.ROLLBOOK_POOL_SLOTS, airflow.AIRFLOW_ADMIN_PASSWORD]))
    .digest("hex");
  const passwords = airflow.AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE ?? "";
  const done = existsSync(stamp) && readFileSync(stamp, "utf8") === key && existsSync(passwords);
  const names = INITS.filter((name) => name !== "airflow-init" || !done);
  options.onLog?.(done ? "making the warehouse ready" : "making Airflow's database and the warehouse ready");
  await Promise.all(
    names.map(async (name) => {
      const child = launch(name, false);
      const code = await ended(child, options.signal);
      if (options.signal?.aborted) throw aborted(options.signal.reason);
      if (code !== 0) throw serviceFailed(name, logOf(name));
    }),
  );
  if (!done) writeFileSync(stamp, key);
}

/** The exit code, or the signal's or error's name. Returns early when the signal aborts. */
function ended(child: ChildProcess, signal?: AbortSignal): Promise<number | string | undefined> {
  return new Promise((done) => {
    if (hasEnded(child) && child.pid !== undefined) done(child.exitCode ?? child.signalCode ?? undefined);
    child.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    child.once("exit", (code, name) => done(code ?? name ?? undefined));
    signal?.addEventListener("abort", () => done(undefined), { once: true });
  });
}

async function finish(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
  folder: string,
): Promise<Finished> {
  const [file = "", ...args] = command;
  const child = spawn(file, args, { cwd: folder, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const exitCode = await new Promise<number | null>((done, fail) => {
    child.once("error", fail);
    child.once("close", done);
  });
  return { exitCode, output };
}

interface Guardian {
  /** Lets it end what is left, and waits for it. */
  readonly end: () => Promise<void>;
}

function spawnGuardian(mark: string, environment: Variables): Guardian {
  const tsx = createRequire(import.meta.url).resolve("tsx");
  const script = fileURLToPath(new URL("./guardian.ts", import.meta.url));
  const { NODE_OPTIONS, NODE_V8_COVERAGE, ...env } = environment;
  const child = spawn(process.execPath, ["--import", pathToFileURL(tsx).href, script, mark], {
    cwd: "/",
    env,
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  // A process that forgets to stop Airflow must still be able to end; the guardian sees to the rest.
  child.unref();
  return {
    end: async () => {
      child.ref();
      const gone = ended(child);
      child.stdin.end();
      await Promise.race([gone, pause(10_000, undefined, { ref: false })]);
    },
  };
}

function composeLacks(name: string): AirflowError {
  return new AirflowError({ code: "compose", message: `docker-compose.yml has no service ${name}` });
}

function serviceFailed(name: string, log: string): AirflowError {
  return new AirflowError({
    code: "service_failed",
    message: `${name} failed. The end of ${log}:\n${tailOf(log)}`,
  });
}
