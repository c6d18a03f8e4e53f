/** What the reports say that a correction made of an invoice, whatever came after it. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { type LoadOptions, loadDrop } from "../load/load.ts";
import type { FileSource } from "../sources/source.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { VOID_FORM } from "../testing/sources.ts";
import { undo } from "../undo/undo.ts";
import { verifyWarehouse } from "../verify/verify.ts";

const SOURCE: FileSource = {
  name: "till",
  sha256: createHash("sha256").update("till").digest(),
  form: VOID_FORM,
};

/** Loads, in their order, what a sync date says of invoice 1 (and of another, which keeps the group there). */
async function load(
  warehouse: TestWarehouse,
  day: number,
  total: string | undefined,
  options: Partial<LoadOptions> = {},
): Promise<number> {
  const line = (number: number, rest: string) => `v,${invoiceId(number)},2026-01-01T12:00:00,${rest}`;
  const said = total === "void" ? "?,void" : `${total},paid`;
  const lines = [...(total === undefined ? [] : [line(1, said)]), line(2, "1.00,paid")];
  const path = writeDrop(makeFolder(), `a_2026-01-${String(day).padStart(2, "0")}.csv`, lines);
  const report = await loadDrop({ ...warehouse, path, source: SOURCE, ...options });
  expect(report.outcome).toBe("loaded");
  return report.loadId ?? 0;
}

const SNAPSHOT = { replaceVenueDays: true };

const takeBack = async ({ database, settings }: TestWarehouse, loadId: number) =>
  (await undo({ database, settings, loadId, because: "a test" })).loadId ?? 0;

/** As `load: before -> after`, in the order in which they became known. */
async function corrections(warehouse: TestWarehouse): Promise<readonly string[]> {
  const rows = await warehouse.query<{ text: string }>(`
    select concat(load_id, ': ', old_total, ' -> ', coalesce(new_total::text, 'nothing'), case when undone then ', undone' end) as text
    from reports.corrections
    where created_on = date '2026-01-01' and venue_id = 'v' and invoice_id = '${invoiceId(1)}'
    order by known_at`);
  return rows.map(({ text }) => text);
}

test.each([
  ["a void line", "void", {}],
  ["a snapshot", undefined, SNAPSHOT],
] as const)(
  "what %s took out left nothing, also when the invoice came back and was corrected",
  async (_, total, options) => {
    const warehouse = await createTestDatabase();
    await load(warehouse, 2, "10.00");
    await load(warehouse, 3, "11.00");
    const takenOut = ["2: 10.00 -> 11.00", "3: 11.00 -> nothing"];
    await load(warehouse, 4, total, options);
    expect(await corrections(warehouse)).toEqual(takenOut);
    await load(warehouse, 5, "12.00");
    expect(await corrections(warehouse)).toEqual(takenOut);
    await load(warehouse, 6, "15.00");
    expect(await corrections(warehouse)).toEqual([...takenOut, "5: 12.00 -> 15.00"]);
    await load(warehouse, 7, total, options);
    expect(await corrections(warehouse)).toEqual([...takenOut, "5: 12.00 -> 15.00", "6: 15.00 -> nothing"]);
  },
);

test("a snapshot that corrects an invoice does not take it out, whoever confirms it", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, 2, "10.00");
  // Another invoice is gone, so the load has taken something out.
  await loadDrop({
    ...warehouse,
    source: SOURCE,
    path: writeDrop(makeFolder(), "b_2026-01-02.csv", [`v,${invoiceId(3)},2026-01-01T12:00:00,3.00,paid`]),
  });
  await load(warehouse, 4, "12.00", SNAPSHOT);
  expect(await corrections(warehouse)).toEqual(["3: 10.00 -> 12.00"]);
  await load(warehouse, 5, "12.00");
  expect(await corrections(warehouse)).toEqual(["3: 10.00 -> 12.00"]);
  await load(warehouse, 6, "13.00");
  expect(await corrections(warehouse)).toEqual(["3: 10.00 -> 12.00", "5: 12.00 -> 13.00"]);
});

test("what was corrected and then confirmed has the value that was confirmed", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, 2, "10.00");
  await load(warehouse, 3, "11.00");
  await load(warehouse, 4, "11.00");
  expect(await corrections(warehouse)).toEqual(["2: 10.00 -> 11.00"]);
  await load(warehouse, 5, "12.00");
  expect(await corrections(warehouse)).toEqual(["2: 10.00 -> 11.00", "4: 11.00 -> 12.00"]);
});

test("an undone load has said what it said, whatever stands", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, 2, "10.00");
  const second = await load(warehouse, 3, "11.00");
  await load(warehouse, 4, "12.00");
  await takeBack(warehouse, second);
  expect(await corrections(warehouse)).toEqual(["2: 10.00 -> 11.00, undone", "3: 11.00 -> 12.00"]);
  const fourth = await load(warehouse, 5, "13.00");
  await takeBack(warehouse, fourth);
  expect(await corrections(warehouse)).toEqual([
    "2: 10.00 -> 11.00, undone",
    "3: 11.00 -> 12.00",
    expect.stringMatching(/: 12\.00 -> 13\.00, undone$/),
  ]);
  await load(warehouse, 6, "13.00");
  expect((await corrections(warehouse)).slice(0, 3)).toEqual([
    "2: 10.00 -> 11.00, undone",
    "3: 11.00 -> 12.00",
    expect.stringMatching(/: 12\.00 -> 13\.00, undone$/),
  ]);
});

test("an invoice that an undo brings back, or takes out again, changes no correction before it", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, 2, "10.00");
  await load(warehouse, 3, "11.00");
  const gone = await load(warehouse, 4, undefined, SNAPSHOT);
  const back = await takeBack(warehouse, gone);
  expect(await corrections(warehouse)).toEqual(["2: 10.00 -> 11.00", "3: 11.00 -> nothing, undone"]);
  await takeBack(warehouse, back);
  expect(await corrections(warehouse)).toEqual(["2: 10.00 -> 11.00", "3: 11.00 -> nothing"]);
  await load(warehouse, 5, "14.00");
  expect(await corrections(warehouse)).toEqual(["2: 10.00 -> 11.00", "3: 11.00 -> nothing"]);
});

test("what a repair took out under one key is nothing, also when a later file brings it back", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, 2, "10.00");
  await loadDrop({
    ...warehouse,
    source: SOURCE,
    path: writeDrop(makeFolder(), "b_2026-01-03.csv", [`w,${invoiceId(1)},2026-01-01T12:00:00,10.00,paid`]),
  });
  await verifyWarehouse({ ...warehouse, identity: true, repair: "newest" });
  expect(await corrections(warehouse)).toEqual(["3: 10.00 -> nothing"]);
  await load(warehouse, 4, "12.00");
  expect(await corrections(warehouse)).toEqual(["3: 10.00 -> nothing"]);
});
