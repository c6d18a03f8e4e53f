/**
 * Gives the roles of a warehouse their objects and their rights (rights.ts). It changes only what differs, so
 * it can be run again after a crash.
 */
import { sql } from "drizzle-orm";
import pg from "pg";
import { type Database, inTransaction, type Session, withSession } from "../client.ts";
import { limitLockWaits, retryWhileLocked } from "../locks.ts";
import { listObjects, nameOf, type Owned } from "./objects.ts";
import { actAsOwner, findOwner } from "./owner.ts";
import { type Guest, ROLES, rightsTo } from "./rights.ts";

const quote = pg.escapeIdentifier;

/**
 * Makes the owner's role the owner of everything. Each object has a transaction of its own, and none waits
 * long for its lock, because a load or a reader may be at work.
 *
 * @throws RollbookError `permission`, `partition_busy`
 */
export async function handOver(session: Session, signal?: AbortSignal): Promise<void> {
  const others = (await listObjects(session)).filter(({ owner }) => owner !== ROLES.owner);
  // The schemas come first: an owner of a table must have the right to create in its schema.
  for (const object of others) {
    await retryWhileLocked({ database: session, signal }, () =>
      inTransaction(session, async (tx) => {
        await limitLockWaits(tx);
        await tx.client.query(`alter ${nameOf(object)} owner to ${quote(ROLES.owner)}`);
      }),
    );
  }
}

const GUESTS: readonly Guest[] = ["steward", "loader", "reader"];

/**
 * Gives steward, loader and reader their rights, and revokes every other grant to them and to everybody. It does
 * so in one transaction, so that nobody who is at work lacks a right in between. The session must act as the
 * owner. A role that an earlier version did not make, and that the server lacks, gets nothing yet.
 *
 * @returns how many statements it took
 */
export async function grantRights(session: Session): Promise<number> {
  // An object that a user put into the schemas is left to that user.
  const owned = (await listObjects(session)).filter(({ owner }) => owner === ROLES.owner);
  const guests = await listGuests(session);
  const statements = owned.flatMap((object) => correctionsOf(object, guests));
  if (statements.length > 0) {
    await inTransaction(session, (tx) => tx.client.query(statements.join(";\n")));
  }
  return statements.length;
}

/**
 * Gives tables that were made anew or restored to their owner, and grants the rights to them. Does nothing
 * where no roles are in use.
 */
export async function restoreRights(options: {
  readonly database: Database;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  await withSession(options, async (session) => {
    if ((await findOwner(session)) !== ROLES.owner) return;
    await handOver(session, options.signal);
    if (!(await actAsOwner(session, ROLES.owner))) return;
    try {
      await grantRights(session);
    } finally {
      await session.client.query("reset role");
    }
  });
}

/** Those whose roles the server has. */
async function listGuests({ db }: Session): Promise<readonly Guest[]> {
  const found = await db.execute<{ rolname: string }>(sql`select rolname from pg_roles`);
  const names = new Set(found.rows.map(({ rolname }) => rolname));
  return GUESTS.filter((guest) => names.has(ROLES[guest]));
}

function correctionsOf(object: Owned, guests: readonly Guest[]): readonly string[] {
  const rights = rightsTo(object);
  const wanted = guests.flatMap((guest) =>
    (rights?.[guest] ?? []).map((right) => `${ROLES[guest]} ${right}`),
  );
  const ours = new Set<string>(["public", ...guests.map((guest) => ROLES[guest])]);
  const granted = object.granted.filter((grant) => ours.has(granteeOf(grant)));
  const excess = granted.filter((grant) => !wanted.includes(grant));
  // Revoking a right to a table also revokes that right to its columns.
  const lacking = excess.length > 0 ? wanted : wanted.filter((grant) => !granted.includes(grant));
  const on = nameOf(object);
  return [
    ...excess.map((grant) => `revoke ${rightOf(grant)} on ${on} from ${to(grant)}`),
    ...lacking.map((grant) => `grant ${rightOf(grant)} on ${on} to ${to(grant)}`),
  ];
}

const granteeOf = (grant: string) => grant.slice(0, grant.lastIndexOf(" "));
const rightOf = (grant: string) => grant.slice(grant.lastIndexOf(" ") + 1);
const to = (grant: string) => (granteeOf(grant) === "public" ? "public" : quote(granteeOf(grant)));
