/** A total and an invoice by real HTTP: what made them, down to the lines of the files. */
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { loginAs } from "../../db/testing/roles.ts";
import { loadDrop } from "../../etl/load/load.ts";
import { refreshPartitions } from "../../etl/refresh/refresh.ts";
import { jsonLines, rollbookHere } from "../../etl/testing/cli.ts";
import { invoiceId, writeDrop } from "../../etl/testing/lines.ts";
import { undo } from "../../etl/undo/undo.ts";
import { linesBelow } from "../testing/lines.ts";
import { openSite, type Site } from "../testing/site.ts";

interface Answer {
  readonly invoices: number;
  readonly total: string;
  readonly totalNow: string | null;
  readonly earlier: { readonly loads: number; readonly total: string };
  readonly changes: readonly { readonly load: number; readonly invoices: number; readonly total: string }[];
  readonly corrections: { readonly listed: readonly Record<string, unknown>[] } | null;
  readonly parts: { readonly by: string; readonly listed: readonly Record<string, unknown>[] } | null;
  readonly lines: {
    readonly listed: readonly { readonly invoice: string }[];
    readonly next: string | null;
  } | null;
}

const explain = async (site: Site, query: Readonly<Record<string, string>>) =>
  (await site.ask(`/api/totals/explain?${new URLSearchParams(query)}`)) as Answer;

const DAY = { venue: "bar", from: "2026-03-01", to: "2026-03-02" } as const;

/** Corrected, corrected again, undone, and confirmed. */
async function fillHistory(warehouse: TestWarehouse, folder: string): Promise<void> {
  const { database, settings } = warehouse;
  const load = async (name: string, ...lines: readonly string[]) => {
    const report = await loadDrop({ ...warehouse, path: writeDrop(folder, name, lines) });
    expect(report.outcome).toBe("loaded");
    return report.loadId as number;
  };
  await load(
    "a_2026-06-02.csv",
    `bar,${invoiceId(1)},2026-03-01,10.00`,
    `pub,${invoiceId(2)},2026-03-01,5.00`,
  );
  await load(
    "b_2026-06-03.csv",
    `bar,${invoiceId(1)},2026-03-01,12.50`,
    `bar,${invoiceId(3)},2026-03-20,1.00`,
  );
  const undone = await load("c_2026-06-04.csv", `bar,${invoiceId(1)},2026-03-01,99.00`);
  await undo({ database, settings, loadId: undone, because: "a test" });
  await load(
    "d_2026-06-05.csv",
    `bar,${invoiceId(1)},2026-03-01,-2.50`,
    `bar,${invoiceId(4)},2026-05-01,7.00`,
  );
  await load("e_2026-06-06.csv", `bar,${invoiceId(1)},2026-03-01,-2.50`);
  await refreshPartitions({ database });
}

test("the loads of a total are those of the command line, and add up to it", async () => {
  const warehouse = await createTestDatabase();
  await fillHistory(warehouse, makeFolder());
  const site = await openSite(warehouse);
  for (const query of [
    DAY,
    { from: "2026-03-01", to: "2026-03-02" },
    { from: "2026-03-01", to: "2026-04-01" },
    { from: "2026-01-01", to: "2027-01-01" },
    { venue: "nobody", from: "2026-01-01", to: "2027-01-01" },
  ]) {
    const flags = Object.entries(query).flatMap(([name, value]) => [`--${name}`, value]);
    const { stdout } = await rollbookHere(["explain-total", "--json", ...flags], {
      environment: warehouse.environment,
      folder: makeFolder(),
    });
    const said = jsonLines(stdout);
    const found = await explain(site, query);
    expect(found.changes.map(({ load, invoices, total }) => ({ loadId: load, invoices, total }))).toEqual(
      said.map(({ loadId, invoices, total }) => ({ loadId, invoices, total })),
    );
    const cents = found.changes.reduce((sum, { total }) => sum + Math.round(Number(total) * 100), 0);
    expect(Number(found.total) * 100).toBeCloseTo(cents);
  }
  const year = await explain(site, { from: "2026-01-01", to: "2027-01-01" });
  expect(year).toMatchObject({
    total: "10.50",
    parts: {
      by: "month",
      listed: [
        { date: "2026-03", total: "3.50" },
        { date: "2026-05", total: "7.00" },
      ],
    },
    corrections: null,
    lines: null,
  });
  expect(await explain(site, { from: "2026-03-01", to: "2026-04-01" })).toMatchObject({
    parts: { by: "day", listed: [{ date: "2026-03-01" }, { date: "2026-03-20" }] },
  });
  expect(await explain(site, { from: "2026-03-01", to: "2026-03-02" })).toMatchObject({
    parts: {
      by: "venue",
      listed: [
        { venue: "pub", total: "5.00" },
        { venue: "bar", total: "-2.50" },
      ],
    },
  });
  expect(await explain(site, DAY)).toMatchObject({
    parts: null,
    lines: { listed: [{ total: "-2.50" }], next: null },
  });
});

test("a correction has what was before and what it said, also when its load was undone", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  await fillHistory(warehouse, makeFolder());
  const site = await openSite(await loginAs(warehouse, "reader"));
  const { corrections } = await explain(site, DAY);
  expect(
    corrections?.listed.map(({ load, undone, oldTotal, newTotal }) => ({ load, undone, oldTotal, newTotal })),
  ).toEqual([
    { load: 5, undone: false, oldTotal: "12.50", newTotal: "-2.50" },
    { load: 3, undone: true, oldTotal: "12.50", newTotal: "99.00" },
    { load: 2, undone: false, oldTotal: "10.00", newTotal: "12.50" },
  ]);
  const html = await site.show(`/totals/explain?${new URLSearchParams(DAY)}`);
  expect(html).toContain("(undone)");
  expect(html).toContain("-15.00");
});

