/** What is said of rejected lines: the same both ways of a load, in the report, the ledger and the messages. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import type { Form } from "../drop/form.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { loadDrop } from "./load.ts";
import { describeReason } from "./reasons.ts";
import type { LoadReport } from "./report.ts";

const GOOD = Array.from({ length: 300 }, (_, n) => `v,${invoiceId(n)},2026-10-05T12:00:00,10.00`);
const line = (number: number, created: string, total: string) =>
  `v,${invoiceId(1000 + number)},${created},${total}`;

interface Told {
  readonly report: LoadReport;
  /** The reasons as sentences. */
  readonly sentences: readonly string[];
}

/** Loads the lines after the good ones, both ways; returns what is said, which is the same. */
async function tell(
  lines: readonly (string | Buffer)[],
  options: { readonly timeZone?: string; readonly decimalComma?: boolean; readonly maxRejects?: number } = {},
): Promise<Told> {
  const path = join(makeFolder(), "drop_2026-10-05.csv");
  const rows = [...GOOD, ...lines].flatMap((row) => [Buffer.from(row), Buffer.from("\n")]);
  writeFileSync(path, Buffer.concat(rows));
  const reports: LoadReport[] = [];
  for (const careful of [false, true]) {
    const warehouse = await createTestDatabase(options.timeZone ? { timeZone: options.timeZone } : {});
    const { decimalComma, maxRejects = 1 } = options;
    const report = await loadDrop({ ...warehouse, path, decimalComma, maxRejects, careful });
    expect(report.timings.insert === undefined).toBe(careful);
    await expectKept(warehouse, report);
    reports.push(report);
  }
  const [direct, careful] = reports as [LoadReport, LoadReport];
  expect(direct.reasons).toEqual(careful.reasons);
  expect(direct.error).toEqual(careful.error);
  return { report: direct, sentences: direct.reasons.map(describeReason) };
}

async function expectKept({ query }: TestWarehouse, { loadId, reasons }: LoadReport): Promise<void> {
  const kept = await query("select reasons from reports.load_history where load_id = $1", [loadId]);
  expect(kept).toEqual([{ reasons }]);
}

test("each reason has its count, column, first line and cell, and the money that could be read", async () => {
  const { report } = await tell([
    line(1, "2026-10-05", "much"),
    line(2, "yesterday", "5.00"),
    line(3, "today", "-7.25"),
    line(4, "now", "x"),
    "v,w",
  ]);
  expect(report.reasons).toMatchObject([
    { reason: "wrong_column_count", column: null, count: 1, line: 305, cell: "v,w", total: null, totals: 0 },
    {
      reason: "bad_timestamp",
      column: "datetime_created",
      count: 3,
      line: 302,
      cell: "yesterday",
      total: "-2.25",
      totals: 2,
    },
    { reason: "bad_total", column: "total", count: 1, line: 301, cell: "much", total: null, totals: 0 },
  ]);
});

test("too many rejects explain themselves, and --max-rejects comes last", async () => {
  const { report } = await tell(
    Array.from({ length: 5 }, (_, n) => line(n, "2026-10-05", "12,50")).map((row) =>
      row.replace("12,50", '"12,50"'),
    ),
    { maxRejects: 0.01 },
  );
  expect(report).toMatchObject({ outcome: "rejected", error: { code: "too_many_rejects" } });
  expect(report.error?.message).toBe(
    `5 of 305 lines were rejected, more than the share of 0.01 that is allowed: 5 bad_total (total), first line 301: "12,50"; if the comma is the decimal mark: --decimal-comma (ROLLBOOK_DECIMAL_COMMA=true). See them with: rollbook rejects --load ${report.loadId}; then mend the file. Or let these lines stay out with --max-rejects.`,
  );
});

