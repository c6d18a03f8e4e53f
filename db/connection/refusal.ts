/** Errors of the server that a setting of it makes: which one, who set it, and what to do. */
import pg from "pg";
import { errorState, RollbookError, rootCause, SQLSTATE } from "../errors.ts";

/** Queries over all partitions that must fit beside each other. */
export const READERS = 8;

/**
 * Replaces such an error by one that names the setting; returns any other error as it is.
 *
 * @param client the session on which it came, with no transaction open
 * @param place for messages: where the database is
 */
export async function explainRefusal(error: unknown, client: pg.ClientBase, place: string): Promise<unknown> {
  if (error instanceof RollbookError) return error;
  try {
    switch (errorState(error)) {
      case SQLSTATE.readOnlyTransaction:
        return (await readOnlyError(client, place, error)) ?? error;
      case SQLSTATE.outOfMemory:
        return isLockTableFull(error) ? await lockTableError(client, place, error) : error;
      case SQLSTATE.configurationLimit: {
        const limit = await whoSet(client, "temp_file_limit");
        return configurationError(
          `${sayCause(error)}. ${limit} Raise it for this login: -1 is no limit.`,
          error,
        );
      }
      default:
        return error;
    }
  } catch {
    // The session cannot be asked any more, so the error stays as it was.
    return error;
  }
}

/** Why nothing can be written; undefined where only this transaction was opened to read. */
async function readOnlyError(
  client: pg.ClientBase,
  place: string,
  cause: unknown,
): Promise<RollbookError | undefined> {
  const { rows } = await client.query<{ standby: boolean; read_only: boolean }>(
    `select pg_is_in_recovery() as standby, current_setting('default_transaction_read_only')::boolean as read_only`,
  );
  const [server] = rows;
  if (server?.standby === true) {
    return configurationError(
      `the server of the ${place} is a standby, where nothing can be written. Name the primary in DATABASE_URL or PGHOST.`,
      cause,
    );
  }
  if (server?.read_only !== true) return undefined;
  const why = await whoSet(client, "default_transaction_read_only");
  return configurationError(
    `nothing can be written to the ${place}: ${why} Somebody may have meant it; if not, reset it, or connect as another user.`,
    cause,
  );
}

/** The error for a setting that only a superuser could change, and that keeps our triggers from firing. */
export async function replicationRoleError(client: pg.ClientBase, place: string): Promise<RollbookError> {
  const why = await whoSet(client, "session_replication_role");
  return configurationError(
    `rollbook does not work on the ${place} like this: ${why} Triggers that guard the warehouse would not fire. Reset it, or connect as another user.`,
    undefined,
  );
}

/** The hint of PostgreSQL holds the name of the setting, in any language. */
function isLockTableFull(error: unknown): boolean {
  const cause = rootCause(error);
  return cause instanceof pg.DatabaseError && /max_(?:pred_)?locks_per_transaction/.test(cause.hint ?? "");
}

/** The room that the server's lock table has for all sessions together. */
export interface LockTable {
  /** `max_locks_per_transaction` */
  readonly perTransaction: number;
  /** Sessions that it is made for. */
  readonly sessions: number;
  readonly locks: number;
}

export async function readLockTable(client: pg.ClientBase): Promise<LockTable> {
  const { rows } = await client.query<{ perTransaction: number; sessions: number }>(
    `select current_setting('max_locks_per_transaction')::int as "perTransaction",
            current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int as sessions`,
  );
  const { perTransaction = 0, sessions = 0 } = rows[0] ?? {};
  return { perTransaction, sessions, locks: perTransaction * sessions };
}

/** What `max_locks_per_transaction` must be for so many locks at once; a multiple of its default. */
export function settingForLocks(locks: number, { sessions }: LockTable): number {
  return Math.ceil(locks / sessions / 64) * 64;
}

