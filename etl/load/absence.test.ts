/** Drops that say that invoices are absent: snapshots of venue-days, and void lines. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { detachPartition } from "../../db/partitions/remove.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import type { Form } from "../drop/form.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import type { FileSource } from "../sources/source.ts";
import { findDivergences } from "../testing/invoices.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { disagreements } from "../testing/warehouse.ts";
import { type LoadOptions, loadDrop } from "./load.ts";
import type { LineCounts, LoadReport } from "./report.ts";

/** The columns of the drop format, and a fifth one that says whether an invoice is void. */
const FORM: Form = {
  skip: 0,
  header: false,
  venueId: { column: 1 },
  invoiceId: { column: 2 },
  created: { columns: [3] },
  total: { columns: [4] },
  conditions: [{ column: 5, values: ["void"], effect: "void" }],
  sumRows: false,
};
const SOURCE: FileSource = { name: "till", sha256: createHash("sha256").update("till").digest(), form: FORM };

/** Number of the invoice, total or `void`, and creation date. */
type Line = readonly [number: number, total: string, createdOn?: string];

const DAY = "2026-01-01";
const OTHER_DAY = "2026-01-02";

function textOf(venue: string, [number, total, createdOn = DAY]: Line): string {
  const value = total === "void" ? "," : `${total},paid`;
  return `${venue},${invoiceId(number)},${createdOn}T12:00:00,${total === "void" ? "?,void" : value}`;
}

interface Given extends Partial<LoadOptions> {
  readonly day: string;
  readonly lines: readonly Line[];
  readonly venue?: string;
}

async function tryLoad(warehouse: TestWarehouse, given: Given): Promise<LoadReport> {
  const { day, lines, venue = "v", ...options } = given;
  const path = writeDrop(
    makeFolder(),
    `a_2026-01-${day}.csv`,
    lines.map((line) => textOf(venue, line)),
  );
  return loadDrop({ ...warehouse, path, source: SOURCE, ...options });
}

async function load(warehouse: TestWarehouse, given: Given): Promise<LoadReport> {
  const report = await tryLoad(warehouse, given);
  expect(report).toMatchObject({ outcome: "loaded" });
  return report;
}

const snapshot = (day: string, lines: readonly Line[], venue?: string): Given => ({
  day,
  lines,
  ...(venue !== undefined && { venue }),
  replaceVenueDays: true,
});

/** The counts that are not 0. */
function counted({ rows }: { readonly rows: LineCounts }): Partial<LineCounts> {
  return Object.fromEntries(Object.entries(rows).filter(([, count]) => count > 0));
}

/** The invoices as `number total day-of-sync-date`. */
async function standing(warehouse: TestWarehouse, venue = "v"): Promise<readonly string[]> {
  const rows = await warehouse.query<{ text: string }>(`
    select concat_ws(' ', right(invoice_id::text, 12)::integer, total, to_char(synced_on, 'DD')) as text
    from warehouse.invoices i join warehouse.venues v using (venue_key)
    where v.venue_id = '${venue}'
    order by created_on, invoice_id`);
  return rows.map(({ text }) => text);
}

async function expectSound(warehouse: TestWarehouse): Promise<void> {
  expect(await disagreements(warehouse)).toEqual([]);
  await refreshPartitions({ ...warehouse });
  expect(await findDivergences(warehouse)).toEqual([]);
}

test("a snapshot takes out what it does not name, of the venues and dates that it holds", async () => {
  const warehouse = await createTestDatabase();
  const { loadId: first } = await load(warehouse, {
    day: "05",
    lines: [
      [1, "1.00"],
      [2, "2.00"],
      [3, "3.00", OTHER_DAY],
    ],
  });
  await load(warehouse, { day: "05", venue: "w", lines: [[4, "4.00"]] });
  const taken = await load(
    warehouse,
    snapshot("06", [
      [1, "1.00"],
      [5, "5.00"],
    ]),
  );
  expect(counted(taken)).toEqual({ read: 2, inserted: 1, unchanged: 1, absent: 1 });
  expect(taken.partitions).toEqual(["2026-01"]);
  expect(await standing(warehouse)).toEqual(["1 1.00 06", "5 5.00 06", "3 3.00 05"]);
  expect(await standing(warehouse, "w")).toEqual(["4 4.00 05"]);
  expect(
    await warehouse.query(
      "select load_id, right(invoice_id::text, 1) as id, old_total, old_load_id from warehouse.corrections",
    ),
  ).toEqual([{ load_id: taken.loadId, id: "2", old_total: "2.00", old_load_id: first }]);
  expect(
    await warehouse.query(
      `select load_id, stated_by, synced_on::text, created_on::text, invoice_ids from warehouse.absences`,
    ),
  ).toEqual([
    {
      load_id: taken.loadId,
      stated_by: taken.loadId,
      synced_on: "2026-01-06",
      created_on: DAY,
      invoice_ids: null,
    },
  ]);
  expect(await warehouse.query("select absent_until::text from warehouse.partitions")).toEqual([
    { absent_until: "2026-01-06" },
  ]);
  expect(await warehouse.query("select voided, absent from reports.load_history where absent > 0")).toEqual([
    { voided: "0", absent: "1" },
  ]);
  await expectSound(warehouse);
});

