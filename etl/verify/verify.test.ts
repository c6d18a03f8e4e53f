import { afterAll, beforeAll, expect, test } from "vitest";
import { withTransaction } from "../../db/client.ts";
import { attachPartition } from "../../db/partitions/attach.ts";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { partitionOf } from "../../db/partitions/ranges.ts";
import { detachPartition } from "../../db/partitions/remove.ts";
import type { Granularity } from "../../db/schema.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { until } from "../../db/testing/own_server.ts";
import { openTransaction, waits } from "../../db/testing/partitions.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { type Change, explainTotal } from "../reports/totals.ts";
import { findBySlices, findDivergences, type Invoice, load, writeInvoices } from "../testing/invoices.ts";
import { invoiceId } from "../testing/lines.ts";
import { disagreements, startWorker, totalsOf, type Worker } from "../testing/warehouse.ts";
import { pruneStatements } from "../undo/prune.ts";
import { undo } from "../undo/undo.ts";
import type { Divergence } from "./divergence.ts";
import { verifyWarehouse } from "./verify.ts";

/** Tables whose rows the tests change by hand, in an order in which they can be put back. */
const TABLES = [
  "loads",
  "rejects",
  "corrections",
  "statements",
  "invoices",
  "venue_day_deltas",
  "venue_day_pending",
  "venue_day_rollup",
  "partitions",
];

/**
 * Three drops over two months; the last is left pending. Load 2 has a correction and a rejected line. Then a load
 * that confirms two invoices of one group, one that comes too late, and one that entry 7 undoes.
 */
async function makeWarehouse(granularity: Granularity = "month"): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase({ granularity });
  const folder = makeFolder();
  const { database } = warehouse;
  await load(
    warehouse,
    writeInvoices(folder, "2026-03-20.csv", [
      ["venue-a", 1, "2026-02-10", "10.00"],
      ["venue-a", 2, "2026-02-10", "20.00"],
      ["venue-a", 3, "2026-02-11", "0.00"],
      ["venue-b", 4, "2026-02-10", "-3.50"],
      ["venue-b", 5, "2026-03-10", "7.00"],
      ["venue-a", 6, "2026-03-10", "8.00"],
    ]),
  );
  await load(
    warehouse,
    writeInvoices(folder, "2026-03-21.csv", [
      ["venue-a", 1, "2026-02-10", "11.00"],
      ["venue-a", 7, "2026-02-10", "5.00"],
      ["venue-b", 8, "2026-03-25", "9.00"],
    ]),
  );
  await refreshPartitions({ database });
  await load(
    warehouse,
    writeInvoices(folder, "2026-03-22.csv", [
      ["venue-a", 9, "2026-02-10", "100.00"],
      ["venue-b", 10, "2026-02-11", "200.00"],
      ["venue-b", 5, "2026-03-10", "7.50"],
    ]),
  );
  await load(
    warehouse,
    writeInvoices(folder, "confirming-2026-03-22.csv", [
      ["venue-a", 2, "2026-02-10", "20.00"],
      ["venue-a", 7, "2026-02-10", "5.00"],
    ]),
  );
  await load(
    warehouse,
    writeInvoices(folder, "late-2026-03-19.csv", [
      ["venue-a", 2, "2026-02-10", "20.00"],
      ["venue-a", 9, "2026-02-10", "99.00"],
    ]),
  );
  await load(
    warehouse,
    writeInvoices(folder, "mistaken-2026-03-23.csv", [
      ["venue-a", 6, "2026-03-10", "8.00"],
      ["venue-b", 5, "2026-03-10", "9.50"],
      ["venue-b", 20, "2026-03-10", "1.00"],
    ]),
  );
  const { settings } = warehouse;
  expect(await undo({ database, settings, loadId: 6, because: "a test" })).toMatchObject({
    loadId: 7,
    rows: { removed: 1, corrected: 1, unchanged: 1, inserted: 0 },
  });
  for (const table of TABLES)
    await warehouse.query(`create table public.${table} as table warehouse.${table}`);
  return warehouse;
}

