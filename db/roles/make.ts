/** Makes the roles of a warehouse on its server. What is there already stays as it is, so it may run again, also after it was cut off. */
import pRetry from "p-retry";
import pg from "pg";
import type { Session } from "../client.ts";
import { errorState, RollbookError, SQLSTATE } from "../errors.ts";
import { ROLES } from "./rights.ts";

const quote = pg.escapeIdentifier;

/** Roles belong to the server, so another database may make the same ones at the same time. The last has no code of its own: a row of a catalog was just updated. */
const MADE_MEANWHILE: ReadonlySet<string | undefined> = new Set([
  SQLSTATE.duplicateObject,
  SQLSTATE.uniqueViolation,
  SQLSTATE.internalError,
]);

/**
 * Makes the roles that the server lacks, and lets this session's user, and who owned the warehouse so far, act as the owner.
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
  const { client } = session;
  const missing = await client.query<{ name: string }>(
    "select name from unnest($1::text[]) as wanted (name) where not exists (select from pg_roles where rolname = name)",
    [Object.values(ROLES)],
  );
  for (const { name } of missing.rows) await client.query(`create role ${quote(name)} nologin`);
  // Superusers are members of every role.
  const outside = await client.query<{ name: string }>(
    `select r.rolname as name
     from pg_roles r
     where (r.rolname = session_user or r.oid = (select nspowner from pg_namespace where nspname = 'warehouse'))
       and not (pg_has_role(r.oid, $1, 'usage') and pg_has_role(r.oid, $1, 'set'))`,
    [ROLES.owner],
  );
  for (const { name } of outside.rows) {
    await client.query(`grant ${quote(ROLES.owner)} to ${quote(name)} with inherit true, set true`);
  }
  const database = await client.query<{ name: string; open: boolean }>(
    "select current_database() as name, has_database_privilege($1, current_database(), 'create') as open",
    [ROLES.owner],
  );
  for (const { name, open } of database.rows) {
    if (open) continue;
    await client.query(`grant create on database ${quote(name)} to ${quote(ROLES.owner)}`);
    // Who may not grant it gets a warning, and nothing is granted.
    const after = await client.query(
      "select from pg_database where datname = $1 and has_database_privilege($2, oid, 'create')",
      [name, ROLES.owner],
    );
    if (after.rowCount === 0) throw await explainRoles(session, undefined);
  }
}

async function explainRoles(session: Session, cause: unknown): Promise<RollbookError> {
  const { user, database } = await whereAmI(session);
  const { owner, loader, reader } = ROLES;
  return new RollbookError({
    code: "permission",
    message: `user ${user} may not make the roles of the warehouse. Let an administrator of the server run, leaving out the roles that are there: create role ${owner}; create role ${loader}; create role ${reader}; grant ${owner} to ${quote(user)} with inherit true, set true; grant create on database ${quote(database)} to ${owner}; then run it again.`,
    cause,
  });
}

async function whereAmI({ client }: Session): Promise<{ user: string; database: string }> {
  const result = await client.query<{ user: string; database: string }>(
    `select session_user as "user", current_database() as database`,
  );
  const [row] = result.rows;
  if (row === undefined) throw new Error("a query without a table returned no row");
  return row;
}