test("a void line takes its invoice out, and one that comes too late is counted as voided", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, {
    day: "05",
    lines: [
      [1, "1.00"],
      [2, "2.00"],
    ],
  });
  const taken = await load(warehouse, {
    day: "06",
    lines: [
      [1, "void"],
      [3, "3.00"],
    ],
  });
  expect(counted(taken)).toEqual({ read: 2, inserted: 1, voided: 1, absent: 1 });
  const late = await load(warehouse, { day: "04", lines: [[2, "void"]] });
  expect(counted(late)).toEqual({ read: 1, voided: 1 });
  const unknown = await load(warehouse, { day: "07", lines: [[9, "void"]] });
  expect(counted(unknown)).toEqual({ read: 1, voided: 1 });
  expect(await standing(warehouse)).toEqual(["2 2.00 05", "3 3.00 06"]);
  await expectSound(warehouse);
});

test("of two lines of one invoice the last counts, void or not", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, {
    day: "05",
    lines: [
      [1, "1.00"],
      [2, "2.00"],
    ],
  });
  const report = await load(warehouse, {
    day: "06",
    lines: [
      [1, "void"],
      [1, "1.50"],
      [2, "2.50"],
      [2, "void"],
      [3, "3.00"],
      [3, "void"],
    ],
  });
  expect(counted(report)).toEqual({ read: 6, corrected: 1, superseded: 2, voided: 3, absent: 1 });
  expect(await standing(warehouse)).toEqual(["1 1.50 06"]);
  await expectSound(warehouse);
});

test("rows that are added up are void together", async () => {
  const warehouse = await createTestDatabase();
  const source = { ...SOURCE, form: { ...FORM, sumRows: true } };
  await load(warehouse, {
    source,
    day: "05",
    lines: [
      [1, "1.00"],
      [1, "2.00"],
      [2, "5.00"],
    ],
  });
  const report = await load(warehouse, {
    source,
    day: "06",
    lines: [
      [1, "1.00"],
      [1, "void"],
      [1, "2.00"],
      [2, "5.00"],
      [2, "6.00"],
    ],
  });
  expect(counted(report)).toEqual({ read: 5, corrected: 1, superseded: 2, summed: 1, voided: 1, absent: 1 });
  expect(await standing(warehouse)).toEqual(["2 11.00 06"]);
  const older = await load(warehouse, {
    source,
    day: "04",
    lines: [
      [1, "1.00"],
      [1, "2.00"],
      [3, "7.00"],
    ],
  });
  expect(counted(older)).toEqual({ read: 3, inserted: 1, superseded: 1, summed: 1 });
  expect(await standing(warehouse)).toEqual(["2 11.00 06", "3 7.00 04"]);
  await expectSound(warehouse);
});

test("an older drop that names an absent invoice comes too late and is kept, a newer one brings it back", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, snapshot("06", [[1, "1.00"]]));
  const older = await load(warehouse, {
    day: "05",
    lines: [
      [1, "1.00"],
      [2, "2.00"],
      [3, "3.00", OTHER_DAY],
    ],
  });
  expect(counted(older)).toEqual({ read: 3, inserted: 1, superseded: 2 });
  expect(
    await warehouse.query(
      `select load_id, stated_by, same_as is null as differs, cardinality(invoice_ids) as ids
       from warehouse.statements order by same_as is null`,
    ),
  ).toEqual([
    { load_id: older.loadId, stated_by: older.loadId, differs: false, ids: 1 },
    { load_id: older.loadId, stated_by: older.loadId, differs: true, ids: 1 },
  ]);
  const newer = await load(warehouse, { day: "07", lines: [[2, "2.50"]] });
  expect(counted(newer)).toEqual({ read: 1, inserted: 1 });
  expect(await standing(warehouse)).toEqual(["1 1.00 06", "2 2.50 07", "3 3.00 05"]);
  // Of one sync date the later load is the newer.
  const same = await load(warehouse, { day: "06", lines: [[4, "4.00"]] });
  expect(counted(same)).toEqual({ read: 1, inserted: 1 });
  await expectSound(warehouse);
});

test("a snapshot without records changes nothing", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, { day: "05", lines: [[1, "1.00"]] });
  expect(counted(await load(warehouse, snapshot("06", [])))).toEqual({});
  expect(await standing(warehouse)).toEqual(["1 1.00 05"]);
});

