/** Cases of an undo that a random history hardly meets, each with what must stand afterwards. */
import { expect, test } from "vitest";
import { detachPartition } from "../../db/partitions/remove.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import type { Form } from "../drop/form.ts";
import { loadDrop } from "../load/load.ts";
import { retryRejects } from "../load/retry_rejects.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { readOpenRejects } from "../reports/open_rejects.ts";
import { findDivergences, type Invoice, load, writeInvoices } from "../testing/invoices.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { disagreements } from "../testing/warehouse.ts";
import { verifyWarehouse } from "../verify/verify.ts";
import { pruneStatements } from "./prune.ts";
import { replaceLoad } from "./replace.ts";
import { type UndoReport, undo } from "./undo.ts";

/** Loads drops, one after the other, and returns the numbers of their loads. */
async function loadAll(
  warehouse: TestWarehouse,
  drops: readonly (readonly [fileName: string, invoices: readonly Invoice[]])[],
): Promise<readonly number[]> {
  const folder = makeFolder();
  const numbers: number[] = [];
  for (const [fileName, invoices] of drops) {
    const { loadId } = await load(warehouse, writeInvoices(folder, fileName, invoices));
    numbers.push(loadId ?? 0);
  }
  return numbers;
}

function takeBack(warehouse: TestWarehouse, loadId = 0, dryRun = false): Promise<UndoReport> {
  return undo({ ...warehouse, loadId, because: "a test", dryRun });
}

/** The invoices as `number total load sync date`; nothing may disagree with them. */
async function standing(warehouse: TestWarehouse): Promise<readonly string[]> {
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await findDivergences(warehouse)).toEqual([]);
  const rows = await warehouse.query<{ text: string }>(`
    select concat_ws(' ', right(invoice_id::text, 12)::integer, total, load_id, synced_on) as text
    from warehouse.invoices
    order by right(invoice_id::text, 12)::integer, created_on, venue_key`);
  return rows.map(({ text }) => text);
}

const DAY = "2026-01-01";
const one = (total: string): readonly Invoice[] => [["v", 1, DAY, total]];

test("an invoice that nobody else states is gone, one that was corrected has its old value, one that was confirmed its old load", async () => {
  const warehouse = await createTestDatabase();
  const [first, second] = await loadAll(warehouse, [
    [
      "a_2026-01-02.csv",
      [
        ["v", 1, DAY, "1.00"],
        ["v", 2, DAY, "2.00"],
      ],
    ],
    [
      "b_2026-01-03.csv",
      [
        ["v", 1, DAY, "1.50"],
        ["v", 2, DAY, "2.00"],
        ["v", 3, DAY, "3.00"],
        ["w", 4, "2025-12-31", "4.00"],
      ],
    ],
  ]);
  await refreshPartitions({ ...warehouse });
  const before = await standing(warehouse);
  const planned = await takeBack(warehouse, second, true);
  expect(planned).toEqual({
    loadId: null,
    undoOf: second,
    undone: "load",
    fileName: "b_2026-01-03.csv",
    rows: { removed: 2, corrected: 1, unchanged: 1, inserted: 0 },
    groups: 2,
    invoices: -2,
    total: "-7.50",
    partitions: ["2025-12", "2026-01"],
  });
  expect(await standing(warehouse)).toEqual(before);
  const done = await takeBack(warehouse, second);
  expect(done).toEqual({ ...planned, loadId: expect.any(Number) });
  expect(await standing(warehouse)).toEqual([`1 1.00 ${first} 2026-01-02`, `2 2.00 ${first} 2026-01-02`]);
  expect(
    await warehouse.query(
      "select status, undo_of, because, removed, corrected from warehouse.loads order by load_id",
    ),
  ).toEqual([
    { status: "loaded", undo_of: null, because: null, removed: "0", corrected: "0" },
    { status: "undone", undo_of: null, because: null, removed: "0", corrected: "1" },
    { status: "undo", undo_of: second, because: "a test", removed: "2", corrected: "1" },
  ]);
  // Taken back, all is as it was.
  expect(await takeBack(warehouse, done.loadId ?? 0)).toMatchObject({
    undone: "undo",
    rows: { removed: 0, corrected: 1, unchanged: 1, inserted: 2 },
    total: "7.50",
  });
  expect(await standing(warehouse)).toEqual(before);
});

