/** Drops that say that invoices are absent: snapshots of venue-days, and void lines. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { LOCK } from "../../db/locks.ts";
import { detachPartition } from "../../db/partitions/remove.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { openTransaction } from "../../db/testing/partitions.ts";
import { loginAs } from "../../db/testing/roles.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import type { FileSource } from "../sources/source.ts";
import { findDivergences } from "../testing/invoices.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { VOID_FORM } from "../testing/sources.ts";
import { disagreements } from "../testing/warehouse.ts";
import { pruneStatements } from "../undo/prune.ts";
import { replaceLoad } from "../undo/replace.ts";
import { undo } from "../undo/undo.ts";
import { verifyWarehouse } from "../verify/verify.ts";
import { type LoadOptions, loadDrop } from "./load.ts";
import type { LineCounts, LoadReport } from "./report.ts";
import { retryRejects } from "./retry_rejects.ts";

const SOURCE: FileSource = {
  name: "till",
  sha256: createHash("sha256").update("till").digest(),
  form: VOID_FORM,
};

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
  const source = { ...SOURCE, form: { ...VOID_FORM, sumRows: true } };
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

/** All that loads leave, in a form that two warehouses can be compared by. */
async function traceOf({ query }: TestWarehouse): Promise<unknown> {
  const sorted = (list: string) =>
    `(select array_agg(id order by id) from unnest(${list}) as each (id)) as ids`;
  return {
    invoices: await query(
      "select created_on, invoice_id, total, load_id, synced_on from warehouse.invoices order by 1, 2",
    ),
    corrections: await query("select * from warehouse.corrections order by load_id, created_on, invoice_id"),
    statements: await query(
      `select load_id, stated_by, synced_on, same_as, created_on, ${sorted("invoice_ids")} from warehouse.statements
       order by 1, 2, same_as, created_on, ids`,
    ),
    absences: await query(
      `select load_id, stated_by, created_on, ${sorted("invoice_ids")} from warehouse.absences order by 1, 2, 3`,
    ),
    loads: await query(
      "select read, inserted, superseded, voided, absent from warehouse.loads order by load_id",
    ),
  };
}

test("the careful way and the direct one leave the same, and a source with void_when goes directly until a void line comes", async () => {
  const direct = await createTestDatabase();
  const careful = await createTestDatabase();
  const ways: boolean[] = [];
  const drops = HISTORIES.flatMap((history, index) =>
    history.map((drop) => ({ ...drop, venue: `v${index}` })),
  );
  for (const drop of drops) {
    const report = await load(direct, drop);
    ways.push(report.timings.stage === undefined);
    expect((await load(careful, { ...drop, careful: true })).rows).toEqual(report.rows);
  }
  // The first brings new invoices, the second is a snapshot, the fourth is older than it.
  expect([ways[0], ways[1], ways[3]]).toEqual([true, false, false]);
  expect(await traceOf(direct)).toEqual(await traceOf(careful));
  await expectSound(direct);
});

/** Loads the first drop up to its commit, begins to load the second, and lets both go on. */
async function loadAtOnce(warehouse: TestWarehouse, first: Given, second: Given): Promise<void> {
  const commits = await openTransaction(warehouse);
  await commits.query(`select pg_advisory_xact_lock(${LOCK.knownAt}, 0)`);
  const waiting = () =>
    warehouse.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
  const one = load(warehouse, first);
  await expect.poll(waiting, { timeout: 10_000 }).toHaveLength(1);
  const other = load(warehouse, second);
  await expect.poll(waiting, { timeout: 10_000 }).toHaveLength(2);
  await commits.query("commit");
  await Promise.all([one, other]);
}

const OLDER: Given = {
  day: "05",
  lines: [
    [1, "1.00"],
    [2, "2.00"],
    [3, "3.00", OTHER_DAY],
  ],
};
const SNAPSHOT = snapshot("06", [
  [1, "1.00"],
  [4, "4.00"],
]);
// They name no invoice of the older drop, so that no row of it makes them wait.
const OTHERS = snapshot("06", [[4, "4.00"]]);
const VOIDS: Given = {
  day: "06",
  lines: [
    [1, "void"],
    [2, "void"],
    [4, "4.00"],
  ],
};

test.each([
  ["an older load is at work when a snapshot comes", OLDER, OTHERS],
  ["a snapshot is at work when an older load comes", OTHERS, OLDER],
  ["an older load is at work when void lines come", OLDER, VOIDS],
  ["void lines are at work when an older load comes", VOIDS, OLDER],
])("%s: each waits, and no invoice stands that is absent", async (_, first, second) => {
  const warehouse = await createTestDatabase();
  await load(warehouse, { day: "04", lines: [[9, "9.00", "2026-01-03"]] });
  await loadAtOnce(warehouse, first, second);
  expect(await standing(warehouse)).toEqual(["4 4.00 06", "3 3.00 05", "9 9.00 04"]);
  await expectSound(warehouse);
});