describe("the remedy follows from what most cells look like", () => {
  test.each([
    ["2026-10-05", '"12,50"', "--decimal-comma"],
    ["2026-10-05", '"1.234,50"', "--decimal-comma"],
    ["2026-10-05", "12.50 USD", "without another currency"],
    ["2026-10-05", "", "the cell is empty"],
    ["2026-10-05", "twelve", "1234.50"],
    ["10/05/2026", "1.00", "YYYY-MM-DD"],
    ["2026-10-05 02:30 PM", "1.00", "24 hours"],
    ["46300.5", "1.00", "spreadsheet"],
    ["1791201600", "1.00", "seconds since 1970"],
    ["2026-10-05 14:30 Europe/Berlin", "1.00", "+02:00"],
    ["1999-10-05", "1.00", "the warehouse begins on 2000-01-01"],
  ])("%s, %s: %s", async (created, total, remedy) => {
    const { sentences } = await tell([
      line(1, total === "1.00" ? "soon" : created, total === "1.00" ? total : "?"),
      line(2, created, total),
      line(3, created, total),
    ]);
    expect(sentences.at(-1)).toContain(remedy);
  });

  test("--decimal-comma is not advised to whoever has given it", async () => {
    const { sentences } = await tell([line(1, "2026-10-05", '"12,50 each"')], { decimalComma: true });
    expect(sentences.join()).toContain("bad_total");
    expect(sentences.join()).not.toContain("--decimal-comma");
  });
});

test("of a source the remedy names its keys, and the forms that it says", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const form: Form = {
    skip: 0,
    header: false,
    venueId: { column: 1 },
    invoiceId: { column: 2 },
    created: { columns: [3], format: "dd/MM/yyyy" },
    total: { columns: [4] },
    conditions: [],
    sumRows: false,
  };
  const source = { name: "till", sha256: Buffer.alloc(32), form };
  const lines = ["05/10/2026;12,50", "2026-10-05;1.00", "06/10/2026;2.00"].map(
    (rest, index) => `v;${invoiceId(index)};${rest}`,
  );
  const path = writeDrop(folder, "a_2026-10-05.csv", lines);
  const { reasons } = await loadDrop({ ...warehouse, path, source, maxRejects: 1 });
  expect(reasons.map(({ reason, remedy }) => [reason, remedy])).toEqual([
    ["bad_timestamp", "times are read by the format dd/MM/yyyy of source till"],
    ["bad_total", 'if the comma is the decimal mark: total: {decimal: ","} in source till'],
    [
      "created_after_sync",
      "1 line created on 2026-10-06, after the sync date 2026-10-05 (zone UTC): is the name a business day or a UTC date? sync_slack: 1 in source till",
    ],
  ]);
});

describe("lines that were created after the sync date", () => {
  test("of the next date, by the clock of the warehouse: is it a business day or a UTC date?", async () => {
    const { report, sentences } = await tell(
      [line(1, "2026-10-06T01:30:00", "500.00"), line(2, "2026-10-05T22:30:00Z", "1.00")],
      { timeZone: "Europe/Berlin" },
    );
    expect(report.reasons).toMatchObject([{ createdOn: ["2026-10-06", "2026-10-06"], total: "501.00" }]);
    expect(sentences).toEqual([
      '2 created_after_sync (datetime_created), first line 301: "2026-10-06T01:30:00", total 501.00; 2 lines created on 2026-10-06, after the sync date 2026-10-05 (zone Europe/Berlin): is the name a business day or a UTC date? --sync-slack 1',
    ]);
  });

  test("of later dates: is the sync date right?", async () => {
    const { sentences } = await tell([
      line(1, "2026-12-31T23:59:59", "1.00"),
      line(2, "2026-10-06T00:00:00Z", "1.00"),
    ]);
    expect(sentences.join()).toContain(
      "2 lines created on 2026-10-06 to 2026-12-31, after the sync date 2026-10-05 (zone UTC): is the sync date right?",
    );
  });
});

test("a first cell of any bytes is kept as text, and shown without harm", async () => {
  const cells = [Buffer.from("v,\0\u001b[2J"), Buffer.concat([Buffer.from("v,"), Buffer.from([0xff, 0xfe])])];
  for (const cell of cells) {
    const { report, sentences } = await tell([cell]);
    expect(report.reasons).toMatchObject([{ reason: "bad_encoding", count: 1, line: 301 }]);
    expect(sentences.join()).not.toMatch(/\p{Cc}/u);
  }
  const half = `${"x".repeat(199)}𝄞`;
  const { report } = await tell([`v,${half},2026-10-05,1.00`]);
  expect(report.reasons).toMatchObject([{ cell: `${"x".repeat(199)}\ufffd` }]);
});
