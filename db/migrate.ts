/** Brings the warehouse's schema to the version of this code, and fixes its settings. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { migrate as applyMigrations } from "drizzle-orm/node-postgres/migrator";
import pg from "pg";
import { type Database, LOCK, type Session, withSession } from "./client.ts";
import { errorState, RollbookError, SQLSTATE } from "./errors.ts";
import { actAsOwner, createRoles, findOwner, grantRights, handOver } from "./roles/grant.ts";
import { ROLES } from "./roles/rights.ts";
import { type Granularity, type Settings, settings, warehouseSettings } from "./schema.ts";

const MIGRATIONS_FOLDER = fileURLToPath(new URL("./migrations", import.meta.url));
const OLDEST_SERVER = 180_000;

export const DEFAULT_SETTINGS: Settings = {
  timeZone: "UTC",
  granularity: "month",
  earliest: "2000-01-01",
};

interface Journal {
  readonly entries: readonly { readonly when: number; readonly tag: string }[];
}

/** The migrations of this code, oldest first; `when` is their version, in milliseconds since 1970. */
export async function readJournal(): Promise<Journal["entries"]> {
  const journal: Journal = JSON.parse(await readFile(`${MIGRATIONS_FOLDER}/meta/_journal.json`, "utf8"));
  return journal.entries;
}

/**
 * Creates or migrates the warehouse, under an advisory lock: any number of processes may do it at once. Settings that are
 * left out are the ones the warehouse has, or the defaults on a new one.
 *
 * @throws RollbookError `unsupported_server`, `warehouse_newer`, `permission` (no right to create), `configuration`
 *   (an unknown time zone; settings that differ from those the warehouse was made with)
 */
