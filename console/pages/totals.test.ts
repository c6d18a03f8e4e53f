/** The totals by real HTTP: what the pages and files hold is what the command line says. */
import { once } from "node:events";
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { loadDrop } from "../../etl/load/load.ts";
import { GROUPINGS } from "../../etl/reports/totals.ts";
import { jsonLines, rollbookHere } from "../../etl/testing/cli.ts";
import { invoiceId, writeDrop } from "../../etl/testing/lines.ts";
import { fillWarehouse, MARKUP } from "../testing/fill.ts";
import { openSite, type Site } from "../testing/site.ts";

interface Listed {
  readonly venue: string | null;
  readonly date: string | null;
  readonly invoices: number;
  readonly total: string;
  readonly invoicesNow: number | null;
  readonly totalNow: string | null;
}
interface Answer {
  readonly from: string;
  readonly to: string;
  readonly totals: readonly Listed[];
  readonly next: string | null;
  readonly previous: string | null;
}

const ask = async (site: Site, query: Readonly<Record<string, string>>) =>
  (await site.ask(`/api/totals?${new URLSearchParams(query)}`)) as Answer;

/** Whole years, so that nothing is left out. */
const ALL = { from: "2020-01-01", to: "2030-01-01" } as const;

/** All pages to the last, and back to the first. */
async function turnPages(site: Site, query: Readonly<Record<string, string>>): Promise<readonly Listed[]> {
  const pages = [await ask(site, query)];
  for (let next = pages[0]?.next; next; next = pages.at(-1)?.next ?? null)
    pages.push(await ask(site, { ...query, after: next }));
  const back = [pages.at(-1) as Answer];
  for (let before = back[0]?.previous; before; before = back[0]?.previous ?? null)
    back.unshift(await ask(site, { ...query, before }));
  expect(back.map(({ totals }) => totals)).toEqual(pages.map(({ totals }) => totals));
  return pages.flatMap(({ totals }) => totals);
}

async function askCommand(warehouse: TestWarehouse, ...flags: readonly string[]) {
  const { stdout, stderr } = await rollbookHere(["totals", "--json", ...flags], {
    environment: warehouse.environment,
    folder: makeFolder(),
  });
  expect(stderr).toBe("");
  return jsonLines(stdout);
}

const asCommand = ({ venue, date, invoices, total }: Listed) => ({
  ...(venue !== null && { venue_id: venue }),
  ...(date !== null && { created_on: date }),
  invoices,
  total,
});

/** Venues whose ids would be markup, a path or a formula, and so many others. */
const HOSTILE = [...MARKUP, "<script>", "../../etc/passwd", "=1+1", "-1", 'a,b;"c"', "\u202eevil"];

async function fillVenues(warehouse: TestWarehouse, venues: number): Promise<void> {
  const ids = Array.from(
    { length: venues },
    (_, index) => HOSTILE[index] ?? `venue ${String(index).padStart(4, "0")}`,
  );
  const lines = ids.flatMap((venue, index) =>
    [0, 1, 40].map((days, nth) => {
      const day = new Date(Date.UTC(2026, 6, 1 + (index % 3) + days)).toISOString().slice(0, 10);
      const quoted = `"${venue.replaceAll('"', '""')}"`;
      return `${quoted},${invoiceId(index * 3 + nth)},${day},${(index % 7) - 2}.${10 + nth}`;
    }),
  );
  const path = writeDrop(makeFolder(), "many_2026-09-01.csv", lines);
  expect(await loadDrop({ ...warehouse, path })).toMatchObject({ outcome: "loaded", rows: { rejected: 0 } });
}

test("2,000 venues, paged to the end and back in any order, are what the command line says", async () => {
  const warehouse = await createTestDatabase();
  await fillVenues(warehouse, 2000);
  const site = await openSite(warehouse);
  for (const by of GROUPINGS) {
    const said = await askCommand(warehouse, "--by", by);
    const isVenue = by.startsWith("venue");
    const query = { ...ALL, by, rows: "1000" };
    const first = await turnPages(site, { ...query, sort: isVenue ? "venue" : "date", order: "asc" });
    expect(first.map(asCommand)).toEqual(said);
    const key = (row: object) => JSON.stringify(row);
    const orders = [
      ["date", "desc"],
      ["total", "asc"],
      ["invoices", "desc"],
    ] as const;
    for (const [sort, order] of orders.slice(by === "venue" ? 1 : 0)) {
      const rows = await turnPages(site, { ...query, sort, order });
      expect(rows.map(asCommand).map(key).toSorted()).toEqual(said.map(key).toSorted());
      const values = rows.map((row) => (sort === "date" ? String(row.date) : Number(row[sort])));
      const inOrder = values.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      expect(values).toEqual(order === "asc" ? inOrder : inOrder.toReversed());
    }
  }
  // Short pages, too, of a list in which many rows have the same total.
  const some = await turnPages(site, { ...ALL, by: "venue,day", rows: "50", venue: "venue 0100" });
  expect(some.map(({ date }) => date)).toEqual(["2026-08-11", "2026-07-03", "2026-07-02"]);
  const days = await turnPages(site, { from: "2026-07-01", to: "2026-07-02", by: "venue,day", rows: "50" });
  expect(days.map(asCommand)).toEqual(
    await askCommand(warehouse, "--by", "venue,day", "--from", "2026-07-01", "--to", "2026-07-02"),
  );
});

