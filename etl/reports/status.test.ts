import { expect, test } from "vitest";
import { addDays } from "../../db/dates.ts";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { openTransaction } from "../../db/testing/partitions.ts";
import { loadDrop } from "../load/load.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { readFreshness, readStatus, warnOfOldTransactions } from "./status.ts";

test("what is pending counts for the partition of its date, on the first and on the last", async () => {
  const warehouse = await createTestDatabase();
  const dates = ["2026-01-31", "2026-02-01", "2026-02-28", "2026-03-01"];
  const lines = dates.map((date, number) => `v1,${invoiceId(number)},${date},${10 ** number}.00`);
  await loadDrop({ ...warehouse, path: writeDrop(makeFolder(), "a_2026-03-02.csv", lines) });
  expect(await readFreshness(warehouse)).toMatchObject([
    { partition: "2026-01", pendingChanges: 1, pendingInvoices: 1, pendingTotal: "1.00" },
    { partition: "2026-02", pendingChanges: 2, pendingInvoices: 2, pendingTotal: "110.00" },
    { partition: "2026-03", pendingChanges: 1, pendingInvoices: 1, pendingTotal: "1000.00" },
  ]);
});

test("loads are named whose sync date is later than the day on which they were loaded", async () => {
  // Fourteen hours ahead of UTC.
  const warehouse = await createTestDatabase({ timeZone: "Pacific/Kiritimati" });
  const [row] = await warehouse.query<{ today: string }>("select today::text from warehouse.today");
  const folder = makeFolder();
  const load = (file: string, days: number) => {
    const syncedOn = addDays(row?.today ?? "", days);
    const path = writeDrop(folder, file, [`v1,${invoiceId(1)},2026-01-01,1.00`]);
    return loadDrop({ ...warehouse, path, syncedOn });
  };
  await load("a.csv", 0);
  expect((await readStatus(warehouse)).warnings).toEqual([]);
  const { loadId, syncedOn } = await load("b.csv", 400);
  await load("c.csv", 1);
  const { warnings } = await readStatus(warehouse);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain(`2 loads have a sync date after the day of the load`);
  expect(warnings[0]).toContain(`: ${loadId} (b.csv, ${syncedOn}), `);
  expect(warnings[0]).toContain("rollbook undo LOAD");
});

test("a transaction is named behind which vacuum cannot clean up, as soon as it is old", async () => {
  const warehouse = await createTestDatabase();
  const warn = (olderThanMinutes: number) => warnOfOldTransactions({ ...warehouse, olderThanMinutes });
  const open = await openTransaction(warehouse);
  const [row] = (await open.query("select pg_backend_pid() as pid")).rows;
  // It holds no snapshot between its statements.
  expect(await warn(0)).toEqual([]);
  await open.query("select pg_current_xact_id()");
  expect(await warn(0)).toEqual([
    expect.stringMatching(new RegExp(`^pid ${row?.pid} \\(user .*open since 2`)),
  ]);
  expect((await warn(0))[0]).toContain(`select pg_terminate_backend(${row?.pid})`);
  expect(await warn(1)).toEqual([]);
  await open.query("rollback; begin isolation level repeatable read; select from warehouse.settings");
  expect(await warn(0)).toHaveLength(1);
  await open.query("rollback");
  expect(await warn(0)).toEqual([]);
});
