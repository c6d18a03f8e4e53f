/** Connections and transactions. A transaction stays on one client, as COPY and locks need it. */
import { drizzle, type NodePgDatabase } from "drizzle-orm/node-postgres";
import pg from "pg";
import { explainConnectionError } from "./connection/connect_error.ts";
import { announcedProcess, askInTime, refuseSharedSessions } from "./connection/pooler.ts";
import { explainRefusal, replicationRoleError } from "./connection/refusal.ts";
import { errorState, isConnectionLost, RollbookError, SQLSTATE } from "./errors.ts";
import { type WaitListener, type Waits, watchWaits } from "./waits/watch.ts";

/** One connection: drizzle for statements, the client itself for COPY and cursors. */
export interface Session {
  readonly client: pg.PoolClient;
  readonly db: NodePgDatabase;
  readonly waits: Waits;
}

/** A session with an open transaction. */
export type Transaction = Session & { readonly transaction: true };

export interface Database {
  readonly pool: pg.Pool;
  /** For messages: where this database is, without a password. */
  readonly place: string;
  /** Who is told of long waits for locks. */
  readonly waits: Waits;
}

const KEEPALIVE_SECONDS = 30;

/**
 * What every session of ours sets, whatever the server, the database, the login or PGOPTIONS say. The server's
 * timeouts must not end a load. A client that is gone must give its claim back within seconds: keepalives find a
 * dead machine, the connection check a dead process. Texts must not depend on the server's configuration, nor what
 * a statement means. The last ones are hints that the planner gets for other work: without them a load is as right,
 * and may take for ever.
 *
 * `default_transaction_read_only` is not among them: somebody may have meant it. Then what reads works, and what
 * writes says why it cannot.
 */
const SESSION_SETTINGS: Readonly<Record<string, string>> = {
  search_path: "pg_catalog",
  datestyle: "ISO, YMD",
  intervalstyle: "iso_8601",
  timezone_abbreviations: "Default",
  extra_float_digits: "1",
  bytea_output: "hex",
  quote_all_identifiers: "off",
  standard_conforming_strings: "on",
  array_nulls: "on",
  transform_null_equals: "off",
  row_security: "on",
  restrict_nonsystem_relation_kind: "",
  default_transaction_isolation: "read committed",
  default_transaction_deferrable: "off",
  exit_on_error: "off",
  statement_timeout: "0",
  lock_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  idle_session_timeout: "0",
  transaction_timeout: "0",
  tcp_keepalives_idle: String(KEEPALIVE_SECONDS),
  tcp_keepalives_interval: "10",
  tcp_keepalives_count: "3",
  tcp_user_timeout: "0",
  "plpgsql.extra_errors": "none",
  "plpgsql.extra_warnings": "none",
  debug_parallel_query: "off",
  constraint_exclusion: "partition",
  plan_cache_mode: "auto",
  enable_bitmapscan: "on",
  enable_hashagg: "on",
  enable_hashjoin: "on",
  enable_indexonlyscan: "on",
  enable_indexscan: "on",
  enable_material: "on",
  enable_memoize: "on",
  enable_mergejoin: "on",
  enable_nestloop: "on",
  enable_partition_pruning: "on",
  enable_seqscan: "on",
  enable_sort: "on",
};

/**
 * Opens a pool. Nothing is connected before the first use.
 *
 * @param options.connection how to connect, in node-postgres' terms
 * @param options.max greatest number of connections, default 4. One more looks now and then while a session has
 *   been in use for long
 * @param options.onWait takes each wait for a lock of another session that lasts longer than `reportWaitsAfterMs`,
 *   default 5000
 * @param options.settings what each session sets in place of what it would else: names and values of the server's settings
 */