export async function initWarehouse(options: {
  readonly database: Database;
  readonly timeZone?: string | undefined;
  readonly granularity?: Granularity | undefined;
  readonly earliest?: string | undefined;
  /**
   * Makes the roles of rights.ts, hands the warehouse to their owner, and gives the others their rights. Default false: what a warehouse has of them is
   * brought up to date.
   */
  readonly roles?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<Initialized> {
  return withSession(options, async (session) => {
    await checkServerVersion(session);
    await session.client.query("select pg_advisory_lock($1, 0)", [LOCK.migrate]);
    try {
      const owner = await prepareOwner(session, options);
      const applied = await migrate(session);
      const fixed = await fixSettings(session, options);
      const roles = owner === ROLES.owner;
      if (roles) await grantRights(session);
      return { ...fixed, applied, roles };
    } catch (error) {
      throw await explainPermission(error, session, ROLES.owner);
    } finally {
      // The session goes back to the pool.
      await session.client.query("reset role").catch(() => {});
      await session.client.query("select pg_advisory_unlock($1, 0)", [LOCK.migrate]).catch(() => {});
    }
  });
}

export interface Initialized {
  readonly settings: Settings;
  /** Tags of the migrations that were applied. */
  readonly applied: readonly string[];
  /** Whether there was no warehouse before. */
  readonly created: boolean;
  /** Whether the warehouse belongs to the role of its owner, and the other roles have their rights. */
  readonly roles: boolean;
}

/** Makes the roles where that is asked for, and has the session act as the owner of the warehouse, so that new objects belong to the owner whoever runs this. */
async function prepareOwner(
  session: Session,
  {
    roles = false,
    signal,
  }: { readonly roles?: boolean | undefined; readonly signal?: AbortSignal | undefined },
): Promise<string | undefined> {
  if (roles) {
    await createRoles(session);
    await handOver(session, signal);
  }
  const owner = roles ? ROLES.owner : await findOwner(session);
  if (owner === undefined) return undefined;
  const acting = await actAsOwner(session, owner);
  if (acting || owner !== ROLES.owner) return owner;
  throw Object.assign(new Error(`the session may not act as ${owner}`), {
    code: SQLSTATE.insufficientPrivilege,
  });
}

/** Applies what is missing; returns the tags. drizzle's migrator itself takes no lock (drizzle-orm issue 5769). */
async function migrate(session: Session): Promise<readonly string[]> {
  const journal = await readJournal();
  const version = await readVersion(session);
  refuseNewer(version, journal);
  const missing = journal.filter((entry) => version === undefined || entry.when > version);
  // Where nothing is missing, drizzle's migrator would still ask for the right to create schemas.
  if (missing.length === 0) return [];
  await applyMigrations(session.db, {
    migrationsFolder: MIGRATIONS_FOLDER,
    migrationsSchema: "warehouse",
    migrationsTable: "migrations",
  });
  return missing.map((entry) => entry.tag);
}

/**
 * The newest migration applied, or undefined where there is no warehouse.
 *
 * @throws the driver's error where the session may not look into the schema
 */
async function readVersion(session: Session): Promise<number | undefined> {
  const known = await session.client.query(
    "select to_regclass('warehouse.migrations') is not null as present",
  );
  if (known.rows[0]?.present !== true) return undefined;
  const newest = await session.client.query(
    "select max(created_at)::float8 as version from warehouse.migrations",
  );
  return newest.rows[0]?.version ?? undefined;
}

function refuseNewer(version: number | undefined, journal: Journal["entries"]): void {
  const newest = journal.at(-1);
  if (version === undefined || newest === undefined || version <= newest.when) return;
  throw new RollbookError({
    code: "warehouse_newer",
    message: `the warehouse was migrated by a newer rollbook (${new Date(version).toISOString()}; this one knows ${newest.tag}). Update rollbook.`,
  });
}

async function checkServerVersion(session: Session): Promise<void> {
  const result = await session.client.query(
    "select current_setting('server_version_num')::int as number, current_setting('server_version') as name",
  );
  refuseOldServer(result.rows[0]);
}

/**
 * @param server.number `server_version_num`, e.g. 180001; `server.name` is the version as the server writes it
 * @throws RollbookError `unsupported_server` below PostgreSQL 18
 */
export function refuseOldServer({ number, name }: { readonly number: number; readonly name: string }): void {
  if (number >= OLDEST_SERVER) return;
  throw new RollbookError({
    code: "unsupported_server",
    message: `rollbook needs PostgreSQL 18 or newer, this server is ${name}. Upgrade it, or name another in DATABASE_URL.`,
  });
}

async function fixSettings(
  session: Session,
  wanted: {
    timeZone?: string | undefined;
    granularity?: Granularity | undefined;
    earliest?: string | undefined;
  },
): Promise<{ settings: Settings; created: boolean }> {
  const timeZone = wanted.timeZone === undefined ? undefined : await findTimeZone(session, wanted.timeZone);
  const asked = { timeZone, granularity: wanted.granularity, earliest: wanted.earliest };
  const inserted = await session.db
    .insert(settings)
    .values({
      timeZone: timeZone ?? DEFAULT_SETTINGS.timeZone,
      granularity: wanted.granularity ?? DEFAULT_SETTINGS.granularity,
      earliest: wanted.earliest ?? DEFAULT_SETTINGS.earliest,
    })
    .onConflictDoNothing()
    .returning();
  const current = await selectSettings(session);
  const differing = (["timeZone", "granularity", "earliest"] as const).filter(
    (name) => asked[name] !== undefined && asked[name] !== current[name],
  );
  if (differing.length > 0) {
    const list = differing.map((name) => `${name} is ${current[name]}, not ${asked[name]}`).join("; ");
    throw new RollbookError({
      code: "configuration",
      message: `the settings of a warehouse are fixed when it is made: ${list}. Leave them out, or make another warehouse (another database or ROLLBOOK_HOME).`,
    });
  }
  return { settings: current, created: inserted.length > 0 };
}

async function findTimeZone(session: Session, name: string): Promise<string> {
  const found = await session.db.execute<{ name: string }>(
    sql`select name from pg_timezone_names where lower(name) = lower(${name}) order by name = ${name} desc limit 1`,
  );
  const zone = found.rows[0]?.name;
  if (zone !== undefined) return zone;
  throw new RollbookError({
    code: "configuration",
    message: `${JSON.stringify(name)} is no time zone that this PostgreSQL knows. Give a name like Europe/Berlin (select name from pg_timezone_names).`,
  });
}

async function selectSettings(session: Session): Promise<Settings> {
  const rows = await session.db
    .select({ timeZone: settings.timeZone, granularity: settings.granularity, earliest: settings.earliest })
    .from(settings);
  const [row] = rows;
  if (row === undefined) throw missingWarehouse();
  return row;
}

function missingWarehouse(cause?: unknown): RollbookError {
  return new RollbookError({
    code: "warehouse_missing",
    message: "there is no warehouse in this database yet. Run: rollbook init",
    cause,
  });
}

/**
 * Reads the settings of a warehouse that is there and of this code's version.
 *
 * @param options.reportsOnly whether nothing but the schema `reports` is going to be read: then the right to that is enough. Default false
 * @throws RollbookError `warehouse_missing`, `warehouse_newer`, `unsupported_server`, `permission`
 */
export async function readSettings(
  session: Session,
  { reportsOnly = false }: { readonly reportsOnly?: boolean | undefined } = {},
): Promise<Settings> {
  await checkServerVersion(session);
  const journal = await readJournal();
  try {
    if (reportsOnly && (await reportsTellVersion(session)))
      return await readReportedSettings(session, journal);
    const version = await readVersion(session);
    if (version === undefined) throw missingWarehouse();
    refuseNewer(version, journal);
    refuseOlder(version, journal);
    return await selectSettings(session);
  } catch (error) {
    throw await explainPermission(error, session, reportsOnly ? ROLES.reader : ROLES.loader);
  }
}

/** Whether the warehouse is there and new enough for its reports to say which version it is. */
async function reportsTellVersion({ client }: Session): Promise<boolean> {
  const found = await client.query(
    `select
     from pg_attribute a
     join pg_class c on c.oid = a.attrelid and c.relname = 'warehouse_settings'
     join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'reports'
     where a.attname = 'schema_version'`,
  );
  return found.rowCount === 1;
}

async function readReportedSettings({ db }: Session, journal: Journal["entries"]): Promise<Settings> {
  const [row] = await db.select().from(warehouseSettings);
  if (row === undefined) throw missingWarehouse();
  const { schemaVersion, ...reported } = row;
  refuseNewer(schemaVersion, journal);
  refuseOlder(schemaVersion, journal);
  return reported;
}

function refuseOlder(version: number, journal: Journal["entries"]): void {
  const newest = journal.at(-1);
  if (newest === undefined || version >= newest.when) return;
  throw new RollbookError({
    code: "warehouse_missing",
    message: `the warehouse is older than this rollbook (${newest.tag} is missing). Run: rollbook init`,
  });
}

/** Says which right is missing, and how it is given; other errors are passed on. `needed`: the role that has it, in a warehouse with roles. */
async function explainPermission(error: unknown, session: Session, needed: string): Promise<unknown> {
  if (error instanceof RollbookError || errorState(error) !== SQLSTATE.insufficientPrivilege) return error;
  const result = await session.client.query(
    `select session_user as "user", current_database() as database, pg_get_userbyid(n.nspowner) as owner,
            pg_has_role(session_user, n.nspowner, 'set') and not has_database_privilege(n.nspowner, current_database(), 'create')
              as may_not_create
     from (select) always
     left join pg_namespace n on n.nspname = 'warehouse'`,
  );
  const { user, database, owner, may_not_create: mayNotCreate } = result.rows[0];
  const name = pg.escapeIdentifier;
  const explain = (message: string) => new RollbookError({ code: "permission", message, cause: error });
  if (owner === null) {
    return explain(
      `user ${user} may not create the warehouse in database ${database}. As its owner run: grant create on database ${name(database)} to ${name(user)}`,
    );
  }
  if (owner === ROLES.owner && needed === ROLES.owner && mayNotCreate) {
    return explain(
      `role ${owner} may not create in database ${database}, which a migration takes. As the owner of the database run: grant create on database ${name(database)} to ${name(owner)}`,
    );
  }
  if (owner === ROLES.owner) {
    return explain(
      `user ${user} may not do this in database ${database}: that takes role ${needed}. As one who may, run: grant ${name(needed)} to ${name(user)}; or connect as a member of it.`,
    );
  }
  return explain(
    `user ${user} may not use the warehouse in database ${database}, which belongs to ${owner}. As ${owner} run: grant ${name(owner)} to ${name(user)}; or connect as ${owner}.`,
  );
}