test("the file holds all of it, and no spreadsheet program runs what is in it", async () => {
  const warehouse = await createTestDatabase();
  await fillVenues(warehouse, 2000);
  const site = await openSite(warehouse);
  for (const by of GROUPINGS) {
    const order = { by, sort: by.startsWith("venue") ? "venue" : "date", order: "asc" };
    const { status, headers, text } = await site.request(
      `/totals.csv?${new URLSearchParams({ ...ALL, ...order })}`,
    );
    expect({ status, type: headers["content-type"] }).toEqual({
      status: 200,
      type: "text/csv; charset=utf-8",
    });
    expect(headers["content-disposition"]).toBe(
      `attachment; filename="totals_${by.replace(",", "_")}_2020-01-01_2030-01-01.csv"`,
    );
    const { stdout } = await rollbookHere(["totals", "--by", by, "--format", "csv", "--guard-formulas"], {
      environment: warehouse.environment,
      folder: makeFolder(),
    });
    expect(text).toBe(stdout);
  }
  expect((await site.request("/totals.csv", { method: "HEAD" })).text).toBe("");
  expect((await site.request("/totals.csv?by=week")).status).toBe(400);
});

test("what was known on a date stands beside what is now", async () => {
  const warehouse = await createTestDatabase();
  const { query } = warehouse;
  const load = (name: string, ...lines: readonly string[]) =>
    loadDrop({ ...warehouse, path: writeDrop(makeFolder(), name, lines) });
  await load(
    "a_2026-03-10.csv",
    `bar,${invoiceId(1)},2026-03-01,10.00`,
    `pub,${invoiceId(2)},2026-03-02,5.00`,
  );
  await query("alter table warehouse.loads disable trigger user");
  await query("update warehouse.loads set known_at = '2026-03-10T12:00:00Z'");
  await query("alter table warehouse.loads enable trigger user");
  await load(
    "b_2026-03-12.csv",
    `bar,${invoiceId(1)},2026-03-01,12.50`,
    `new,${invoiceId(3)},2026-03-01,1.00`,
  );
  const site = await openSite(warehouse);
  const { totals } = await ask(site, { ...ALL, by: "venue", sort: "venue", knownOn: "2026-03-10" });
  expect(totals).toEqual([
    { venue: "bar", date: null, invoices: 1, total: "10.00", invoicesNow: 1, totalNow: "12.50" },
    { venue: "new", date: null, invoices: 0, total: "0.00", invoicesNow: 1, totalNow: "1.00" },
    { venue: "pub", date: null, invoices: 1, total: "5.00", invoicesNow: 1, totalNow: "5.00" },
  ]);
  const html = await site.show(
    `/totals?${new URLSearchParams({ ...ALL, by: "venue", knownOn: "2026-03-10" })}`,
  );
  expect(html).toContain("+2.50");
  expect(html).toContain("As known at the end of 2026-03-10");
  for (const by of ["venue,day", "venue,month", "day", "month"])
    expect(
      (await turnPages(site, { ...ALL, by, knownOn: "2026-03-10" })).map(({ totalNow }) => totalNow),
    ).not.toContain(null);
  const file = await site.request(
    `/totals.csv?${new URLSearchParams({ ...ALL, by: "month", knownOn: "2026-03-10" })}`,
  );
  expect(file.text).toBe("created_on,invoices,total,invoices_now,total_now\n2026-03,2,15.00,3,18.50\n");
});

test("without dates the twelve months up to the last one with invoices are shown, and the page says so", async () => {
  const warehouse = await createTestDatabase();
  const site = await openSite(warehouse);
  expect(await ask(site, {})).toMatchObject({ totals: [], next: null, previous: null });
  await fillWarehouse(warehouse, { folder: makeFolder() });
  const { from, to, totals } = await ask(site, {});
  expect({ from, to, months: totals.length }).toEqual({ from: "2025-11-01", to: "2026-11-01", months: 12 });
  expect(await site.show("/totals")).toContain("2025-11-01 to 2026-10-31 (the last twelve months");
  expect(await ask(site, { to: "2026-09-01" })).toMatchObject({ from: "2025-09-01", to: "2026-09-01" });
  expect(await ask(site, { from: "2024-02-10" })).toMatchObject({ from: "2024-02-10", to: "2026-11-01" });
  expect(await ask(site, { from: "2031-02-10" })).toMatchObject({ from: "2031-02-10", to: "2032-02-01" });
});

