/**
 * Runs the services of docker-compose.yml as processes of this machine: the same commands in the same environment, with the containers'
 * places replaced by local ones. Airflow's own database is an embedded PostgreSQL in the home.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { type EmbeddedServer, openEmbeddedServer } from "../../db/embedded/server.ts";
import { COMPOSE_FILE } from "./checkout.ts";
import { findReferences, type Variables } from "./compose.ts";
import { localizeServices } from "./environment.ts";
import { aborted } from "./errors.ts";
import { type HomeLock, lockHome } from "./home_lock.ts";
import { initialize } from "./init.ts";
import type { Database } from "./places.ts";
import { findPort, LOOPBACK } from "./ports.ts";
import { homeMark, killMarked, MARK, markOf, startProcess } from "./processes.ts";
import type { Python } from "./python.ts";
import { openRest, type Rest, untilHealthy } from "./rest.ts";
import { readSecrets } from "./secrets.ts";
import { type ServiceName, type Services, superviseServices } from "./services.ts";
import { spawnGuardian } from "./spawn_guardian.ts";

export interface AirflowOptions {
  /** Folder of everything that this Airflow keeps; made if it is not there. One Airflow at a time runs in a home. */
  readonly home: string;
  readonly inbox: string;
  /** The folder of the sources; undefined: there are none. */
  readonly sources?: string | undefined;
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

export interface Airflow extends Pick<Services, "pids" | "processes" | "kill" | "restart"> {
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
/** The database of Airflow's own data. */
const METADATA = "airflow";
const USER = "admin";

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
  mkdirSync(join(home, "postgres"), { recursive: true });
  // Airflow writes its settings with keys, and the password of its pages, readable for a group.
  for (const folder of ["home", "logs"]) {
    mkdirSync(join(home, folder), { recursive: true });
    chmodSync(join(home, folder), 0o700);
  }
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
    await lock.ensureDatabase(METADATA);
    const airflow = await startServices({ options, home, server, lock, undo, stop });
    lock.announce(airflow.url);
    return airflow;
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

interface Starting {
  readonly options: AirflowOptions;
  readonly home: string;
  readonly server: EmbeddedServer;
  readonly lock: HomeLock;
  /** What is to be done at the end, the last first. */
  readonly undo: (() => Promise<void>)[];
  readonly stop: () => Promise<void>;
}

async function startServices({ options, home, server, lock, undo, stop }: Starting): Promise<Airflow> {
  const { signal, onLog, python, inbox, sources, warehouse, environment, overrides } = options;
  const mark = { home: homeMark(home), run: randomBytes(6).toString("hex") };
  // Of a runner that was killed together with its guardian, or whose guardian is still at it.
  await killMarked(`${mark.home}:`);
  const guardian = spawnGuardian(markOf({ ...mark, service: "" }), environment);
  undo.push(guardian.end);

  const metadata: Database = { host: server.host, port: server.port, user: server.user, database: METADATA };
  const port = await findPort(options.port ?? 0, options.orNextPort ?? false);
  const url = `http://localhost:${port}`;
  const secrets = readSecrets(home, findSecrets());
  const password = secrets.AIRFLOW_ADMIN_PASSWORD ?? "";
  const airflowHome = join(home, "home");
  const variables = { ...options.variables, ...secrets, AIRFLOW_PORT: String(port), AIRFLOW_URL: url };
  const local = await localizeServices({
    airflowHome,
    inbox,
    sources,
    python,
    metadata,
    warehouse,
    port,
    variables,
    environment,
    overrides,
  });
  const environmentOf = (name: string) => ({
    ...local.environmentOf(name),
    [MARK]: markOf({ ...mark, service: name }),
  });
  const logOf = (name: string) => join(home, "logs", `${name.replace(/^airflow-/, "")}.log`);
  const launch = (name: string, append = false) =>
    startProcess({
      command: local.commandOf(name),
      environment: environmentOf(name),
      folder: airflowHome,
      log: logOf(name),
      append,
    });
  const services = superviseServices({ launch, logOf, mark, onLog });
  undo.push(services.end, async () => lock.withdraw());

  await initialize({ postgres: join(home, "postgres"), launch, environmentOf, logOf, signal, onLog });
  if (signal?.aborted) throw aborted(signal.reason);
  const began = Date.now();
  onLog?.("starting the API server, scheduler, DAG processor and triggerer");
  services.start();
  const rest = openRest({ url: `http://${LOOPBACK}:${port}`, user: USER, password });
  const { requireStarts, pids, processes, kill, restart } = services;
  await untilHealthy({ rest, since: began, withinMs: HEALTHY_WITHIN_MS, signal, onPoll: requireStarts });

  return {
    url,
    user: USER,
    password,
    rest,
    metadata,
    pids,
    processes,
    kill,
    restart,
    stop,
    environment: environmentOf,
    log: logOf,
    taskLogs: join(airflowHome, "logs"),
    untilHealthy: ({ since = Date.now(), withinMs = HEALTHY_WITHIN_MS } = {}) =>
      untilHealthy({ rest, since, withinMs, signal }),
    run: (command) => finish(local.localize(command), environmentOf("airflow-scheduler"), airflowHome),
  };
}

/** Names of what docker-compose.yml cannot do without. */
function findSecrets(): readonly string[] {
  return findReferences(COMPOSE_FILE).flatMap(({ name, kind }) => (kind === "required" ? [name] : []));
}

/** Runs a command to its end. */
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
