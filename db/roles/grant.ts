/**
 * Gives the roles of a warehouse what they own and what they may do (rights.ts). Only what is not so yet is changed, so it may run again, also
 * after it was cut off.
 */
import pg from "pg";
import { type Database, inTransaction, type Session, withSession } from "../client.ts";
import { limitLockWaits, retryWhileLocked } from "../locks.ts";
import { listObjects, nameOf, type Owned } from "./objects.ts";
import { actAsOwner, findOwner } from "./owner.ts";
import { type Guest, ROLES, rightsTo } from "./rights.ts";

const quote = pg.escapeIdentifier;

/**
 * Hands everything to the owner's role. Each object by itself, and none waits long for its lock: a load or a reader may be at work.
 *
 * @throws RollbookError `permission`, `partition_busy`
 */
export async function handOver(session: Session, signal?: AbortSignal): Promise<void> {
  const others = (await listObjects(session)).filter(({ owner }) => owner !== ROLES.owner);
  // The schemas come first: an owner of a table must have the right to create in its schema.
  for (const object of others) {
    await retryWhileLocked({ signal }, () =>
      inTransaction(session, async (tx) => {
        await limitLockWaits(tx);
        await tx.client.query(`alter ${nameOf(object)} owner to ${quote(ROLES.owner)}`);
      }),
    );
  }
}

const GUESTS: readonly Guest[] = ["loader", "reader"];

/**
 * Gives loader and reader their rights, and takes from them, and from everybody, what else was granted. In one transaction: nobody at work sees less than
 * before or after. The session acts as the owner.
 *
 * @returns how many statements it took
 */
export async function grantRights(session: Session): Promise<number> {
  // What a user put into the schemas is the user's own.
  const owned = (await listObjects(session)).filter(({ owner }) => owner === ROLES.owner);
  const statements = owned.flatMap(correctionsOf);
  if (statements.length > 0) {
    await inTransaction(session, (tx) => tx.client.query(statements.join(";\n")));
  }
  return statements.length;
}

/** Gives the tables that were made anew, or restored, to their owner and their rights to all others; nothing to do where no roles are in use. */
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

function correctionsOf(object: Owned): readonly string[] {
  const rights = rightsTo(object);
  const wanted = GUESTS.flatMap((guest) =>
    (rights?.[guest] ?? []).map((right) => `${ROLES[guest]} ${right}`),
  );
  const ours = new Set<string>(["public", ...GUESTS.map((guest) => ROLES[guest])]);
  const granted = object.granted.filter((grant) => ours.has(granteeOf(grant)));
  const excess = granted.filter((grant) => !wanted.includes(grant));
  // To revoke a right to a table takes the right to its columns along.
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
