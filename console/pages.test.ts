/** What the pages say of a warehouse whose loads are known. */
import { expect, test } from "vitest";
import { createTestDatabase } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { loginAs } from "../db/testing/roles.ts";
import { loadDrop } from "../etl/load/load.ts";
import { refreshPartitions } from "../etl/refresh/refresh.ts";
import { invoiceId, writeDrop } from "../etl/testing/lines.ts";
import { verifyWarehouse } from "../etl/verify/verify.ts";
import { type Filled, fillWarehouse } from "./testing/fill.ts";
import { openSite, type Site } from "./testing/site.ts";

/** A filled warehouse and the console on it, as a reader. */
async function openFilled(): Promise<{ readonly site: Site; readonly filled: Filled }> {
  const warehouse = await createTestDatabase({ roles: true });
  const filled = await fillWarehouse(warehouse, { folder: makeFolder() });
  return { site: await openSite(await loginAs(warehouse, "reader")), filled };
}

test("the overview compares the same days of three months, and says what waits", async () => {
  const { site, filled } = await openFilled();
  const overview = await site.ask("/api/overview");
  expect(overview).toMatchObject({
    newest: "2026-10-06",
    compared: {
      // 13.50 + 20.00 + 7.00 + 30.00
      newest: { from: "2026-10-01", to: "2026-10-06", invoices: 4, total: "70.50" },
      before: { from: "2026-09-01", to: "2026-09-06", invoices: 1, total: "111.50" },
      yearBefore: { from: "2025-10-01", to: "2025-10-06", invoices: 1, total: "100.50" },
    },
    freshness: { partitions: 13, invoices: 18, stalePartitions: 0 },
    proofs: { oldest: { provedAt: null }, diverged: [] },
    openRejects: { files: 1, lines: 1, total: "0.00" },
    loads: [
      { load: filled.undo },
      { load: filled.undone },
      { load: filled.refused },
      {},
      { load: filled.mixed },
      {},
    ],
  });
  const { months, days } = overview as {
    months: { month: string; total: string }[];
    days: { date: string }[];
  };
  expect(months.map(({ month }) => month)).toEqual([
    ...["2025-11", "2025-12", "2026-01", "2026-02", "2026-03", "2026-04"],
    ...["2026-05", "2026-06", "2026-07", "2026-08", "2026-09", "2026-10"],
  ]);
  expect(months.slice(-3)).toMatchObject([{ total: "115.50" }, { total: "71.50" }, { total: "70.50" }]);
  expect(days.at(-1)).toEqual({ date: "2026-10-06", invoices: 1, total: "30.00" });
  expect(await site.ask("/api/overview?until=2025-12")).toMatchObject({
    compared: {
      newest: { from: "2025-12-01", to: "2025-12-31", total: "102.50" },
      before: { from: "2025-11-01", to: "2025-11-30", total: "101.50" },
    },
  });
  const shown = await site.show("/");
  expect(shown).toContain("1–6 October 2026");
  expect(shown).toContain("2026-09-30: -40.00, 1 invoices");
});

test("numbers are as the reader's language writes them", async () => {
  const { site } = await openFilled();
  const { text } = await site.request("/", { headers: { "accept-language": "de-DE,de;q=0.9" } });
  expect(text).toContain("70,50");
  expect(text).not.toContain("70.50");
});

test("the ledger is listed in pages, by status and by a part of the name", async () => {
  const warehouse = await createTestDatabase();
  const site = await openSite(warehouse);
  const folder = makeFolder();
  for (let number = 1; number <= 53; number += 1) {
    const name = number === 7 ? "100%_sure_2026-10-05.csv" : `a${number}_2026-10-05.csv`;
    await loadDrop({
      ...warehouse,
      path: writeDrop(folder, name, [`v,${invoiceId(number)},2026-10-04,1.00`]),
    });
  }
  const numbers = async (path: string) => {
    const { loads, next } = (await site.ask(path)) as { loads: { load: number }[]; next: number | null };
    return { first: loads[0]?.load, count: loads.length, next };
  };
  const newest = await numbers("/api/loads");
  expect(newest).toEqual({ first: 53, count: 50, next: 4 });
  expect(await numbers("/api/loads?before=4")).toEqual({ first: 3, count: 3, next: null });
  expect(await numbers("/api/loads?file=100%25_")).toEqual({ first: 7, count: 1, next: null });
  expect(await numbers("/api/loads?file=%25")).toEqual({ first: 7, count: 1, next: null });
  expect(await numbers("/api/loads?status=failed")).toEqual({ first: undefined, count: 0, next: null });
  const shown = await site.show("/loads");
  expect(shown).toContain('href="/loads?before=4" rel="next"');
});

