/** The plain insert of new invoices against the merge by key: whichever is taken, the state is the same. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { initWarehouse } from "../../db/migrate.ts";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { createTestDatabase, type TestWarehouse, testConnection } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { disagreements, startWorker, type Worker } from "../testing/warehouse.ts";
import { loadDrop } from "./load.ts";
import { VENUES_PER_INSERT } from "./prepare.ts";

/** Many more than the sample that is looked up beforehand. */
const ROWS = 60_000;

interface Row {
  readonly venue: string;
  readonly id: string;
  readonly total: string;
}

/** Rows in the order of their keys: one day, venues and ids ascending. */
function makeRows(total: string): Row[] {
  return Array.from({ length: ROWS }, (_, index) => ({
    venue: `venue-${String(Math.floor(index / 600)).padStart(3, "0")}`,
    id: `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`,
    total,
  }));
}

function writeDrop(name: string, rows: readonly Row[]): string {
  const path = join(makeFolder(), name);
  writeFileSync(
    path,
    rows.map(({ venue, id, total }) => `${venue},${id},2026-02-03T12:00:00,${total}\n`).join(""),
  );
  return path;
}

async function load(warehouse: TestWarehouse, path: string) {
  const { database, settings } = warehouse;
  return loadDrop({ database, settings, path });
}

/** Every invoice as it stands. */
function stored(warehouse: TestWarehouse): Promise<Row[]> {
  return warehouse.query<Row & Record<string, string>>(`
    select v.venue_id as venue, i.invoice_id as id, i.total
    from warehouse.invoices i join warehouse.venues v using (venue_key)
    order by i.invoice_id`);
}

test.each([
  ["first", 0],
  ["one in the middle", ROWS / 2],
  ["last", ROWS - 1],
])(
  "a drop of new invoices of which the %s is known corrects that one and inserts the others",
  async (_, known) => {
    const warehouse = await createTestDatabase();
    const rows = makeRows("5.00");
    const older = rows.slice(known, known + 1).map((row) => ({ ...row, total: "1.00" }));
    await load(warehouse, writeDrop("older_2026-02-04.csv", older));
    const report = await load(warehouse, writeDrop("newer_2026-02-05.csv", rows));
    expect(report.rows).toEqual({
      read: ROWS,
      inserted: ROWS - 1,
      corrected: 1,
      unchanged: 0,
      superseded: 0,
      skipped: 0,
      summed: 0,
      voided: 0,
      absent: 0,
      rejected: 0,
    });
    expect(await stored(warehouse)).toEqual(rows);
    expect(await disagreements(warehouse)).toEqual([]);
    expect(await warehouse.query("select old_total from warehouse.corrections")).toEqual([
      { old_total: "1.00" },
    ]);
  },
);

