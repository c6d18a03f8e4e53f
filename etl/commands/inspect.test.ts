import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { jsonLines, type Run, rollbook, rollbookHere } from "../testing/cli.ts";
import { writeLargeDrop } from "../testing/drops.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";

/** Nothing answers there: whoever connects fails. */
const NOWHERE = { PGHOST: "/nowhere/at/all", PGUSER: "nobody" };

function inspect(folder: string, ...args: string[]): Promise<Run> {
  return rollbook(["inspect", ...args], { environment: NOWHERE, folder });
}

async function inspectJson(folder: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await inspect(folder, "--json", ...args);
  expect(stderr).toBe("");
  const [only = {}] = jsonLines(stdout);
  return only;
}

const line = (number: number, created: string, total: string, venue = "v1") =>
  `${venue},${invoiceId(number)},${created},${total}`;

test("a file that would be taken is shown as it would be loaded, and no server is asked or started", async () => {
  const folder = makeFolder();
  writeDrop(folder, "a_2026-10-05.csv", [
    "total,venue_id,invoice_id,datetime_created,till",
    `12.50,v1,${invoiceId(1)},2026-10-05T12:00:00,3`,
    `"-1,002.50","a, b",${invoiceId(2)},05.10.2026 23:30 +0200,3`,
  ]);
  const { code, stdout, stderr } = await inspect(folder, "a_2026-10-05.csv");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toBe(
    [
      "a_2026-10-05.csv: would be taken",
      "  container   utf-8",
      "  delimiter   comma, with a header",
      "  sync date   2026-10-05, from its name",
      "  source      none fits, so it is read as the drop format",
      "  lines       2 read: 2 would be taken, 0 rejected",
      "  total       -990.00",
      "",
      "The first rows, as they would be loaded:",
      "venue_id  invoice_id                            datetime_created           created_on      total",
      `v1        ${invoiceId(1)}  2026-10-05T12:00:00        2026-10-05      12.50`,
      `a, b      ${invoiceId(2)}  2026-10-05T23:30:00+02:00  2026-10-05  -1,002.50`,
      "",
      "Totals per creation date:",
      "created_on  lines    total",
      "2026-10-05      2  -990.00",
      "",
    ].join("\n"),
  );
  expect(existsSync(join(folder, ".rollbook"))).toBe(false);
});

test("a file that would be rejected says why, by reason with what to do, and ends with exit code 3", async () => {
  const folder = makeFolder();
  writeDrop(folder, "a_2026-10-05.csv", [
    line(1, "2026-10-05", "1.00"),
    line(2, "05/10/2026", "2.00"),
    line(3, "06/10/2026", "3.00"),
    line(4, "2026-10-06", "4.00"),
  ]);
  const { code, stdout } = await inspect(folder, "a_2026-10-05.csv");
  expect(code).toBe(3);
  expect(stdout).toMatch(
    /^a_2026-10-05\.csv: would be rejected: too_many_rejects: 3 of 4 lines are rejected, more than the share of 0\.01 that is allowed\n/,
  );
  expect(stdout).toContain(
    '\n  rejected: 2 bad_timestamp (datetime_created), first line 2: "05/10/2026", total 5.00; write the date as YYYY-MM-DD, such as 2026-10-05, or say its format in a source\n',
  );
  expect(stdout).toContain(
    "1 line created on 2026-10-06, after the sync date 2026-10-05 (zone UTC): is the name a business day or a UTC date? --sync-slack 1\n",
  );
});

