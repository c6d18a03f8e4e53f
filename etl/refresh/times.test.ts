import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { load, writeInvoices } from "../testing/invoices.ts";
import { refreshPartitions } from "./refresh.ts";
import { REFRESH_BOUNDS } from "./times.ts";

const read = ({ query }: TestWarehouse) =>
  query<{ up_to_seconds: number; refreshes: string; seconds: string }>(
    "select * from reports.refresh_times order by 1",
  );

test("each refresh is counted once, by how long it took", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  const before = await read(warehouse);
  expect(before.map(({ up_to_seconds: bound }) => bound)).toEqual([
    ...REFRESH_BOUNDS,
    Number.POSITIVE_INFINITY,
  ]);
  expect(before.every(({ refreshes, seconds }) => refreshes === "0" && Number(seconds) === 0)).toBe(true);
  await load(
    warehouse,
    writeInvoices(makeFolder(), "a_2026-03-20.csv", [
      ["v", 1, "2026-01-10", "1.00"],
      ["v", 2, "2026-02-10", "2.00"],
    ]),
  );
  const methods = async (options = {}) =>
    (await refreshPartitions({ database, ...options })).map(({ method }) => method);
  expect(await methods({ strategy: "delta" })).toEqual(["delta", "delta"]);
  expect(await methods({ strategy: "full" })).toEqual(["rebuild", "rebuild"]);
  // Nothing is pending.
  await methods();
  const after = await read(warehouse);
  expect(after.reduce((sum, { refreshes }) => sum + Number(refreshes), 0)).toBe(4);
  for (const [index, { up_to_seconds: bound, refreshes, seconds }] of after.entries()) {
    const least = after[index - 1]?.up_to_seconds ?? 0;
    expect(Number(seconds)).toBeGreaterThanOrEqual(Number(refreshes) * least);
    expect(Number(seconds)).toBeLessThanOrEqual(Number(refreshes) === 0 ? 0 : Number(refreshes) * bound);
  }
});

test("all that a refresh writes is in its time", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, writeInvoices(makeFolder(), "a_2026-03-20.csv", [["v", 1, "2026-01-10", "1.00"]]));
  await warehouse.query(`
    create function public.dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.6); return new; end $$`);
  await warehouse.query(
    "create trigger dawdle before insert on warehouse.venue_day_rollup for each row execute function public.dawdle()",
  );
  await refreshPartitions({ database: warehouse.database });
  const counted = (await read(warehouse)).filter(({ refreshes }) => refreshes !== "0");
  expect(counted).toHaveLength(1);
  expect(Number(counted[0]?.seconds)).toBeGreaterThan(0.6);
});