test("of many loads the newest are listed, and the others are one sum", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  for (let load = 0; load < 53; load++)
    await loadDrop({
      ...warehouse,
      path: writeDrop(folder, `${load}_2026-03-02.csv`, [`bar,${invoiceId(load)},2026-03-01,1.25`]),
    });
  const site = await openSite(warehouse);
  const found = await explain(site, DAY);
  expect(found).toMatchObject({
    invoices: 53,
    total: "66.25",
    earlier: { loads: 3, invoices: 3, total: "3.75" },
  });
  expect(found.changes).toHaveLength(50);
  const seen: string[] = [];
  for (let after: string | null | undefined = ""; after !== null; ) {
    const { lines }: Answer = await explain(site, after ? { ...DAY, after } : DAY);
    seen.push(...(lines?.listed.map(({ invoice }) => invoice) ?? []));
    after = lines?.next ?? null;
  }
  expect(seen).toEqual(Array.from({ length: 53 }, (_, index) => invoiceId(index)));
});

test("an invoice has the lines of the files that said what it is and was", async () => {
  const warehouse = await createTestDatabase();
  const inbox = makeFolder();
  await fillHistory(warehouse, inbox);
  // Where and under which name a file lies does not matter; its bytes do.
  mkdirSync(join(inbox, "archive", "2026"), { recursive: true });
  renameSync(join(inbox, "a_2026-06-02.csv"), join(inbox, "archive", "2026", "other name.csv"));
  writeFileSync(join(inbox, "b_2026-06-03.csv"), "other bytes");
  const site = await openSite(warehouse, { readLines: linesBelow(inbox) });
  const address = `/totals/invoices/${invoiceId(1)}?venue=bar&date=2026-03-01`;
  const line = (total: string) => [{ line: 1, text: `bar,${invoiceId(1)},2026-03-01,${total}` }];
  expect(await site.ask(`/api${address}`)).toMatchObject({
    stands: { total: "-2.50", load: 6 },
    corrections: [
      { load: 2, oldLoad: 1, oldTotal: "10.00", newTotal: "12.50" },
      { load: 3, undone: true, newTotal: "99.00" },
      { load: 5, oldLoad: 2, oldTotal: "12.50", newTotal: "-2.50" },
    ],
    files: [
      { load: 6, outcome: "read", path: "e_2026-06-06.csv", lines: line("-2.50") },
      { load: 5, outcome: "read", lines: line("-2.50") },
      { load: 3, outcome: "read", lines: line("99.00") },
      { load: 2, outcome: "missing", path: null, lines: [] },
      { load: 1, outcome: "read", path: "archive/2026/other name.csv", lines: line("10.00") },
    ],
  });
  expect(await site.show(address)).toContain("The archive does not have this file");
  const without = await openSite(warehouse);
  expect(await without.show(address)).toContain("rollbook serve --inbox FOLDER");
});

test("no address leads to another file, and no link is followed", async () => {
  const warehouse = await createTestDatabase();
  const [inbox, outside] = [makeFolder(), makeFolder()];
  const secret = `../../etc/passwd,${invoiceId(1)},2026-03-01,10.00`;
  const path = writeDrop(outside, "secret_2026-03-02.csv", [secret]);
  await loadDrop({ ...warehouse, path });
  symlinkSync(path, join(inbox, "secret_2026-03-02.csv"));
  symlinkSync(outside, join(inbox, "folder"));
  const site = await openSite(warehouse, { readLines: linesBelow(inbox) });
  const of = (venue: string, id = invoiceId(1)) =>
    `/api/totals/invoices/${id}?${new URLSearchParams({ venue, date: "2026-03-01" })}`;
  expect(await site.ask(of("../../etc/passwd"))).toMatchObject({
    files: [{ outcome: "missing", lines: [] }],
  });
  for (const [address, status] of [
    [of("nobody"), 404],
    [of("../../etc/passwd", invoiceId(2)), 404],
    [of("a\0b"), 400],
    [of("../../etc/passwd", "..%2f..%2fetc%2fpasswd"), 400],
    [`${of("x")}&file=/etc/passwd`, 400],
    [`${of("x")}&load=1`, 400],
    ["/api/totals/invoices/../../../../etc/passwd", 404],
  ] as const) {
    const answered = await site.request(address);
    expect({ address, status: answered.status }).toEqual({ address, status });
    expect(answered.text).not.toContain("root:");
  }
  expect(site.problems).toEqual([]);
});

test("five links lead from the total of a year to the line of a file", async () => {
  const warehouse = await createTestDatabase();
  const inbox = makeFolder();
  await fillHistory(warehouse, inbox);
  const site = await openSite(warehouse, { readLines: linesBelow(inbox) });
  const follow = async (path: string, text: string) => {
    const html = await site.show(path);
    const link = [...html.matchAll(/<a [^>]*href="([^"]+)"[^>]*>([^<]*)<\/a>/g)].find(
      ([, , said]) => said === text,
    );
    if (link?.[1] === undefined) throw new Error(`${path} has no link ${text}`);
    return link[1].replaceAll("&amp;", "&");
  };
  const year = await follow("/totals?from=2026-01-01&to=2027-01-01", "Which loads made all of this");
  const month = await follow(year, "2026-03");
  const day = await follow(month, "2026-03-01");
  const group = await follow(day, "bar");
  const invoice = await follow(group, invoiceId(1));
  expect(await site.show(invoice)).toContain(`bar,${invoiceId(1)},2026-03-01,-2.50`);
});
