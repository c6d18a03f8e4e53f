import type pg from "pg";
import { expect, test } from "vitest";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { openTransaction } from "../../db/testing/partitions.ts";
import { openQueue } from "../load/queue.ts";
import { refreshPartitions } from "./refresh.ts";

const RAISE = "select warehouse.raise_pending_floor()";
const ENTER = `insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
               values ('2026-01-05', 1, 1, 1)`;

async function floorOf({ query }: TestWarehouse): Promise<number | undefined> {
  const [row] = await query<{ epoch: number }>("select epoch from warehouse.pending_floor");
  return row?.epoch;
}

/** What readers see of the queue, and what is there. */
async function countQueue({ query }: TestWarehouse) {
  const [row] = await query(`
    select (select count(*)::int from warehouse.venue_day_waiting) as seen,
           (select count(*)::int from warehouse.venue_day_pending) as there`);
  return row;
}

test("the floor rises up to what is pending, and over what was taken", async () => {
  const warehouse = await createTestDatabase();
  await warehouse.query(RAISE);
  const empty = (await floorOf(warehouse)) ?? 0;
  expect(empty).toBeGreaterThan(0);
  await warehouse.query(ENTER);
  await warehouse.query(RAISE);
  await warehouse.query(RAISE);
  expect(await floorOf(warehouse)).toBe(empty);
  expect(await countQueue(warehouse)).toEqual({ seen: 1, there: 1 });
  await warehouse.query(ENTER);
  await warehouse.query("delete from warehouse.venue_day_pending where epoch = $1", [empty]);
  await warehouse.query(RAISE);
  expect(await floorOf(warehouse)).toBeGreaterThan(empty);
  expect(await countQueue(warehouse)).toEqual({ seen: 1, there: 1 });
});

test.each(["an insert", "a COPY, for which the epoch was read before"])(
  "nothing is raised over %s that has not ended",
  async (what) => {
    const warehouse = await createTestDatabase();
    await warehouse.query(RAISE);
    const before = await floorOf(warehouse);
    const client = await openTransaction(warehouse);
    const enter = what === "an insert" ? ENTER : await enterLater(client);
    if (enter === ENTER) await client.query(enter);
    for (let time = 0; time < 3; time += 1) await warehouse.query(RAISE);
    expect(await floorOf(warehouse)).toBe(before);
    if (enter !== ENTER) await client.query(enter);
    await warehouse.query(RAISE);
    await client.query("commit");
    expect(await countQueue(warehouse)).toEqual({ seen: 1, there: 1 });
    await warehouse.query(RAISE);
    expect(await countQueue(warehouse)).toEqual({ seen: 1, there: 1 });
  },
);

/** Reads the epoch now; the statement that is returned enters something in it. */
async function enterLater(client: pg.PoolClient): Promise<string> {
  const epoch = await openQueue({ client });
  return `insert into warehouse.venue_day_pending values ('2026-01-05', 1, 1, 1, ${epoch})`;
}

test("nothing is raised by a transaction that does not see what was committed meanwhile", async () => {
  const warehouse = await createTestDatabase();
  const old = await openTransaction(warehouse, "repeatable read");
  await old.query("select from warehouse.settings");
  await warehouse.query(ENTER);
  await old.query(RAISE);
  await old.query("commit");
  expect(await countQueue(warehouse)).toEqual({ seen: 1, there: 1 });
});

test("two that raise it at once do not wait for each other", async () => {
  const warehouse = await createTestDatabase();
  const first = await openTransaction(warehouse);
  await first.query(RAISE);
  await warehouse.query(RAISE);
  expect(await floorOf(warehouse)).toBe(0);
  await first.query("commit");
  expect(await floorOf(warehouse)).toBeGreaterThan(0);
});

test("where somebody has set the epochs back, the next rise shows everything", async () => {
  const warehouse = await createTestDatabase();
  for (let time = 0; time < 5; time += 1) await warehouse.query(RAISE);
  await warehouse.query("select setval('warehouse.pending_epoch', 1)");
  await warehouse.query(ENTER);
  expect(await countQueue(warehouse)).toEqual({ seen: 0, there: 1 });
  await warehouse.query(RAISE);
  expect(await countQueue(warehouse)).toEqual({ seen: 1, there: 1 });
});

interface PlanNode {
  readonly "Shared Hit Blocks": number;
  readonly "Shared Read Blocks": number;
}

test("beside a transaction that is held open, refreshes keep what was taken out of a report's way", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-05"] });
  const holder = await openTransaction(warehouse, "repeatable read");
  await holder.query("select from warehouse.settings");
  const [rounds, groups] = [60, 200];
  for (let round = 0; round < rounds; round += 1) {
    await warehouse.query(
      `insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
       select '2026-01-05', venue, 1, 1 from generate_series(1, $1::integer) venue`,
      [groups],
    );
    await refreshPartitions({ database });
  }
  // As it plans once autovacuum was there: then the planner takes the queue for empty.
  const client = await openTransaction(warehouse);
  await client.query("set local enable_seqscan = off; set local enable_bitmapscan = off");
  const { rows } = await client.query<{ "QUERY PLAN": [{ readonly Plan: PlanNode }] }>(
    "explain (analyze, buffers, format json) select from warehouse.venue_day_waiting",
  );
  const plan = rows[0]?.["QUERY PLAN"][0].Plan;
  const pages = (plan?.["Shared Hit Blocks"] ?? 0) + (plan?.["Shared Read Blocks"] ?? 0);
  // Each row that was taken costs a page of its own where an index leads to it.
  expect(pages, JSON.stringify(plan)).toBeLessThan((rounds * groups) / 2);
  expect(pages).toBeGreaterThan(0);
  await holder.query("rollback");
});
