/** Starts the server, and a keeper that stops it if all its users are killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { createRequire } from "node:module";
import { setPriority } from "node:os";
import { fileURLToPath, pathToFileURL } from "node:url";
import { SQLSTATE } from "../errors.ts";
import { chooseAccount } from "./account.ts";
import { PORT } from "./address.ts";
import { ensureCluster } from "./cluster.ts";
import { openLog, readLog } from "./log.ts";
import { makeSocketDir, type Place } from "./place.ts";
import { isAlive, isServerOf, readPostmaster } from "./postmaster.ts";
import { cannotRun, hasEnded, loadBinaries, run } from "./programs.ts";

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: "",
  max_connections: "100",
  // A view over ten years of daily partitions locks thousands of tables and indexes.
  max_locks_per_transaction: "1024",
  shared_buffers: "256MB",
  maintenance_work_mem: "256MB",
  max_wal_size: "4GB",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  // A killed client's statement ends, instead of running on and holding its locks.
  client_connection_check_interval: "1s",
  // With the SQLSTATE, so that a failed start is recognised by code and not by text.
  log_line_prefix: "%m [%p] %e ",
};

export interface StartOptions {
  /** Further server settings, by name. Only whoever starts the server applies them; meant for tests. */
  readonly settings?: Readonly<Record<string, string>>;
  /**
   * Whether the server gets a keeper, default true. Without one it runs on when all its users are killed.
   * Meant for tests that kill the server over and over, which would spend most of their time on starting
   * keepers.
   */
  readonly keeper?: boolean;
  /** Called before a step that takes long: creating the data folder, starting, recovering. */
  readonly onProgress?: (message: string) => void;
  /** Aborts the opening. */
  readonly signal?: AbortSignal;
}

export interface Start {
  readonly keeper: ChildProcess | undefined;
  /** Whether this start made the data folder. */
  readonly created: boolean;
  /**
   * The state of the server's process. `locked`: it has ended because another one still uses the data folder.
   *
   * @throws RollbookError `embedded_server` when the program could not be run at all.
   */
  outcome(): "runs" | "locked" | "failed";
  /** The entries of the log since the start. */
  log(): string;
}

/** Starts the server, and does not wait until it is ready. */
export async function startServer(place: Place, options: StartOptions): Promise<Start> {
  const { settings, onProgress, signal } = options;
  const binaries = await loadBinaries();
  const account = chooseAccount(place, binaries);
  const durable = settings?.fsync !== "off";
  const created = await ensureCluster({ place, binaries, account, durable, onProgress, signal });
  const socketDir = makeSocketDir(place, account);
  const log = openLog(place, account);
  try {
    const keeper = options.keeper === false ? undefined : spawnKeeper(place, log.fd);
    onProgress?.("starting the embedded PostgreSQL");
    const server = run(binaries.postgres, {
      args: serverArguments(place, socketDir, settings),
      account,
      stdio: ["ignore", log.fd, log.fd],
      env: staleId(place),
    });
    const sinceStart = () => readLog(place, log.size);
    return { keeper, created, outcome: watchServer(server, keeper, sinceStart), log: sinceStart };
  } finally {
    closeSync(log.fd);
  }
}

function serverArguments(
  place: Place,
  socketDir: string,
  settings: StartOptions["settings"],
): readonly string[] {
  return [
    ...["-D", place.data, "-p", String(PORT)],
    // The setting is a list. The quotes allow commas in a folder's name.
    ...["-c", `unix_socket_directories="${socketDir.replaceAll('"', '""')}"`],
    ...Object.entries({ ...SETTINGS, ...settings }).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
}

/** Ends the keeper with the server. Returns the function that reads the outcome. */
function watchServer(
  server: ChildProcess,
  keeper: ChildProcess | undefined,
  log: () => string,
): Start["outcome"] {
  let error: Error | undefined;
  server.once("error", (cause) => {
    error = cause;
    keeper?.kill();
  });
  // It lost the race, failed, or was stopped. If a server runs now, its own starter has given it a keeper.
  server.once("exit", () => keeper?.kill());
  server.unref();
  return () => {
    if (error !== undefined) throw cannotRun(error);
    if (!hasEnded(server)) return "runs";
    // Another server, or a process left over from one, still uses the data folder.
    return log().includes(` ${SQLSTATE.lockFileExists} `) ? "locked" : "failed";
  };
}

/**
 * After a crash, the process id in `postmaster.pid` may belong to another program of the same user, and
 * PostgreSQL refuses to start then. It never takes its own ancestors for another server, so the id is passed
 * as that of an ancestor. All its other checks (shared memory in use) still apply. Source: CreateLockFile in
 * src/backend/utils/init/miscinit.c.
 */
function staleId(place: Place): NodeJS.ProcessEnv {
  const left = readPostmaster(place);
  if (left === undefined || !isAlive(left.pid) || isServerOf(left, place)) return {};
  return { PG_GRANDPARENT_PID: String(left.pid) };
}

/** What Node is to run: beside a built program dist/keeper.js, beside this source keeper.ts. */
function keeperScript(): readonly string[] {
  if (import.meta.url.endsWith(".js")) return [fileURLToPath(new URL("./keeper.js", import.meta.url))];
  const tsx = createRequire(import.meta.url).resolve("tsx");
  return ["--import", pathToFileURL(tsx).href, fileURLToPath(new URL("./keeper.ts", import.meta.url))];
}

function spawnKeeper(place: Place, log: number): ChildProcess {
  const { NODE_OPTIONS, NODE_V8_COVERAGE, DATABASE_URL, ...inherited } = process.env;
  // It lives longer than the command, and does not need the password of another server, nor the key to a receiver of lineage.
  const env = Object.fromEntries(
    Object.entries(inherited).filter(([name]) => !/^(PG|ROLLBOOK_OPENLINEAGE_)/.test(name)),
  );
  const keeper = spawn(process.execPath, [...keeperScript(), place.home, String(process.pid)], {
    cwd: "/",
    env,
    detached: true,
    stdio: ["ignore", log, log],
  });
  keeper.on("error", () => {});
  keeper.unref();
  try {
    // The keeper can wait; the start of the server cannot.
    if (keeper.pid !== undefined) setPriority(keeper.pid, 10);
  } catch {
    // It has ended already, or this is not allowed: neither matters.
  }
  return keeper;
}