/** Puts every row back as it was. */
async function putBack(warehouse: TestWarehouse): Promise<void> {
  await withTransaction(warehouse, async ({ client }) => {
    for (const table of TABLES.slice(0, -1)) {
      await client.query(`delete from warehouse.${table}`);
      await client.query(`insert into warehouse.${table} select * from public.${table}`);
    }
    await client.query(`
      update warehouse.partitions p
      set state = b.state, rollup_invoices = b.rollup_invoices, rollup_total = b.rollup_total
      from public.partitions b where b.partition = p.partition`);
    await client.query("update warehouse.settings set statements_kept_since = '-infinity'");
  });
}

const A =
  "created_on = '2026-02-10' and venue_key = (select venue_key from warehouse.venues where venue_id = 'venue-a')";
const INVOICE = `invoice_id = '${invoiceId(1)}'`;

interface Tampering {
  readonly by: string;
  readonly sql: string;
  /** Groups that must be named: venue and date. */
  readonly groups?: readonly (readonly [venueId: string, createdOn: string])[];
  /** Others that must be named. */
  readonly others?: readonly Readonly<Record<string, unknown>>[];
  /** What no repair can know; it stays named. */
  readonly stays?: boolean;
  /** When it became known is lost. */
  readonly knownAnew?: boolean;
}

const GROUP_A = [["venue-a", "2026-02-10"]] as const;
const GROUP_AB = [
  ["venue-a", "2026-02-10"],
  ["venue-b", "2026-02-10"],
] as const;