export function openDatabase(options: {
  readonly connection: pg.ClientConfig;
  readonly max?: number;
  readonly settings?: Readonly<Record<string, string>>;
  readonly onWait?: WaitListener | undefined;
  readonly reportWaitsAfterMs?: number | undefined;
}): Database {
  const connection: pg.ClientConfig = {
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_SECONDS * 1000,
    connectionTimeoutMillis: 15_000,
    application_name: "rollbook",
    types: plainTypes,
    ...options.connection,
  };
  const place = describePlace(connection);
  const settings = { ...SESSION_SETTINGS, ...options.settings };
  let checked: Promise<void> | undefined;
  /** Once for all connections, unless it fails: the pooler may be set right meanwhile. */
  const checkPooler = (client: pg.ClientBase) => {
    checked ??= refuseSharedSessions({ client, connection, place }).catch((error: unknown) => {
      checked = undefined;
      throw error;
    });
    return checked;
  };
  const processes = new WeakMap<pg.ClientBase, number>();
  const pool = new pg.Pool({
    ...connection,
    max: options.max ?? 4,
    onConnect: async (client) => {
      processes.set(client, await prepareSession({ client, place, checkPooler, settings }));
    },
  });
  // An idle connection that breaks is replaced at its next use; without a listener it would end the process.
  pool.on("error", () => {});
  const waits = watchWaits({
    pool,
    connection,
    processOf: (client) => processes.get(client),
    afterMs: options.reportWaitsAfterMs,
    onWait: options.onWait,
  });
  return { pool, place, waits };
}

interface Preparation {
  readonly client: pg.ClientBase;
  readonly place: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly checkPooler: (client: pg.ClientBase) => Promise<void>;
}

/**
 * Sets what {@link SESSION_SETTINGS} says, and what the caller wants. A session that is reached through a pooler is checked first, and
 * nothing is set on it before: a direct connection is told by the process that answers, in the same statement.
 *
 * @returns the server's process of this session
 */
async function prepareSession(preparation: Preparation): Promise<number> {
  const { client, place, checkPooler } = preparation;
  let answering = await setSettings(preparation, announcedProcess(client));
  if (!answering.ours) {
    await checkPooler(client);
    answering = await setSettings(preparation, undefined);
  }
  if (answering.replication !== "origin") await fireTriggers(client, place);
  // Not every platform of the server can watch a connection; then a dead client is noticed at the next write
  // to it.
  await client
    .query("select set_config('client_connection_check_interval', '1s', false)")
    .catch((error: unknown) => {
      const state = errorState(error);
      if (state !== SQLSTATE.invalidParameterValue && state !== SQLSTATE.undefinedObject) throw error;
    });
  return answering.process;
}

/**
 * @param expected sets nothing unless this process answers; undefined: whichever does
 * @returns which process answers, and whether it is that one
 */
async function setSettings(
  { client, place, settings }: Preparation,
  expected: number | null | undefined,
): Promise<Answering> {
  const wanted = Object.entries(settings);
  // An old server does not know them all. A later check says that it is too old.
  const text = `with answering (ours) as (select $1 or coalesce(pg_backend_pid() = $2, false))
     select ours, pg_backend_pid() as process, current_setting('session_replication_role') as replication,
            (select count(set_config(name, value, false))
             from unnest($3::text[], $4::text[]) as wanted (name, value)
             where ours and current_setting(name, true) <> value),
            -- Off, a crash of the server loses commits that were reported, and whose files are archived by then.
            (select set_config('synchronous_commit', 'on', false)
             where ours and current_setting('synchronous_commit') = 'off')
     from answering`;
  const values = [
    expected === undefined,
    expected ?? null,
    wanted.map(([name]) => name),
    wanted.map(([, value]) => value),
  ];
  const [answering] = await askInTime<Answering & pg.QueryResultRow>(client, place, { text, values });
  if (answering === undefined) throw new Error("a select without a table returned no row");
  return answering;
}

interface Answering {
  readonly process: number;
  readonly ours: boolean;
  /** `session_replication_role`: triggers fire where it is `origin`. */
  readonly replication: string;
}

/**
 * Only who has a right to this setting can take back what a superuser has set for the login.
 *
 * @throws RollbookError `configuration`
 */
async function fireTriggers(client: pg.ClientBase, place: string): Promise<void> {
  try {
    await client.query("select set_config('session_replication_role', 'origin', false)");
  } catch (error) {
    if (errorState(error) !== SQLSTATE.insufficientPrivilege) throw error;
    throw await replicationRoleError(client, place);
  }
}

