import { expect, test } from "vitest";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { loadDrop } from "../load/load.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { jsonLines, type Run, rollbook, rollbookHere } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { totalsOf } from "../testing/warehouse.ts";
import { GROUPINGS, type Grouping } from "./totals.ts";

/** Sorted by their UTF-8 bytes, which is neither a dictionary's order nor that of UTF-16. */
const VENUES = [" lead", 'Q"uote', "Z", "a", "comma,", "semi;", "tab\t", "z", "Ä", "é", "\uff5e", "😀"];

async function loadVaried(): Promise<{
  readonly warehouse: TestWarehouse;
  readonly run: (...args: string[]) => Promise<Run>;
}> {
  const warehouse = await createTestDatabase({ timeZone: "Europe/Berlin" });
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const quoted = (venue: string) => `"${venue.replaceAll('"', '""')}"`;
  const lines = (seed: number) =>
    VENUES.flatMap((venue, v) =>
      Array.from({ length: 9 }, (_, i) => {
        const day = new Date(Date.UTC(2025, 10, 28 + ((v * 7 + i * 11 + seed) % 60)));
        const hour = String((v + i * 5) % 24).padStart(2, "0");
        const total = (((v + 1) * (i + 3) * 37 + seed) % 999) / 100 - (i === 4 ? 30 : 0);
        return `${quoted(venue)},${invoiceId(seed + v * 100 + i)},${day.toISOString().slice(0, 10)}T${hour}:30:00Z,${total.toFixed(2)}`;
      }),
    );
  writeDrop(folder, "a_2026-02-01.csv", lines(0));
  writeDrop(folder, "b_2026-02-02.csv", lines(10_000));
  // The first is refreshed, the second pending.
  expect((await run("load", "a_2026-02-01.csv")).code).toBe(0);
  expect((await run("load", "b_2026-02-02.csv", "--no-refresh")).code).toBe(0);
  return { warehouse, run };
}

