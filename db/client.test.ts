import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { expect, onTestFinished, test } from "vitest";
import { openDatabase, type Session, withSession } from "./client.ts";
import { streamRows } from "./cursor.ts";
import { isConnectionLost } from "./errors.ts";
import {
  createEmptyDatabase,
  createTestDatabase,
  onServer,
  type TestWarehouse,
  testConnection,
} from "./testing/database.ts";

const numbers = (session: Session, to: number) =>
  streamRows<{ number: number }>(session, sql`select number from generate_series(1, ${to}::integer) number`);

async function endSession(warehouse: TestWarehouse, { client }: Session): Promise<void> {
  const [own] = (await client.query("select pg_backend_pid() as pid")).rows;
  await warehouse.query("select pg_terminate_backend($1, 10000)", [own.pid]);
}

test.each([0, 1, 999, 1000, 1001, 3000])("%i rows are read one by one, to the last", async (count) => {
  const { database } = await createTestDatabase();
  await withSession({ database }, async (session) => {
    const read: number[] = [];
    for await (const { number } of numbers(session, count)) read.push(number);
    expect(read).toEqual(Array.from({ length: count }, (_, index) => index + 1));
    expect((await session.client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  });
});

test("whoever has read enough leaves a session that works", async () => {
  const { database } = await createTestDatabase();
  await withSession({ database }, async (session) => {
    for await (const { number } of numbers(session, 5000)) if (number === 10) break;
    expect((await session.client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  });
});

test("an error of the query is thrown, and leaves a session that works", async () => {
  const { database } = await createTestDatabase();
  await withSession({ database }, async (session) => {
    const failing = streamRows(session, sql`select 1 / (n - 2000) from generate_series(1, 5000) n`);
    const read = async () => {
      for await (const _ of failing);
    };
    await expect(read()).rejects.toMatchObject({ code: "22012" });
    expect((await session.client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  });
});

test.each(["while it is read", "before it is read", "and the reader has enough"])(
  "a connection that breaks %s ends the reading",
  async (when) => {
    const warehouse = await createTestDatabase();
    const reading = withSession(warehouse, async (session) => {
      if (when === "before it is read") await endSession(warehouse, session).catch(() => {});
      const [own] =
        when === "before it is read"
          ? []
          : (await session.client.query("select pg_backend_pid() as pid")).rows;
      for await (const { number } of numbers(session, 5000)) {
        if (number !== 10) continue;
        await warehouse.query("select pg_terminate_backend($1, 10000)", [own.pid]);
        if (when === "and the reader has enough") return "had enough";
      }
      return "read all";
    });
    const outcome = await reading.catch((error: unknown) => (isConnectionLost(error) ? "lost" : error));
    expect(outcome).toBe(when === "and the reader has enough" ? "had enough" : "lost");
  },
);

test("a direct connection needs no second one to be told from a pooler, and has its settings", async () => {
  const { name } = await createEmptyDatabase();
  const role = `single_${randomBytes(8).toString("hex")}`;
  await onServer((client) => client.query(`create role ${role} login connection limit 1`));
  onTestFinished(() => onServer(async (client) => void (await client.query(`drop role ${role}`))));
  const single = openDatabase({ connection: { ...testConnection(name), user: role } });
  try {
    const { rows } = await withSession({ database: single }, ({ client }) =>
      client.query("show search_path"),
    );
    expect(rows).toEqual([{ search_path: "pg_catalog" }]);
  } finally {
    await single.pool.end();
  }
});

test("a session is ended by no timeout of the server's", async () => {
  const warehouse = await createTestDatabase();
  const [own] = await warehouse.query<{ name: string }>("select current_database() as name");
  const timeouts = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
  for (const timeout of timeouts) {
    await warehouse.query(`alter database ${own?.name} set ${timeout} = '1s'`);
  }
  const database = openDatabase({ connection: testConnection(own?.name ?? ""), max: 1 });
  onTestFinished(() => database.pool.end());
  await withSession({ database }, async ({ client }) => {
    const { rows } = await client.query(
      "select setting from pg_settings where name = any ($1) order by name",
      [timeouts],
    );
    expect(rows).toEqual([{ setting: "0" }, { setting: "0" }, { setting: "0" }]);
  });
});
