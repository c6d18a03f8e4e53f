/** Errors about a missing right: which one is missing, and how it is given. */
import { sql } from "drizzle-orm";
import pg from "pg";
import type { Session } from "../client.ts";
import { errorState, RollbookError, SQLSTATE } from "../errors.ts";
import { ROLES } from "./rights.ts";

/**
 * Replaces an error about a missing right by one that says which right it is and how it is given; returns any
 * other error as it is.
 *
 * @param needed the role that has the right, in a warehouse with roles
 */
export async function explainPermission(error: unknown, session: Session, needed: string): Promise<unknown> {
  if (error instanceof RollbookError || errorState(error) !== SQLSTATE.insufficientPrivilege) return error;
  return permissionError(session, needed, error);
}

interface Situation extends Record<string, unknown> {
  readonly user: string;
  readonly database: string;
  /** Null where there is no warehouse. */
  readonly owner: string | null;
  readonly may_not_create: boolean | null;
  /** Another role that the login is made to act as, by a setting of its own. */
  readonly acting: string | null;
}

/** The error for a user who lacks a right: says how it is given. */
export async function permissionError(
  session: Session,
  needed: string,
  cause?: unknown,
): Promise<RollbookError> {
  const result = await session.db.execute<Situation>(sql`
    select session_user as "user", current_database() as database, pg_get_userbyid(n.nspowner) as owner,
           pg_has_role(session_user, n.nspowner, 'set') and not has_database_privilege(n.nspowner, current_database(), 'create')
             as may_not_create,
           nullif(current_setting('role'), 'none') as acting
    from (select) always
    left join pg_namespace n on n.nspname = 'warehouse'`);
  const [row] = result.rows;
  if (row === undefined) throw new Error("an outer join returned no row");
  const { user, database, owner, may_not_create: mayNotCreate, acting } = row;
  const name = pg.escapeIdentifier;
  const explain = (message: string) => new RollbookError({ code: "permission", message, cause });
  // As the owner `init` acts.
  if (acting !== null && acting !== owner && acting !== ROLES.owner) {
    return explain(
      `user ${user} acts as role ${acting}, as a setting of the login, the database or the connection says, and that role may not do this in database ${database}. Run: alter role ${name(user)} reset role; or set it to ${needed}.`,
    );
  }
  if (owner === null) {
    return explain(
      `user ${user} may not create the warehouse in database ${database}. As its owner run: grant create on database ${name(database)} to ${name(user)}`,
    );
  }
  if (owner === ROLES.owner && needed === ROLES.owner && mayNotCreate) {
    return explain(
      `role ${owner} may not create in database ${database}, which a migration needs. As the owner of the database run: grant create on database ${name(database)} to ${name(owner)}`,
    );
  }
  if (owner === ROLES.owner) {
    return explain(
      `user ${user} may not do this in database ${database}: that needs role ${needed}. Let somebody who may run: grant ${name(needed)} to ${name(user)}; or connect as a member of it.`,
    );
  }
  return explain(
    `user ${user} may not use the warehouse in database ${database}, which belongs to ${owner}. As ${owner} run: grant ${name(owner)} to ${name(user)}; or connect as ${owner}.`,
  );
}