const TAMPERINGS: Readonly<Record<string, readonly Tampering[]>> = {
  invoices: [
    {
      by: "a total",
      sql: `update warehouse.invoices set total = total + 0.01 where ${INVOICE}`,
      groups: GROUP_A,
    },
    {
      by: "a venue",
      sql: `update warehouse.invoices set venue_key = (select venue_key from warehouse.venues where venue_id = 'venue-b') where ${INVOICE}`,
      groups: GROUP_AB,
    },
    { by: "a row taken out", sql: `delete from warehouse.invoices where ${INVOICE}`, groups: GROUP_A },
    { by: "a group taken out", sql: `delete from warehouse.invoices where ${A}`, groups: GROUP_A },
    {
      by: "a row added",
      sql: `insert into warehouse.invoices select created_at, created_on, venue_key, load_id, synced_on, '${invoiceId(77)}', 0 from warehouse.invoices where ${INVOICE}`,
      groups: GROUP_A,
    },
    {
      by: "a creation date in the partition",
      sql: `update warehouse.invoices set created_on = '2026-02-11' where ${INVOICE}`,
      groups: [...GROUP_A, ["venue-a", "2026-02-11"]],
      others: [{ kind: "group", createdOn: "2026-02-11", misdated: true }],
      stays: true,
    },
    {
      by: "a creation date in another partition",
      sql: `update warehouse.invoices set created_on = '2026-03-10' where ${INVOICE}`,
      groups: [...GROUP_A, ["venue-a", "2026-03-10"]],
      others: [{ kind: "group", createdOn: "2026-03-10", misdated: true }],
      stays: true,
    },
    {
      by: "a load",
      sql: `update warehouse.invoices set load_id = 2147483647 where ${INVOICE}`,
      groups: GROUP_A,
      others: [{ kind: "group", createdOn: "2026-02-10", misattributed: true }],
      stays: true,
    },
    {
      by: "a sync date",
      sql: `update warehouse.invoices set synced_on = 'infinity' where ${INVOICE}`,
      groups: GROUP_A,
      others: [{ kind: "group", createdOn: "2026-02-10", misattributed: true }],
      stays: true,
    },
    {
      by: "a creation instant",
      sql: `update warehouse.invoices set created_at = created_at + interval '12 hours' where ${INVOICE}`,
      groups: GROUP_A,
      others: [{ kind: "group", createdOn: "2026-02-10", misdated: true }],
      stays: true,
    },
  ],
  deltas: [
    {
      by: "a count",
      sql: `update warehouse.venue_day_deltas set invoices = invoices + 1 where load_id = 1 and ${A}`,
      groups: GROUP_A,
      others: [{ kind: "load", loadId: 1 }],
    },
    {
      by: "a total",
      sql: `update warehouse.venue_day_deltas set total = total - 0.01 where load_id = 2 and ${A}`,
      groups: GROUP_A,
    },
    {
      by: "a row taken out",
      sql: `delete from warehouse.venue_day_deltas where load_id = 2 and ${A}`,
      groups: GROUP_A,
      others: [{ kind: "load", loadId: 2 }],
    },
    {
      by: "all rows taken out",
      sql: "delete from warehouse.venue_day_deltas",
      groups: GROUP_AB,
      others: [
        { kind: "load", loadId: 1 },
        { kind: "load", loadId: 3 },
      ],
    },
    {
      by: "a row added",
      sql: `insert into warehouse.venue_day_deltas select * from warehouse.venue_day_deltas where load_id = 3 and ${A}`,
      groups: GROUP_A,
      others: [{ kind: "load", loadId: 3 }],
    },
    {
      by: "a row of no load",
      sql: `insert into warehouse.venue_day_deltas select 999, created_on, venue_key, 1, 1 from warehouse.venue_day_deltas where load_id = 1 and ${A}`,
      groups: GROUP_A,
      others: [{ kind: "load", loadId: 999 }],
    },
    {
      by: "a row's load",
      sql: `update warehouse.venue_day_deltas set load_id = 2 where load_id = 1 and ${A}`,
      others: [
        { kind: "load", loadId: 1 },
        { kind: "load", loadId: 2 },
      ],
    },
    {
      by: "a date",
      sql: `update warehouse.venue_day_deltas set created_on = '2026-02-11' where load_id = 1 and ${A}`,
      groups: [...GROUP_A, ["venue-a", "2026-02-11"]],
    },
  ],
  pending: [
    {
      by: "a count",
      sql: `update warehouse.venue_day_pending set invoices = invoices + 1 where ${A}`,
      groups: GROUP_A,
    },
    {
      by: "a total",
      sql: `update warehouse.venue_day_pending set total = total + 0.01 where ${A}`,
      groups: GROUP_A,
    },
    { by: "a row taken out", sql: `delete from warehouse.venue_day_pending where ${A}`, groups: GROUP_A },
    {
      by: "a row added",
      sql: `insert into warehouse.venue_day_pending select * from warehouse.venue_day_pending where ${A}`,
      groups: GROUP_A,
    },
    {
      by: "a row for a date without a partition",
      sql: `insert into warehouse.venue_day_pending select '2019-05-05', venue_key, 1, 1 from warehouse.venue_day_pending where ${A}`,
      others: [
        {
          kind: "orphan",
          createdOn: "2019-05-05",
          venueId: "venue-a",
          pending: { invoices: 1, total: "1.00" },
        },
      ],
    },
  ],
  rollup: [
    {
      by: "a count",
      sql: `update warehouse.venue_day_rollup set invoices = invoices - 1 where ${A}`,
      groups: GROUP_A,
    },
    {
      by: "a total",
      sql: `update warehouse.venue_day_rollup set total = total + 1e9 where ${A}`,
      groups: GROUP_A,
    },
    { by: "a row taken out", sql: `delete from warehouse.venue_day_rollup where ${A}`, groups: GROUP_A },
    {
      by: "a row added",
      sql: `insert into warehouse.venue_day_rollup select '2026-02-11', venue_key, 1, 1 from warehouse.venues where venue_id = 'venue-b'`,
      groups: [["venue-b", "2026-02-11"]],
    },
    {
      by: "an empty row added",
      sql: `insert into warehouse.venue_day_rollup select '2026-02-11', venue_key, 0, 0 from warehouse.venues where venue_id = 'venue-b'`,
      groups: [["venue-b", "2026-02-11"]],
    },
    {
      by: "a row of no venue",
      sql: "insert into warehouse.venue_day_rollup values ('2026-02-10', 999, 1, 1)",
      groups: [["venue_key 999 (not among the venues)", "2026-02-10"]],
    },
  ],
  catalog: [
    {
      by: "a count",
      sql: "update warehouse.partitions set rollup_invoices = rollup_invoices + 1 where lower <= '2026-02-10' and upper > '2026-02-10'",
      others: [{ kind: "control" }],
    },
    {
      by: "a total",
      sql: "update warehouse.partitions set rollup_total = rollup_total + 0.01 where lower <= '2026-02-10' and upper > '2026-02-10'",
      others: [{ kind: "control" }],
    },
  ],
  statements: [
    {
      by: "a row taken out",
      sql: "delete from warehouse.statements where load_id = 4 and stated_by = 1",
      others: [{ kind: "load", loadId: 4 }],
    },
    {
      by: "an invoice added",
      sql: "update warehouse.statements set invoice_ids = array_append(invoice_ids, gen_random_uuid()) where load_id = 4 and stated_by = 1",
      others: [{ kind: "load", loadId: 4 }],
    },
    {
      by: "rows added",
      sql: "insert into warehouse.statements select * from warehouse.statements where load_id = 4",
      others: [{ kind: "load", loadId: 4 }],
    },
    {
      by: "rows of a late load added",
      sql: "insert into warehouse.statements select * from warehouse.statements where load_id = 5",
      others: [{ kind: "load", loadId: 5 }],
    },
    {
      by: "what an undo took back, taken out",
      sql: "delete from warehouse.statements where load_id = 7 and created_on = '2026-03-10'",
      others: [{ kind: "load", loadId: 7 }],
    },
    {
      by: "a row's load",
      sql: "update warehouse.statements set load_id = 2 where load_id = 4",
      others: [
        { kind: "load", loadId: 2 },
        { kind: "load", loadId: 4 },
      ],
    },
    {
      by: "a row of no load",
      sql: "insert into warehouse.statements select 666, stated_by, synced_on, same_as, created_on, venue_key, invoice_ids, created_at, total from warehouse.statements where load_id = 5",
      others: [{ kind: "load", loadId: 666 }],
    },
    {
      by: "whose they are",
      sql: "update warehouse.statements set stated_by = 555 where load_id = 4",
      others: [{ kind: "load", loadId: 555 }],
    },
    {
      by: "what they are the same as",
      sql: "update warehouse.statements set same_as = 444 where load_id = 4",
      others: [{ kind: "load", loadId: 444 }],
    },
  ],
  ledger: [
    {
      by: "the count removed of an undo",
      sql: "update warehouse.loads set removed = removed + 1 where load_id = 7",
      others: [{ kind: "load", loadId: 7 }],
    },
    {
      by: "the status of a load that was undone",
      sql: "update warehouse.loads set status = 'loaded' where load_id = 6",
      others: [{ kind: "load", loadId: 7 }],
      stays: true,
    },
    {
      by: "the status of a load that was not undone",
      sql: "update warehouse.loads set status = 'undone' where load_id = 3",
      groups: [...GROUP_A, ["venue-b", "2026-02-11"], ["venue-b", "2026-03-10"]],
      others: [
        { kind: "load", loadId: 3 },
        { kind: "group", venueId: "venue-a", createdOn: "2026-02-10", misattributed: true },
      ],
      stays: true,
    },
    ...["read", "inserted", "corrected", "unchanged", "superseded", "rejected", "summed"].map((column) => ({
      by: `the count ${column}`,
      sql: `update warehouse.loads set ${column} = ${column} + 1 where load_id = 2`,
      others: [{ kind: "load", loadId: 2 }],
      stays: true,
    })),
    {
      by: "a row taken out",
      sql: "delete from warehouse.loads where load_id = 2",
      others: [{ kind: "load", loadId: 2 }],
      knownAnew: true,
    },
    {
      by: "a row added",
      sql: "insert into warehouse.loads (load_id, file_name, status, read, inserted) values (50, 'x', 'loaded', 4, 4)",
      others: [{ kind: "load", loadId: 50 }],
    },
    {
      by: "a quarantined line taken out",
      sql: "delete from warehouse.rejects",
      others: [{ kind: "load", loadId: 2 }],
      stays: true,
    },
    {
      by: "a quarantined line added",
      sql: "insert into warehouse.rejects values (2, 999, 'bad_uuid', null, '')",
      others: [{ kind: "load", loadId: 2 }],
      stays: true,
    },
    {
      by: "a quarantined line of no load",
      sql: "insert into warehouse.rejects values (888, 1, 'bad_uuid', null, '')",
      others: [{ kind: "load", loadId: 888 }],
    },
  ],
  corrections: [
    {
      by: "a row taken out",
      sql: "delete from warehouse.corrections where load_id = 2",
      others: [{ kind: "load", loadId: 2 }],
    },
    {
      by: "a row of no load",
      sql: "insert into warehouse.corrections select 777, created_on, venue_key, invoice_id, old_created_at, old_total, old_load_id, old_synced_on from warehouse.corrections where load_id = 2",
      others: [{ kind: "load", loadId: 777 }],
    },
  ],
};

