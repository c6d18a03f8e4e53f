/**
 * For tests: the warehouses that released versions left (db/testing/releases, written by make_release.ts).
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import pg from "pg";
import type { Database } from "../../db/client.ts";
import type { Settings } from "../../db/schema.ts";
import { createEmptyDatabase, testConnection } from "../../db/testing/database.ts";
import type { Total } from "../reports/totals.ts";

const FOLDER = fileURLToPath(new URL("../../db/testing/releases/", import.meta.url));

/** What the warehouse of a release showed when its fixture was written. */
export interface Release {
  readonly version: string;
  /** The newest migration that it has. */
  readonly migration: string;
  readonly settings: Settings;
  readonly counts: Readonly<Record<"loads" | "rejects" | "corrections" | "pending", number>>;
  readonly totals: readonly Total[];
  /** An instant before the last load, and what was known then. */
  readonly between: string;
  readonly totalsBetween: readonly Total[];
}

export const RELEASES: readonly Release[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".json"))
  .map((name) => JSON.parse(readFileSync(`${FOLDER}${name}`, "utf8")));

/** The warehouse of a release, in a database of its own. */
export async function restoreRelease({
  version,
}: Release): Promise<{ readonly database: Database; readonly name: string }> {
  const made = await createEmptyDatabase();
  const client = new pg.Client(testConnection(made.name));
  await client.connect();
  try {
    await client.query(gunzipSync(readFileSync(`${FOLDER}${version}.sql.gz`)).toString("utf8"));
  } finally {
    await client.end();
  }
  return made;
}
