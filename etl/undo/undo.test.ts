/** Cases of an undo that a random history hardly meets, each with what must stand afterwards. */
import { expect, test } from "vitest";
import { LOCK } from "../../db/locks.ts";
import { detachPartition } from "../../db/partitions/remove.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { openTransaction } from "../../db/testing/partitions.ts";
import { loadDrop } from "../load/load.ts";
import { retryRejects } from "../load/retry_rejects.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { readOpenRejects } from "../reports/open_rejects.ts";
import { findDivergences, type Invoice, load, writeInvoices } from "../testing/invoices.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { DROP_FORM } from "../testing/sources.ts";
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

test("what a load says that counts again is not forgotten, however long ago it was taken back", async () => {
  const warehouse = await createTestDatabase();
  const [first] = await loadAll(warehouse, [["a_2026-01-02.csv", one("1.00")]]);
  const { loadId: taken } = await takeBack(warehouse, first);
  await warehouse.query("update warehouse.loads set known_at = known_at - interval '401 days'");
  const [newer] = await loadAll(warehouse, [["b_2026-01-03.csv", one("2.00")]]);
  await takeBack(warehouse, taken ?? 0);
  expect(await standing(warehouse)).toEqual([`1 2.00 ${newer} 2026-01-03`]);
  expect(await pruneStatements(warehouse)).toMatchObject({ rows: 0 });
  await takeBack(warehouse, newer);
  expect(await standing(warehouse)).toEqual([`1 1.00 ${first} 2026-01-02`]);
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
  const form = { ...DROP_FORM, sumRows: true };
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

test("what a load says that is committing while invoices are given back is seen", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const both: readonly Invoice[] = [...one("1.00"), ["v", 2, DAY, "2.00"]];
  const [first, second] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", both],
    ["b_2026-01-03.csv", both],
  ]);
  const waiting =
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
  const blocker = await openTransaction(warehouse);
  await blocker.query(`select pg_advisory_xact_lock(${LOCK.knownAt}, 0)`);
  const loading = load(warehouse, writeInvoices(folder, "c_2026-01-04.csv", one("5.00")));
  await expect.poll(() => warehouse.query(waiting), { timeout: 20_000 }).toHaveLength(1);
  const undone = takeBack(warehouse, second);
  await expect.poll(() => warehouse.query(waiting), { timeout: 20_000 }).toHaveLength(2);
  await blocker.query("commit");
  const { loadId: third } = await loading;
  expect((await undone).rows).toEqual({ removed: 0, corrected: 0, unchanged: 1, inserted: 0 });
  expect(await standing(warehouse)).toEqual([`1 5.00 ${third} 2026-01-04`, `2 2.00 ${first} 2026-01-02`]);
});

test.each(["2026-01-04", "2026-01-02"])(
  "what a load of %s says that is committing while invoices are taken out is seen",
  async (syncedOn) => {
    const warehouse = await createTestDatabase();
    const both: readonly Invoice[] = [...one("1.00"), ["v", 2, DAY, "2.00"]];
    const [first] = await loadAll(warehouse, [["a_2026-01-03.csv", both]]);
    const waiting =
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    const blocker = await openTransaction(warehouse);
    await blocker.query(`select pg_advisory_xact_lock(${LOCK.knownAt}, 0)`);
    const loading = load(warehouse, writeInvoices(makeFolder(), `b_${syncedOn}.csv`, one("5.00")));
    await expect.poll(() => warehouse.query(waiting), { timeout: 20_000 }).toHaveLength(1);
    const undone = takeBack(warehouse, first);
    await expect.poll(() => warehouse.query(waiting), { timeout: 20_000 }).toHaveLength(2);
    await blocker.query("commit");
    const { loadId: second } = await loading;
    const isLate = syncedOn < "2026-01-03";
    expect((await undone).rows).toMatchObject({ removed: 1, corrected: isLate ? 1 : 0 });
    expect(await standing(warehouse)).toEqual([`1 5.00 ${second} ${syncedOn}`]);
  },
);