test.each([
  ["the older", 0],
  ["the newer", 1],
])("of two snapshots at once, %s first, the newer stands", async (_, first) => {
  const warehouse = await createTestDatabase();
  await load(warehouse, { day: "04", lines: [[9, "9.00"]] });
  const drops = [
    snapshot("05", [
      [1, "1.00"],
      [2, "2.00"],
    ]),
    snapshot("06", [
      [2, "2.50"],
      [3, "3.00"],
    ]),
  ];
  const [one, other] = first === 0 ? drops : drops.toReversed();
  if (one === undefined || other === undefined) throw new Error("there are two");
  await loadAtOnce(warehouse, one, other);
  expect(await standing(warehouse)).toEqual(["2 2.50 06", "3 3.00 06"]);
  await expectSound(warehouse);
});

/** Reads the rejected lines of a load again. */
async function retry(
  warehouse: TestWarehouse,
  loaded: LoadReport,
  options: { readonly syncSlack?: number; readonly decimalComma?: boolean; readonly source?: FileSource },
) {
  const { source = SOURCE, ...rules } = options;
  const path = loaded.file;
  return retryRejects({
    ...warehouse,
    ...rules,
    loadId: loaded.loadId ?? 0,
    findFile: async () => ({ path, source }),
  });
}

test("void lines that are read again state absences as their load, under the entry of the retry", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, {
    day: "05",
    syncSlack: 5,
    lines: [
      [7, "7.00", "2026-01-07"],
      [8, "8.00", "2026-01-07"],
    ],
  });
  const loaded = await load(warehouse, {
    day: "06",
    maxRejects: 1,
    lines: [
      [1, "1.00"],
      [7, "void", "2026-01-07"],
      [2, "void", "2026-01-07"],
      [2, "2.00", "2026-01-07"],
    ],
  });
  await load(warehouse, { day: "07", lines: [[8, "8.50", "2026-01-07"]] });
  const retried = await retry(warehouse, loaded, { syncSlack: 1 });
  expect(counted(retried)).toEqual({ read: 3, inserted: 1, voided: 2, absent: 1 });
  expect(
    await warehouse.query(
      "select load_id, stated_by, cardinality(invoice_ids) as ids from warehouse.absences",
    ),
  ).toEqual([{ load_id: retried.loadId, stated_by: loaded.loadId, ids: 1 }]);
  expect(await standing(warehouse)).toEqual(["1 1.00 06", "2 2.00 06", "8 8.50 07"]);
  await expectSound(warehouse);
});

test("a line that is read again comes too late where a newer snapshot covers it, and is kept", async () => {
  const warehouse = await createTestDatabase();
  const loaded = await load(warehouse, {
    day: "06",
    maxRejects: 1,
    lines: [
      [1, "1.00"],
      [2, '"2,00"'],
    ],
  });
  // Of the same sync date, and of a later load.
  await load(warehouse, snapshot("06", [[1, "1.00"]]));
  const retried = await retry(warehouse, loaded, { decimalComma: true });
  expect(counted(retried)).toEqual({ read: 1, superseded: 1 });
  expect(await warehouse.query("select total from warehouse.statements where total is not null")).toEqual([
    { total: [2] },
  ]);
  expect(await standing(warehouse)).toEqual(["1 1.00 06"]);
  await expectSound(warehouse);
});

test("of what a load and its retry say of an invoice the later line counts, void or not", async () => {
  const warehouse = await createTestDatabase();
  const unvoided = { ...SOURCE, form: { ...VOID_FORM, conditions: [] } };
  const first = await load(warehouse, {
    source: unvoided,
    day: "06",
    maxRejects: 1,
    lines: [
      [1, "1.00"],
      [1, "void"],
    ],
  });
  expect(counted(await retry(warehouse, first, {}))).toEqual({ read: 1, voided: 1, absent: 1 });
  const second = await load(warehouse, {
    day: "06",
    maxRejects: 1,
    lines: [
      [2, "void"],
      [2, '"2,00"'],
    ],
  });
  expect(counted(await retry(warehouse, second, { decimalComma: true }))).toEqual({ read: 1, inserted: 1 });
  expect(await standing(warehouse)).toEqual(["2 2.00 06"]);
  await expectSound(warehouse);
});

test("a snapshot may be replaced, and may replace", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, OLDER);
  const { loadId } = await load(warehouse, SNAPSHOT);
  const replacing = (load = 0) => replaceLoad({ ...warehouse, loadId: load, because: "a test" });
  const plain = await load(warehouse, { day: "06", lines: [[4, "4.50"]], replace: replacing(loadId ?? 0) });
  expect(await standing(warehouse)).toEqual(["1 1.00 05", "2 2.00 05", "4 4.50 06", "3 3.00 05"]);
  const again = await load(warehouse, {
    ...snapshot("06", [[1, "1.50"]]),
    replace: replacing(plain.loadId ?? 0),
  });
  expect(counted(again)).toEqual({ read: 1, corrected: 1, absent: 1 });
  expect(await standing(warehouse)).toEqual(["1 1.50 06", "3 3.00 05"]);
  await expectSound(warehouse);
});