test("an older drop that came too late stands once the newer one is taken back, whether it said the same or not", async () => {
  const warehouse = await createTestDatabase();
  const [newer, older] = await loadAll(warehouse, [
    [
      "b_2026-01-03.csv",
      [
        ["v", 1, DAY, "1.00"],
        ["v", 2, DAY, "2.00"],
      ],
    ],
    [
      "a_2026-01-02.csv",
      [
        ["v", 1, DAY, "1.00"],
        ["v", 2, DAY, "2.50"],
      ],
    ],
  ]);
  expect(await standing(warehouse)).toEqual([`1 1.00 ${newer} 2026-01-03`, `2 2.00 ${newer} 2026-01-03`]);
  await takeBack(warehouse, newer);
  expect(await standing(warehouse)).toEqual([`1 1.00 ${older} 2026-01-02`, `2 2.50 ${older} 2026-01-02`]);
});

test("what a load says is found by way of loads that were taken back before it", async () => {
  const warehouse = await createTestDatabase();
  const [a, b, c, d] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", one("1.00")],
    ["b_2026-01-03.csv", one("1.00")],
    ["c_2026-01-04.csv", one("1.00")],
    ["d_2026-01-05.csv", one("9.00")],
  ]);
  // b says what c said, which d overwrote.
  await takeBack(warehouse, c);
  await takeBack(warehouse, b);
  await takeBack(warehouse, d);
  expect(await standing(warehouse)).toEqual([`1 1.00 ${a} 2026-01-02`]);
  await takeBack(warehouse, a);
  expect(await standing(warehouse)).toEqual([]);
});

test("with a load its retries are taken back, and none of its lines is open; what it confirmed by a retry has its old value", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const [first] = await loadAll(warehouse, [["a_2026-01-02.csv", one("1.00")]]);
  const path = writeDrop(folder, "b_2026-01-03.csv", [
    `v,${invoiceId(1)},${DAY}T12:00:00,1.00`,
    `v,${invoiceId(1)},${DAY}T12:00:00,"2,00"`,
    `v,${invoiceId(2)},${DAY}T12:00:00,x`,
  ]);
  const { loadId } = await load(warehouse, path);
  const findFile = async () => ({ path, follow: false });
  const retry = await retryRejects({ ...warehouse, loadId: loadId ?? 0, findFile, decimalComma: true });
  expect(await standing(warehouse)).toEqual([`1 2.00 ${loadId} 2026-01-03`]);
  await expect(takeBack(warehouse, retry.loadId ?? 0)).rejects.toThrow(`rollbook undo ${loadId}`);
  const { loadId: undone } = await takeBack(warehouse, loadId ?? 0);
  expect(await standing(warehouse)).toEqual([`1 1.00 ${first} 2026-01-02`]);
  expect(await readOpenRejects(warehouse)).toEqual([]);
  await takeBack(warehouse, undone ?? 0);
  expect(await standing(warehouse)).toEqual([`1 2.00 ${loadId} 2026-01-03`]);
  expect(await readOpenRejects(warehouse)).toMatchObject([{ lines: 1 }]);
});