test("a drop of new invoices of which one is known from a newer drop leaves that one alone", async () => {
  const warehouse = await createTestDatabase();
  const rows = makeRows("5.00");
  const newer = rows.slice(-1).map((row) => ({ ...row, total: "9.00" }));
  await load(warehouse, writeDrop("newer_2026-02-05.csv", newer));
  const report = await load(warehouse, writeDrop("older_2026-02-04.csv", rows));
  expect(report.rows).toMatchObject({ read: ROWS, inserted: ROWS - 1, superseded: 1 });
  expect(await stored(warehouse)).toEqual([...rows.slice(0, -1), ...newer]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test.each([{ careful: true }, { careful: false }])(
  "every new venue of a drop of very many is made (careful: $careful)",
  async ({ careful }) => {
    const warehouse = await createTestDatabase();
    const rows = Array.from({ length: 2 * VENUES_PER_INSERT + 1 }, (_, index) => ({
      venue: `venue-${index}`,
      id: `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`,
      total: "1.00",
    }));
    const path = writeDrop("venues_2026-02-05.csv", rows);
    expect(await loadDrop({ ...warehouse, path, careful })).toMatchObject({
      rows: { inserted: rows.length },
    });
    expect(await stored(warehouse)).toEqual(rows);
  },
);

test("of lines with one key in a drop of new invoices the last one counts", async () => {
  const warehouse = await createTestDatabase();
  const rows = makeRows("5.00");
  const again = [0, ROWS / 2, ROWS - 1].map((index) => ({ ...(rows[index] as Row), total: "7.00" }));
  const report = await load(warehouse, writeDrop("again_2026-02-05.csv", [...rows, ...again]));
  expect(report.rows).toMatchObject({ read: ROWS + 3, inserted: ROWS, superseded: 3 });
  const changed = new Map(again.map((row) => [row.id, row]));
  expect(await stored(warehouse)).toEqual(rows.map((row) => changed.get(row.id) ?? row));
  expect(await disagreements(warehouse)).toEqual([]);
});

test("two drops with the same new invoices, loaded at once, end in the statements of the newer one", async () => {
  const warehouse = await createTestDatabase();
  const { settings } = warehouse;
  const connection = testConnection(warehouse.environment.PGDATABASE ?? "");
  const drops = [
    writeDrop("one_2026-02-05.csv", makeRows("5.00")),
    writeDrop("two_2026-02-06.csv", [...makeRows("6.00")].reverse()),
  ];
  const workers: Worker[] = drops.map(startWorker);
  try {
    const results = await Promise.all(
      drops.map((path, index) => workers[index]?.run({ connection, settings, path })),
    );
    for (const result of results) expect(result).toMatchObject({ load: { outcome: "loaded" } });
  } finally {
    for (const worker of workers) worker.kill();
  }
  expect(await stored(warehouse)).toEqual(makeRows("6.00"));
  expect(await disagreements(warehouse)).toEqual([]);
});

test.each([false, true])(
  "a correction of the creation time alone keeps what it was before, and changes no total (careful: %s)",
  async (careful) => {
    const warehouse = await createTestDatabase();
    const { database, settings } = warehouse;
    const write = (name: string, time: string) => {
      const path = join(makeFolder(), name);
      writeFileSync(path, `v,00000000-0000-4000-8000-000000000001,2026-02-03T${time}Z,5.00\n`);
      return path;
    };
    await load(warehouse, write("older_2026-02-04.csv", "12:00:00"));
    const path = write("newer_2026-02-05.csv", "12:30:00");
    const { rows, partitions } = await loadDrop({ database, settings, path, careful });
    expect(rows).toMatchObject({ read: 1, inserted: 0, corrected: 1, unchanged: 0 });
    expect(partitions).toEqual([]);
    expect(
      await warehouse.query(
        "select load_id, old_load_id, old_total, old_created_at = '2026-02-03T12:00:00Z' as old_time from warehouse.corrections",
      ),
    ).toEqual([{ load_id: 2, old_load_id: 1, old_total: "5.00", old_time: true }]);
    expect(await disagreements(warehouse)).toEqual([]);
  },
);

test.each([false, true])(
  "a load whose settings were changed after it had read them is rolled back, and the next one is right (careful: %s)",
  async (careful) => {
    const warehouse = await createTestDatabase();
    const { database, settings: read } = warehouse;
    const { settings } = await initWarehouse({ database, timeZone: "Asia/Tokyo", dayStarts: "04:00" });
    const path = join(makeFolder(), "drop_2026-02-03.csv");
    writeFileSync(path, "v,00000000-0000-4000-8000-000000000001,2026-02-02T18:59:59Z,1.00\n");
    expect(await loadDrop({ database, settings: read, path, careful })).toMatchObject({
      outcome: "failed",
      error: { code: "configuration" },
    });
    expect(await warehouse.query("select from warehouse.invoices")).toEqual([]);
    expect(await loadDrop({ database, settings, path, careful })).toMatchObject({ outcome: "loaded" });
    // In Tokyo it is 03:59:59 of the 3rd, and a day starts at four.
    expect(await warehouse.query("select created_on::text from warehouse.invoices")).toEqual([
      { created_on: "2026-02-02" },
    ]);
  },
);

test.each([true, false])("a load uses no partition but those of its dates (careful: %s)", async (careful) => {
  const warehouse = await createTestDatabase();
  const { database, settings } = warehouse;
  await ensurePartitions({
    database,
    granularity: "month",
    dates: ["2026-01-01", "2026-02-01", "2026-03-01"],
  });
  const others = await database.pool.connect();
  onTestFinished(() => others.release(true));
  await others.query("begin");
  for (const parent of ["invoices", "venue_day_deltas", "venue_day_rollup"]) {
    await others.query(`lock table warehouse.${parent}_2026_01, warehouse.${parent}_2026_03`);
  }
  // Whoever plans or opens one of the others waits for ever. The last line replaces the first: that one is looked up.
  const rows = makeRows("5.00");
  const path = writeDrop("mine_2026-02-04.csv", [...rows, { ...(rows[0] as Row), total: "6.00" }]);
  const report = await loadDrop({ database, settings, path, careful, chunkLines: 20_000 });
  expect(report).toMatchObject({ outcome: "loaded", rows: { inserted: ROWS, superseded: 1 } });
});