/** What `totals --format csv` must print: another SQL sum, sorted and quoted by other means. */
async function expectedCsv(warehouse: TestWarehouse, by: Grouping, where = "true"): Promise<string> {
  const keys = { venue: "v.venue_id", day: "local.day::text", month: "to_char(local.day, 'YYYY-MM')" };
  const columns = by.split(",").map((key) => keys[key as keyof typeof keys]);
  const rows = await warehouse.query<{ key: string[]; invoices: string; total: string }>(
    `select array[${columns.join(", ")}] as key, count(*) as invoices, sum(i.total)::text as total
     from warehouse.invoices i
     join warehouse.venues v using (venue_key)
     cross join lateral (select (i.created_at at time zone 'Europe/Berlin')::date as day) local
     where ${where} group by 1`,
  );
  rows.sort((one, other) => {
    const orders = one.key.map((key, index) =>
      Buffer.compare(Buffer.from(key), Buffer.from(other.key[index] ?? "")),
    );
    return orders.find((order) => order !== 0) ?? 0;
  });
  const quote = (text: string) => (/["\n,]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const header = by.split(",").map((key) => (key === "venue" ? "venue_id" : "created_on"));
  return [
    [...header, "invoices", "total"].join(","),
    ...rows.map(({ key, invoices, total }) => [...key.map(quote), invoices, total].join(",")),
    "",
  ].join("\n");
}

test("all groupings are what SQL says, in CSV: sorted by bytes, quoted where needed, two decimals, LF", async () => {
  const { warehouse, run } = await loadVaried();
  for (const by of GROUPINGS) {
    const { code, stdout, stderr } = await run("totals", "--by", by, "--format", "csv");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toBe(await expectedCsv(warehouse, by));
  }
});

test("a query that does not ask for venue_id is planned without the venues, and loses no euro without them", async () => {
  const { warehouse } = await loadVaried();
  const totals = "select sum(invoices) as invoices, sum(total) as total from reports.venue_daily_totals";
  const plan = async (query: string) => JSON.stringify(await warehouse.query(`explain ${query}`));
  expect(await plan(totals)).not.toContain("venues");
  expect(await plan(`${totals} where venue_id = 'a'`)).toContain("venues");
  const before = await warehouse.query(totals);
  await warehouse.query("delete from warehouse.venues where venue_id = 'a'");
  expect(await warehouse.query(totals)).toEqual(before);
});

test("a venue that turned over zero euros is shown with its invoices, pending or refreshed", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const load = (name: string, total: string) =>
    loadDrop({ ...warehouse, path: writeDrop(folder, name, [`cafe,${invoiceId(1)},2026-01-01,${total}`]) });
  const zero = [{ venue_id: "cafe", invoices: 1, total: "0.00" }];
  await load("a_2026-01-02.csv", "0.00");
  expect(await totalsOf(warehouse)).toMatchObject(zero);
  await refreshPartitions(warehouse);
  expect(await totalsOf(warehouse)).toMatchObject(zero);
  await load("a_2026-01-03.csv", "5.00");
  await refreshPartitions(warehouse);
  await load("a_2026-01-04.csv", "0.00");
  expect(await totalsOf(warehouse)).toMatchObject(zero);
});

test("--from counts, --to does not; --venue is one venue, whatever its name", async () => {
  const { warehouse, run } = await loadVaried();
  const range = await run("totals", "--from", "2025-12-05", "--to", "2025-12-20", "--format", "csv");
  const inRange = "local.day >= '2025-12-05' and local.day < '2025-12-20'";
  expect(range.stdout).toBe(await expectedCsv(warehouse, "venue,day", inRange));
  const day = await run(
    "totals",
    "--from",
    "2025-12-05",
    "--to",
    "2025-12-06",
    "--by",
    "day",
    "--format",
    "csv",
  );
  expect(day.stdout).toBe(await expectedCsv(warehouse, "day", "local.day = '2025-12-05'"));
  const venue = await run("totals", "--venue", 'Q"uote', "--by", "venue,month", "--format", "csv");
  expect(venue.stdout).toBe(await expectedCsv(warehouse, "venue,month", `v.venue_id = 'Q"uote'`));
  const months = await run("totals", "--by", "month", "--from", "2025-12-15", "--format", "csv");
  expect(months.stdout).toBe(await expectedCsv(warehouse, "month", "local.day >= '2025-12-15'"));
});

test("a result without rows is a header in CSV, nothing in JSON, a sentence for people", async () => {
  const { run } = await loadVaried();
  const nobody = ["totals", "--venue", "nobody"];
  expect(await run(...nobody, "--format", "csv")).toMatchObject({
    code: 0,
    stdout: "venue_id,created_on,invoices,total\n",
  });
  expect(await run(...nobody, "--by", "month", "--format", "csv")).toMatchObject({
    stdout: "created_on,invoices,total\n",
  });
  expect(await run(...nobody, "--json")).toMatchObject({ code: 0, stdout: "" });
  expect(await run(...nobody)).toMatchObject({ code: 0, stdout: "No invoices.\n" });
});

test("JSON has an object per total, its money as text; --json and --format json are one", async () => {
  const { warehouse, run } = await loadVaried();
  const { stdout } = await run("totals", "--by", "venue,month", "--json");
  const rows = jsonLines(stdout);
  expect(rows[0]).toEqual({
    venue_id: " lead",
    created_on: "2025-11",
    invoices: expect.any(Number),
    total: expect.stringMatching(/^-?\d+\.\d\d$/),
  });
  const csv = await expectedCsv(warehouse, "venue,month");
  expect(rows).toHaveLength(csv.split("\n").length - 2);
  expect((await run("totals", "--by", "venue,month", "--format", "json")).stdout).toBe(stdout);
});

test("the table aligns, groups thousands, escapes, and stops at 1000 rows", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const lines = Array.from(
    { length: 1002 },
    (_, n) => `v${String(n).padStart(4, "0")},${invoiceId(n)},2026-01-01,0.50`,
  );
  writeDrop(folder, "a_2026-01-01.csv", [...lines, `a\u202eb,${invoiceId(5000)},2026-01-01,-1234567.8`]);
  expect((await run("load", "a_2026-01-01.csv")).code).toBe(0);
  const shown = (await run("totals")).stdout.split("\n");
  expect(shown.slice(0, 3)).toEqual([
    "venue_id    created_on  invoices          total",
    "a\\u{202e}b  2026-01-01         1  -1,234,567.80",
    "v0000       2026-01-01         1           0.50",
  ]);
  expect(shown).toHaveLength(1003);
  expect(shown.slice(-2)).toEqual(["... and 3 more rows; --format csv gives all.", ""]);
  expect((await run("totals", "--venue", "v0001")).stdout.split("\n")).toHaveLength(3);
});

/**
 * Two loads: one became known in the last microsecond of 1 March in Berlin, the other in the first of 2
 * March.
 */
async function loadAroundMidnight(): Promise<(...args: string[]) => Promise<Run>> {
  const warehouse = await createTestDatabase({ timeZone: "Europe/Berlin" });
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  writeDrop(folder, "a_2026-01-02.csv", [
    `v,${invoiceId(1)},2026-01-01,1.00`,
    `w,${invoiceId(3)},2026-01-01,7.00`,
  ]);
  writeDrop(folder, "b_2026-01-03.csv", [
    `v,${invoiceId(1)},2026-01-01,1.50`,
    `v,${invoiceId(2)},2026-01-01,2.00`,
  ]);
  await run("load", "a_2026-01-02.csv", "b_2026-01-03.csv");
  await warehouse.query(
    `update warehouse.loads set known_at = case file_name
       when 'a_2026-01-02.csv' then timestamptz '2026-03-01 22:59:59.999999Z' else '2026-03-01 23:00:00Z' end`,
  );
  return run;
}

