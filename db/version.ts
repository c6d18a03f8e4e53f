/** The versions that must fit together: of the server, of the warehouse's schema, and of this code. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import type { Session } from "./client.ts";
import { RollbookError } from "./errors.ts";

export const MIGRATIONS_FOLDER = fileURLToPath(new URL("./migrations", import.meta.url));
const OLDEST_SERVER = 180_000;

/** The migrations of this code, oldest first; `when` is the version of each, in milliseconds since 1970. */
export type Journal = readonly { readonly when: number; readonly tag: string }[];

export async function readJournal(): Promise<Journal> {
  const journal: { readonly entries: Journal } = JSON.parse(
    await readFile(`${MIGRATIONS_FOLDER}/meta/_journal.json`, "utf8"),
  );
  return journal.entries;
}

/**
 * The newest migration applied, or undefined where there is no warehouse.
 *
 * @throws the driver's error where the session may not look into the schema
 */
export async function readVersion(session: Session): Promise<number | undefined> {
  const known = await session.db.execute<{ present: boolean }>(
    sql`select to_regclass('warehouse.migrations') is not null as present`,
  );
  if (known.rows[0]?.present !== true) return undefined;
  const newest = await session.db.execute<{ version: number | null }>(
    sql`select max(created_at)::float8 as version from warehouse.migrations`,
  );
  return newest.rows[0]?.version ?? undefined;
}

export function refuseNewer(version: number | undefined, journal: Journal): void {
  const newest = journal.at(-1);
  if (version === undefined || newest === undefined || version <= newest.when) return;
  throw new RollbookError({
    code: "warehouse_newer",
    message: `the warehouse was migrated by a newer rollbook (${new Date(version).toISOString()}; this one knows ${newest.tag}). Update rollbook.`,
  });
}

export async function checkServerVersion(session: Session): Promise<void> {
  const result = await session.db.execute<{ number: number; name: string }>(sql`
    select current_setting('server_version_num')::int as number, current_setting('server_version') as name`);
  for (const server of result.rows) refuseOldServer(server);
}

/**
 * @param server.number `server_version_num`, e.g. 180001; `server.name` is the version as the server writes
 *   it
 * @throws RollbookError `unsupported_server` below PostgreSQL 18
 */
export function refuseOldServer({ number, name }: { readonly number: number; readonly name: string }): void {
  if (number >= OLDEST_SERVER) return;
  throw new RollbookError({
    code: "unsupported_server",
    message: `rollbook needs PostgreSQL 18 or newer, this server is ${name}. Upgrade it, or name another in DATABASE_URL.`,
  });
}

export function refuseOlder(version: number, journal: Journal): void {
  const newest = journal.at(-1);
  if (newest === undefined || version >= newest.when) return;
  throw new RollbookError({
    code: "warehouse_missing",
    message: `the warehouse is older than this rollbook (${newest.tag} is missing). Run: rollbook init`,
  });
}