test("what an address cannot mean is said", async () => {
  const site = await openSite(await createTestDatabase());
  const wrong = [
    ["from=2026-02-30", "from: there is no such date"],
    ["from=2026-03-01&to=2026-03-01", "to: give a date after 2026-03-01"],
    ["by=day&sort=venue", "sort: totals by day have date, total, invoices"],
    ["by=week", "by: give one of venue,day, venue,month, venue, day, month"],
    ["rows=5000", "rows: give one of 50, 100, 250, 1000"],
    ["venue=a%00b", "venue: there is no text with U+0000"],
    ["venue=a&venue=b%00", "venue: there is no text with U+0000"],
    ["from=0001-12-31", "from: give a date of the years 0002 to 9998"],
    ["to=9999-01-01", "to: give a date of the years 0002 to 9998"],
    ["knownOn=now", "knownOn: give a date as YYYY-MM-DD"],
    ["after=x", "after: take it from the address of another page"],
    [`after=${encodeURIComponent('["2026-02-31"]')}`, "after: take it"],
    [`after=${encodeURIComponent('["2026-02-01","x"]')}`, "after: take it"],
    [`by=venue,day&before=${encodeURIComponent('["2026-02-01","a\\u0000"]')}`, "before: take it"],
    [`by=day&sort=total&after=${encodeURIComponent('["1; drop table x","2026-01-01"]')}`, "after: take it"],
    [
      `after=${encodeURIComponent('["2026-02"]')}&before=${encodeURIComponent('["2026-02"]')}`,
      "give after or before, not both",
    ],
  ];
  for (const [query, message] of wrong) {
    const { status, text } = await site.request(`/api/totals?${query}`);
    expect({ query, status, message: JSON.parse(text).error.message }).toEqual({
      query,
      status: 400,
      message: expect.stringContaining(message as string),
    });
  }
  expect(site.problems).toEqual([]);
});

test("a file that its reader leaves is given up, and others can be made", async () => {
  const warehouse = await createTestDatabase();
  await fillVenues(warehouse, 2000);
  const site = await openSite(warehouse);
  const begin = () =>
    fetch(new URL(`/totals.csv?${new URLSearchParams({ ...ALL, by: "venue,day" })}`, site.url));
  const open = [await begin(), await begin()];
  expect(open.map(({ status }) => status)).toEqual([200, 200]);
  for (const response of open) await response.body?.cancel();
  await expect.poll(async () => (await site.request("/totals.csv")).status).toBe(200);
});

test("the first and the last date that can be asked for are answered", async () => {
  const warehouse = await createTestDatabase();
  await fillVenues(warehouse, 3);
  const site = await openSite(warehouse);
  const [first, last] = ["0002-01-01", "9998-12-31"];
  for (const range of [
    { from: first, to: last },
    { from: first },
    { to: last },
    { from: last },
    { to: first },
  ])
    for (const knownOn of [undefined, last]) {
      const asked = new URLSearchParams({ ...range, ...(knownOn && { knownOn }) });
      for (const by of ["venue,day", "venue,month", "day", "month", "venue"]) {
        asked.set("by", by);
        for (const order of ["asc", "desc"]) await site.show(`/totals?${asked}&order=${order}`);
        await site.show(`/totals.csv?${asked}`);
      }
      asked.delete("by");
      await site.show(`/totals/explain?${asked}`);
    }
  await site.show(`/totals/explain?from=9998-12-30&to=${last}`);
});

test("a file that cannot be made is said as on any page, and one that breaks off holds nothing but its rows", async () => {
  const warehouse = await createTestDatabase();
  // Longer than what the system keeps for a reader.
  const lines = Array.from({ length: 10_000 }, (_, index) => {
    const day = new Date(Date.UTC(2026, 0, 1 + (index % 100))).toISOString().slice(0, 10);
    return `${"\u{1f355}".repeat(197)}${String(Math.floor(index / 100)).padStart(3, "0")},${invoiceId(index)},${day},1.00`;
  });
  await loadDrop({ ...warehouse, path: writeDrop(makeFolder(), "long_2026-09-01.csv", lines) });
  const site = await openSite(warehouse, { statementTimeoutMs: 500 });
  const path = `/totals.csv?${new URLSearchParams({ ...ALL, by: "venue,day" })}`;
  const holder = await warehouse.database.pool.connect();
  await holder.query("begin; lock table warehouse.venue_day_rollup in access exclusive mode");
  const { status, headers, text } = await site.request(path);
  await holder.query("rollback");
  holder.release();
  expect({ status, cache: headers["cache-control"] }).toEqual({ status: 504, cache: "private, no-store" });
  expect(text).toContain("That took too long");
  expect(site.problems).toEqual([]);

  const socket = connect({ host: "127.0.0.1", port: Number(new URL(site.url).port) });
  onTestFinished(() => void socket.destroy());
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  const pieces: string[] = [];
  socket.setEncoding("utf8").on("data", (piece: string) => pieces.push(piece));
  await once(socket, "data");
  socket.pause();
  await warehouse.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rollbook serve' and datname = current_database()",
  );
  socket.resume();
  await once(socket, "close");
  const answer = pieces.join("");
  expect({ begun: answer.startsWith("HTTP/1.1 200 "), whole: answer.endsWith("\r\n0\r\n\r\n") }).toEqual({
    begun: true,
    whole: false,
  });
  expect(answer.includes("rror")).toBe(false);
  expect(site.problems).toEqual([expect.stringContaining("/totals.csv was cut off")]);
});