// Absences

interface Absence {
  readonly loadId: number | undefined;
  readonly statedBy?: number | undefined;
  readonly syncedOn: string;
  /** Numbers of invoices that are void; left out: all of the group that the load does not name. */
  readonly invoices?: readonly number[];
}

/** Enters what a load states of the group of venue v, and takes out what stands and is older, as a load does. */
async function stateAbsence(
  warehouse: TestWarehouse,
  { loadId, statedBy = loadId, syncedOn, invoices }: Absence,
): Promise<void> {
  const ids = invoices?.map(invoiceId) ?? null;
  await warehouse.query(
    `insert into warehouse.absences
     select $1, $2, $3, $4, venue_key, $5::uuid[] from warehouse.venues where venue_id = 'v'`,
    [loadId, statedBy, syncedOn, DAY, ids],
  );
  await warehouse.query("update warehouse.partitions set absent_until = greatest(absent_until, $1::date)", [
    syncedOn,
  ]);
  await warehouse.query(
    `with taken as (
       delete from warehouse.invoices i using warehouse.venues v
       where v.venue_key = i.venue_key and v.venue_id = 'v' and i.created_on = $1
         and (i.synced_on, i.load_id) < ($2::date, $3::integer + ($4::uuid[] is not null)::integer)
         and ($4::uuid[] is null or i.invoice_id = any ($4::uuid[]))
       returning i.*
     ),
     kept as (
       insert into warehouse.corrections
         (load_id, created_on, venue_key, invoice_id, old_load_id, old_synced_on, old_created_at, old_total)
       select $5, created_on, venue_key, invoice_id, load_id, synced_on, created_at, total from taken
     ),
     net as (
       select created_on, venue_key, -count(*) as invoices, -sum(total) as total from taken group by 1, 2
     ),
     ledger as (
       insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
       select $5::integer, * from net
     ),
     queued as (insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total) select * from net)
     update warehouse.loads
     set absent = (select count(*) from taken), voided = coalesce(cardinality($4::uuid[]), 0),
         read = read + coalesce(cardinality($4::uuid[]), 0)
     where load_id = $5`,
    [DAY, syncedOn, statedBy, ids, loadId],
  );
}

const TWO: readonly Invoice[] = [
  ["v", 1, DAY, "1.00"],
  ["v", 2, DAY, "2.00"],
];

test("what a load took out as absent comes back when it is undone, and leaves again when that is taken back", async () => {
  const warehouse = await createTestDatabase();
  const [first, snapshot] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", TWO],
    ["b_2026-01-05.csv", one("1.00")],
  ]);
  await stateAbsence(warehouse, { loadId: snapshot, syncedOn: "2026-01-05" });
  const absent = [`1 1.00 ${snapshot} 2026-01-05`];
  expect(await standing(warehouse)).toEqual(absent);
  const { loadId: undone, rows } = await takeBack(warehouse, snapshot);
  expect(rows).toEqual({ removed: 0, corrected: 0, unchanged: 1, inserted: 1 });
  const before = [`1 1.00 ${first} 2026-01-02`, `2 2.00 ${first} 2026-01-02`];
  expect(await standing(warehouse)).toEqual(before);
  // Meanwhile an older drop brings an invoice, and a newer one states another.
  const [older, newer] = await loadAll(warehouse, [
    ["c_2026-01-04.csv", [["v", 3, DAY, "3.00"]]],
    ["d_2026-01-06.csv", [["v", 2, DAY, "2.50"]]],
  ]);
  const { rows: redone } = await takeBack(warehouse, undone ?? 0);
  expect(redone).toEqual({ removed: 1, corrected: 0, unchanged: 1, inserted: 0 });
  expect(await standing(warehouse)).toEqual([...absent, `2 2.50 ${newer} 2026-01-06`]);
  await takeBack(warehouse, newer);
  expect(await standing(warehouse)).toEqual(absent);
  await takeBack(warehouse, snapshot);
  expect(await standing(warehouse)).toEqual([...before, `3 3.00 ${older} 2026-01-04`]);
});

