/**
 * The roles of a warehouse on its server: made on demand, given what they own and what they may do (rights.ts). Everything here changes only what is
 * not so yet: it may run again, and was it cut off, it goes on.
 */
import pRetry from "p-retry";
import pg from "pg";
import { type Database, inTransaction, type Session, withSession } from "../client.ts";
import { errorState, RollbookError, SQLSTATE } from "../errors.ts";
import { limitLockWaits, retryWhileLocked } from "../partitions/create.ts";
import { type Guest, type ObjectKind, ROLES, rightsTo } from "./rights.ts";

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

interface Owned {
  readonly kind: ObjectKind;
  readonly schema: string;
  readonly name: string;
  readonly owner: string;
  /** `role right`, in lower case; of a column `role right(column)`. Everybody is the role `public`. */
  readonly granted: readonly string[];
}

/** All schemas, tables, views and functions of the warehouse. What belongs to a table (indexes, the sequences of its keys) goes with it. */
async function listObjects({ client }: Session): Promise<readonly Owned[]> {
  const found = await client.query<Owned>(
    `with objects as (
       select 1 as place, 'schema' as kind, n.nspname as schema, n.nspname::text as name, n.nspowner as owner, n.oid as id,
              coalesce(n.nspacl, acldefault('n', n.nspowner)) as acl
       from pg_namespace n
       union all
       select 2, 'table', n.nspname, c.relname::text, c.relowner, c.oid, coalesce(c.relacl, acldefault('r', c.relowner))
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p', 'v', 'm', 'f')
       union all
       select 3, 'function', n.nspname, format('%s(%s)', p.proname, oidvectortypes(p.proargtypes)), p.proowner, p.oid,
              coalesce(p.proacl, acldefault('f', p.proowner))
       from pg_proc p
       join pg_namespace n on n.oid = p.pronamespace
     )
     select o.kind, o.schema, o.name, pg_get_userbyid(o.owner) as owner,
            array(
              select case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee) end || ' ' || lower(a.privilege_type) || a.of_column
              from (
                select a.grantee, a.privilege_type, '' as of_column
                from aclexplode(o.acl) a
                union all
                select a.grantee, a.privilege_type, format('(%s)', c.attname)
                from pg_attribute c
                cross join aclexplode(c.attacl) a
                where o.kind = 'table' and c.attrelid = o.id and not c.attisdropped
              ) a
              where a.grantee <> o.owner
            ) as granted
     from objects o
     where o.schema in ('warehouse', 'reports')
     order by o.place, o.schema, o.name`,
  );
  return found.rows;
}

function nameOf({ kind, schema, name }: Owned): string {
  if (kind === "schema") return `schema ${quote(schema)}`;
  if (kind === "table") return `table ${quote(schema)}.${quote(name)}`;
  const [, called = "", types = ""] = /^(.*)\((.*)\)$/.exec(name) ?? [];
  return `function ${quote(schema)}.${quote(called)}(${types})`;
}

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

/**
 * Refuses what only the owner of the warehouse may do, before anything is begun.
 *
 * @param options.deed what it is, after "may not": `detach partitions`
 * @throws RollbookError `permission`
 */
export async function requireOwner(options: {
  readonly database: Database;
  readonly deed: string;
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
      message: `user ${row.user} may not ${options.deed}: that is for role ${row.owner}, the owner of the warehouse. Connect as one of its members; or run, as who may: grant ${quote(row.owner)} to ${quote(row.user)}`,
    });
  });
}