test("what was said before a repair took an invoice out is void, absences too", async () => {
  const warehouse = await createTestDatabase();
  const { loadId } = await load(warehouse, snapshot("05", [[1, "1.00"]]));
  await load(warehouse, { day: "06", lines: [[1, "1.00", OTHER_DAY]] });
  await verifyWarehouse({ ...warehouse, identity: true, repair: "newest" });
  expect(await standing(warehouse)).toEqual(["1 1.00 06"]);
  const older = await load(warehouse, {
    day: "04",
    lines: [
      [1, "0.40"],
      [2, "2.00"],
    ],
  });
  expect(counted(older)).toEqual({ read: 2, inserted: 1, superseded: 1 });
  expect(await standing(warehouse)).toEqual(["1 0.40 04", "1 1.00 06"]);
  await expectSound(warehouse);
  // A snapshot that came after the repair counts.
  expect(loadId).toBeGreaterThan(0);
  expect(counted(await load(warehouse, snapshot("07", [[3, "3.00"]])))).toEqual({
    read: 1,
    inserted: 1,
    absent: 1,
  });
  expect(counted(await load(warehouse, { day: "03", lines: [[1, "0.30"]] }))).toEqual({
    read: 1,
    superseded: 1,
  });
  await expectSound(warehouse);
});

test("absences that no undo can need any more are forgotten, and the others stay", async () => {
  const warehouse = await createTestDatabase();
  const covered = await load(warehouse, { day: "03", lines: [[1, "void"]] });
  const undone = await load(warehouse, { day: "05", lines: [[3, "void"]] });
  await undo({ ...warehouse, loadId: undone.loadId ?? 0, because: "a test" });
  const elsewhere = await load(warehouse, { day: "03", lines: [[2, "void", OTHER_DAY]] });
  const covering = await load(warehouse, snapshot("04", [[4, "4.00"]]));
  const earlier = await load(warehouse, { day: "02", lines: [[5, "void"]] });
  const left = async () =>
    (await warehouse.query<{ load_id: number }>("select load_id from warehouse.absences order by 1")).map(
      ({ load_id: loadId }) => loadId,
    );
  const all = [covered, undone, elsewhere, covering, earlier].map(({ loadId }) => loadId);
  await pruneStatements({ ...warehouse });
  expect(await left()).toEqual(all);
  await warehouse.query("update warehouse.loads set known_at = known_at - interval '500 days'");
  await pruneStatements({ ...warehouse });
  // The last is older than the snapshot, but came after it: a repair may have come between the two.
  expect(await left()).toEqual([elsewhere, covering, earlier].map(({ loadId }) => loadId));
  await expectSound(warehouse);
});

test("verify names an invoice that stands although a newer statement says that it is absent", async () => {
  const warehouse = await createTestDatabase();
  await load(warehouse, {
    day: "05",
    lines: [
      [1, "1.00"],
      [2, "2.00", OTHER_DAY],
    ],
  });
  await load(warehouse, snapshot("06", [[3, "3.00"]]));
  await load(warehouse, {
    day: "06",
    lines: [
      [4, "4.00", OTHER_DAY],
      [2, "void", OTHER_DAY],
    ],
  });
  await expectSound(warehouse);
  await warehouse.query("update warehouse.invoices set synced_on = '2026-01-05', load_id = 1");
  expect(await findDivergences(warehouse)).toMatchObject([{ kind: "group", createdOn: DAY, absent: true }]);
  await warehouse.query(
    `update warehouse.absences set invoice_ids = array['${invoiceId(4)}'::uuid] where invoice_ids is not null`,
  );
  expect(await findDivergences(warehouse)).toMatchObject([
    { kind: "group", createdOn: DAY, absent: true },
    { kind: "group", createdOn: OTHER_DAY, absent: true },
  ]);
  await warehouse.query("update warehouse.partitions set absent_until = null");
  expect(await findDivergences(warehouse, { repair: true })).toHaveLength(2);
  expect(await warehouse.query("select absent_until::text from warehouse.partitions")).toEqual([
    { absent_until: "2026-01-06" },
  ]);
  await warehouse.query("delete from warehouse.absences");
  expect(await findDivergences(warehouse)).toMatchObject([
    { kind: "load", loadId: 2, message: expect.stringContaining("1 invoices absent") },
    { kind: "load", loadId: 3, message: expect.stringContaining("1 invoices absent") },
  ]);
});

test("the loader may take out what is absent", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  const loader = await loginAs(warehouse, "loader");
  await load(loader, OLDER);
  expect(counted(await load(loader, SNAPSHOT))).toMatchObject({ absent: 1 });
  expect(counted(await load(loader, { ...OLDER, day: "04" }))).toMatchObject({ superseded: 3 });
  expect(await standing(warehouse)).toEqual(["1 1.00 06", "4 4.00 06", "3 3.00 05"]);
});
