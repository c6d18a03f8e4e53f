/** Explains an error for want of a right: which one, and how it is given. */
import pg from "pg";
import type { Session } from "../client.ts";
import { errorState, RollbookError, SQLSTATE } from "../errors.ts";
import { ROLES } from "./rights.ts";

/**
 * In place of an error for want of a right, one that says which right is missing and how it is given; other errors are returned as they are.
 *
 * @param needed the role that has the right, in a warehouse with roles
 */
export async function explainPermission(error: unknown, session: Session, needed: string): Promise<unknown> {
  if (error instanceof RollbookError || errorState(error) !== SQLSTATE.insufficientPrivilege) return error;
  return permissionError(session, needed, error);
}

/** The error itself. */
export async function permissionError(
  session: Session,
  needed: string,
  cause?: unknown,
): Promise<RollbookError> {
  const result = await session.client.query(
    `select session_user as "user", current_database() as database, pg_get_userbyid(n.nspowner) as owner,
            pg_has_role(session_user, n.nspowner, 'set') and not has_database_privilege(n.nspowner, current_database(), 'create')
              as may_not_create
     from (select) always
     left join pg_namespace n on n.nspname = 'warehouse'`,
  );
  const { user, database, owner, may_not_create: mayNotCreate } = result.rows[0];
  const name = pg.escapeIdentifier;
  const explain = (message: string) => new RollbookError({ code: "permission", message, cause });
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