function expectNamed(
  divergences: readonly Divergence[],
  tampering: Tampering,
  granularity: Granularity,
): void {
  const about = `${tampering.by}: ${JSON.stringify(divergences)}`;
  for (const [venueId, createdOn] of tampering.groups ?? []) {
    const { partition } = partitionOf(granularity, createdOn);
    expect(divergences, about).toContainEqual(
      expect.objectContaining({ kind: "group", partition, venueId, createdOn }),
    );
  }
  for (const other of tampering.others ?? []) {
    expect(divergences, about).toContainEqual(expect.objectContaining(other));
  }
}

const CASES = (["month", "week", "day"] as const).flatMap((granularity) =>
  Object.keys(TAMPERINGS).map((table) => [table, granularity] as const),
);

test.each(CASES)(
  "whatever is changed by hand in the %s of a %s is found and named",
  async (table, granularity) => {
    const warehouse = await makeWarehouse(granularity);
    for (const tampering of TAMPERINGS[table] ?? []) {
      expect(await findDivergences(warehouse), `before ${tampering.by}`).toEqual([]);
      await warehouse.query(tampering.sql);
      expectNamed(await findDivergences(warehouse), tampering, granularity);
      if (granularity === "month") expectNamed(await findBySlices(warehouse), tampering, granularity);
      await putBack(warehouse);
    }
  },
);

