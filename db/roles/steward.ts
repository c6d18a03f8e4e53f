/** Who may undo what loads have brought, and close periods: the stewards of a warehouse, and its owner. */
import { sql } from "drizzle-orm";
import pg from "pg";
import { type Database, type Session, withSession } from "../client.ts";
import { RollbookError } from "../errors.ts";
import { describeOwners } from "./owner.ts";
import { ROLES } from "./rights.ts";

const quote = pg.escapeIdentifier;

interface Situation extends Record<string, unknown> {
  readonly user: string;
  readonly owner: string;
  /** By the right that the row policies of the ledger ask for, too. */
  readonly allowed: boolean;
  readonly has_steward: boolean;
}

/**
 * Refuses a user who is neither a steward nor the owner of the warehouse, before anything is begun.
 *
 * @param options.action what it is, after "may not": `undo loads`
 * @throws RollbookError `permission`
 */
export async function requireSteward(options: {
  readonly database: Database;
  readonly action: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  await withSession(options, (session) => refuseOthers(session, options.action));
}

/** The same in a session that is open already. */
export async function refuseOthers({ db }: Session, action: string): Promise<void> {
  const found = await db.execute<Situation>(sql`
    select current_user as "user", pg_get_userbyid(n.nspowner) as owner,
           has_column_privilege(c.oid, 'removed', 'update') as allowed,
           exists (select from pg_roles where rolname = ${ROLES.steward}) as has_steward
    from pg_namespace n
    join pg_class c on c.relnamespace = n.oid and c.relname = 'loads'
    where n.nspname = 'warehouse'`);
  const [row] = found.rows;
  if (row === undefined || row.allowed) return;
  throw new RollbookError({ code: "permission", message: explain(row, action) });
}

function explain(situation: Situation, action: string): string {
  const { user, owner, has_steward: hasSteward } = situation;
  if (owner !== ROLES.owner) return describeOwners(situation, action);
  const role = ROLES.steward;
  const make = hasSteward ? "" : `rollbook init --roles, which makes that role, and then: `;
  return `user ${user} may not ${action}: that is for role ${role}. Connect as one of its members; or let somebody who may run: ${make}grant ${quote(role)} to ${quote(user)}`;
}
