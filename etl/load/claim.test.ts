/** Which drop a load is of: of its content and its sync date, which must have come. */
import { createHash } from "node:crypto";
import { readFileSync, utimesSync } from "node:fs";
import { expect, test } from "vitest";
import { withTransaction } from "../../db/client.ts";
import { addDays } from "../../db/dates.ts";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { FILE_DATE } from "../drop/name.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { replaceLoad } from "../undo/replace.ts";
import { findSent } from "./claim.ts";
import { loadDrop } from "./load.ts";

/** Fourteen hours ahead of UTC, so that for more than half of a day its date is another one. */
const timeZone = "Pacific/Kiritimati";

async function makeWarehouse() {
  const warehouse = await createTestDatabase({ timeZone });
  const [row] = await warehouse.query<{ today: string }>("select today::text from warehouse.today");
  const folder = makeFolder();
  let files = 0;
  const write = (date: string) => {
    files += 1;
    return writeDrop(folder, `${files}_${date}.csv`, [`v1,${invoiceId(1)},2026-01-01,${files}.00`]);
  };
  return { ...warehouse, today: row?.today ?? "", write };
}

test("a sync date after tomorrow is refused unless somebody gives it", async () => {
  const warehouse = await makeWarehouse();
  const { today, write } = warehouse;
  const tomorrow = addDays(today, 1);
  const later = addDays(today, 2);
  expect(await loadDrop({ ...warehouse, path: write(tomorrow) })).toMatchObject({ outcome: "loaded" });
  const path = write(later);
  expect(await loadDrop({ ...warehouse, path })).toMatchObject({
    outcome: "rejected",
    syncedOn: later,
    rows: { read: 0 },
    error: {
      code: "sync_date_in_future",
      message: expect.stringContaining(`${later} is after tomorrow, ${tomorrow}`),
    },
  });
  expect(await warehouse.query("select total from warehouse.invoices")).toEqual([{ total: "1.00" }]);
  expect(await loadDrop({ ...warehouse, path, syncedOn: later })).toMatchObject({
    outcome: "loaded",
    rows: { corrected: 1 },
  });
});

test("so is the date of a file that is still to come", async () => {
  const warehouse = await makeWarehouse();
  const path = warehouse.write("2026-01-01");
  const later = new Date(`${addDays(warehouse.today, 3)}T00:00:00Z`);
  utimesSync(path, later, later);
  expect(await loadDrop({ ...warehouse, path, syncedOn: FILE_DATE })).toMatchObject({
    outcome: "rejected",
    error: { code: "sync_date_in_future" },
  });
});

test("a load that such a file was to replace stays", async () => {
  const warehouse = await makeWarehouse();
  const { today, write } = warehouse;
  const { loadId } = await loadDrop({ ...warehouse, path: write(today) });
  const replace = replaceLoad({ ...warehouse, loadId: loadId ?? 0, because: "a test" });
  const path = write(addDays(today, 2));
  expect(await loadDrop({ ...warehouse, path, replace })).toMatchObject({ outcome: "rejected" });
  expect(replace.report()).toBeUndefined();
  expect(await warehouse.query("select status from warehouse.loads order by load_id")).toEqual([
    { status: "loaded" },
    { status: "rejected" },
  ]);
});

test("a drop that is loaded again is that of its sync date alone", async () => {
  const warehouse = await createTestDatabase();
  const path = writeDrop(makeFolder(), "a_2026-01-02.csv", [`v1,${invoiceId(1)},2026-01-01,1.00`]);
  await loadDrop({ ...warehouse, path });
  await loadDrop({ ...warehouse, path, syncedOn: "2026-01-03" });
  await loadDrop({ ...warehouse, path, again: true });
  expect(
    await warehouse.query("select synced_on::text, status from warehouse.loads order by load_id"),
  ).toEqual([
    { synced_on: "2026-01-02", status: "failed" },
    { synced_on: "2026-01-03", status: "loaded" },
    { synced_on: "2026-01-02", status: "loaded" },
  ]);
});

test("a load whose commit was sent is known by its number together with its drop", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const path = writeDrop(folder, "a_2026-01-02.csv", [`v1,${invoiceId(1)},2026-01-01,1.00`]);
  const { loadId } = await loadDrop({ ...warehouse, path });
  const find = (options: { readonly content?: string; readonly syncedOn?: string }) => {
    const bytes = readFileSync(options.content ?? path);
    const sha256 = createHash("sha256").update(bytes).digest();
    const past = { content: { sha256, bytes: bytes.length }, failedDirectly: false, sent: [loadId ?? 0] };
    return withTransaction(warehouse, (tx) => findSent(tx, past, options.syncedOn ?? "2026-01-02"));
  };
  expect(await find({})).toMatchObject({ loadId, outcome: "loaded", rows: { inserted: 1 } });
  // A number of a load that did not commit is given again after a crash of the server.
  const other = writeDrop(folder, "b_2026-01-02.csv", [`v1,${invoiceId(2)},2026-01-01,1.00`]);
  expect(await find({ content: other })).toBeUndefined();
  expect(await find({ syncedOn: "2026-01-03" })).toBeUndefined();
});
