/** How the console reaches the warehouse: only to read, only the schema `reports`, and not for long. */
import { sql } from "drizzle-orm";
import type pg from "pg";
import { type Database, openDatabase, type Session, withSession, withTransaction } from "../db/client.ts";
import { ROLES } from "../db/roles/rights.ts";
import type { Settings } from "../db/schema.ts";
import { readRevision } from "../etl/reports/revision.ts";
import { type Changes, watchChanges } from "./changes.ts";
import { createMemory, type Memory } from "./memory.ts";
import type { Asking } from "./page.ts";

/** Pages that are read at once; others wait. */
const CONNECTIONS = 6;
/** How long a page waits for what takes long in a large warehouse. */
const WAIT_MS = 100;
/** A look for what has changed is given up after so long. */
const LOOK_MS = 1000;

export interface Reports {
  readonly database: Database;
  readonly settings: Settings;
  /** As which role it reads; undefined where the warehouse has no roles, or the login is no member of the reader's. */
  readonly role: string | undefined;
  readonly memory: Memory;
  readonly changes: Changes;
}

/**
 * Opens sessions that can only read. Where the warehouse has roles they read as the reader: so what the login may do besides is out of
 * reach of whoever finds a hole in a page.
 *
 * @param options.warehouse an open database, to find out which role there is
 * @param options.connection how to connect, in node-postgres' terms
 * @param options.lookEveryMs how often it is looked for changes, while somebody listens
 * @param options.signal ends that
 */
export async function openReports(options: {
  readonly warehouse: Database;
  readonly connection: pg.ClientConfig;
  readonly settings: Settings;
  readonly statementTimeoutMs: number;
  readonly lookEveryMs: number;
  readonly signal: AbortSignal;
}): Promise<Reports> {
  const { warehouse, connection, settings, statementTimeoutMs, lookEveryMs } = options;
  const isReader = await withSession({ database: warehouse }, canBeReader);
  const role = isReader ? ROLES.reader : undefined;
  const database = openDatabase({
    connection: { ...connection, application_name: "rollbook serve" },
    max: CONNECTIONS,
    settings: {
      default_transaction_read_only: "on",
      statement_timeout: String(statementTimeoutMs),
      timezone: settings.timeZone,
      ...(role && { role }),
    },
  });
  const opening = [`set local statement_timeout = ${Math.min(LOOK_MS, statementTimeoutMs)}`];
  const changes = watchChanges({
    read: (signal) => withTransaction({ database, signal, opening }, readRevision),
    everyMs: lookEveryMs,
    signal: options.signal,
  });
  return { database, settings, role, memory: createMemory({ waitMs: WAIT_MS }), changes };
}

/** The role may be there and not be this warehouse's: roles are the server's. */
async function canBeReader({ db }: Session): Promise<boolean> {
  const { rowCount } = await db.execute(sql`
    select
    from pg_roles
    where rolname = ${ROLES.reader} and pg_has_role(oid, 'set') and has_schema_privilege(oid, 'reports', 'usage')`);
  return rowCount === 1;
}

/** Runs `work` in one snapshot, so that all numbers of a page belong together. */
export function inSnapshot<T>(asking: Snapshot, work: (db: Session["db"]) => Promise<T>): Promise<T> {
  return withSnapshot(asking, ({ db }) => work(db));
}

type Snapshot = Pick<Asking, "database"> & { readonly signal?: AbortSignal };

/** The same with the session itself, for rows that come one by one. */
export function withSnapshot<T>(asking: Snapshot, work: (session: Session) => Promise<T>): Promise<T> {
  const { database, signal } = asking;
  return withTransaction(
    { database, signal, isolation: "repeatable read", opening: ["set transaction read only"] },
    work,
  );
}