test("the ledger is listed by source, and the form offers those that there are", async () => {
  const warehouse = await createTestDatabase();
  const site = await openSite(warehouse);
  expect(await site.show("/loads")).not.toContain('name="source"');
  await warehouse.query(`
    insert into warehouse.loads (file_name, sha256, synced_on, status, source, source_sha256, read, started_at, finished_at, known_at)
    select 'file ' || n, sha256(n::text::bytea), '2026-01-01', 'loaded', source, case when source is not null then sha256('s') end,
           1, now(), now(), now() + n * interval '1 ms'
    from unnest(array['till', null, 'a <b>&"shop', 'till']) with ordinality as t (source, n)`);
  const listed = async (source: string) => {
    const { loads } = (await site.ask(`/api/loads?${new URLSearchParams({ source })}`)) as {
      loads: { load: number }[];
    };
    return loads.map(({ load }) => load);
  };
  expect(await listed("till")).toEqual([4, 1]);
  expect(await listed("-")).toEqual([2]);
  expect(await listed('a <b>&"shop')).toEqual([3]);
  expect(await listed("nobody")).toEqual([]);
  await expect
    .poll(async () => (await site.ask("/api/loads")) as object)
    .toMatchObject({ sources: ['a <b>&"shop', "till"] });
  const shown = await site.show("/loads?source=till&status=loaded");
  expect(shown).toContain('<option value="till" selected>till</option>');
  expect(shown).toContain('<option value="a &lt;b&gt;&amp;&quot;shop">');
  expect(await site.show("/loads?source=nobody")).toContain('<option value="nobody" selected>');
  expect((await site.request("/loads?source=%00")).status).toBe(400);
});

test("a load says what became of its lines, where, how late, and how to take it back", async () => {
  const { site, filled } = await openFilled();
  expect(await site.ask(`/api/loads/${filled.mixed}`)).toMatchObject({
    file: "invoices_2026-10-06.csv",
    status: "loaded",
    lines: { read: 6, inserted: 2, corrected: 1, unchanged: 1, superseded: 0, rejected: 2 },
    partitions: [
      { partition: "2026-08", groups: 1, invoices: 1, total: "5.00" },
      { partition: "2026-10", groups: 2, invoices: 1, total: "31.00" },
    ],
    lateness: [
      { days: "same day", invoices: 1 },
      { days: "1 day", invoices: 0 },
      { days: "2–7 days", invoices: 0 },
      { days: "8–30 days", invoices: 0 },
      { days: "31–90 days", invoices: 1 },
      { days: "91–365 days", invoices: 0 },
      { days: "more", invoices: 0 },
    ],
    restated: [],
    reasons: [
      { reason: "bad_timestamp", lines: 1, firstCell: "yesterday" },
      { reason: "wrong_column_count", lines: 1 },
    ].toSorted((a, b) =>
      a.reason === "wrong_column_count" ? -1 : b.reason === "wrong_column_count" ? 1 : 0,
    ),
  });
  const shown = await site.show(`/loads/${filled.mixed}`);
  expect(shown).toContain(`rollbook undo ${filled.mixed} --dry-run`);
  expect(await site.ask(`/api/loads/${filled.restating}`)).toMatchObject({
    restated: [{ period: "2026-09", groups: 1, invoices: 1, total: "-40.00" }],
  });
  const undone = await site.show(`/loads/${filled.undone}`);
  expect(undone).toContain("a &lt;test&gt; file");
  expect(undone).not.toContain("rollbook undo");
  expect(await site.show(`/loads/${filled.refused}`)).toContain('<p class="notice bad">');
  expect((await site.request("/loads/999")).status).toBe(404);
  expect((await site.request("/loads/99999999999")).status).toBe(400);
  expect((await site.request("/loads/0")).status).toBe(400);
});