test.each(Object.keys(TAMPERINGS))(
  "what was changed in the %s is repaired under a ledger entry of its own",
  async (table) => {
    const warehouse = await makeWarehouse();
    const { database, settings } = warehouse;
    const totals = await totalsOf(warehouse);
    for (const tampering of TAMPERINGS[table] ?? []) {
      if (tampering.stays === true) continue;
      const [before] = await warehouse.query<{ at: string }>("select clock_timestamp()::text as at");
      await warehouse.query(tampering.sql);
      expect(await findDivergences(warehouse, { repair: true }), tampering.by).not.toEqual([]);
      expect(await findDivergences(warehouse), tampering.by).toEqual([]);
      expect(await disagreements(warehouse), tampering.by).toEqual([]);
      const methods = (await refreshPartitions({ database })).map((report) => report.method);
      expect(methods, "nothing is left to rebuild").not.toContain("rebuild");
      const entered = await warehouse.query<{ file_name: string; known: boolean }>(
        "select file_name, known_at is not null as known from warehouse.loads where status = 'repair' order by load_id",
      );
      expect(entered.every(({ known }) => known)).toBe(true);
      const adjusted = entered.some(({ file_name }) => file_name === "verify --repair 2026-02");
      const sumsDiffered = ["invoices", "deltas"].includes(table) && tampering.groups !== undefined;
      expect(adjusted, tampering.by).toBe(sumsDiffered);
      if (table !== "deltas" && tampering.knownAnew !== true) {
        expect(await totalsOf(warehouse, before?.at), `${tampering.by}, as known before`).toEqual(totals);
      }
      for (const { venue_id: venue, created_on, invoices, total } of await totalsOf(warehouse)) {
        const changes: Change[] = [];
        const to = partitionOf("day", created_on ?? "").upper;
        await explainTotal({ database, settings, venue, from: created_on, to }, async (change) => {
          changes.push(change);
        });
        expect(changes.reduce((sum, change) => sum + change.invoices, 0)).toBe(invoices);
        expect(changes.reduce((sum, change) => sum + BigInt(change.total.replace(".", "")), 0n)).toBe(
          BigInt((total ?? "").replace(".", "")),
        );
      }
      await putBack(warehouse);
    }
  },
);

