/** The owner of a warehouse: who it is, how a session acts as the owner, and what only the owner may do. */
import { sql } from "drizzle-orm";
import pg from "pg";
import { type Database, type Session, withSession } from "../client.ts";
import { RollbookError } from "../errors.ts";
import { ROLES } from "./rights.ts";

const quote = pg.escapeIdentifier;

/** Who owns the schema of the warehouse; undefined where there is none. */
export async function findOwner({ db }: Session): Promise<string | undefined> {
  const found = await db.execute<{ owner: string }>(
    sql`select pg_get_userbyid(nspowner) as owner from pg_namespace where nspname = 'warehouse'`,
  );
  return found.rows[0]?.owner;
}

/**
 * Makes the session act as the owner of the warehouse: then everything that it creates belongs to the owner.
 * The caller resets the role.
 *
 * @returns false where the user may not do that, or where the owner may not create schemas, which a migration
 *   needs
 */
export async function actAsOwner({ client, db }: Session, owner: string): Promise<boolean> {
  const allowed = await db.execute<{ allowed: boolean }>(sql`
    select ${owner} = current_user
           or pg_has_role(${owner}, 'set')
              and (${owner} = ${ROLES.owner} or has_database_privilege(${owner}, current_database(), 'create')) as allowed`);
  if (allowed.rows[0]?.allowed !== true) return false;
  await client.query(`set role ${quote(owner)}`);
  return true;
}

/**
 * Refuses a user who is not the owner of the warehouse, before anything is begun.
 *
 * @param options.action what it is, after "may not": `detach partitions`
 * @throws RollbookError `permission`
 */
export async function requireOwner(options: {
  readonly database: Database;
  readonly action: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  await withSession(options, async ({ db }) => {
    const found = await db.execute<{ user: string; owner: string; owns: boolean }>(sql`
      select current_user as "user", pg_get_userbyid(nspowner) as owner, pg_has_role(nspowner, 'usage') as owns
      from pg_namespace
      where nspname = 'warehouse'`);
    const [row] = found.rows;
    if (row === undefined || row.owns) return;
    throw new RollbookError({ code: "permission", message: describeOwners(row, options.action) });
  });
}

/** That something is the owner's to do, and how somebody else gets the right. */
export function describeOwners(
  { user, owner }: { readonly user: string; readonly owner: string },
  action: string,
): string {
  return `user ${user} may not ${action}: that is for role ${owner}, the owner of the warehouse. Connect as one of its members; or let somebody who may run: grant ${quote(owner)} to ${quote(user)}`;
}