test("a load because of which a repair took something out is undone after the repair", async () => {
  const warehouse = await createTestDatabase();
  const [first, second] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", one("1.00")],
    ["b_2026-01-03.csv", [["w", 1, DAY, "1.00"]]],
  ]);
  const { takenOut } = await verifyWarehouse({ ...warehouse, identity: true, repair: "newest" });
  const repair = takenOut?.loadId ?? 0;
  expect(await standing(warehouse)).toEqual([`1 1.00 ${second} 2026-01-03`]);
  await expect(takeBack(warehouse, second)).rejects.toThrow(`Undo the repair first: rollbook undo ${repair}`);
  const { loadId } = await takeBack(warehouse, repair);
  expect(await standing(warehouse)).toHaveLength(2);
  await expect(takeBack(warehouse, loadId ?? 0)).rejects.toThrow("verify --identity --repair newest");
  await takeBack(warehouse, second);
  expect(await standing(warehouse)).toEqual([`1 1.00 ${first} 2026-01-02`]);
});

test("what a repair took out stays out when a load that stated it anew is taken back", async () => {
  const warehouse = await createTestDatabase();
  const [, second] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", one("1.00")],
    ["b_2026-01-03.csv", [["w", 1, DAY, "1.00"]]],
  ]);
  await verifyWarehouse({ ...warehouse, identity: true, repair: "newest" });
  const [third] = await loadAll(warehouse, [["c_2026-01-04.csv", one("5.00")]]);
  await takeBack(warehouse, third);
  expect(await standing(warehouse)).toEqual([`1 1.00 ${second} 2026-01-03`]);
});

test("what cannot be taken back is refused, with the reason", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const path = writeInvoices(folder, "a_2026-01-02.csv", one("1.00"));
  const { loadId } = await load(warehouse, path);
  const { loadId: first } = await takeBack(warehouse, loadId ?? 0);
  await expect(takeBack(warehouse, loadId ?? 0)).rejects.toMatchObject({
    code: "usage",
    message: `${loadId} is undone already, by ${first}. To take that back, run: rollbook undo ${first}`,
  });
  const { loadId: again } = await load(warehouse, path);
  expect(again).not.toBe(loadId);
  await expect(takeBack(warehouse, first ?? 0)).rejects.toThrow(`as load ${again}`);
  await takeBack(warehouse, again ?? 0);
  const { loadId: redone } = await takeBack(warehouse, first ?? 0);
  await expect(takeBack(warehouse, redone ?? 0)).rejects.toThrow(`undo the load: rollbook undo ${loadId}`);
  await expect(takeBack(warehouse, 999)).rejects.toMatchObject({ code: "not_found" });
  const refused = await loadDrop({ ...warehouse, path: writeDrop(folder, "x_2026-01-02.csv", ["a,b"]) });
  await expect(takeBack(warehouse, refused.loadId ?? 0)).rejects.toThrow("is rejected");
  expect(await standing(warehouse)).toEqual([`1 1.00 ${loadId} 2026-01-02`]);
});

test("a load with invoices in a detached partition is not taken back, also if it only confirmed them", async () => {
  const warehouse = await createTestDatabase();
  const [, second] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", one("1.00")],
    ["b_2026-01-03.csv", [...one("1.00"), ["v", 2, "2025-12-31", "2.00"]]],
  ]);
  await refreshPartitions({ ...warehouse });
  await detachPartition({ ...warehouse, partition: "2026-01" });
  await expect(takeBack(warehouse, second)).rejects.toMatchObject({
    code: "partition_closed",
    message: expect.stringContaining("2026-01 is detached"),
  });
});

test("a load whose statements were forgotten is not taken back", async () => {
  const warehouse = await createTestDatabase();
  const [, second] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", one("1.00")],
    ["b_2026-01-03.csv", one("1.00")],
  ]);
  expect(await pruneStatements(warehouse)).toMatchObject({ rows: 0 });
  await warehouse.query("update warehouse.loads set known_at = known_at - interval '401 days'");
  expect(await pruneStatements(warehouse)).toMatchObject({ rows: 1 });
  await expect(takeBack(warehouse, second)).rejects.toMatchObject({ code: "statements_pruned" });
  const [third] = await loadAll(warehouse, [["c_2026-01-04.csv", one("1.00")]]);
  await takeBack(warehouse, third);
  expect(await standing(warehouse)).toEqual([`1 1.00 ${second} 2026-01-03`]);
});

