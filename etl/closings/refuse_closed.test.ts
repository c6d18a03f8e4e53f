/** `init --refuse-closed`: what was closed, no file changes. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { initWarehouse } from "../../db/migrate.ts";
import { detachPartition } from "../../db/partitions/remove.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { openTransaction, waits } from "../../db/testing/partitions.ts";
import { loadDrop } from "../load/load.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { jsonLines, rollbookHere } from "../testing/cli.ts";
import { findDivergences, type Invoice, load, writeInvoices } from "../testing/invoices.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { VOID_FORM } from "../testing/sources.ts";
import { disagreements } from "../testing/warehouse.ts";
import { closePeriod } from "./close.ts";
import { parsePeriod } from "./period.ts";

const MARCH: readonly Invoice[] = [
  ["a", 1, "2026-03-01", "1.00"],
  ["b", 2, "2026-03-31", "2.00"],
];

async function setScene(refuseClosed = true) {
  const warehouse = await createTestDatabase({ connections: 12 });
  await initWarehouse({ database: warehouse.database, refuseClosed });
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  return { warehouse, folder, run };
}

const send = (warehouse: TestWarehouse, fileName: string, invoices: readonly Invoice[]) =>
  load(warehouse, writeInvoices(makeFolder(), fileName, invoices));

function close(warehouse: TestWarehouse, name: string) {
  const period = parsePeriod(name);
  if (period === undefined) throw new Error(`${name} is no period`);
  return closePeriod({ ...warehouse, period });
}

const rejectsOf = (warehouse: TestWarehouse, loadId: number | null) =>
  warehouse.query(
    `select line::integer, reason from warehouse.rejects where load_id = ${loadId} order by line`,
  );
const restatements = (warehouse: TestWarehouse) =>
  warehouse.query("select period, invoices, total from reports.restatements order by period, created_on");

/** Some new lines, and some that are in already, inside and beside what is closed. */
const LATER: readonly Invoice[] = [
  ["a", 3, "2026-02-28", "4.00"],
  ["a", 4, "2026-03-01", "5.00"],
  ["b", 2, "2026-03-31", "7.00"],
  ["b", 5, "2026-04-01", "8.00"],
];

test.each([true, false])(
  "lines for a closed period are rejected, the others load (careful: %s)",
  async (careful) => {
    const { warehouse } = await setScene();
    await send(warehouse, "a_2026-04-01.csv", MARCH);
    await close(warehouse, "2026-03");
    const path = writeInvoices(makeFolder(), "b_2026-04-02.csv", LATER);
    const { loadId, ...report } = await loadDrop({ ...warehouse, path, careful, maxRejects: 1 });
    expect(report).toMatchObject({
      outcome: "loaded",
      rows: { read: 4, inserted: 2, rejected: 2 },
      reasons: [{ reason: "period_closed", count: 2, remedy: expect.stringContaining("--no-refuse-closed") }],
    });
    expect(report).not.toHaveProperty("restated");
    expect(await rejectsOf(warehouse, loadId)).toEqual([
      { line: 3, reason: "period_closed" },
      { line: 4, reason: "period_closed" },
    ]);
    expect(await restatements(warehouse)).toEqual([]);
    await refreshPartitions(warehouse);
    await detachPartition({ database: warehouse.database, partition: "2026-03" });
    const detached = await send(warehouse, "c_2026-04-03.csv", [["a", 6, "2026-03-01", "1.00"]]);
    expect(await rejectsOf(warehouse, detached.loadId)).toEqual([{ line: 2, reason: "partition_closed" }]);
  },
);

test("a period that lies in a longer one changes nothing of what is closed", async () => {
  const { warehouse } = await setScene();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  for (const name of ["2026-02", "2026-Q1"]) await close(warehouse, name);
  const { loadId } = await send(warehouse, "b_2026-04-02.csv", LATER);
  expect(await rejectsOf(warehouse, loadId)).toEqual(
    [2, 3, 4].map((line) => ({ line, reason: "period_closed" })),
  );
});

test("the setting can be changed at any time, and then the lines can be read again", async () => {
  const { warehouse, folder, run } = await setScene(false);
  const settings = async (...flags: string[]) => jsonLines((await run("init", "--json", ...flags)).stdout)[0];
  expect(await settings()).toMatchObject({ refuseClosed: false, changed: false });
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  await close(warehouse, "2026-03");
  expect(await settings("--refuse-closed")).toMatchObject({ refuseClosed: true, changed: true });
  expect(await settings()).toMatchObject({ refuseClosed: true, keepStatementsDays: 400, changed: false });
  expect((await run("init")).stdout).toContain("; lines for closed periods are rejected.");
  expect((await run("status")).stdout).toContain("lines for closed periods are rejected");
  const path = writeDrop(folder, "b_2026-04-02.csv", [
    `a,${invoiceId(3)},2026-03-01,5.00`,
    `a,${invoiceId(4)},2026-04-01,6.00`,
  ]);
  const told = await run("load", path, "--max-rejects", "1");
  expect(told.stdout + told.stderr).toContain(
    "rollbook init --no-refuse-closed, then rollbook rejects retry",
  );
  const retry = async () =>
    jsonLines((await run("rejects", "retry", "--load", "2", path, "--json")).stdout)[0];
  expect(await retry()).toMatchObject({ outcome: "nothing_taken" });
  expect(await settings("--no-refuse-closed")).toMatchObject({ refuseClosed: false, changed: true });
  expect((await run("status")).stdout).not.toContain("closed periods");
  expect(await retry()).toMatchObject({
    outcome: "taken_in",
    restated: [{ period: "2026-03", invoices: 1, total: "5.00" }],
  });
  const { stdout } = await run("sql", "-c", "select refuse_closed from reports.warehouse_settings", "--json");
  expect(jsonLines(stdout)).toEqual([{ refuse_closed: false }]);
});

