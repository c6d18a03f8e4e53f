/** The roles on servers that have none yet: those of the other tests are made once, by a superuser. */
import { rmSync } from "node:fs";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type Database, openDatabase, withSession } from "../client.ts";
import type { EmbeddedServer } from "../embedded/server.ts";
import { initWarehouse } from "../migrate.ts";
import { readSettings } from "../settings.ts";
import { makeServerHome } from "../testing/home.ts";
import { errorOf } from "../testing/partitions.ts";
import { openTestServer } from "../testing/server.ts";
import { requireSteward } from "./steward.ts";

let home: string;
let server: EmbeddedServer;
beforeAll(async () => {
  home = makeServerHome();
  server = await openTestServer({ home, settings: { fsync: "off" } });
});
afterAll(async () => {
  await server.release({ withinMs: 5000 });
  rmSync(home, { recursive: true, force: true });
});

function connect(user: string, database: string): Database {
  const { host, port } = server;
  const opened = openDatabase({ connection: { host, port, user, database, ssl: false } });
  onTestFinished(() => opened.pool.end());
  return opened;
}

/** Runs statements as a superuser, each by itself: databases are not made in transactions. */
async function asSuperuser(database: string, ...statements: readonly string[]): Promise<void> {
  const { pool } = connect(server.user, database);
  for (const statement of statements) await pool.query(statement);
}

const OWNERS = `
  select distinct relowner::regrole::text as owner from pg_class
  where relnamespace in ('warehouse'::regnamespace, 'reports'::regnamespace)`;

// In this order: what one makes the next ones find.

test("a user who may not create roles makes a warehouse without them, and is told what an administrator has to run", async () => {
  await asSuperuser("postgres", "create role plain login", "create database plain owner plain");
  const database = connect("plain", "plain");
  expect(await initWarehouse({ database })).toMatchObject({ created: true, roles: false });
  const error = await errorOf(initWarehouse({ database, roles: true }));
  expect(error.code).toBe("permission");
  const [, remedy = ""] = /: (create role .*); then run it again/.exec(error.message) ?? [];
  // A warehouse without roles is as it was.
  expect(await initWarehouse({ database })).toMatchObject({ created: false, roles: false });
  await asSuperuser("plain", ...remedy.split("; "));
  expect(await initWarehouse({ database, roles: true })).toMatchObject({ created: false, roles: true });
  expect((await database.pool.query(OWNERS)).rows).toEqual([{ owner: "rollbook_owner" }]);
  await asSuperuser(
    "plain",
    "drop owned by rollbook_owner, rollbook_steward, rollbook_loader, rollbook_reader cascade",
    "drop role rollbook_owner, rollbook_steward, rollbook_loader, rollbook_reader",
  );
});

test("a user who may create roles, and owns the database, makes all of it without being a superuser", async () => {
  await asSuperuser(
    "postgres",
    "create role manager login createrole",
    "create database managed owner manager",
  );
  const database = connect("manager", "managed");
  const done = await initWarehouse({ database, roles: true });
  expect(done).toMatchObject({ created: true, roles: true });
  expect((await database.pool.query(OWNERS)).rows).toEqual([{ owner: "rollbook_owner" }]);
  // The three lines of docs/security.md.
  await database.pool.query("create role till login in role rollbook_loader");
  const loader = connect("till", "managed");
  expect(await withSession({ database: loader }, readSettings)).toEqual(done.settings);
  await expect(loader.pool.query("create table warehouse.x ()")).rejects.toMatchObject({ code: "42501" });
  const { rows } = await loader.pool.query(
    "select warehouse.open_partitions(array['2026-01-01'::date]) as made",
  );
  expect(rows).toEqual([{ made: "2026-01" }]);
  expect((await database.pool.query(OWNERS)).rows).toEqual([{ owner: "rollbook_owner" }]);
});

test("a second warehouse of the server shares the roles, and its user needs no right to create any", async () => {
  await asSuperuser("postgres", "create role other login", "create database other owner other");
  const database = connect("other", "other");
  const refused = await errorOf(initWarehouse({ database, roles: true }));
  expect(refused.code).toBe("permission");
  await connect("manager", "managed").pool.query("grant rollbook_owner to other");
  expect(await initWarehouse({ database, roles: true })).toMatchObject({ created: true, roles: true });
  const loader = connect("till", "other");
  expect(await withSession({ database: loader }, readSettings)).toMatchObject({ timeZone: "UTC" });
});

test("a role that an earlier version did not make is made by init --roles; until then all else works without it", async () => {
  const remove = "drop owned by rollbook_steward";
  await asSuperuser("other", remove);
  await asSuperuser("managed", remove, "drop role rollbook_steward");
  const database = connect("manager", "managed");
  expect(await initWarehouse({ database })).toMatchObject({ created: false, roles: true });
  const loader = connect("till", "managed");
  const refused = await errorOf(requireSteward({ database: loader, action: "undo loads" }));
  expect(refused.code).toBe("permission");
  expect(refused.message).toMatch(/role rollbook_steward.*run: rollbook init --roles/);
  await requireSteward({ database, action: "undo loads" });
  expect(await initWarehouse({ database, roles: true })).toMatchObject({ created: false, roles: true });
  await database.pool.query("create role bookkeeping login in role rollbook_steward");
  await requireSteward({ database: connect("bookkeeping", "managed"), action: "undo loads" });
  const told = await errorOf(requireSteward({ database: loader, action: "undo loads" }));
  expect(told.message).toContain('let somebody who may run: grant "rollbook_steward" to "till"');
  // The other warehouse gives that role its rights when it is migrated the next time.
  const other = connect("bookkeeping", "other");
  await errorOf(requireSteward({ database: other, action: "undo loads" }));
  await initWarehouse({ database: connect("other", "other") });
  await requireSteward({ database: other, action: "undo loads" });
});

test("a user who may make roles and may not give them rights to the database learns so", async () => {
  await asSuperuser(
    "postgres",
    "create database foreign_to_all",
    "grant create on database foreign_to_all to manager",
  );
  const database = connect("manager", "foreign_to_all");
  const error = await errorOf(initWarehouse({ database, roles: true }));
  expect(error.code).toBe("permission");
  expect(error.message).toContain('grant create on database "foreign_to_all" to rollbook_owner');
});