test("what no repair can know stays named", async () => {
  const warehouse = await makeWarehouse();
  for (const tampering of Object.values(TAMPERINGS).flat()) {
    if (tampering.stays !== true) continue;
    await warehouse.query(tampering.sql);
    await findDivergences(warehouse, { repair: true });
    expect(await findDivergences(warehouse), tampering.by).not.toEqual([]);
    await putBack(warehouse);
  }
});

test("where statements are lost a repair leaves to be undone only what is loaded later", async () => {
  const warehouse = await makeWarehouse();
  const { database, settings } = warehouse;
  const undoing = (loadId: number) => undo({ database, settings, loadId, because: "a test" });
  await warehouse.query("delete from warehouse.statements where load_id = 4");
  await findDivergences(warehouse, { repair: true });
  expect(await findDivergences(warehouse)).toEqual([]);
  await expect(undoing(3)).rejects.toMatchObject({ code: "statements_pruned" });
  const path = writeInvoices(makeFolder(), "2026-03-24.csv", [["venue-a", 1, "2026-02-10", "12.00"]]);
  const before = await totalsOf(warehouse);
  const { loadId } = await load(warehouse, path);
  expect(await undoing(loadId ?? 0)).toMatchObject({ rows: { corrected: 1 } });
  expect(await totalsOf(warehouse)).toEqual(before);
  expect(await findDivergences(warehouse)).toEqual([]);
});

test("a repair sees to it that no load gets a number that a statement bears", async () => {
  const warehouse = await makeWarehouse();
  await warehouse.query("update warehouse.statements set same_as = 900 where load_id = 4");
  await findDivergences(warehouse, { repair: true });
  const path = writeInvoices(makeFolder(), "2026-03-24.csv", [["venue-a", 1, "2026-02-10", "12.00"]]);
  expect((await load(warehouse, path)).loadId).toBeGreaterThan(900);
});

test("pruned statements are not missed", async () => {
  const warehouse = await makeWarehouse();
  await warehouse.query(
    "update warehouse.loads set known_at = known_at - interval '2 years' where load_id <= 5",
  );
  expect(await pruneStatements(warehouse)).toMatchObject({ rows: 4 });
  expect(await findDivergences(warehouse)).toEqual([]);
});

test("what a repair has acknowledged of a load is named again when it changes again", async () => {
  const warehouse = await makeWarehouse();
  const lose = "delete from warehouse.venue_day_deltas where load_id = 1 and created_on = $1";
  await warehouse.query(lose, ["2026-02-10"]);
  await findDivergences(warehouse, { repair: true });
  expect(await findDivergences(warehouse)).toEqual([]);
  await warehouse.query(lose, ["2026-03-10"]);
  expect(await findDivergences(warehouse)).toContainEqual(
    expect.objectContaining({ kind: "load", loadId: 1 }),
  );
  await findDivergences(warehouse, { repair: true });
  expect(await findDivergences(warehouse)).toEqual([]);
});

test("a rollup that does not verify becomes stale, and the next refresh rebuilds it and says so", async () => {
  const warehouse = await makeWarehouse();
  const { database } = warehouse;
  await warehouse.query(`update warehouse.venue_day_rollup set total = total + 1 where ${A}`);
  await findDivergences(warehouse);
  const states = await warehouse.query("select partition, state from warehouse.partitions order by lower");
  expect(states).toEqual([
    { partition: "2026-02", state: "stale" },
    { partition: "2026-03", state: "open" },
  ]);
  expect((await refreshPartitions({ database }))[0]).toMatchObject({
    partition: "2026-02",
    method: "rebuild",
    reason: "the partition is stale",
  });
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(await warehouse.query("select from warehouse.partitions where state <> 'open'")).toEqual([]);
});