test("what is said of a file is what becomes of it", async () => {
  const { environment, query } = await createTestDatabase({ timeZone: "Europe/Berlin", dayStarts: "04:00" });
  const folder = makeFolder();
  const lines = Array.from({ length: 500 }, (_, n) => {
    const time = new Date(Date.parse("2026-03-28T00:00:00Z") + n * 700_000).toISOString().slice(0, 19);
    return line(n, `${time}${n % 3 === 0 ? "Z" : ""}`, `${n}.05`, `v${n % 4}`);
  });
  writeDrop(folder, "a_2026-03-31.csv", [...lines, line(501, "2026-10-05", "1.00")]);
  const seen = await inspectJson(
    folder,
    ...["a_2026-03-31.csv", "--time-zone", "Europe/Berlin", "--day-starts", "04:00"],
  );
  const { stdout } = await rollbookHere(["load", "--json", "a_2026-03-31.csv"], { environment, folder });
  const [loaded] = jsonLines(stdout);
  expect(loaded).toMatchObject({ outcome: "loaded", rows: { read: 501, inserted: 500, rejected: 1 } });
  expect(seen.reasons).toEqual(loaded?.reasons);
  expect(seen.rows).toEqual({ read: 501, taken: 500, voided: 0, rejected: 1, skipped: 0 });
  expect(seen.days).toEqual(
    await query(
      `select created_on::text, sum(invoices)::int as lines, sum(total)::text as total
       from reports.venue_daily_totals group by created_on order by created_on`,
    ),
  );
});

test("container, encoding, delimiter and sync date are told, wherever they come from", async () => {
  const folder = makeFolder();
  const text = `v1;${invoiceId(1)};2026-10-05;1.00\n`;
  writeFileSync(join(folder, "a_2026-10-05.csv.gz"), gzipSync(`\ufeff${text}`));
  expect(await inspectJson(folder, "a_2026-10-05.csv.gz")).toMatchObject({
    outcome: "taken",
    container: { gzip: true, encoding: "utf-8", marked: true, likely: null },
    delimiter: ";",
    header: false,
    syncedOn: "2026-10-05",
    syncedOnFrom: "its name",
  });
  writeFileSync(join(folder, "b.csv"), Buffer.from(`\ufeff${text}`, "utf16le"));
  expect(await inspectJson(folder, "b.csv", "--synced-on", "2026-10-06")).toMatchObject({
    outcome: "taken",
    container: { gzip: false, encoding: "utf-16le", marked: true },
    syncedOn: "2026-10-06",
    syncedOnFrom: "--synced-on",
  });
  expect(await inspectJson(folder, "b.csv", "--synced-on", "mtime")).toMatchObject({
    syncedOnFrom: "--synced-on mtime: its last change",
  });
  expect(await inspectJson(folder, "b.csv")).toMatchObject({
    outcome: "rejected",
    error: { code: "no_sync_date" },
    syncedOn: null,
    rows: { taken: 1 },
  });
});

test.each([
  ["windows-1252", [0xfc, 0x80], "0x80"],
  ["iso-8859-15", [0xfc, 0xa4], "0xa4"],
  ["windows-1252", [0xfc], "the same in ISO-8859-15"],
  [undefined, [0x81, 0xfc], "0x81"],
])("lines that are not UTF-8 look like %s", async (encoding, bytes, because) => {
  const folder = makeFolder();
  const content = [Buffer.from("M"), Buffer.from(bytes), Buffer.from(line(1, "2026-10-05", "1.00"))];
  writeFileSync(join(folder, "a_2026-10-05.csv"), Buffer.concat(content));
  const { container } = await inspectJson(folder, "a_2026-10-05.csv");
  expect(container).toMatchObject({
    encoding: "utf-8",
    likely: { because: expect.stringContaining(because), ...(encoding !== undefined && { encoding }) },
  });
});

test("UTF-16 without a byte order mark is recognised", async () => {
  const folder = makeFolder();
  writeFileSync(
    join(folder, "a_2026-10-05.csv"),
    Buffer.from(`${line(1, "2026-10-05", "1.00")}\n`, "utf16le"),
  );
  expect(await inspectJson(folder, "a_2026-10-05.csv")).toMatchObject({
    outcome: "rejected",
    container: { encoding: "utf-8", likely: { encoding: "utf-16le" } },
  });
});

test("of many days the first and the last ten are shown, and all with --json", async () => {
  const folder = makeFolder();
  const lines = Array.from({ length: 30 }, (_, n) =>
    line(n, `2026-09-${String(n + 1).padStart(2, "0")}`, "1.00"),
  );
  writeDrop(folder, "a_2026-10-05.csv", lines);
  const { stdout } = await inspect(folder, "a_2026-10-05.csv");
  expect(stdout).toMatch(/\n2026-09-10 .*\n\.\.\. 10 more days; --json gives all\n2026-09-21 /);
  const { days } = await inspectJson(folder, "a_2026-10-05.csv");
  expect(days).toHaveLength(30);
});

