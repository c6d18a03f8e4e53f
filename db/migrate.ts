/** Brings the warehouse's schema to the version of this code, and fixes its settings. */
import { migrate as applyMigrations } from "drizzle-orm/node-postgres/migrator";
import { type Database, type Session, withSession } from "./client.ts";
import { LOCK, withSessionLock } from "./locks.ts";
import { grantRights, handOver } from "./roles/grant.ts";
import { createRoles } from "./roles/make.ts";
import { actAsOwner, findOwner } from "./roles/owner.ts";
import { explainPermission, permissionError } from "./roles/permission.ts";
import { ROLES } from "./roles/rights.ts";
import type { Granularity, Settings } from "./schema.ts";
import { type ChangeableSettings, changeSettings, fixSettings } from "./settings.ts";
import { checkServerVersion, MIGRATIONS_FOLDER, readJournal, readVersion, refuseNewer } from "./version.ts";

/**
 * Creates or migrates the warehouse, under an advisory lock: any number of processes may do it at once.
 * Settings that are left out are the ones the warehouse has, or the defaults on a new one. As long as it has no
 * partitions they may change; `keepStatements` and `refuseClosed` always may.
 *
 * @throws RollbookError `unsupported_server`, `warehouse_newer`, `permission` (no right to create),
 *   `configuration` (an unknown time zone; settings that differ from those of a warehouse with partitions)
 */
export async function initWarehouse(options: {
  readonly database: Database;
  readonly timeZone?: string | undefined;
  readonly granularity?: Granularity | undefined;
  readonly earliest?: string | undefined;
  /** `HH:MM`, when a business day starts. */
  readonly dayStarts?: string | undefined;
  /** For how many days statements are kept that do not stand, at least 1: so long can a load be undone. */
  readonly keepStatements?: number | undefined;
  /** Whether lines for closed periods are rejected. */
  readonly refuseClosed?: boolean | undefined;
  /**
   * Makes the roles of rights.ts, gives the warehouse to the owner's role, and gives the others their rights.
   * Default false: only a warehouse that has roles already gets their rights brought up to date.
   */
  readonly roles?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<Initialized> {
  return withSession(options, async (session) => {
    await checkServerVersion(session);
    return withSessionLock(session, LOCK.migrate, async () => {
      try {
        const owner = await prepareOwner(session, options);
        const applied = await migrate(session);
        const fixed = await fixSettings(session, options);
        const { keepStatements: keepStatementsDays, refuseClosed } = options;
        const current = await changeSettings(session, { keepStatementsDays, refuseClosed });
        const roles = owner === ROLES.owner;
        if (roles) await grantRights(session);
        const changed = fixed.changed || (current.changed && !fixed.created);
        return { ...fixed, ...current, changed, applied, roles };
      } catch (error) {
        throw await explainPermission(error, session, ROLES.owner);
      } finally {
        // The session goes back to the pool.
        await session.client.query("reset role").catch(() => {});
      }
    });
  });
}

export interface Initialized extends ChangeableSettings {
  readonly settings: Settings;
  /** Tags of the migrations that were applied. */
  readonly applied: readonly string[];
  /** Whether there was no warehouse before. */
  readonly created: boolean;
  /** Whether it had other settings before. */
  readonly changed: boolean;
  /** Whether the warehouse belongs to the role of its owner, and the other roles have their rights. */
  readonly roles: boolean;
}

/**
 * Makes the roles where that is asked for. Then the session acts as the owner of the warehouse, so that new
 * objects belong to the owner, whoever runs this.
 */
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
  throw await permissionError(session, ROLES.owner);
}

/**
 * Applies what is missing; returns the tags. drizzle's migrator itself takes no lock (drizzle-orm issue
 * 5769).
 */
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
