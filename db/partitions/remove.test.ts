import type pg from "pg";
import { expect, test } from "vitest";
import { withSession } from "../client.ts";
import { RollbookError } from "../errors.ts";
import { LOCK } from "../locks.ts";
import type { TestWarehouse } from "../testing/database.ts";
import {
  datesIn,
  errorOf,
  expectFitting,
  openTransaction,
  readAll,
  threeMonths,
  waits,
} from "../testing/partitions.ts";
import { attachPartition } from "./attach.ts";
import { ensurePartitions } from "./create.ts";
import { detachPartition, dropPartition } from "./remove.ts";
import { listDetachable } from "./tables.ts";

const PARENTS = ["invoices", "venue_day_deltas", "venue_day_rollup"] as const;

test("a partition is detached, attached and dropped, and all of it fits together after each step", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  const all = ["2026-01-05", "2026-02-05", "2026-03-05"];
  for (let round = 0; round < 3; round += 1) {
    await detachPartition({ database, partition: "2026-02" });
    expect(await datesIn(warehouse)).toEqual(["2026-01-05", "2026-03-05"]);
    await expectFitting(warehouse);
    await attachPartition({ database, partition: "2026-02" });
    expect(await datesIn(warehouse)).toEqual(all);
    await expectFitting(warehouse);
  }
  await dropPartition({ database, partition: "2026-02" });
  expect(await datesIn(warehouse)).toEqual(all);
  expect(await warehouse.query("select created_on::text as date from warehouse.invoices order by 1")).toEqual(
    [{ date: "2026-01-05" }, { date: "2026-03-05" }],
  );
  await expectFitting(warehouse);
  expect(await ensurePartitions({ database, granularity: "month", dates: all })).toEqual([]);
  await expectFitting(warehouse);
});

test("what is done already is no error, what cannot be done is", async () => {
  const { database } = await threeMonths();
  const [january, february] = [
    { database, partition: "2026-01" },
    { database, partition: "2026-02" },
  ];
  await detachPartition(january);
  await detachPartition(january);
  await dropPartition(february);
  await dropPartition(february);
  expect(await errorOf(dropPartition(january))).toMatchObject({ code: "usage", message: /detached.*Attach/ });
  expect(await errorOf(detachPartition(february))).toMatchObject({ code: "usage", message: /dropped.*gone/ });
  expect(await errorOf(attachPartition(february))).toMatchObject({ code: "usage", message: /dropped/ });
  const missing = { database, partition: "2031-01" };
  for (const change of [detachPartition, attachPartition, dropPartition]) {
    expect(await errorOf(change(missing))).toMatchObject({ code: "not_found", message: /"2031-01".*list/ });
  }
});

test.each(["pending", "stale"])("a partition that is %s is not closed", async (what) => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  const outdate = {
    pending: `insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
              select created_on, venue_key, 1, 5 from warehouse.venue_day_rollup where created_on = '2026-02-05'`,
    stale: "update warehouse.partitions set state = 'stale' where partition = '2026-02'",
  }[what];
  await warehouse.query(outdate ?? "");
  for (const change of [detachPartition, dropPartition]) {
    const error = await errorOf(change({ database, partition: "2026-02" }));
    expect(error).toMatchObject({ code: "partition_busy", message: /rollbook refresh --partition 2026-02/ });
  }
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toHaveLength(3);
  await detachPartition({ database, partition: "2026-03" });
});

test("what fails before the closing leaves the partition as it is", async () => {
  const warehouse = await threeMonths();
  const beforeClosing = async () => {
    throw new RollbookError({ code: "usage", message: "no" });
  };
  for (const change of [detachPartition, dropPartition]) {
    const error = await errorOf(
      change({ database: warehouse.database, partition: "2026-02", beforeClosing }),
    );
    expect(error.message).toBe("no");
  }
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toHaveLength(3);
});

test("a detach waits for open readers and blocks none, old or new", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  const old = await openTransaction(warehouse, "repeatable read");
  const seen = await readAll(old);
  const detached = detachPartition({ database, partition: "2026-02" });
  await expect
    .poll(() => waits(warehouse), { timeout: 10_000 })
    .toMatchObject([{ query: expect.stringContaining("concurrently") }]);
  for (let round = 0; round < 3; round += 1) {
    expect(await readAll(old)).toEqual(seen);
    const another = await openTransaction(warehouse);
    expect(await readAll(another)).not.toEqual(seen);
    await another.query("commit");
  }
  expect(await ensurePartitions({ database, granularity: "month", dates: ["2026-04-01"] })).toEqual([
    "2026-04",
  ]);
  await old.query("commit");
  await detached;
  await expectFitting(warehouse);
});