test("of two absences the one that is left keeps an invoice out", async () => {
  const warehouse = await createTestDatabase();
  const [first, void3, void5] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", TWO],
    ["b_2026-01-03.csv", [["w", 8, DAY, "8.00"]]],
    ["c_2026-01-05.csv", [["w", 9, DAY, "9.00"]]],
  ]);
  await stateAbsence(warehouse, { loadId: void3, syncedOn: "2026-01-03", invoices: [1] });
  await stateAbsence(warehouse, { loadId: void5, syncedOn: "2026-01-05", invoices: [1, 2] });
  await takeBack(warehouse, void5);
  const others = [`2 2.00 ${first} 2026-01-02`, `8 8.00 ${void3} 2026-01-03`];
  expect(await standing(warehouse)).toEqual(others);
  await takeBack(warehouse, void3);
  expect(await standing(warehouse)).toEqual([`1 1.00 ${first} 2026-01-02`, `2 2.00 ${first} 2026-01-02`]);
});

test("of what a load and its retry say of one invoice the last counts, if it is void or not, also after an undo", async () => {
  const warehouse = await createTestDatabase();
  const line = (number: number, total: string) => `v,${invoiceId(number)},${DAY}T12:00:00,${total}`;
  const path = writeDrop(makeFolder(), "a_2026-01-02.csv", [line(1, "1.00"), line(2, '"2,00"')]);
  const { loadId } = await load(warehouse, path);
  await stateAbsence(warehouse, { loadId: loadId ?? 0, syncedOn: "2026-01-02", invoices: [2] });
  const findFile = async () => ({ path, follow: false });
  const retry = await retryRejects({ ...warehouse, loadId: loadId ?? 0, findFile, decimalComma: true });
  const syncedOn = "2026-01-02";
  await stateAbsence(warehouse, {
    loadId: retry.loadId ?? 0,
    statedBy: loadId ?? 0,
    syncedOn,
    invoices: [1],
  });
  const expected = [`2 2.00 ${loadId} 2026-01-02`];
  expect(await standing(warehouse)).toEqual(expected);
  const { loadId: undone } = await takeBack(warehouse, loadId ?? 0);
  expect(await standing(warehouse)).toEqual([]);
  await takeBack(warehouse, undone ?? 0);
  expect(await standing(warehouse)).toEqual(expected);
});

test("a load that replaces one with absences brings back what is not absent any more", async () => {
  const warehouse = await createTestDatabase();
  const [first, snapshot = 0] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", TWO],
    ["b_2026-01-05.csv", one("1.00")],
  ]);
  await stateAbsence(warehouse, { loadId: snapshot, syncedOn: "2026-01-05" });
  const path = writeInvoices(makeFolder(), "c_2026-01-05.csv", one("1.50"));
  const replace = replaceLoad({ ...warehouse, loadId: snapshot, because: "a test" });
  const { loadId } = await loadDrop({ ...warehouse, path, replace });
  expect(await standing(warehouse)).toEqual([`1 1.50 ${loadId} 2026-01-05`, `2 2.00 ${first} 2026-01-02`]);
});

test("an undo of absences waits for a load that is at work in their partitions", async () => {
  const warehouse = await createTestDatabase();
  const [, snapshot] = await loadAll(warehouse, [
    ["a_2026-01-02.csv", TWO],
    ["b_2026-01-05.csv", one("1.00")],
  ]);
  await stateAbsence(warehouse, { loadId: snapshot, syncedOn: "2026-01-05" });
  const other = await openTransaction(warehouse);
  await other.query("select from warehouse.partitions for key share");
  const undone = takeBack(warehouse, snapshot);
  const waiting =
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
  await expect.poll(() => warehouse.query(waiting)).toHaveLength(1);
  await other.query("commit");
  expect(await undone).toMatchObject({ rows: { inserted: 1 } });
});