test("no invoice of a closed period becomes absent, by a void line or by a file that holds all of a day", async () => {
  const { warehouse, folder } = await setScene();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  await close(warehouse, "2026-03");
  const source = { name: "till", sha256: createHash("sha256").update("till").digest(), form: VOID_FORM };
  const lines = [`a,${invoiceId(1)},2026-03-01,?,void`, `b,${invoiceId(5)},2026-04-01,8.00,paid`];
  const path = writeDrop(folder, "b_2026-04-02.csv", lines);
  const report = await loadDrop({ ...warehouse, path, source, maxRejects: 1 });
  expect(report).toMatchObject({ outcome: "loaded", rows: { inserted: 1, voided: 0, rejected: 1 } });
  expect(await rejectsOf(warehouse, report.loadId)).toEqual([{ line: 1, reason: "period_closed" }]);
  const all = writeInvoices(folder, "c_2026-04-02.csv", [["a", 7, "2026-03-01", "1.00"]]);
  const refused = await loadDrop({ ...warehouse, path: all, replaceVenueDays: true, maxRejects: 1 });
  expect(refused).toMatchObject({ outcome: "rejected", reasons: [{ reason: "period_closed" }] });
  expect(await restatements(warehouse)).toEqual([]);
});

test("a load that meets a closing which is being made waits for it, and refuses the lines", async () => {
  const { warehouse } = await setScene();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  const holder = await openTransaction(warehouse);
  // The closing has read what is known, and cannot be entered yet.
  await holder.query("lock table warehouse.closings in share mode");
  const closing = close(warehouse, "2026-03");
  await expect.poll(() => waits(warehouse), { timeout: 20_000 }).toHaveLength(1);
  const loading = send(warehouse, "b_2026-04-02.csv", LATER);
  await expect.poll(() => waits(warehouse), { timeout: 20_000 }).toHaveLength(2);
  await holder.query("commit");
  expect((await closing).closing).toMatchObject({ invoices: 2, total: "3.00" });
  expect(await loading).toMatchObject({ rows: { read: 4, inserted: 2, rejected: 2 } });
  expect(await restatements(warehouse)).toEqual([]);
});

test("beside closings that are made all the while no load and no retry restates", async () => {
  const { warehouse } = await setScene();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  let next = 100;
  const sender = async (name: string) => {
    for (let drop = 0; drop < 10; drop += 1) {
      const invoices = Array.from({ length: 20 }, (_, index): Invoice => {
        next += 1;
        return [`v${index % 3}`, next, `2026-03-${String(1 + (next % 31)).padStart(2, "0")}`, "1.01"];
      });
      await send(warehouse, `${name}${drop}_2026-04-01.csv`, invoices);
    }
  };
  const closer = async (days: readonly number[]) => {
    for (const day of days) await close(warehouse, `2026-03-${String(day).padStart(2, "0")}`);
  };
  await Promise.all([sender("x"), sender("y"), closer([1, 5, 9, 13]), closer([2, 6, 10, 14, 31])]);
  expect(await restatements(warehouse)).toEqual([]);
  const counted = await warehouse.query<{ refused: number; reasons: number }>(
    `select count(*)::integer as refused, count(distinct reason)::integer as reasons from warehouse.rejects`,
  );
  expect(counted).toEqual([{ refused: expect.any(Number), reasons: 1 }]);
  expect(counted[0]?.refused).toBeGreaterThan(0);
  await refreshPartitions(warehouse);
  expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test("who undoes or replaces a load decides about closed periods, too, and is told what is restated", async () => {
  const { warehouse, folder, run } = await setScene();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  await send(warehouse, "b_2026-04-02.csv", [["a", 9, "2026-03-02", "9.00"]]);
  await close(warehouse, "2026-03");
  const path = writeInvoices(folder, "c_2026-04-02.csv", [["a", 9, "2026-03-02", "8.00"]]);
  const replaced = await run("load", path, "--replace", "2", "--because", "a test", "--json");
  expect(replaced.code).toBe(0);
  expect(await restatements(warehouse)).toEqual([{ period: "2026-03", invoices: "0", total: "-1.00" }]);
  const undone = await run("undo", "1", "--because", "a test");
  expect(undone.code).toBe(0);
  expect(undone.stdout).toContain("2026-03 is closed (closing 1), and restated: 2 groups, -2 invoices");
});