test("partitions say how large and fresh they are, and what is pending", async () => {
  const warehouse = await createTestDatabase();
  await fillWarehouse(warehouse, { folder: makeFolder() });
  const site = await openSite(warehouse);
  const read = async (path = "/api/partitions") =>
    (await site.ask(path)) as {
      partitions: {
        partition: string;
        bytes: number;
        pendingChanges: number;
        invoices: number;
        state: string;
      }[];
      all: number;
      warnings: string[];
    };
  const before = await read();
  expect(before.all).toBe(13);
  expect(before.partitions[0]).toMatchObject({ partition: "2026-10", invoices: 0, pendingTotal: "70.50" });
  const [sizes] = await warehouse.query<{ bytes: string }>(
    `select pg_total_relation_size('warehouse.invoices_2026_10') + pg_total_relation_size('warehouse.venue_day_deltas_2026_10')
            + pg_total_relation_size('warehouse.venue_day_rollup_2026_10') as bytes`,
  );
  expect(before.partitions[0]?.bytes).toBe(Number(sizes?.bytes));
  await refreshPartitions({ database: warehouse.database });
  await warehouse.query("update warehouse.partitions set state = 'stale' where partition = '2026-08'");
  const after = await read();
  expect(after.partitions.map(({ pendingChanges }) => pendingChanges)).toEqual(Array(13).fill(0));
  expect(after.partitions[0]).toMatchObject({ invoices: 4, total: "70.50", pendingTotal: "0.00" });
  expect(after.partitions[0]).toMatchObject({ provedAt: null, divergedAt: null });
  expect(after.warnings).toEqual([expect.stringContaining("partition 2026-08 is stale")]);
  expect(await site.show("/partitions")).toContain("partition 2026-08 is stale");
  await verifyWarehouse(warehouse);
  const [proved] = (await read()).partitions;
  expect(proved).toMatchObject({ provedAt: expect.any(String), divergedAt: null });
  expect(
    (await read("/api/partitions?before=2025-12-01")).partitions.map(({ partition }) => partition),
  ).toEqual(["2025-11", "2025-10"]);
});

test("the quarantine says what is open and what was decided, with commands to copy", async () => {
  const { site, filled } = await openFilled();
  const found = await site.ask("/api/quarantine");
  expect(found).toMatchObject({
    byReason: [{ name: "wrong_column_count", files: 1, lines: 1 }],
    bySource: [{ name: null, files: 1, lines: 1 }],
    open: [{ load: filled.mixed, reason: "wrong_column_count" }],
    decided: [
      {
        load: filled.mixed,
        outcome: "dismissed",
        reason: "bad_timestamp",
        lines: 1,
        because: "a <b>trailer</b> line",
      },
    ],
  });
  const shown = await site.show("/quarantine");
  expect(shown).toContain(`rollbook rejects retry --load ${filled.mixed} inbox`);
  expect(shown).toContain("a &lt;b&gt;trailer&lt;/b&gt; line");
  expect(await site.ask("/api/quarantine?reason=bad_uuid")).toMatchObject({ open: [] });
  expect(await site.ask("/api/quarantine?source=-&reason=wrong_column_count")).toMatchObject({ open: [{}] });
  expect(await site.ask("/api/quarantine?source=-")).toMatchObject({ decided: [{}] });
  expect(await site.ask("/api/quarantine?source=till")).toMatchObject({
    byReason: [],
    bySource: [{ name: null, lines: 1 }],
    open: [],
    decided: [],
  });
  expect(await site.show("/quarantine?source=till")).toContain('<a href="/quarantine">Show all</a>');
});

test("a closing says what has changed since, by group and by load", async () => {
  const { site, filled } = await openFilled();
  expect(await site.ask("/api/closings")).toMatchObject({
    closings: [{ closing: 1, period: "2026-09", groups: 1, invoices: 1, total: "111.50" }],
    next: null,
  });
  expect(await site.ask("/api/closings/1")).toMatchObject({
    closing: { closing: 1 },
    restated: { groups: 1, invoices: 1, total: "-40.00" },
    byGroup: [{ venue: "bar", date: "2026-09-30", thenInvoices: 0, nowInvoices: 1, nowTotal: "-40.00" }],
    byLoad: [{ load: filled.restating, groups: 1, invoices: 1, total: "-40.00" }],
  });
  expect(await site.show("/closings/1")).toContain("rollbook restated 2026-09");
  expect((await site.request("/closings/2")).status).toBe(404);
});

test("a page of 2,000 venues is as short as one of two", async () => {
  const warehouse = await createTestDatabase();
  const lines = Array.from(
    { length: 2000 },
    (_, venue) => `venue ${venue},${invoiceId(venue)},2026-10-04,1.00`,
  );
  await loadDrop({ ...warehouse, path: writeDrop(makeFolder(), "a_2026-10-05.csv", lines) });
  const site = await openSite(warehouse);
  expect(await site.ask("/api/overview")).toMatchObject({
    compared: { newest: { invoices: 2000, total: "2000.00" } },
  });
  for (const path of ["/", "/loads/1", "/partitions"])
    expect((await site.show(path)).length).toBeLessThan(60_000);
});