test("deltas alone that are wrong do not make the rollup stale", async () => {
  const warehouse = await makeWarehouse();
  await warehouse.query(`update warehouse.venue_day_deltas set total = total + 1 where load_id = 1 and ${A}`);
  expect(await findDivergences(warehouse)).toHaveLength(1);
  expect(await warehouse.query("select from warehouse.partitions where state = 'stale'")).toEqual([]);
});

test("each group is named with what each table says of it", async () => {
  const warehouse = await makeWarehouse();
  await warehouse.query(`delete from warehouse.invoices where ${INVOICE}`);
  await warehouse.query(`update warehouse.venue_day_rollup set total = total + 1 where ${A}`);
  expect(await findDivergences(warehouse)).toMatchObject([
    {
      kind: "group",
      partition: "2026-02",
      venueId: "venue-a",
      createdOn: "2026-02-10",
      recomputed: { invoices: 3, total: "125.00" },
      shown: { invoices: 4, total: "137.00" },
      deltas: { invoices: 4, total: "136.00" },
      misdated: false,
    },
    { kind: "control", partition: "2026-02" },
  ]);
});

test("one partition can be verified and repaired alone", async () => {
  const warehouse = await makeWarehouse();
  await warehouse.query("update warehouse.venue_day_rollup set total = total + 1");
  const february = { partition: "2026-02" };
  const named = await findDivergences(warehouse, { ...february, repair: true });
  expect(new Set(named.map((divergence) => "partition" in divergence && divergence.partition))).toEqual(
    new Set(["2026-02"]),
  );
  expect(await findDivergences(warehouse, february)).toEqual([]);
  expect(await findDivergences(warehouse)).not.toEqual([]);
  await expect(findDivergences(warehouse, { partition: "2031-01" })).rejects.toMatchObject({
    code: "not_found",
  });
});

test("an invoice id under two venues, or two dates, is found by --identity alone", async () => {
  const warehouse = await createTestDatabase({ granularity: "week" });
  const invoices: readonly Invoice[] = [
    ["venue-a", 1, "2026-02-10", "1.00"],
    ["venue-b", 1, "2026-02-10", "1.00"],
    ["venue-a", 2, "2026-02-10", "1.00"],
    ["venue-a", 2, "2026-03-01", "1.00"],
    ["venue-a", 3, "2026-02-10", "1.00"],
  ];
  await load(warehouse, writeInvoices(makeFolder(), "2026-03-20.csv", invoices));
  expect(await findDivergences(warehouse)).toEqual([]);
  const found = await findDivergences(warehouse, { identity: true });
  expect(found).toHaveLength(2);
  expect(found).toMatchObject([
    {
      kind: "identity",
      invoiceId: invoiceId(1),
      statements: [
        { venueId: "venue-a", createdOn: "2026-02-10" },
        { venueId: "venue-b", createdOn: "2026-02-10" },
      ],
    },
    {
      kind: "identity",
      invoiceId: invoiceId(2),
      statements: [
        { venueId: "venue-a", createdOn: "2026-02-10" },
        { venueId: "venue-a", createdOn: "2026-03-01" },
      ],
    },
  ]);
  const { partition } = partitionOf("week", "2026-02-10");
  expect(await findDivergences(warehouse, { partition, identity: true })).toHaveLength(1);
});

test("an empty warehouse verifies", async () => {
  const { database, settings } = await createTestDatabase();
  const empty = { partitions: 0, invoices: 0, groups: 0, divergences: 0, repaired: [] };
  expect(await verifyWarehouse({ database, settings, identity: true, repair: true })).toMatchObject(empty);
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-01"] });
  expect(await verifyWarehouse({ database, settings, identity: true })).toMatchObject({
    ...empty,
    partitions: 1,
  });
});

test("a detached partition is passed over, and its deltas still count for the ledger", async () => {
  const warehouse = await makeWarehouse();
  const { database, settings } = warehouse;
  await refreshPartitions({ database });
  await detachPartition({ database, partition: "2026-02" });
  expect(await verifyWarehouse({ database, settings, identity: true })).toMatchObject({
    partitions: 1,
    divergences: 0,
  });
  await expect(findDivergences(warehouse, { partition: "2026-02" })).rejects.toMatchObject({ code: "usage" });
  await warehouse.query("delete from warehouse.venue_day_deltas_2026_02 where load_id = 2");
  expect(await findDivergences(warehouse)).toMatchObject([{ kind: "load", loadId: 2 }]);
});

