/** For tests: the roles of a warehouse, each through a login that is a member of it and of nothing else. */
import pg from "pg";
import { onTestFinished } from "vitest";
import { type Database, openDatabase } from "../client.ts";
import { ROLES, type Role } from "../roles/rights.ts";
import { onServer, type TestWarehouse, testConnection } from "./database.ts";

/**
 * `warehouse` must have roles. Its `query` and `database` are then those of a user who is a member of the
 * role.
 */
export async function loginAs(warehouse: TestWarehouse, role: Role): Promise<TestWarehouse> {
  const user = `test ${role}`;
  await onServer(async (client) => {
    await client.query("select pg_advisory_lock(2)");
    const found = await client.query("select from pg_roles where rolname = $1", [user]);
    if (found.rowCount === 0) await client.query(`create role "${user}" login in role ${ROLES[role]}`);
    await client.query("select pg_advisory_unlock(2)");
  });
  return withUser(warehouse, user);
}

/** The warehouse as a user of this name sees it. */
export function withUser(warehouse: TestWarehouse, user: string): TestWarehouse {
  const { database: name = "" } = warehouse.database.pool.options;
  const database: Database = openDatabase({ connection: { ...testConnection(name), user }, max: 10 });
  onTestFinished(() => database.pool.end());
  return {
    ...warehouse,
    database,
    environment: { ...warehouse.environment, PGUSER: user },
    query: async (text, values) => (await database.pool.query(text, values && [...values])).rows,
  };
}

/**
 * The SQLSTATE of a statement's error or warning; undefined when it succeeds. It is rolled back in any case.
 */
export async function refusalOf(warehouse: TestWarehouse, statement: string): Promise<string | undefined> {
  const client = await warehouse.database.pool.connect();
  let warned: string | undefined;
  const listen = ({
    severity,
    code,
  }: {
    readonly severity: string | undefined;
    readonly code: string | undefined;
  }) => {
    if (severity === "WARNING") warned = code;
  };
  client.on("notice", listen);
  try {
    await client.query("begin");
    await client.query(statement);
    return warned;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error.code;
    throw error;
  } finally {
    await client.query("rollback");
    client.off("notice", listen);
    client.release();
  }
}