test("a drop replaces a load in one transaction; one that is refused leaves it as it is", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const path = writeDrop(folder, "a_2026-01-02.csv", [
    `v,${invoiceId(1)},${DAY}T12:00:00,1.00`,
    `v,${invoiceId(2)},${DAY}T12:00:00,"2,00"`,
  ]);
  const { loadId } = await load(warehouse, path);
  const replace = (because: string) => replaceLoad({ ...warehouse, loadId: loadId ?? 0, because });
  // No reject is allowed.
  const refused = replace("not read");
  const bad = writeDrop(folder, "b_2026-01-02.csv", ["v,x,y,z"]);
  expect(await loadDrop({ ...warehouse, path: bad, replace: refused })).toMatchObject({
    outcome: "rejected",
  });
  expect(refused.report()).toBeUndefined();
  expect(await standing(warehouse)).toEqual([`1 1.00 ${loadId} 2026-01-02`]);
  // The same bytes, read in another way.
  const replacement = replace("a decimal comma");
  const loaded = await loadDrop({ ...warehouse, path, replace: replacement, decimalComma: true });
  expect(loaded).toMatchObject({ outcome: "loaded", rows: { inserted: 2 } });
  expect(replacement.report()).toMatchObject({ undoOf: loadId, rows: { removed: 1 } });
  expect(await standing(warehouse)).toEqual([
    `1 1.00 ${loaded.loadId} 2026-01-02`,
    `2 2.00 ${loaded.loadId} 2026-01-02`,
  ]);
  expect(await warehouse.query("select status from warehouse.loads order by load_id")).toEqual(
    ["undone", "rejected", "loaded", "undo"].map((status) => ({ status })),
  );
});

test("a replacing file whose rows add up to no total leaves the load as it is", async () => {
  const warehouse = await createTestDatabase();
  const [loadId = 0] = await loadAll(warehouse, [["a_2026-01-02.csv", one("1.00")]]);
  const large = `v,${invoiceId(2)},${DAY},999999999999.99`;
  const form: Form = {
    skip: 0,
    header: false,
    venueId: { column: 1 },
    invoiceId: { column: 2 },
    created: { columns: [3] },
    total: { columns: [4] },
    conditions: [],
    sumRows: true,
  };
  const replacement = replaceLoad({ ...warehouse, loadId, because: "too large" });
  const report = await loadDrop({
    ...warehouse,
    path: writeDrop(makeFolder(), "b_2026-01-02.csv", [large, large]),
    source: { name: "till", sha256: Buffer.alloc(32), form },
    replace: replacement,
  });
  expect(report).toMatchObject({ outcome: "rejected", error: { code: "sum_too_large" } });
  expect(replacement.report()).toBeUndefined();
  expect(await standing(warehouse)).toEqual([`1 1.00 ${loadId} 2026-01-02`]);
  expect(await warehouse.query("select status from warehouse.loads order by load_id")).toEqual([
    { status: "loaded" },
    { status: "rejected" },
  ]);
});

test("what a replacing file and the undo in it change is to be refreshed, each under its own entry", async () => {
  const warehouse = await createTestDatabase();
  const [loadId = 0] = await loadAll(warehouse, [["a_2026-01-02.csv", one("1.00")]]);
  const path = writeInvoices(makeFolder(), "b_2026-02-02.csv", [["v", 1, "2026-02-01", "1.00"]]);
  const report = await loadDrop({
    ...warehouse,
    path,
    replace: replaceLoad({ ...warehouse, loadId, because: "a wrong date" }),
  });
  const [january, february] = ["2026-01", "2026-02"];
  expect(report).toMatchObject({ partitions: [february], touched: [february, january] });
  expect(await warehouse.query("select status, partitions from warehouse.loads order by load_id")).toEqual([
    { status: "undone", partitions: [january] },
    { status: "loaded", partitions: [february] },
    { status: "undo", partitions: [january] },
  ]);
});