test("a detach waits for the verification of its partition", async () => {
  const warehouse = await makeWarehouse();
  const { database } = warehouse;
  await refreshPartitions({ database });
  const client = await openTransaction(warehouse);
  await client.query("lock table warehouse.venue_day_rollup_2026_02");
  const verified = findDivergences(warehouse);
  const waiting = (query: RegExp) =>
    until(`${query} waits`, async () => (await waits(warehouse)).some((wait) => query.test(wait.query)));
  await waiting(/./);
  const detached = detachPartition({ database, partition: "2026-02" });
  await waiting(/pg_advisory_xact_lock/);
  expect(await warehouse.query("select state from warehouse.partitions where partition = '2026-02'")).toEqual(
    [{ state: "open" }],
  );
  await client.query("rollback");
  expect(await verified).toEqual([]);
  await detached;
});

test("the ledger is compared as of one moment, also when a partition leaves meanwhile", async () => {
  const warehouse = await makeWarehouse();
  const { database } = warehouse;
  await refreshPartitions({ database });
  const client = await openTransaction(warehouse);
  // The comparison comes after the list of the partitions that have left, and waits here.
  await client.query("lock table warehouse.rejects");
  const verified = findDivergences(warehouse);
  const waiting = (sessions: number) =>
    until(`${sessions} sessions wait`, async () => (await waits(warehouse)).length === sessions);
  await waiting(1);
  const detached = detachPartition({ database, partition: "2026-02" });
  await waiting(2);
  expect(await warehouse.query("select state from warehouse.partitions where partition = '2026-02'")).toEqual(
    [{ state: "detached" }],
  );
  await client.query("rollback");
  expect(await verified).toEqual([]);
  await detached;
});

let workers: readonly Worker[] = [];
beforeAll(() => {
  workers = Array.from({ length: 3 }, startWorker);
});
afterAll(() => {
  for (const worker of workers) worker.kill();
});

test("beside loads that make partitions, refreshes, and partitions that leave and come back, there is no false alarm", async () => {
  const warehouse = await createTestDatabase({ granularity: "week" });
  const { database, settings } = warehouse;
  const { host, port, user, database: name } = database.pool.options;
  const base = { connection: { host, port, user, database: name, ssl: false } as const, settings };
  const folder = makeFolder();
  await load(warehouse, writeInvoices(folder, "2025-12-31.csv", [["venue-0", 1, "2025-06-16", "1.00"]]));
  await refreshPartitions({ database });
  const { partition } = partitionOf("week", "2025-06-16");
  let busy = true;
  const loading = Promise.all(
    workers.map(async (worker, lane) => {
      for (let round = 0; round < 4; round += 1) {
        const invoices = Array.from({ length: 400 }, (_, n): Invoice => {
          const date = new Date(Date.UTC(2024, 0, 1 + ((n * 7 * (lane + 1) + round * 21) % 330)));
          return [`venue-${n % 9}`, n + round * 100, date.toISOString().slice(0, 10), `${lane}${round}.25`];
        });
        const path = writeInvoices(folder, `drop${lane}-${round}-2024-12-0${1 + round}.csv`, invoices);
        const result = await worker.run({ ...base, path });
        expect(result).toMatchObject({ load: { outcome: "loaded" } });
        expect(await worker.run(base)).toHaveProperty("refreshed");
      }
    }),
  ).finally(() => {
    busy = false;
  });
  const moving = (async () => {
    let moves = 0;
    for (; busy; moves += 1) {
      await detachPartition({ database, partition });
      await attachPartition({ database, partition });
    }
    return moves;
  })();
  let rounds = 0;
  for (; busy; rounds += 1) expect(await findDivergences(warehouse, { identity: false })).toEqual([]);
  await loading;
  expect(await moving).toBeGreaterThan(1);
  expect(rounds).toBeGreaterThan(1);
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
});
