/** What is suspicious about rejects: the same both ways of a load. */
import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { rollbookHere } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { loadDrop } from "./load.ts";
import type { LoadReport } from "./report.ts";

const NAME = "drop_2026-10-05.csv";
const row = (venue: string, number: number, created: string, total: string) =>
  `${venue},${invoiceId(number)},${created},${total}`;
/** 3,000.00 in all, some of it by refunds, and some by a venue that the direct way stages. */
const GOOD = Array.from({ length: 300 }, (_, n) =>
  row(n % 3 === 0 ? "a\\b" : "v", n, "2026-10-05", n % 2 === 0 ? "-10.00" : "10.00"),
);
const bad = (number: number, total: string) => row("v", 1000 + number, "soon", total);

/** Loads the lines after the good ones, both ways; returns the report, which is the same. */
async function loadBoth(
  lines: readonly string[],
  options: { readonly refuseSuspicious?: boolean } = {},
): Promise<LoadReport> {
  const path = writeDrop(makeFolder(), NAME, [...GOOD, ...lines]);
  const reports: LoadReport[] = [];
  for (const careful of [false, true]) {
    const warehouse = await createTestDatabase({ timeZone: "Europe/Berlin" });
    const report = await loadDrop({ ...warehouse, ...options, path, maxRejects: 0.5, careful });
    if (report.outcome === "loaded") expect(report.timings.insert === undefined).toBe(careful);
    else {
      expect(await warehouse.query("select from warehouse.invoices")).toEqual([]);
      expect(await warehouse.query("select from warehouse.venues")).toEqual([]);
    }
    expect(await warehouse.query("select status, suspicious from reports.load_history")).toEqual([
      { status: report.outcome, suspicious: report.suspicious },
    ]);
    reports.push(report);
  }
  const [direct, careful] = reports as [LoadReport, LoadReport];
  expect(direct.suspicious).toEqual(careful.suspicious);
  expect(direct.error).toEqual(careful.error);
  return direct;
}

test.each([
  ["two of one reason", [bad(1, "1.00"), bad(2, "1.00")], []],
  ["three of one reason", [bad(1, "x"), bad(2, "x"), bad(3, "1.00")], ["one_reason"]],
  ["four of two reasons", [bad(1, "x"), bad(2, "1.00"), bad(3, "2.00"), "x"], []],
  ["exactly 1 % of the money", [bad(1, "30.30")], []],
  ["a cent more", [bad(1, "30.31")], ["much_money"]],
  ["a refund of so much", [bad(1, "-30.31")], ["much_money"]],
  ["a sale and a refund that add up to nothing", [bad(1, "-20.00"), bad(2, "20.00")], ["much_money"]],
  ["one sale after midnight", [row("v", 1, "2026-10-06T01:30:00", "1.00")], ["one_day_after_sync"]],
  [
    "sales of two days after the sync date",
    [row("v", 1, "2026-10-06T01:30:00", "1.00"), row("v", 2, "2026-10-06T22:30:00Z", "1.00")],
    [],
  ],
  ["no rejects", [], []],
] as const)("%s", async (_, lines, suspicious) => {
  const report = await loadBoth(lines);
  expect(report.outcome).toBe("loaded");
  expect(report.suspicious).toEqual(suspicious);
});

test("a suspicious drop is refused where that is asked for, and says why; others are loaded", async () => {
  const lines = [bad(1, "1.00"), bad(2, "x"), bad(3, "x")];
  const refused = await loadBoth(lines, { refuseSuspicious: true });
  expect(refused).toMatchObject({
    outcome: "rejected",
    suspicious: ["one_reason"],
    rows: { read: 303, inserted: 0, rejected: 3 },
    error: { code: "suspicious_rejects" },
  });
  expect(refused.error?.message).toContain("all rejected lines have one reason: 3 bad_timestamp");
  expect(await loadBoth(lines.slice(0, 2), { refuseSuspicious: true })).toMatchObject({ outcome: "loaded" });
});

test("load warns of a suspicious drop, with --json, too; --refuse-suspicious rejects it", async () => {
  const { environment } = await createTestDatabase();
  const folder = makeFolder();
  writeDrop(folder, NAME, [...GOOD, ...[1, 2, 3].map((n) => bad(n, "x"))]);
  const run = (...args: string[]) => rollbookHere(args, { environment, folder });
  const refused = await run("load", NAME, "--refuse-suspicious");
  expect([refused.code, refused.stdout]).toEqual([3, expect.stringContaining("suspicious_rejects")]);
  const loaded = await run("load", NAME, "--json");
  expect(loaded.code).toBe(0);
  expect(JSON.parse(loaded.stdout.split("\n")[0] ?? "")).toMatchObject({ suspicious: ["one_reason"] });
  expect(loaded.stderr).toBe(`warning: ${NAME} (load 2) is suspicious: all rejected lines have one reason\n`);
  expect((await run("loads")).stdout).toContain("loaded, suspicious");
});
