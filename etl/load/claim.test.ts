/** What a load says to a sync date that is still to come. */
import { utimesSync } from "node:fs";
import { expect, test } from "vitest";
import { addDays } from "../../db/dates.ts";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { FILE_DATE } from "../drop/name.ts";
import { readStatus } from "../reports/status.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { replaceLoad } from "../undo/replace.ts";
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

test("status names loads whose sync date is later than the day on which they were loaded", async () => {
  const warehouse = await makeWarehouse();
  const { today, write } = warehouse;
  await loadDrop({ ...warehouse, path: write(today) });
  expect((await readStatus(warehouse)).warnings).toEqual([]);
  const later = addDays(today, 400);
  const { loadId } = await loadDrop({ ...warehouse, path: write(later), syncedOn: later });
  await loadDrop({ ...warehouse, path: write(addDays(today, 1)) });
  expect((await readStatus(warehouse)).warnings).toEqual([
    expect.stringMatching(
      new RegExp(`^2 loads have a sync date .*: ${loadId} \\(2_${later}\\.csv, ${later}\\), .*rollbook undo`),
    ),
  ]);
});