const TEXT_TYPES: ReadonlySet<number> = new Set([
  pg.types.builtins.DATE,
  pg.types.builtins.TIMESTAMP,
  pg.types.builtins.TIMESTAMPTZ,
  pg.types.builtins.INTERVAL,
]);

/** Dates and instants stay the texts that PostgreSQL prints; the driver would make them local `Date`s. */
export const plainTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") =>
    TEXT_TYPES.has(oid)
      ? (value: string) => value
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

/**
 * Bytes per sort. With less, sorting and grouping a drop, or the invoices of a partition, would use the disk.
 */
const LEAST_WORK_MEM = 128 * 1024 * 1024;

/** A statement that gives the transaction that memory for each sort, unless the server allows more. */
export const ALLOW_WORK_MEM = `select set_config('work_mem', greatest(pg_size_bytes(current_setting('work_mem')), ${LEAST_WORK_MEM}) / 1024 || 'kB', true)`;

function describePlace(connection: pg.ClientConfig): string {
  const host = connection.host ?? "localhost";
  const where = host.startsWith("/") ? `socket ${host}` : `${host}:${connection.port ?? 5432}`;
  return `database ${connection.database ?? "(default)"} at ${where}`;
}

/**
 * Runs `work` in one transaction on one connection and commits; any error rolls back.
 *
 * @param options.isolation default `read committed`: each statement sees what was committed before it
 * @param options.opening statements to be sent along with BEGIN, which spares a round trip each
 * @param options.signal when it aborts, the connection is cut, so that a statement in progress ends and the
 *   server rolls back; the call then rejects with a RollbookError `aborted`
 */
export async function withTransaction<T>(
  options: {
    readonly database: Database;
    readonly isolation?: "read committed" | "repeatable read";
    readonly opening?: readonly string[];
    readonly signal?: AbortSignal | undefined;
  },
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return withSession(options, (session) => inTransaction(session, work, options));
}

/** The same on a session that is open already. */
export async function inTransaction<T>(
  session: Session,
  work: (tx: Transaction) => Promise<T>,
  options: {
    readonly isolation?: "read committed" | "repeatable read";
    readonly opening?: readonly string[];
  } = {},
): Promise<T> {
  const begin = `begin isolation level ${options.isolation ?? "read committed"}`;
  await session.client.query([begin, ...(options.opening ?? [])].join(";"));
  try {
    const result = await work({ ...session, transaction: true });
    await session.client.query("commit");
    return result;
  } catch (error) {
    await session.client.query("rollback").catch(() => {});
    throw error;
  }
}

/** The same without a transaction: each statement commits by itself. For what cannot run in a transaction. */
export async function withSession<T>(
  options: { readonly database: Database; readonly signal?: AbortSignal | undefined },
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { database, signal } = options;
  const client = await connect(database, signal);
  if (signal?.aborted) {
    client.release();
    throw abortedError(signal);
  }
  let cut = false;
  const cutConnection = () => {
    cut = true;
    client.release(true);
  };
  // A connection that breaks emits this event too. Without a listener it would end the process; the statement
  // in progress fails anyway.
  const ignore = () => {};
  client.on("error", ignore);
  signal?.addEventListener("abort", cutConnection, { once: true });
  let broken = false;
  try {
    return await work({ client, db: drizzle({ client }), waits: database.waits });
  } catch (error) {
    broken = isConnectionLost(error);
    if (signal?.aborted) throw abortedError(signal);
    throw broken ? error : await explainRefusal(error, client, database.place);
  } finally {
    signal?.removeEventListener("abort", cutConnection);
    client.off("error", ignore);
    if (!cut) client.release(broken);
  }
}

function abortedError(signal: AbortSignal): RollbookError {
  return new RollbookError({ code: "aborted", message: "interrupted: rolled back", cause: signal.reason });
}

async function connect(database: Database, signal: AbortSignal | undefined): Promise<pg.PoolClient> {
  if (signal?.aborted) throw abortedError(signal);
  try {
    return await database.pool.connect();
  } catch (error) {
    throw explainConnectionError(error, database.place);
  }
}
