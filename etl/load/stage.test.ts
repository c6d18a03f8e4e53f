/** Staging: its columns, and what one drop may put into quarantine. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { ROW, VALUES } from "../drop/row.ts";
import { loadDrop } from "./load.ts";

const GOOD = "v,a2b4c6d8-1111-4111-8111-00000000000f,2018-06-01T12:00:00Z,1.00\n";
/** A reject takes its text and some 200 bytes. */
const BAD = `${"x".repeat(800)}\n`;

test("a drop whose rejects fill its quarantine is refused there, whatever share is allowed", async () => {
  const warehouse = await createTestDatabase();
  const path = join(makeFolder(), "bad_2018-07-01.csv");
  // More than the reader decides at a time, so that it can stop before the end.
  writeFileSync(path, GOOD.repeat(2) + BAD.repeat(2000));
  const options = { ...warehouse, path, maxRejects: 1 };
  const refused = await loadDrop({ ...options, quarantineBytes: 500_000 });
  expect(refused).toMatchObject({ outcome: "rejected", error: { code: "too_many_rejects" } });
  const { read, rejected } = refused.rows;
  expect(read).toBe(rejected + 2);
  expect(rejected).toBeGreaterThanOrEqual(500);
  expect(rejected).toBeLessThan(1000);
  expect(refused.error?.message).toBe(
    `bad_2018-07-01.csv: reading stopped after ${read} lines, because the ${rejected} that were rejected fill the 500000 bytes that one drop may have in quarantine: ${rejected} wrong_column_count, first line 3: "${"x".repeat(60)}..."; quote fields that hold the delimiter. See them with: rollbook rejects --load ${refused.loadId}; then mend the file, or divide it.`,
  );
  expect(await warehouse.query("select count(*)::int, max(line)::int from warehouse.rejects")).toEqual([
    { count: rejected, max: read },
  ]);
  expect(await warehouse.query("select from warehouse.invoices")).toEqual([]);

  const loaded = await loadDrop(options);
  expect(loaded).toMatchObject({
    outcome: "loaded",
    rows: { read: 2002, inserted: 1, superseded: 1, rejected: 2000 },
  });
});

test("rejects that were written while reading went on count, too", async () => {
  const warehouse = await createTestDatabase();
  const path = join(makeFolder(), "bad_2018-07-01.csv");
  // Beyond 4 MiB they are written, and gathered anew.
  writeFileSync(path, GOOD + BAD.repeat(12_000));
  const options = { ...warehouse, path, maxRejects: 1 };
  const refused = await loadDrop({ ...options, quarantineBytes: 10_000_000 });
  expect(refused).toMatchObject({ outcome: "rejected", error: { code: "too_many_rejects" } });
  expect(refused.rows.rejected).toBeGreaterThanOrEqual(10_000);
  expect(refused.rows.rejected).toBeLessThan(10_500);
  const kept = await warehouse.query("select count(*)::int from warehouse.rejects");
  expect(kept).toEqual([{ count: refused.rows.rejected }]);
});

test("the migrations have the layout of a row, and keep its values in invoices and corrections", async () => {
  const warehouse = await createTestDatabase();
  const columnsOf = async (table: string) => {
    const columns = await warehouse.query<{ name: string; type: string }>(`
      select attname as name, format_type(atttypid, atttypmod) as type
      from pg_attribute
      where attrelid = 'warehouse.${table}'::regclass and attnum > 0 and not attisdropped
      order by attnum`);
    return columns.map(({ name, type }) => [name, type]);
  };
  const row = Object.entries(ROW).map(([column, { type }]) => [column, type]);
  expect(await columnsOf("staging_1")).toEqual(row);
  expect(await columnsOf("staging_16")).toEqual(row);
  const types = new Map(row as [string, string][]);
  const values = Object.entries(VALUES).map(([column, name]) => [name, types.get(column)]);
  expect(await columnsOf("invoices")).toEqual(expect.arrayContaining(values));
  const old = values.map(([name, type]) => [`old_${name}`, type]);
  expect(await columnsOf("corrections")).toEqual(expect.arrayContaining(old));
});
