/**
 * Makes the roles of a warehouse on its server. It leaves alone what is there already, so it can be run again
 * after a crash.
 */
import { sql } from "drizzle-orm";
import pRetry from "p-retry";
import pg from "pg";
import type { Session } from "../client.ts";
import { errorState, RollbookError, SQLSTATE } from "../errors.ts";
import { ROLES } from "./rights.ts";

const quote = pg.escapeIdentifier;

/**
 * Roles belong to the server, so another warehouse may make the same ones at the same time. The internal
 * error says that a row of a system catalog was updated meanwhile; PostgreSQL has no other code for it.
 */
const MADE_MEANWHILE: ReadonlySet<string | undefined> = new Set([
  SQLSTATE.duplicateObject,
  SQLSTATE.uniqueViolation,
  SQLSTATE.internalError,
]);

/**
 * Makes the roles that the server lacks, and lets this session's user, and who owned the warehouse so far,
 * act as the owner.
 *
 * @throws RollbookError `permission`, with what an administrator has to run
 */
export async function createRoles(session: Session): Promise<void> {
  try {
    await pRetry(() => createMissingRoles(session), {
      retries: 5,
      minTimeout: 50,
      randomize: true,
      shouldRetry: ({ error }) => MADE_MEANWHILE.has(errorState(error)),
    });
  } catch (error) {
    if (errorState(error) !== SQLSTATE.insufficientPrivilege) throw error;
    throw await explainRoles(session, error);
  }
}

async function createMissingRoles(session: Session): Promise<void> {
  const { client, db } = session;
  const missing = await db.execute<{ name: string }>(sql`
    select name
    from unnest(${sql.param(Object.values(ROLES))}::text[]) as wanted (name)
    where not exists (select from pg_roles where rolname = name)`);
  for (const { name } of missing.rows) await client.query(`create role ${quote(name)} nologin`);
  // Superusers are members of every role.
  const outside = await db.execute<{ name: string }>(sql`
    select r.rolname as name
    from pg_roles r
    where (r.rolname = session_user or r.oid = (select nspowner from pg_namespace where nspname = 'warehouse'))
      and not (pg_has_role(r.oid, ${ROLES.owner}, 'usage') and pg_has_role(r.oid, ${ROLES.owner}, 'set'))`);
  for (const { name } of outside.rows) {
    await client.query(`grant ${quote(ROLES.owner)} to ${quote(name)} with inherit true, set true`);
  }
  const { name, mayCreate } = await readDatabase(session);
  if (mayCreate) return;
  await client.query(`grant create on database ${quote(name)} to ${quote(ROLES.owner)}`);
  // A user who may not grant it gets a warning only.
  if (!(await readDatabase(session)).mayCreate) throw await explainRoles(session, undefined);
}

/** The session's database, its user, and whether the owner's role may create schemas in it. */
async function readDatabase({
  db,
}: Session): Promise<{ readonly name: string; readonly user: string; readonly mayCreate: boolean }> {
  const result = await db.execute<{ name: string; user: string; may_create: boolean }>(sql`
    select current_database() as name, session_user as "user",
           exists (
             select from pg_roles
             where rolname = ${ROLES.owner} and has_database_privilege(oid, current_database(), 'create')
           ) as may_create`);
  const [row] = result.rows;
  if (row === undefined) throw new Error("a query without a table returned no row");
  return { name: row.name, user: row.user, mayCreate: row.may_create };
}

async function explainRoles(session: Session, cause: unknown): Promise<RollbookError> {
  const { user, name: database } = await readDatabase(session);
  const { owner } = ROLES;
  const create = Object.values(ROLES).map((role) => `create role ${role}`);
  return new RollbookError({
    code: "permission",
    message: `user ${user} may not make the roles of the warehouse. Let an administrator of the server run, leaving out the roles that are there: ${create.join("; ")}; grant ${owner} to ${quote(user)} with inherit true, set true; grant create on database ${quote(database)} to ${owner}; then run it again.`,
    cause,
  });
}
