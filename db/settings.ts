/** The settings of a warehouse: fixed once something is loaded, read by every command. */
import { type SQL, sql } from "drizzle-orm";
import pg from "pg";
import { ALLOW_WORK_MEM, inTransaction, type Session, type Transaction } from "./client.ts";
import { RollbookError } from "./errors.ts";
import { LOCK, lockUntilEnd } from "./locks.ts";
import { explainPermission } from "./roles/permission.ts";
import { ROLES } from "./roles/rights.ts";
import { type Granularity, partitions, type Settings, settings, warehouseSettings } from "./schema.ts";
import {
  checkServerVersion,
  type Journal,
  readJournal,
  readVersion,
  refuseNewer,
  refuseOlder,
} from "./version.ts";

export const DEFAULT_SETTINGS: Settings = {
  timeZone: "UTC",
  granularity: "month",
  earliest: "2000-01-01",
  dayStarts: "00:00",
};

export async function fixSettings(
  session: Session,
  wanted: {
    timeZone?: string | undefined;
    granularity?: Granularity | undefined;
    earliest?: string | undefined;
    dayStarts?: string | undefined;
  },
): Promise<{ settings: Settings; created: boolean; changed: boolean }> {
  const timeZone = wanted.timeZone === undefined ? undefined : await findTimeZone(session, wanted.timeZone);
  const { granularity, earliest, dayStarts } = wanted;
  const asked = { timeZone, granularity, earliest, dayStarts };
  const inserted = await session.db
    .insert(settings)
    .values({
      timeZone: timeZone ?? DEFAULT_SETTINGS.timeZone,
      granularity: wanted.granularity ?? DEFAULT_SETTINGS.granularity,
      earliest: wanted.earliest ?? DEFAULT_SETTINGS.earliest,
      dayStarts: wanted.dayStarts ?? DEFAULT_SETTINGS.dayStarts,
    })
    .onConflictDoNothing()
    .returning();
  const current = await selectSettings(session);
  const differing = (["timeZone", "granularity", "earliest", "dayStarts"] as const).filter(
    (name) => asked[name] !== undefined && asked[name] !== current[name],
  );
  if (differing.length > 0) {
    const changed = await changeUnused(session, { ...current, ...definedOf(asked) });
    if (changed !== undefined) return { settings: changed, created: false, changed: true };
    const list = differing.map((name) => `${name} is ${current[name]}, not ${asked[name]}`).join("; ");
    throw new RollbookError({
      code: "configuration",
      message: `the settings of a warehouse are fixed once it has partitions: ${list}. Leave them out, or make another warehouse (another database or ROLLBOOK_HOME).`,
    });
  }
  return { settings: current, created: inserted.length > 0, changed: false };
}

function definedOf(asked: Readonly<Record<keyof Settings, string | undefined>>): Partial<Settings> {
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
}

/**
 * Changes the settings of a warehouse that has no partitions, and so no invoices. Undefined where it has. A
 * load that has read the settings of before is rolled back ({@link requireSettings}).
 */
async function changeUnused(session: Session, wanted: Settings): Promise<Settings | undefined> {
  return inTransaction(session, async (tx) => {
    // Under the lock nobody makes a partition. The statement after it sees all that were made before.
    await lockUntilEnd(tx, LOCK.ensurePartitions);
    const changed = await tx.db
      .update(settings)
      .set(wanted)
      .where(sql`not exists (select from ${partitions})`)
      .returning();
    return changed.length > 0 ? wanted : undefined;
  });
}

/**
 * Makes sure that the warehouse still has the settings that were read before. To be called once the partitions
 * are held: from then on they cannot change.
 *
 * @throws RollbookError `configuration`
 */
export async function requireSettings(tx: Transaction, read: Settings): Promise<void> {
  const current = await selectSettings(tx);
  const names = Object.keys(current) as (keyof Settings)[];
  if (names.every((name) => current[name] === read[name])) return;
  throw new RollbookError({
    code: "configuration",
    message: "the settings of the warehouse were changed by another init meanwhile. Run the command again.",
  });
}

/** The statements that open a transaction in which times without an offset are read, and much is sorted. */
export function openingIn({ timeZone }: Pick<Settings, "timeZone">): readonly string[] {
  return [`set local timezone = ${pg.escapeLiteral(timeZone)}`, ALLOW_WORK_MEM];
}

/** The settings that may change at any time: a prune and each load read them anew. */
export interface ChangeableSettings {
  /** For how many days statements are kept that do not stand. */
  readonly keepStatementsDays: number;
  /** Whether lines for closed periods are rejected. */
  readonly refuseClosed: boolean;
}

/** Changes them; what is left out stays as it is. Returns them as they are now, and whether one is new. */
export async function changeSettings(
  { db }: Session,
  wanted: { readonly [Name in keyof ChangeableSettings]: ChangeableSettings[Name] | undefined },
): Promise<ChangeableSettings & { readonly changed: boolean }> {
  const { keepStatementsDays, refuseClosed } = settings;
  const [current] = await db.select({ keepStatementsDays, refuseClosed }).from(settings);
  if (current === undefined) throw missingWarehouse();
  const next = {
    keepStatementsDays: wanted.keepStatementsDays ?? current.keepStatementsDays,
    refuseClosed: wanted.refuseClosed ?? current.refuseClosed,
  };
  const changed =
    next.keepStatementsDays !== current.keepStatementsDays || next.refuseClosed !== current.refuseClosed;
  if (changed) await db.update(settings).set(next);
  return { ...next, changed };
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
    .select({
      timeZone: settings.timeZone,
      granularity: settings.granularity,
      earliest: settings.earliest,
      dayStarts: settings.dayStarts,
    })
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
 * @param options.reportsOnly true where only the schema `reports` will be read: then a right to that schema
 *   is enough. Default false
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

/** Whether the reports say which version the warehouse has; those before migration 0004 do not. */
async function reportsTellVersion({ db }: Session): Promise<boolean> {
  const found = await db.execute(sql`
    select
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid and c.relname = 'warehouse_settings'
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'reports'
    where a.attname = 'schema_version'`);
  return found.rowCount === 1;
}

async function readReportedSettings({ db }: Session, journal: Journal): Promise<Settings> {
  const [row] = await db.select().from(warehouseSettings);
  if (row === undefined) throw missingWarehouse();
  const { schemaVersion, timeZone, granularity, earliest, dayStarts } = row;
  refuseNewer(schemaVersion, journal);
  refuseOlder(schemaVersion, journal);
  return { timeZone, granularity, earliest, dayStarts };
}

/**
 * SQL for the `created_on` of a wall-clock time, or of an instant in a session that has the warehouse's time
 * zone.
 */
export function createdOnSql(time: SQL, { dayStarts }: Pick<Settings, "dayStarts">): SQL {
  return dayStarts === "00:00"
    ? sql`${time}::date`
    : sql`(${time}::timestamp - ${dayStarts}::interval)::date`;
}