test("hostile text in cells does not steer the terminal", async () => {
  const folder = makeFolder();
  writeDrop(folder, "a_2026-10-05.csv", [
    "venue_id,invoice_id,datetime_created,total,\u001b[2J",
    `\u202e\u200bv,${invoiceId(1)},2026-10-05,1.00,x`,
    `v,\u009b31m,2026-10-05,1.00,x`,
  ]);
  for (const flags of [[], ["--json"]]) {
    const { stdout, stderr } = await inspect(folder, "a_2026-10-05.csv", ...flags);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202e]/);
    expect(stdout).toMatch(/\\u\{202e\}|\\u202e/);
  }
});

test("several files are shown one after the other, and one that would be rejected decides the exit code", async () => {
  const folder = makeFolder();
  writeDrop(folder, "a_2026-10-05.csv", [line(1, "2026-10-05", "1.00")]);
  writeDrop(folder, "b.txt", ["what is this"]);
  writeDrop(folder, "c_2026-10-05.csv", []);
  const { code, stdout } = await inspect(folder, "a_2026-10-05.csv", "b.txt", "c_2026-10-05.csv");
  expect(code).toBe(3);
  expect(stdout).toMatch(/^a_2026-10-05\.csv: would be taken\n/);
  expect(stdout).toContain("\n\nb.txt: would be rejected: bad_header: ");
  expect(stdout).toMatch(/\n\nc_2026-10-05\.csv: would be taken\n[\s\S]*warning: it holds no invoices\n$/);
});