test("--as-known-on a date means its end in the warehouse's zone, a timestamp without offset is in that zone", async () => {
  const run = await loadAroundMidnight();
  const shown = async (moment: string) => {
    const { code, stdout, stderr } = await run(
      ...["totals", "--by", "venue", "--venue", "v", "--format", "csv", "--as-known-on", moment],
    );
    expect([code, stderr]).toEqual([0, ""]);
    return stdout.split("\n")[1];
  };
  const nothing = "";
  const first = "v,1,1.00";
  const both = "v,2,3.50";
  expect(await shown("2026-02-28")).toBe(nothing);
  expect(await shown("2026-03-01")).toBe(first);
  expect(await shown("2026-03-02")).toBe(both);
  expect(await shown("2026-03-01T23:59:59")).toBe(nothing);
  expect(await shown("2026-03-01 23:59:59.999999")).toBe(first);
  expect(await shown("2026-03-02T00:00")).toBe(both);
  expect(await shown("2026-03-01T22:59:59Z")).toBe(nothing);
  expect(await shown("2026-03-01T22:59:59.999999z")).toBe(first);
  expect(await shown("2026-03-01T23:00:00Z")).toBe(both);
  expect(await shown("2026-03-01T18:00:00-05:00")).toBe(both);
  expect(await shown("2026-03-02T04:29:59.999999+0530")).toBe(first);
});

test("--as-known-on what is neither a date nor a timestamp is refused, also what PostgreSQL would take", async () => {
  const run = await loadAroundMidnight();
  for (const moment of [
    ...[
      "",
      "now",
      "yesterday",
      "infinity",
      "10/05/2026",
      "2026-10",
      "20261005",
      "2026-02-30",
      "2026-10-05T25:00",
    ],
    ...["2026-10-05T18:00+99:00", "2026-10-05 18:00 Europe/Berlin", "2026-10-05 BC", "2026-10-05' or true"],
  ]) {
    for (const verb of ["totals", "explain-total"]) {
      const { code, stdout, stderr } = await run(verb, "--as-known-on", moment);
      expect([moment, code, stdout]).toEqual([moment, 2, ""]);
      expect(stderr).toContain("2026-10-05T18:00:00+02:00");
    }
  }
});

test("explain-total gives the loads that made a total, and adds up to it", async () => {
  const run = await loadAroundMidnight();
  const { code, stdout } = await run(
    "explain-total",
    "--venue",
    "v",
    "--from",
    "2026-01-01",
    "--to",
    "2026-01-02",
    "--json",
  );
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toEqual([
    {
      loadId: expect.any(Number),
      fileName: "a_2026-01-02.csv",
      syncedOn: "2026-01-02",
      knownAt: "2026-03-01T23:59:59.999999+01:00",
      invoices: 1,
      total: "1.00",
    },
    {
      loadId: expect.any(Number),
      fileName: "b_2026-01-03.csv",
      syncedOn: "2026-01-03",
      knownAt: "2026-03-02T00:00:00+01:00",
      invoices: 1,
      total: "2.50",
    },
  ]);
  const known = await run("explain-total", "--venue", "v", "--as-known-on", "2026-03-01", "--json");
  expect(jsonLines(known.stdout)).toMatchObject([{ fileName: "a_2026-01-02.csv" }]);
  const table = (await run("explain-total")).stdout.trimEnd().split("\n");
  expect(table).toHaveLength(4);
  expect(table.at(-1)).toMatch(/^ +total +3 +10\.50$/);
  expect(await run("explain-total", "--venue", "nobody")).toMatchObject({
    code: 0,
    stdout: "No load changed this total.\n",
  });
});

test("a large result streams: it does not fit the memory that the process has", async () => {
  const warehouse = await createTestDatabase();
  const days = Array.from({ length: 120 }, (_, day) =>
    new Date(Date.UTC(2025, 0, 1 + day)).toISOString().slice(0, 10),
  );
  await ensurePartitions({ database: warehouse.database, granularity: "month", dates: days });
  await warehouse.query(
    `insert into warehouse.venues (venue_id) select repeat('venue', 39) || n from generate_series(1, 1000) n`,
  );
  await warehouse.query(
    `insert into warehouse.venue_day_rollup (created_on, venue_key, invoices, total)
     select date '2025-01-01' + d, v.venue_key, 1, 1.00 from generate_series(0, 119) d, warehouse.venues v`,
  );
  const folder = makeFolder();
  // 120,000 rows are some 30 MB as text and more as objects.
  const environment = { ...warehouse.environment, NODE_OPTIONS: "--max-old-space-size=48" };
  for (const format of ["csv", "table"]) {
    const { code, stdout, stderr } = await rollbook(["totals", "--format", format], { environment, folder });
    expect([code, stderr]).toEqual([0, ""]);
    if (format === "table") expect(stdout).toContain("... and 119,000 more rows");
    else expect(stdout.split("\n").length).toBe(120_002);
  }
});

test("a reader that has had enough, like head, ends it without an error", async () => {
  const { warehouse } = await loadVaried();
  const folder = makeFolder();
  const wrapper = ["/bin/sh", "-c", '"$@" | head -n 1; exit 0', "sh"];
  const { code, stdout, stderr } = await rollbook(["totals", "--format", "csv"], {
    environment: warehouse.environment,
    folder,
    wrapper,
  });
  expect([code, stdout, stderr]).toEqual([0, "venue_id,created_on,invoices,total\n", ""]);
});