test("a snapshot of which a line cannot be read is refused as a whole, whatever share is allowed", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, {
    day: "05",
    lines: [
      [1, "1.00"],
      [2, "2.00"],
    ],
  });
  const lines: readonly Line[] = [
    [1, "1.00"],
    [2, "two"],
  ];
  const byFlag = await tryLoad(warehouse, { ...snapshot("06", lines), maxRejects: 1 });
  expect(byFlag).toMatchObject({ outcome: "rejected", error: { code: "too_many_rejects" } });
  expect(byFlag.error?.message).toContain("--replace-venue-days says that the file is all there is");
  const source = { ...SOURCE, replaceVenueDays: true, maxRejects: { share: 1, lines: 5 } };
  const bySource = await tryLoad(warehouse, { day: "06", lines, source });
  expect(bySource.error?.message).toContain("source till says (replace_venue_days)");
  expect(await standing(warehouse)).toEqual(["1 1.00 05", "2 2.00 05"]);
});

test("a snapshot that holds lines of a closed partition is refused", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, {
    day: "05",
    lines: [
      [1, "1.00", "2025-12-31"],
      [2, "2.00"],
      [3, "3.00"],
    ],
  });
  await refreshPartitions({ ...warehouse });
  await detachPartition({ ...warehouse, partition: "2025-12" });
  const report = await tryLoad(
    warehouse,
    snapshot("06", [
      [1, "1.00", "2025-12-31"],
      [2, "2.00"],
    ]),
  );
  expect(report).toMatchObject({ outcome: "rejected", error: { code: "too_many_rejects" } });
  expect(report.error?.message).toContain("partition_closed");
  expect(await standing(warehouse)).toEqual(["2 2.00 05", "3 3.00 05"]);
});

const HISTORIES: readonly (readonly Given[])[] = [
  // Before, the snapshot, after; and one that confirms.
  [
    {
      day: "03",
      lines: [
        [1, "1.00"],
        [2, "2.00"],
        [3, "3.00", OTHER_DAY],
      ],
    },
    snapshot("04", [
      [1, "1.00"],
      [4, "4.00"],
    ]),
    {
      day: "05",
      lines: [
        [2, "2.50"],
        [1, "1.00"],
      ],
    },
    {
      day: "02",
      lines: [
        [1, "1.00"],
        [2, "2.00"],
        [4, "0.40"],
        [5, "5.00"],
      ],
    },
  ],
  // Two snapshots with a correction between them.
  [
    {
      day: "02",
      lines: [
        [1, "1.00"],
        [2, "2.00"],
      ],
    },
    snapshot("03", [
      [1, "1.00"],
      [3, "3.00"],
    ]),
    {
      day: "04",
      lines: [
        [1, "1.40"],
        [2, "2.40"],
      ],
    },
    snapshot("05", [[2, "2.40"]]),
  ],
  // Void, brought back, void again.
  [
    {
      day: "02",
      lines: [
        [1, "1.00"],
        [2, "2.00"],
      ],
    },
    {
      day: "03",
      lines: [
        [1, "void"],
        [3, "3.00"],
      ],
    },
    {
      day: "04",
      lines: [
        [1, "1.00"],
        [2, "2.00"],
      ],
    },
    {
      day: "05",
      lines: [
        [2, "void"],
        [3, "void"],
      ],
    },
  ],
  // Void lines and a snapshot that names one of them.
  [
    {
      day: "02",
      lines: [
        [1, "1.00"],
        [2, "2.00"],
        [3, "3.00"],
      ],
    },
    {
      day: "03",
      lines: [
        [1, "void"],
        [2, "void"],
      ],
    },
    snapshot("04", [
      [1, "1.00"],
      [3, "void"],
    ]),
    {
      day: "05",
      lines: [
        [1, "void"],
        [3, "3.50"],
      ],
    },
  ],
];

function permutationsOf<T>(items: readonly T[]): readonly (readonly T[])[] {
  if (items.length < 2) return [items];
  return items.flatMap((item, at) =>
    permutationsOf([...items.slice(0, at), ...items.slice(at + 1)]).map((rest) => [item, ...rest]),
  );
}

test.each(HISTORIES.map((drops, index) => [index + 1, drops] as const))(
  "drops end in the same state in any order: history %i",
  async (_, drops) => {
    const warehouse = await createTestDatabase();
    const orders = permutationsOf(drops);
    const states: (readonly string[])[] = [];
    for (const [index, order] of orders.entries()) {
      // Absences are about one venue, so each order has a venue of its own.
      const venue = `v${index}`;
      for (const drop of order) await load(warehouse, { ...drop, venue });
      states.push(await standing(warehouse, venue));
    }
    const byDate = drops.toSorted((a, b) => (a.day < b.day ? -1 : 1));
    const sorted = states[orders.findIndex((order) => order.every((drop, at) => drop === byDate[at]))];
    expect(sorted?.length).toBeGreaterThan(0);
    expect(states.filter((state) => JSON.stringify(state) !== JSON.stringify(sorted))).toEqual([]);
    await expectSound(warehouse);
  },
  120_000,
);