describe("with sources", () => {
  const YAML = `files: till/*.txt
encoding: windows-1252
delimiter: ";"
columns: {datetime_created: Datum, total: Betrag}
venue_id: {from_path: '^till/([^/]+)_'}
invoice_id: {uuid5_of: Bon}
datetime_created: {format: dd/MM/yyyy}
total: {decimal: ","}
skip_when: {Betrag: "0,00"}
synced_on: {from: name, pattern: '_(?<year>\\d{4})(?<month>\\d\\d)(?<day>\\d\\d)'}
`;
  const TEXT =
    "Bon;Datum;Betrag;K\u00e4ufer\n7;05/10/2026;12,50;\u00fc\n8;05/10/2026;0,00;\n9;06/10/2026;1,00;\n";

  function makeInbox(): string {
    const folder = makeFolder();
    for (const path of ["in/till", "sources", "elsewhere"])
      mkdirSync(join(folder, path), { recursive: true });
    writeFileSync(join(folder, "in/till/mitte_20261005.txt"), Buffer.from(TEXT, "latin1"));
    writeFileSync(join(folder, "sources/till.yaml"), YAML);
    return folder;
  }

  test("the one that fits reads the file, and is named", async () => {
    const folder = makeInbox();
    expect(await inspectJson(folder, "in/till/mitte_20261005.txt")).toMatchObject({
      source: { name: "till" },
      container: { encoding: "windows-1252", marked: false, likely: null },
      columns: { venue_id: ['"mitte"'], invoice_id: ["Bon"], datetime_created: ["Datum"], total: ["Betrag"] },
      syncedOn: "2026-10-05",
      syncedOnFrom: "the source: its name or path",
      rows: { read: 2, taken: 1, voided: 0, rejected: 1, skipped: 1 },
      total: "12.50",
      firstRows: [{ venue_id: "mitte", created_on: "2026-10-05", total: "12.50" }],
      reasons: [{ reason: "created_after_sync", count: 1, line: 4 }],
    });
  });

  test("void lines are counted and have no total, and what a load would take out is said", async () => {
    const folder = makeInbox();
    const source = `${YAML}void_when: {Bon: "7"}\nreplace_venue_days: true\n`;
    writeFileSync(join(folder, "sources/till.yaml"), source.replace("files: till/*.txt", "files: till/*"));
    const file = "in/till/mitte_20261006.txt";
    writeFileSync(join(folder, file), Buffer.from(TEXT, "latin1"));
    const seen = await inspectJson(folder, file);
    expect(seen).toMatchObject({
      replacesVenueDays: true,
      rows: { read: 2, taken: 2, voided: 1, rejected: 0, skipped: 1 },
      total: "1.00",
      days: [{ created_on: "2026-10-06", lines: 1, total: "1.00" }],
    });
    const { code, stdout } = await inspect(folder, "in/till/mitte_20261005.txt");
    expect(code).toBe(3);
    expect(stdout).toContain("\n  container   windows-1252, as the source says\n");
    expect(stdout).toContain('\n  columns     venue_id from "mitte"; invoice_id from Bon; ');
    expect(stdout).toContain("\n  source      till\n");
    expect(stdout).toContain(" 1 rejected; beside them the source skips 1\n");
  });

  test("--source names one for a file that no glob fits; an unknown one ends with exit code 2", async () => {
    const folder = makeInbox();
    const path = "elsewhere/till/a_20261006.csv";
    mkdirSync(join(folder, "elsewhere/till"));
    writeFileSync(join(folder, path), Buffer.from(TEXT, "latin1"));
    const flags = ["--sources", "sources", "--inbox", "elsewhere"];
    expect(await inspectJson(folder, path, ...flags)).toMatchObject({ source: null, outcome: "rejected" });
    expect(await inspectJson(folder, path, ...flags, "--source", "till")).toMatchObject({
      source: { name: "till" },
      outcome: "taken",
      rows: { taken: 2 },
    });
    const { code, stderr } = await inspect(folder, path, ...flags, "--source", "tell");
    expect([code, stderr]).toEqual([2, "rollbook: there is no source tell. There are: till.\n"]);
  });

  test("a source that is wrong, or a pattern that does not fit, ends with exit code 2 before anything is read", async () => {
    const folder = makeInbox();
    writeFileSync(join(folder, "in/till/x.txt"), "");
    const unfit = await inspect(folder, "in/till/mitte_20261005.txt", "in/till/x.txt");
    expect([unfit.code, unfit.stdout]).toEqual([2, ""]);
    expect(unfit.stderr).toContain("sources/till.yaml:5: venue_id.from_path: the pattern does not fit");
    writeFileSync(join(folder, "sources/till.yaml"), `${YAML}colour: red\n`);
    const wrong = await inspect(folder, "in/till/mitte_20261005.txt");
    expect([wrong.code, wrong.stdout]).toEqual([2, ""]);
    expect(wrong.stderr).toContain("sources/till.yaml:11: colour");
  });

  test("bytes that are not in the source's encoding are told, with the one that they look like", async () => {
    const folder = makeInbox();
    writeFileSync(join(folder, "sources/till.yaml"), YAML.replace("windows-1252", "utf-8"));
    expect(await inspectJson(folder, "in/till/mitte_20261005.txt")).toMatchObject({
      outcome: "rejected",
      error: { code: "bad_encoding" },
      container: { encoding: "utf-8", likely: { encoding: "windows-1252" } },
    });
  });
});

test("a wrong command line ends with exit code 2", async () => {
  const folder = makeFolder();
  const there = writeDrop(folder, "a_2026-10-05.csv", [line(1, "2026-10-05", "1.00")]);
  for (const [args, said] of [
    [["missing.csv"], "there is no such file"],
    [[folder], "is a folder"],
    [[there, "--time-zone", "Mars/Olympus"], "no time zone that Node.js knows"],
    [[there, "--day-starts", "25:00"], "HH:MM"],
    [[there, "--suggest", "--json"], "cannot be used with"],
  ] as const) {
    const { code, stdout, stderr } = await inspect(folder, ...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(said);
  }
});

test("a large file takes no more memory than a small one", async () => {
  const folder = makeFolder();
  await writeLargeDrop({ path: join(folder, "a_2026-10-05.csv"), rows: 1_000_000 });
  const { code, stdout } = await rollbook(["inspect", "a_2026-10-05.csv", "--json"], {
    environment: { ...NOWHERE, NODE_OPTIONS: "--max-old-space-size=64" },
    folder,
  });
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([{ rows: { read: 1_000_000, taken: 1_000_000 } }]);
});
