/** Who owns the warehouse, acting as the owner, and refusing who is not. */
import pg from "pg";
import { type Database, type Session, withSession } from "../client.ts";
import { RollbookError } from "../errors.ts";
import { ROLES } from "./rights.ts";

const quote = pg.escapeIdentifier;

/** Who owns the schema of the warehouse; undefined where there is none. */
export async function findOwner({ client }: Session): Promise<string | undefined> {
  const found = await client.query<{ owner: string }>(
    "select pg_get_userbyid(nspowner) as owner from pg_namespace where nspname = 'warehouse'",
  );
  return found.rows[0]?.owner;
}

/**
 * Makes the session act as the owner of the warehouse, so that what it creates is the owner's, whoever runs it. The caller resets the role.
 *
 * @returns false where the user may not, or where it would take something away: the right to create schemas, which migrations take
 */
export async function actAsOwner({ client }: Session, owner: string): Promise<boolean> {
  const allowed = await client.query<{ allowed: boolean }>(
    `select $1 = current_user
            or pg_has_role($1, 'set') and ($1 = $2 or has_database_privilege($1, current_database(), 'create')) as allowed`,
    [owner, ROLES.owner],
  );
  if (allowed.rows[0]?.allowed !== true) return false;
  await client.query(`set role ${quote(owner)}`);
  return true;
}

/**
 * Refuses what only the owner of the warehouse may do, before anything is begun.
 *
 * @param options.action what it is, after "may not": `detach partitions`
 * @throws RollbookError `permission`
 */
export async function requireOwner(options: {
  readonly database: Database;
  readonly action: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  await withSession(options, async ({ client }) => {
    const found = await client.query<{ user: string; owner: string; owns: boolean }>(
      `select current_user as "user", pg_get_userbyid(nspowner) as owner, pg_has_role(nspowner, 'usage') as owns
       from pg_namespace
       where nspname = 'warehouse'`,
    );
    const [row] = found.rows;
    if (row === undefined || row.owns) return;
    throw new RollbookError({
      code: "permission",
      message: `user ${row.user} may not ${options.action}: that is for role ${row.owner}, the owner of the warehouse. Connect as one of its members; or run, as who may: grant ${quote(row.owner)} to ${quote(row.user)}`,
    });
  });
}