async function lockTableError(client: pg.ClientBase, place: string, cause: unknown): Promise<RollbookError> {
  const room = await readLockTable(client);
  const { perTransaction, sessions, locks } = room;
  // Tables and indexes of partitions.
  const { rows } = await client.query<{ relations: number }>(
    `select count(*)::integer as relations
     from pg_inherits i
     join pg_class p on p.oid = i.inhparent
     join pg_namespace n on n.oid = p.relnamespace and n.nspname = 'warehouse'`,
  );
  const { relations = 0 } = rows[0] ?? {};
  const needed = Math.max(2 * perTransaction, settingForLocks(relations * READERS, room));
  return new RollbookError({
    code: "out_of_locks",
    message:
      `${sayCause(cause)}: the lock table of the server of the ${place} is full. It has room for some ${locks} locks ` +
      `(max_locks_per_transaction is ${perTransaction}, for ${sessions} sessions), and the partitions have ${relations} ` +
      `tables and indexes, each of which a query over all of them locks. ${await nameGreediest(client, locks)}` +
      `Raise the setting and restart the server: alter system set max_locks_per_transaction = ${needed}`,
    cause,
  });
}

/**
 * Names a session that holds a quarter of all locks or more. What is read here is found without a further lock: the
 * views of the roles and the sessions would take some.
 */
async function nameGreediest(client: pg.ClientBase, room: number): Promise<string> {
  const { rows } = await client.query<{ pid: number; locks: number; advisory: number }>(
    `select pid, count(*)::integer as locks, (count(*) filter (where locktype = 'advisory'))::integer as advisory
     from pg_lock_status() as locks
     where pid <> pg_backend_pid()
     group by pid
     order by locks desc
     limit 1`,
  );
  const [most] = rows;
  if (most === undefined || most.locks < room / 4) return "";
  const { pid, locks } = most;
  const user = await nameOfUser(client, pid);
  const advisory = most.advisory > locks / 2 ? `, ${most.advisory} of them advisory locks` : "";
  return (
    `Pid ${pid}${user === undefined ? "" : ` (user ${user})`} holds ${locks} locks${advisory}: ` +
    `if it should not, end it: select pg_terminate_backend(${pid}). `
  );
}

async function nameOfUser(client: pg.ClientBase, pid: number): Promise<string | undefined> {
  const { rows } = await client
    .query<{ user: string }>(`select pg_get_userbyid(usesysid) as "user" from pg_stat_get_activity($1)`, [
      pid,
    ])
    // The name takes a lock, unless this session has looked it up before.
    .catch(() => ({ rows: [] }));
  return rows[0]?.user;
}

interface Setting {
  readonly setting: string;
  readonly source: string;
  readonly user: string;
  readonly database: string;
}

/** A sentence: the value of a setting, who set it, and how it is taken back. */
async function whoSet(client: pg.ClientBase, name: string): Promise<string> {
  const { rows } = await client.query<Setting>(
    `select setting, source, session_user as "user", current_database() as database
     from pg_settings where name = $1`,
    [name],
  );
  const [found] = rows;
  if (found === undefined) return `${name} is set.`;
  return `${name} is ${found.setting}, ${describeSource(name, found)}.`;
}

function describeSource(name: string, { source, user, database }: Setting): string {
  const role = pg.escapeIdentifier(user);
  const base = pg.escapeIdentifier(database);
  switch (source) {
    case "user":
      return `set for the login ${user} (to reset it: alter role ${role} reset ${name})`;
    case "database":
      return `set for the database ${database} (to reset it: alter database ${base} reset ${name})`;
    case "database user":
      return `set for the login ${user} in the database ${database} (to reset it: alter role ${role} in database ${base} reset ${name})`;
    case "global":
      return `set for all logins (to reset it: alter role all reset ${name})`;
    case "client":
      return "set by the options of the connection (PGOPTIONS, or options in DATABASE_URL)";
    default:
      return `set in the configuration of the server (source: ${source})`;
  }
}

function configurationError(message: string, cause: unknown): RollbookError {
  return new RollbookError({ code: "configuration", message, cause });
}

function sayCause(error: unknown): string {
  const cause = rootCause(error);
  return cause instanceof Error ? cause.message : String(cause);
}
