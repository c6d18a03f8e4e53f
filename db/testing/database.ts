/** For tests: a warehouse of its own for each, on the server that vitest's global setup started. */

import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import pg from "pg";
import { inject, onTestFinished } from "vitest";
import { type Database, openDatabase } from "../client.ts";
import { initWarehouse } from "../migrate.ts";
import type { Granularity, Settings } from "../schema.ts";
import { readJournal } from "../version.ts";
import { environmentOf } from "./environment.ts";

export interface TestWarehouse {
  readonly database: Database;
  readonly settings: Settings;
  /** Environment that makes a rollbook process use this warehouse. */
  readonly environment: Readonly<Record<string, string>>;
  /** Runs one statement and returns its rows. */
  readonly query: <Row extends pg.QueryResultRow>(
    text: string,
    values?: readonly unknown[],
  ) => Promise<Row[]>;
}

/** How to connect to a database of the test server. */
export function testConnection(database: string): pg.ClientConfig {
  return { ...inject("postgres"), database, ssl: false };
}

/**
 * Makes a database with a new warehouse in it, a clone of a migrated template, and drops it when the test has
 * finished.
 *
 * @param options settings of the warehouse; default UTC, month, 2000-01-01, days that start at midnight
 * @param options.roles whether it belongs to the role of its owner, and the other roles have their rights;
 *   default false
 */
export async function createTestDatabase(
  options: {
    readonly timeZone?: string;
    readonly granularity?: Granularity;
    readonly earliest?: string;
    readonly dayStarts?: string;
    readonly connections?: number;
    readonly roles?: boolean;
  } = {},
): Promise<TestWarehouse> {
  const name = `test_${randomBytes(8).toString("hex")}`;
  const { connections, ...wanted } = options;
  await onServer(async (client) => {
    const template = await ensureTemplate(client, wanted.roles === true);
    // A copy of the files costs a fifth of what the default does, which writes each page to the log.
    await client.query(`create database ${name} template ${template} strategy file_copy`);
  });
  const database = openDatabase({ connection: testConnection(name), max: connections ?? 10 });
  onTestFinished(async () => {
    await database.pool.end();
    await onServer((client) => client.query(`drop database ${name} with (force)`));
  });
  const { settings } = await initWarehouse({ database, ...wanted });
  const { host, port, user } = inject("postgres");
  return {
    database,
    settings,
    environment: environmentOf({ host, port, user, database: name }),
    query: async (text, values) => (await database.pool.query(text, values && [...values])).rows,
  };
}

/** Makes an empty database, and drops it when the test has finished. */
export async function createEmptyDatabase(): Promise<{ readonly database: Database; readonly name: string }> {
  const name = `test_${randomBytes(8).toString("hex")}`;
  await onServer((client) => client.query(`create database ${name} template template0 strategy file_copy`));
  const database = openDatabase({ connection: testConnection(name), max: 10 });
  onTestFinished(async () => {
    await database.pool.end();
    await onServer((client) => client.query(`drop database ${name} with (force)`));
  });
  return { database, name };
}

/** Runs `work` on the database `postgres` of the test server. */
export async function onServer<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(testConnection("postgres"));
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The template, named after the migrations, so that a changed migration makes a new one. */
async function ensureTemplate(client: pg.Client, roles: boolean): Promise<string> {
  const hash = createHash("sha256");
  for (const { tag } of await readJournal()) {
    hash.update(await readFile(new URL(`../migrations/${tag}.sql`, import.meta.url)));
  }
  const name = `template_${hash.digest("hex").slice(0, 16)}${roles ? "_roles" : ""}`;
  await client.query("select pg_advisory_lock(1)");
  try {
    const found = await client.query("select from pg_database where datname = $1", [name]);
    if (found.rowCount === 0) {
      await client.query(`create database ${name}_new template template0`);
      const database = openDatabase({ connection: testConnection(`${name}_new`) });
      await initWarehouse({ database, roles });
      await database.pool.query("delete from warehouse.settings");
      await database.pool.end();
      await client.query(`alter database ${name}_new rename to ${name}`);
    }
  } finally {
    await client.query("select pg_advisory_unlock(1)");
  }
  return name;
}
