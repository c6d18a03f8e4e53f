/** For tests: warehouses as earlier versions made them. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { migrate } from "drizzle-orm/node-postgres/migrator";
import { type Database, withSession } from "../client.ts";
import { readJournal } from "../version.ts";

const MIGRATIONS = fileURLToPath(new URL("../migrations", import.meta.url));

/**
 * Migrates a database as far as the version that ended with this migration, and fixes its settings: months
 * from 2000 on, in UTC.
 */
export async function migrateAsFarAs(database: Database, tag: string): Promise<void> {
  const journal = await readJournal();
  const last = journal.findIndex((entry) => entry.tag === tag);
  const entries = journal.slice(0, last + 1);
  const folder = mkdtempSync(join(tmpdir(), "rollbook-migrations-"));
  try {
    mkdirSync(join(folder, "meta"));
    for (const entry of entries)
      copyFileSync(join(MIGRATIONS, `${entry.tag}.sql`), join(folder, `${entry.tag}.sql`));
    writeFileSync(join(folder, "meta", "_journal.json"), JSON.stringify({ entries }));
    await withSession({ database }, async ({ db, client }) => {
      await migrate(db, {
        migrationsFolder: folder,
        migrationsSchema: "warehouse",
        migrationsTable: "migrations",
      });
      await client.query(
        "insert into warehouse.settings (time_zone, granularity, earliest) values ('UTC', 'month', '2000-01-01')",
      );
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