/**
 * Detaches 2026-02 and ends the server's process of it while it waits: behind a reader, or for the lock after
 * the change of state.
 */
async function cutDetach(
  warehouse: TestWarehouse,
  where: (typeof PARENTS)[number] | "state",
): Promise<pg.PoolClient> {
  const { database } = warehouse;
  const reader = await openTransaction(warehouse, "repeatable read");
  if (where === "state") await reader.query("select pg_advisory_xact_lock($1, 0)", [LOCK.removePartition]);
  else await reader.query(`select count(*) from warehouse.${where}`);
  const detached = detachPartition({ database, partition: "2026-02" }).then(
    () => "done",
    () => "cut",
  );
  const waiting = where === "state" ? "pg_advisory_lock" : `${where} detach`;
  await expect
    .poll(() => waits(warehouse), { timeout: 10_000 })
    .toMatchObject([{ query: expect.stringContaining(waiting) }]);
  for (const { pid } of await waits(warehouse))
    await warehouse.query("select pg_terminate_backend($1)", [pid]);
  expect(await detached).toBe("cut");
  return reader;
}

test.each([...PARENTS, "state" as const])(
  "a detach cut off at %s is finished by the same call",
  async (where) => {
    const warehouse = await threeMonths();
    const { database } = warehouse;
    const reader = await cutDetach(warehouse, where);
    const state = await warehouse.query("select state from warehouse.partitions where partition = '2026-02'");
    expect(state).toEqual([{ state: "detached" }]);
    await reader.query("rollback");
    await detachPartition({ database, partition: "2026-02" });
    await expectFitting(warehouse);
    expect(await datesIn(warehouse)).toEqual(["2026-01-05", "2026-03-05"]);
    await attachPartition({ database, partition: "2026-02" });
    await expectFitting(warehouse);
    expect(await datesIn(warehouse)).toHaveLength(3);
  },
);

test.each([...PARENTS, "state" as const])("a detach cut off at %s is taken back by attach", async (where) => {
  const warehouse = await threeMonths();
  const reader = await cutDetach(warehouse, where);
  await reader.query("rollback");
  await attachPartition({ database: warehouse.database, partition: "2026-02" });
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toHaveLength(3);
});

test("a detach that was cut off does not keep other partitions from leaving", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  await (await cutDetach(warehouse, "invoices")).query("rollback");
  await dropPartition({ database, partition: "2026-01" });
  await detachPartition({ database, partition: "2026-03" });
  await detachPartition({ database, partition: "2026-02" });
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toEqual(["2026-01-05"]);
});

test("a drop cut off behind a reader is finished by the same call", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  const reader = await openTransaction(warehouse, "repeatable read");
  await reader.query("select count(*) from warehouse.invoices");
  const dropped = dropPartition({ database, partition: "2026-02" }).then(
    () => "done",
    () => "cut",
  );
  await expect.poll(() => waits(warehouse), { timeout: 10_000 }).toHaveLength(1);
  for (const { pid } of await waits(warehouse))
    await warehouse.query("select pg_terminate_backend($1)", [pid]);
  expect(await dropped).toBe("cut");
  await reader.query("rollback");
  await dropPartition({ database, partition: "2026-02" });
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toHaveLength(3);
});

test.each([...PARENTS, "state" as const])(
  "what ends on or before a date can be detached, also what was cut off at %s, until it is out",
  async (where) => {
    const warehouse = await threeMonths();
    const { database } = warehouse;
    const detachable = (before: string) =>
      withSession({ database }, (session) => listDetachable(session, before));
    expect(await detachable("2026-01-31")).toEqual([]);
    expect(await detachable("2026-02-01")).toEqual(["2026-01"]);
    expect(await detachable("2030-01-01")).toEqual(["2026-01", "2026-02", "2026-03"]);
    await (await cutDetach(warehouse, where)).query("rollback");
    expect(await detachable("2026-03-01")).toEqual(["2026-01", "2026-02"]);
    await detachPartition({ database, partition: "2026-02" });
    await dropPartition({ database, partition: "2026-03" });
    expect(await detachable("2030-01-01")).toEqual(["2026-01"]);
  },
);
