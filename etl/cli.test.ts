import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { COMMAND, jsonLines, type Run, rollbook, rollbookHere } from "./testing/cli.ts";
import { invoiceId, writeDrop } from "./testing/lines.ts";
import { disagreements } from "./testing/warehouse.ts";

const NOWHERE = { PGHOST: "/nowhere/at/all", PGUSER: "nobody" };
const GOOD = (number: number) => `v1,${invoiceId(number)},2026-01-01,1.00`;
const BAD = "v1,no-uuid,2026-01-01,1.00";

async function makeWarehouse(): Promise<{
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  readonly run: (...args: string[]) => Promise<Run>;
}> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const options = { environment: warehouse.environment, folder };
  return { warehouse, folder, run: (...args) => rollbookHere(args, options) };
}

/** A command line that is wrong: no database is asked. */
async function refusal(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await rollbookHere(args, { environment: NOWHERE, folder: makeFolder() });
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(/^rollbook: /);
  return stderr;
}

async function countLoads(warehouse: TestWarehouse): Promise<number> {
  const [row] = await warehouse.query<{ count: number }>("select count(*)::int from warehouse.loads");
  return row?.count ?? -1;
}

test("as a process: help and version exit 0, a wrong verb 2, nothing at all shows the help and exits 2", async () => {
  const options = { environment: {}, folder: makeFolder() };
  const [help, load, version, wrong, nothing] = await Promise.all(
    [["--help"], ["help", "load"], ["--version"], ["laod"], []].map((args) => rollbook(args, options)),
  );
  expect(help).toMatchObject({ code: 0, stderr: "" });
  expect(help?.stdout).toMatch(/Usage: rollbook[\s\S]*explain-total[\s\S]*Exit codes:/);
  expect(load).toMatchObject({ code: 0, stderr: "" });
  expect(load?.stdout).toContain("Example:\n  rollbook load ");
  expect(version?.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(wrong).toMatchObject({ code: 2, stdout: "" });
  expect(wrong?.stderr).toContain("rollbook: unknown command 'laod'\n(Did you mean load?)");
  expect(nothing).toMatchObject({ code: 2, stdout: "" });
  expect(nothing?.stderr).toContain("Usage: rollbook");
  expect(existsSync(join(options.folder, ".rollbook"))).toBe(false);
});

test("a verb or flag that is nearly right is suggested", async () => {
  expect(await refusal("laod", "x.csv")).toContain("Did you mean load?");
  expect(await refusal("explain")).toContain("unknown command");
  expect(await refusal("partitions", "lsit")).toContain("Did you mean list?");
  expect(await refusal("refresh", "--partion", "2026-10")).toContain("Did you mean --partition?");
  expect(await refusal("totals", "--form", "2026-10-01")).toContain("Did you mean --fro");
});

test("a wrong value is answered with the right ones", async () => {
  expect(await refusal("totals", "--by", "week")).toContain("venue,day, venue,month, venue, day, month");
  expect(await refusal("totals", "--format", "xml")).toContain("table, csv, json");
  expect(await refusal("refresh", "--strategy", "quick")).toContain("auto, delta, partition, full");
  expect(await refusal("init", "--granularity", "decade")).toContain("day, week, month, quarter, year");
  expect(await refusal("loads", "--status", "done")).toContain("loaded, rejected, failed, repair");
  for (const date of ["2026-02-30", "26-01-01", "2026-1-1", "today", "0000-01-01"]) {
    const said = await refusal("totals", "--from", date);
    expect(said).toContain("--from <date>");
    expect(said).toContain("YYYY-MM-DD");
  }
  for (const share of ["1.1", "-1", "1%", "NaN", ""]) {
    expect(await refusal("load", "x.csv", "--max-rejects", share)).toContain("from 0 to 1");
  }
  for (const limit of ["0", "1.5", "x", "-1"]) {
    expect(await refusal("loads", "--limit", limit)).toContain("1 or more");
  }
  expect(await refusal("totals", "--from", "2026-02-01", "--to", "2026-02-01")).toContain("is not before");
  expect(await refusal("partitions", "ensure", "--from", "2026-02-01", "--to", "2026-01-01")).toContain(
    "is not before",
  );
});

test("what is missing or too much is named", async () => {
  expect(await refusal("load")).toContain("file");
  expect(await refusal("watch")).toContain("folder");
  expect(await refusal("partitions", "detach")).toContain("partition");
  expect(await refusal("partitions", "ensure", "--from", "2026-01-01")).toContain("--to <date>");
  expect(await refusal("totals", "--venue")).toContain("--venue <id>");
  expect(await refusal("status", "now")).toContain("too many arguments");
  expect(await refusal("load", "-dash_2026-01-01.csv")).toContain("unknown option");
  expect(await refusal("partitions", "drop", "2026-01")).toContain("--yes");
});

test("control characters of an argument do not reach the terminal", async () => {
  expect(await refusal("la\u001b[2Jod")).toContain("la\\u{1b}[2Jod");
  expect(await refusal("load", "\u001b]0;x\u0007.csv")).toContain("\\u{1b}]0;x\\u{7}.csv");
});

test("one path that is no file to be read stops the load before anything is loaded", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-01.csv", [GOOD(1)]);
  execFileSync("mkfifo", [join(folder, "pipe_2026-01-01.csv")]);
  for (const [path, said] of [
    ["missing_2026-01-01.csv", "no such file"],
    ["a_2026-01-01.csv/below", "no such file"],
    [".", "is a folder"],
    ["pipe_2026-01-01.csv", "no regular file"],
    ["/dev/zero", "no regular file"],
    ["a".repeat(300), "cannot be looked at (ENAMETOOLONG)"],
  ] as const) {
    const { code, stdout, stderr } = await run("load", "a_2026-01-01.csv", path, "--json");
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(said);
    expect(stderr).toContain("Nothing was loaded");
  }
  expect(await countLoads(warehouse)).toBe(0);
});

test("a file that this user may not read stops the load before anything is loaded", async () => {
  const { warehouse, folder } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-01.csv", [GOOD(1)]);
  chmodSync(writeDrop(folder, "secret_2026-01-01.csv", [GOOD(2)]), 0o000);
  // Root may read everything, unless it does without the capability to.
  const caps = "-dac_override,-dac_read_search";
  const wrapper = process.getuid?.() === 0 ? ["setpriv", `--bounding-set=${caps}`, `--inh-caps=${caps}`] : [];
  const { environment } = warehouse;
  const { code, stdout, stderr } = await rollbook(["load", "a_2026-01-01.csv", "secret_2026-01-01.csv"], {
    environment,
    folder,
    wrapper,
  });
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toBe("rollbook: secret_2026-01-01.csv may not be read by this user. Nothing was loaded.\n");
  expect(await countLoads(warehouse)).toBe(0);
});

test("--ignore-missing passes over what is not there, and is done when that is all", async () => {
  const { folder, run } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-01.csv", [GOOD(1)]);
  const some = await run("load", "gone.csv", "a_2026-01-01.csv", "--ignore-missing", "--json");
  expect(some.code).toBe(0);
  expect(some.stderr).toBe("gone.csv: not there, skipped\n");
  expect(jsonLines(some.stdout)).toMatchObject([{ file: "a_2026-01-01.csv", outcome: "loaded" }]);
  expect(await run("load", "gone.csv", "--ignore-missing")).toMatchObject({ code: 0, stdout: "" });
  expect(await run("load", ".", "--ignore-missing")).toMatchObject({ code: 2 });
});

test("load --json tells of each drop what the design says, in this order, and nothing else", async () => {
  const { folder, run } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1), GOOD(2), GOOD(2), `v2,${invoiceId(3)},2025-12-31,5`]);
  writeDrop(folder, "b_2026-01-03.csv", [BAD, GOOD(1), `v1,${invoiceId(2)},2026-01-01,9.99`, ...eleven(10)]);
  const { code, stdout, stderr } = await run(
    ...["load", "a_2026-01-02.csv", "b_2026-01-03.csv", "a_2026-01-02.csv", "--json", "--max-rejects", "0.1"],
  );
  expect([code, stderr]).toEqual([
    0,
    "warning: b_2026-01-03.csv (load 2) is suspicious: the rejected lines hold more than 1 % of the file's money\n",
  ]);
  const [first, second, third] = jsonLines(stdout);
  expect(Object.keys(first ?? {})).toEqual(
    [
      "file",
      "outcome",
      "loadId",
      "syncedOn",
      "source",
      "rows",
      "reasons",
      "suspicious",
      "partitions",
      "durationMs",
    ], // no error
  );
  const fill = (counts: object) => ({
    read: 0,
    inserted: 0,
    corrected: 0,
    unchanged: 0,
    superseded: 0,
    rejected: 0,
    ...counts,
  });
  const durationMs = expect.any(Number);
  expect(first).toEqual({
    file: "a_2026-01-02.csv",
    outcome: "loaded",
    loadId: expect.any(Number),
    syncedOn: "2026-01-02",
    source: null,
    rows: fill({ read: 4, inserted: 3, superseded: 1 }),
    reasons: [],
    suspicious: [],
    partitions: ["2025-12", "2026-01"],
    durationMs,
  });
  expect(second).toEqual({
    file: "b_2026-01-03.csv",
    outcome: "loaded",
    loadId: expect.any(Number),
    syncedOn: "2026-01-03",
    source: null,
    rows: fill({ read: 14, inserted: 11, corrected: 1, unchanged: 1, rejected: 1 }),
    reasons: [
      {
        reason: "bad_uuid",
        column: "invoice_id",
        count: 1,
        line: 1,
        cell: "no-uuid",
        total: "1.00",
        totals: 1,
        createdOn: null,
        remedy:
          "if it is a header, name the columns venue_id, invoice_id, datetime_created and total in it, or leave it out",
      },
    ],
    suspicious: ["much_money"],
    partitions: ["2026-01"],
    durationMs,
  });
  expect(third).toEqual({
    file: "a_2026-01-02.csv",
    outcome: "already_loaded",
    loadId: first?.loadId,
    syncedOn: "2026-01-02",
    source: null,
    rows: fill({}),
    reasons: [],
    suspicious: [],
    partitions: [],
    durationMs,
  });
});

function eleven(from: number): string[] {
  return Array.from({ length: 11 }, (_, index) => GOOD(from + index));
}

test("a rejected drop exits 3 and says why; nothing of it is loaded", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1), BAD]);
  writeDrop(folder, "nodate.csv", [GOOD(1)]);
  writeDrop(folder, "a_2026-01-02.txt", [GOOD(1)]);
  writeDrop(folder, "header_2026-01-02.csv", ["venue_id,total", "v1,1"]);
  const files = ["a_2026-01-02.csv", "nodate.csv", "a_2026-01-02.txt", "header_2026-01-02.csv"];
  const { code, stdout, stderr } = await run("load", ...files, "--json");
  expect([code, stderr]).toEqual([3, ""]);
  expect(jsonLines(stdout)).toMatchObject([
    {
      outcome: "rejected",
      error: { code: "too_many_rejects" },
      syncedOn: "2026-01-02",
      rows: { read: 2, inserted: 0, rejected: 1 },
    },
    { outcome: "rejected", error: { code: "no_sync_date" }, syncedOn: null },
    { outcome: "rejected", error: { code: "not_csv" } },
    { outcome: "rejected", error: { code: "bad_header" } },
  ]);
  const human = await run("load", "a_2026-01-02.csv");
  expect(human.code).toBe(3);
  expect(human.stdout).toMatch(/rejected \(load \d+\): too_many_rejects: 1 of 2 lines/);
  expect(human.stdout).toMatch(/1 line rejected; see why: rollbook rejects --load \d+\n$/);
  expect(await warehouse.query("select from warehouse.invoices")).toEqual([]);
  expect(await run("load", "nodate.csv", "--synced-on", "2026-01-02")).toMatchObject({ code: 0 });
});

test("of several drops: 1 if any failed, else 3 if any was rejected; a failed one has its object, too", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  writeDrop(folder, "good_2026-01-02.csv", [GOOD(1)]);
  writeDrop(folder, "good_2026-01-03.csv", [GOOD(2)]);
  writeDrop(folder, "rejected.csv", [GOOD(1)]);
  writeDrop(folder, "failing_2026-01-02.csv", ["boom,no-uuid,2026-01-01,1.00"]);
  await warehouse.query(
    "alter table warehouse.rejects add constraint boom check (not starts_with(encode(raw, 'escape'), 'boom'))",
  );
  expect((await run("load", "good_2026-01-02.csv", "rejected.csv")).code).toBe(3);
  const args = ["rejected.csv", "failing_2026-01-02.csv", "good_2026-01-03.csv", "--json"];
  const { code, stdout, stderr } = await run("load", ...args);
  expect([code, stderr]).toEqual([1, ""]);
  expect(jsonLines(stdout)).toMatchObject([
    { outcome: "rejected" },
    {
      outcome: "failed",
      loadId: expect.any(Number),
      error: { code: "database", message: expect.any(String) },
    },
    { outcome: "loaded" },
  ]);
  expect((await run("load", "failing_2026-01-02.csv")).stdout).toMatch(
    /^failing_2026-01-02\.csv: failed \(load \d+\): database: /,
  );
  expect(await disagreements(warehouse)).toEqual([]);
});

test("when the database goes away, drops that were not tried have failed, too, each with its object", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1)]);
  writeDrop(folder, "b_2026-01-02.csv", [BAD]);
  await warehouse.query(
    `create function public.go_away() returns boolean language sql as 'select pg_terminate_backend(pg_backend_pid())'`,
  );
  await warehouse.query("alter table warehouse.rejects add constraint away check (public.go_away())");
  const files = ["a_2026-01-02.csv", "b_2026-01-02.csv", "c.csv", "a_2026-01-02.csv"];
  writeDrop(folder, "c.csv", [GOOD(1)]);
  const { code, stdout, stderr } = await run("load", ...files, "--json");
  expect(code).toBe(1);
  const objects = jsonLines(stdout);
  expect(objects.map(({ file, outcome }) => [file, outcome])).toEqual([
    ["a_2026-01-02.csv", "loaded"],
    ["b_2026-01-02.csv", "failed"],
    ["c.csv", "failed"],
    ["a_2026-01-02.csv", "failed"],
  ]);
  expect(objects.slice(1)).toMatchObject(Array(3).fill({ error: { code: "connection" } }));
  expect(Object.keys(objects[2] ?? {})).toEqual(Object.keys(objects[1] ?? {}));
  expect(stderr).toContain("attempt 1 failed, trying again");
  expect(stderr).toContain("2 files not tried");
});

test("a database that cannot be reached at all: an object per drop, and exit 1", async () => {
  const folder = makeFolder();
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1)]);
  const { code, stdout, stderr } = await rollbookHere(["load", "a_2026-01-02.csv", "--json"], {
    environment: NOWHERE,
    folder,
  });
  expect(code).toBe(1);
  expect(jsonLines(stdout)).toMatchObject([
    { file: "a_2026-01-02.csv", outcome: "failed", syncedOn: "2026-01-02", error: { code: "connection" } },
  ]);
  expect(stderr).toContain("cannot connect to the database nobody at socket /nowhere/at/all");
});

test("--synced-on, --decimal-comma and --max-rejects decide as they say", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  writeDrop(folder, "comma_2020-01-01.csv", [
    `v1;${invoiceId(1)};2026-01-01;12,50`,
    `v1;${invoiceId(2)};2026-01-01;1.25`,
  ]);
  expect((await run("load", "comma_2020-01-01.csv")).code).toBe(3);
  const dated = await run(
    ...["load", "comma_2020-01-01.csv", "--decimal-comma", "--synced-on", "2026-01-05", "--json"],
  );
  expect(jsonLines(dated.stdout)).toMatchObject([{ outcome: "loaded", syncedOn: "2026-01-05" }]);
  expect(await warehouse.query("select sum(total) from warehouse.invoices")).toEqual([{ sum: "13.75" }]);
  writeDrop(folder, "half_2026-01-06.csv", [GOOD(3), BAD]);
  expect((await run("load", "half_2026-01-06.csv", "--max-rejects", "0.49")).code).toBe(3);
  expect((await run("load", "half_2026-01-06.csv", "--max-rejects", ".5")).code).toBe(0);
  writeDrop(folder, "small_2026-01-06.csv", [GOOD(4), BAD, BAD, BAD]);
  const refused = await run("load", "small_2026-01-06.csv", "--max-rejects", "0.01+2");
  expect(refused.code).toBe(3);
  expect(refused.stdout).toContain("more than the share of 0.01 and more than 2 that is allowed");
  expect((await run("load", "small_2026-01-06.csv", "--max-rejects", "0.01+3")).code).toBe(0);
  expect((await run("load", "small_2026-01-06.csv", "--max-rejects", "0.01+")).code).toBe(2);
});

test("with --no-refresh the views are exact at once, and a refresh takes in what is pending", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1), `v1,${invoiceId(2)},2025-12-31,2.00`]);
  const loaded = await run("load", "a_2026-01-02.csv", "--no-refresh");
  expect(loaded).toMatchObject({ code: 0, stderr: "" });
  expect(loaded.stdout).toMatch(
    /^a_2026-01-02\.csv: loaded \(load \d+\), 2 lines: 2 inserted; 2 partitions \(2025-12, 2026-01\); [^\n]*\n$/,
  );
  const before = (await run("totals", "--format", "csv")).stdout;
  expect(before).toBe("venue_id,created_on,invoices,total\nv1,2025-12-31,1,2.00\nv1,2026-01-01,1,1.00\n");
  expect(await warehouse.query("select from warehouse.venue_day_rollup")).toHaveLength(0);
  const one = await run("refresh", "--partition", "2025-12", "--json");
  expect(jsonLines(one.stdout)).toEqual([
    {
      partition: "2025-12",
      method: expect.stringMatching(/^delta|rebuild$/),
      reason: expect.any(String),
      changes: 1,
      groups: { inserted: 1, updated: 0, deleted: 0 },
      predictedMs: expect.any(Number),
      durationMs: expect.any(Number),
    },
  ]);
  const rest = await run("refresh");
  expect(rest.stdout).toContain("2026-01");
  expect(rest.stdout).not.toContain("2025-12");
  expect(await warehouse.query("select from warehouse.venue_day_rollup")).toHaveLength(2);
  expect((await run("totals", "--format", "csv")).stdout).toBe(before);
  expect(await run("refresh")).toMatchObject({ code: 0, stdout: "Nothing is pending.\n" });
  expect(await run("refresh", "--json")).toMatchObject({ code: 0, stdout: "" });
  for (const strategy of ["delta", "partition", "full"]) {
    expect(await run("refresh", "--strategy", strategy)).toMatchObject({ code: 0 });
    expect(await disagreements(warehouse)).toEqual([]);
  }
  const unknown = await run("refresh", "--partition", "2026-13");
  expect(unknown).toMatchObject({ code: 2, stdout: "" });
  expect(unknown.stderr).toContain("rollbook partitions list");
});

test("the next load of a drop refreshes what an earlier one left pending", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1)]);
  await run("load", "a_2026-01-02.csv", "--no-refresh");
  expect((await run("load", "a_2026-01-02.csv")).stdout).toContain("was loaded already");
  expect(await warehouse.query("select from warehouse.venue_day_pending")).toHaveLength(0);
});

test("hostile names come through as they are for programs, and harmless on a terminal", async () => {
  const { warehouse, folder } = await makeWarehouse();
  const names = [
    "a b 'c' \"d\" $(e) `f` * 2026-01-02.csv",
    "new\nline_2026-01-02.csv",
    "-dash_2026-01-02.csv",
    "--json_2026-01-02.csv",
    "Zürich東京😀_2026-01-02.csv",
    "esc\u001b[31m\u0007\u009b_2026-01-02.csv",
    "turn\u202efdp.vsc_2026-01-02.csv",
    "%s%n{x}\\_2026-01-02.csv",
  ];
  for (const [index, name] of names.entries()) writeDrop(folder, name, [GOOD(index)]);
  const options = { environment: warehouse.environment, folder };
  const first = await rollbook(["load", "--json", "--no-refresh", "--", ...names], options);
  expect([first.code, first.stderr]).toEqual([0, ""]);
  expect(jsonLines(first.stdout).map((report) => report.file)).toEqual(names);
  const again = await rollbookHere(["load", "--", ...names], options);
  expect(again.stdout.split("\n").filter((line) => line.endsWith("nothing changed"))).toHaveLength(
    names.length,
  );
  const table = await rollbookHere(["loads"], options);
  const error = await rollbookHere(["load", "esc\u001b[31m"], options);
  for (const text of [again.stdout, table.stdout, error.stderr]) {
    expect(text).not.toMatch(/\p{Cf}|(?!\n)\p{Cc}/u);
  }
  expect(again.stdout).toContain("new\\u{a}line_2026-01-02.csv: was loaded already");
  const entries = jsonLines((await rollbookHere(["loads", "--json"], options)).stdout);
  expect(entries.map((entry) => entry.fileName).sort()).toEqual([...names].sort());
});

test("status --json is one object; a stale partition and a short lock table are warned of", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  expect((await run("status")).stdout).toMatch(/0 invoices in 0 partitions, nothing pending\n\nNo loads yet/);
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1)]);
  await run("load", "a_2026-01-02.csv", "--no-refresh");
  const human = await run("status");
  expect(human).toMatchObject({ code: 0, stderr: "" });
  expect(human.stdout).toContain("1 invoice in 1 partition, 1 change pending: rollbook refresh");
  await warehouse.query("update warehouse.partitions set state = 'stale'");
  await warehouse.query(
    `insert into warehouse.partitions (partition, lower, upper)
     select to_char(d, 'YYYY-MM-DD'), d, d + 1 from (select date '1900-01-01' + n as d from generate_series(0, 6499) n) days`,
  );
  const { code, stdout, stderr } = await run("status", "--json");
  expect([code, stderr]).toEqual([0, ""]);
  const [status, ...more] = jsonLines(stdout);
  expect(more).toEqual([]);
  expect(Object.keys(status ?? {})).toEqual([
    "settings",
    "refuseClosed",
    "partitions",
    "lastLoads",
    "openRejects",
    "proofs",
    "warnings",
  ]);
  expect(status).toMatchObject({
    settings: { timeZone: "UTC", granularity: "month", earliest: "2000-01-01" },
    lastLoads: [{ fileName: "a_2026-01-02.csv", sha256: expect.stringMatching(/^[0-9a-f]{64}$/), read: 1 }],
    warnings: [
      expect.stringContaining("max_locks_per_transaction"),
      expect.stringMatching(
        /^partition 1900-01-01: the table [^\n]* is gone\. [^\n]*\(and \d+ more: rollbook verify names all\)$/,
      ),
      expect.stringContaining("partition 2026-01 is stale"),
    ],
  });
  const warned = await run("status");
  expect(warned.code).toBe(0);
  expect(warned.stderr).toMatch(
    /^warning: 6501 partitions come near [^\n]*\nwarning: partition 1900-01-01: [^\n]*\nwarning: partition 2026-01 is stale/,
  );
  expect(warned.stdout.split("\n").length).toBeLessThan(45);
  expect(warned.stdout).toContain("more partitions; --all shows them.");
  expect((await run("init")).stderr).toContain("max_locks_per_transaction");
});

test("loads lists the ledger, newest first, in the warehouse's zone", async () => {
  const warehouse = await createTestDatabase({ timeZone: "Asia/Kolkata" });
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  expect(await run("loads")).toMatchObject({ code: 0, stdout: "No loads.\n" });
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1)]);
  writeDrop(folder, "b.csv", [GOOD(1)]);
  await run("load", "a_2026-01-02.csv", "b.csv");
  const [rejected, loaded, ...none] = jsonLines((await run("loads", "--json")).stdout);
  expect(none).toEqual([]);
  expect(loaded).toMatchObject({
    fileName: "a_2026-01-02.csv",
    status: "loaded",
    inserted: 1,
    partitions: ["2026-01"],
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    knownAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+05:30$/),
  });
  expect(rejected).toMatchObject({
    fileName: "b.csv",
    status: "rejected",
    errorCode: "no_sync_date",
    knownAt: null,
  });
  const table = (await run("loads")).stdout;
  expect(table).toMatch(/^load {2}drop +synced on +status +read +inserted/);
  expect(table).toMatch(/\d\d:\d\d:\d\d\+05:30/);
  expect(table).toMatch(/load \d+: b\.csv: its name holds no sync date/);
  const ids = async (...args: string[]) =>
    jsonLines((await run("loads", "--json", ...args)).stdout).map((load) => load.loadId);
  expect(await ids("--status", "loaded")).toEqual([loaded?.loadId]);
  expect(await ids("--limit", "1")).toEqual([rejected?.loadId]);
  expect(await ids("--load", String(loaded?.loadId))).toEqual([loaded?.loadId]);
});

test("rejects gives each refused line back, byte by byte", async () => {
  const { folder, run } = await makeWarehouse();
  expect(await run("rejects")).toMatchObject({ code: 0, stdout: "No rejects are open.\n" });
  writeFileSync(
    join(folder, "a_2026-01-02.csv"),
    Buffer.concat([
      Buffer.from(`${GOOD(1)}\n${BAD}\n`),
      Buffer.from("caf\xe9,x,y,z\n", "latin1"),
      Buffer.from(`\u001b[2J,${invoiceId(2)},2026-01-01,1\r\n東京,x\n`),
      Buffer.from(`${"long".repeat(60)},${invoiceId(2)},2026-01-01,1`),
    ]),
  );
  const [report] = jsonLines((await run("load", "a_2026-01-02.csv", "--json")).stdout);
  const { code, stdout } = await run("rejects", "--load", String(report?.loadId), "--json");
  expect(code).toBe(0);
  const { loadId } = report ?? {};
  expect(jsonLines(stdout)).toEqual([
    { loadId, line: 2, reason: "bad_uuid", column: "invoice_id", raw: BAD },
    {
      loadId,
      line: 3,
      reason: "bad_encoding",
      column: null,
      rawBase64: Buffer.from("caf\xe9,x,y,z", "latin1").toString("base64"),
    },
    { loadId, line: 4, reason: "bad_encoding", column: null, raw: `\u001b[2J,${invoiceId(2)},2026-01-01,1` },
    { loadId, line: 5, reason: "wrong_column_count", column: null, raw: "東京,x" },
    {
      loadId,
      line: 6,
      reason: "venue_too_long",
      column: "venue_id",
      raw: `${"long".repeat(60)},${invoiceId(2)},2026-01-01,1`,
    },
  ]);
  const table = await run("rejects", "--load", String(loadId));
  expect(table.stdout).toContain("\\u{1b}[2J");
  expect(table.stdout).toContain("longlong...");
  const unknown = await run("rejects", "--load", "99");
  expect(unknown).toMatchObject({ code: 2, stdout: "" });
  expect(unknown.stderr).toContain("rollbook loads");
});

test("a table of rejects stops at 200 lines, --json gives all", async () => {
  const { folder, run } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-02.csv", Array(250).fill(BAD));
  await run("load", "a_2026-01-02.csv");
  const table = (await run("rejects", "--load", "1")).stdout.trimEnd().split("\n");
  expect(table).toHaveLength(202);
  expect(table.at(-1)).toBe("... and 50 more lines; --json gives all.");
  expect(jsonLines((await run("rejects", "--load", "1", "--json")).stdout)).toHaveLength(250);
});

test("verify exits 1 and names what diverges; --repair mends it and proves it", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1), `v2,${invoiceId(2)},2025-12-31,2.00`]);
  await run("load", "a_2026-01-02.csv");
  const clean = await run("verify", "--identity");
  expect(clean).toMatchObject({ code: 0, stderr: "" });
  expect(clean.stdout).toMatch(/^Verified: [^\n]* in 2 partitions, 2 groups, 2 invoices \(\d+ ms\)\.\n$/);
  await warehouse.query(
    "update warehouse.venue_day_rollup set total = 1234.5 where created_on = '2026-01-01'",
  );
  expect((await run("verify", "--partition", "2025-12")).code).toBe(0);
  const broken = await run("verify");
  expect(broken.code).toBe(1);
  expect(broken.stdout).toContain(
    "2026-01: v1 on 2026-01-01: invoices say 1 for 1.00, rollup + pending 1 for 1,234.50, deltas 1 for 1.00",
  );
  const objects = jsonLines((await run("verify", "--json", "--partition", "2026-01")).stdout);
  expect(objects).toContainEqual(
    expect.objectContaining({ kind: "group", partition: "2026-01", venueId: "v1", createdOn: "2026-01-01" }),
  );
  expect(objects.at(-1)).toMatchObject({ kind: "summary", partitions: 1, divergences: objects.length - 1 });
  const repaired = await run("verify", "--repair");
  expect(repaired.code).toBe(0);
  expect(repaired.stdout).toMatch(/Repaired: 2026-01[^\n]*\nVerified: /);
  expect(await disagreements(warehouse)).toEqual([]);
  const unknown = await run("verify", "--partition", "2026-13");
  expect([unknown.code, unknown.stdout]).toEqual([2, ""]);
  const sliced = await run("verify", "--slice", "600");
  expect(sliced).toMatchObject({ code: 0, stderr: "" });
  expect(sliced.stdout).toMatch(
    /^Verified: [^\n]*\nThat was all of it, with the ledger and the checkpoints\.\n$/,
  );
  const [last] = jsonLines((await run("verify", "--slice", "600", "--json")).stdout);
  expect(last).toMatchObject({
    kind: "summary",
    recorded: "recorded",
    slice: { proved: expect.arrayContaining(["2025-12", "2026-01", "ledger", "checkpoints"]), left: 0 },
  });
  expect((await run("status")).stdout).toMatch(/\noldest proof: [-\w]+, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d/);
  await warehouse.query("update warehouse.proofs set duration_ms = 3600000");
  expect((await run("verify", "--slice", "60")).stdout).toMatch(
    /\nA slice(, with the [a-z]+)?: 3 of 4 parts are left\. All took 1\d\d:\d\d min when they were proved last\.\n$/,
  );
  for (const beside of [["--partition", "2026-01"], ["--identity"], ["--repair"]]) {
    const refused = await run("verify", "--slice", "60", ...beside);
    expect([refused.code, refused.stdout]).toEqual([2, ""]);
    expect(refused.stderr).toContain(`leave it out, or ${beside[0]}`);
  }
});

test("partitions are listed, made, taken out, put back and dropped", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  expect((await run("partitions", "list")).stdout).toBe("No partitions.\n");
  const ensure = ["partitions", "ensure", "--from", "2025-12-15", "--to", "2026-02-01"];
  expect(await run(...ensure)).toMatchObject({ code: 0, stdout: "Made: 2025-12, 2026-01\n" });
  expect((await run(...ensure)).stdout).toBe("All from 2025-12 to 2026-01 are there.\n");
  expect(jsonLines((await run(...ensure, "--json")).stdout)).toEqual([
    { from: "2025-12-15", to: "2026-02-01", created: [] },
  ]);
  writeDrop(folder, "a_2026-01-02.csv", [GOOD(1), `v2,${invoiceId(2)},2025-12-31,2.00`]);
  await run("load", "a_2026-01-02.csv");
  const listed = jsonLines((await run("partitions", "list", "--json")).stdout);
  expect(listed).toMatchObject([{ partition: "2025-12" }, { partition: "2026-01" }]);
  expect(listed[0]).toEqual({
    partition: "2025-12",
    lower: "2025-12-01",
    upper: "2026-01-01",
    state: "open",
    rollupInvoices: 1,
    rollupTotal: "2.00",
    refreshedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/),
    pendingChanges: 0,
    pendingInvoices: 0,
    pendingTotal: "0.00",
    provedAt: null,
    provedLoad: null,
    divergedAt: null,
  });

  const unknown = await run("partitions", "detach", "2025-12", "2031-01");
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toContain('no partition "2031-01"; nothing was changed');
  expect((await run("totals", "--format", "csv", "--by", "venue")).stdout).toContain("v2,1,2.00");
  expect(jsonLines((await run("partitions", "detach", "2025-12", "--json")).stdout)).toEqual([
    { partition: "2025-12", state: "detached" },
  ]);
  expect((await run("totals", "--format", "csv", "--by", "venue")).stdout).not.toContain("v2");
  expect((await run("partitions", "drop", "2025-12", "--yes")).code).toBe(2);
  expect(jsonLines((await run("partitions", "attach", "2025-12", "--json")).stdout)).toEqual([
    { partition: "2025-12", state: "open" },
  ]);
  expect((await run("partitions", "attach", "2025-12")).code).toBe(2);
  const dropped = await run("partitions", "drop", "2025-12", "--yes");
  expect(dropped).toMatchObject({
    code: 0,
    stdout: "2025-12: dropped: its invoices are gone, its totals stay\n",
  });
  expect((await run("totals", "--format", "csv", "--by", "venue")).stdout).toContain("v2,1,2.00");

  await warehouse.query("update warehouse.venue_day_rollup set total = 7 where created_on = '2026-01-01'");
  const refused = await run("partitions", "drop", "2026-01", "--yes");
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain("rollbook verify --partition 2026-01");
  const tooMany = await run("partitions", "ensure", "--from", "0100-01-01", "--to", "9000-01-01");
  expect(tooMany.code).toBe(2);
  expect(tooMany.stderr).toContain("more than 4,000 partitions");
});

test("partitions are listed, refreshed and detached by date, and made ahead of today", async () => {
  const warehouse = await createTestDatabase({ timeZone: "Pacific/Kiritimati" });
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  writeDrop(folder, "a_2026-03-31.csv", [
    `v1,${invoiceId(1)},2026-01-31,1.00`,
    `v1,${invoiceId(2)},2026-02-01,1.00`,
    `v1,${invoiceId(3)},2026-03-01,1.00`,
  ]);
  await run("load", "a_2026-03-31.csv", "--no-refresh");
  const names = async (...args: string[]) =>
    jsonLines((await run("partitions", "list", ...args, "--json")).stdout).map(({ partition }) => partition);
  const methods = async (...args: string[]) =>
    jsonLines((await run("refresh", ...args, "--json")).stdout).map((r) => `${r.partition} ${r.method}`);
  expect(await names("--from", "2026-02-01", "--to", "2026-03-01")).toEqual(["2026-02"]);
  expect(await names("--from", "2026-02-28")).toEqual(["2026-02", "2026-03"]);
  expect(await names("--to", "2026-02-01", "--pending")).toEqual(["2026-01"]);
  expect(await methods("--from", "2026-02-01", "--to", "2026-02-02", "--strategy", "delta")).toEqual([
    "2026-02 delta",
  ]);
  expect(await names("--pending")).toEqual(["2026-01", "2026-03"]);
  expect(await methods("--to", "2026-03-01", "--strategy", "delta")).toEqual(["2026-01 delta"]);
  expect(await methods("--from", "2026-01-01", "--to", "2026-03-01")).toEqual([]);
  expect(await methods("--to", "2026-03-01", "--strategy", "partition")).toEqual([
    "2026-01 rebuild",
    "2026-02 rebuild",
  ]);
  expect(await methods("--from", "2026-03-01", "--strategy", "full")).toEqual(["2026-03 rebuild"]);
  await warehouse.query("update warehouse.partitions set state = 'stale' where partition = '2026-01'");
  expect(await names("--pending")).toEqual(["2026-01"]);

  const detach = (before: string) => run("partitions", "detach", "--before", before, "--json");
  expect(await detach("2026-01-31")).toMatchObject({ code: 0, stdout: "" });
  expect((await run("partitions", "detach", "--before", "2026-01-31")).stdout).toBe(
    "No attached partition ends on or before 2026-01-31.\n",
  );
  expect(jsonLines((await detach("2026-03-01")).stdout)).toEqual([
    { partition: "2026-01", state: "detached" },
    { partition: "2026-02", state: "detached" },
  ]);
  expect(await detach("2026-03-01")).toMatchObject({ code: 0, stdout: "" });
  await warehouse.query("update warehouse.partitions set state = 'stale' where partition = '2026-03'");
  expect(await names("--pending")).toEqual(["2026-03"]);

  const [made] = jsonLines((await run("partitions", "ensure", "--ahead", "2", "--json")).stdout);
  const [{ months } = { months: [] }] = await warehouse.query<{ months: string[] }>(`
    select array_agg(to_char(date_trunc('month', now() at time zone 'Pacific/Kiritimati') + n * interval '1 month', 'YYYY-MM') order by n) as months
    from generate_series(0, 3) n`);
  expect(made).toEqual({
    from: `${months[0]}-01`,
    to: `${months[3]}-01`,
    created: months.slice(0, 3),
  });
  expect((await run("partitions", "ensure", "--ahead", "2")).stdout).toBe(
    `All from ${months[0]} to ${months[2]} are there.\n`,
  );
});

test("flags that exclude each other are refused together", async () => {
  const range = ["--from", "2026-01-01", "--to", "2026-02-01"];
  expect(await refusal("refresh", "--partition", "2026-01", ...range)).toContain("cannot be used with");
  expect(await refusal("partitions", "ensure", "--ahead", "2", ...range)).toContain("cannot be used with");
  expect(await refusal("partitions", "ensure")).toContain("--ahead");
  expect(await refusal("partitions", "detach", "2026-01", "--before", "2026-02-01")).toContain("--before");
  for (const verb of ["refresh", "partitions list"]) {
    const said = await refusal(...verb.split(" "), "--from", "2026-02-01", "--to", "2026-02-01");
    expect(said).toContain("is not before");
  }
});

test("on a terminal progress shows, and tables fit into its 80 columns; elsewhere they are as wide as they are", async () => {
  const { warehouse, folder, run } = await makeWarehouse();
  const name = `a_${"long_".repeat(12)}2026-01-02.csv`;
  writeDrop(
    folder,
    name,
    Array.from({ length: 200_000 }, (_, index) => GOOD(index)),
  );
  const screen = join(folder, "screen");
  const { PATH = "" } = process.env;
  const linux = process.platform === "linux";
  const onTerminal = (...words: readonly string[]) => {
    const command = `'${[...COMMAND, ...words].join("' '")}'`;
    const args = linux ? ["-qec", command, screen] : ["-q", screen, "/bin/sh", "-c", command];
    execFileSync("script", args, {
      cwd: folder,
      env: { PATH, HOME: folder, TERM: "xterm", ...warehouse.environment },
      stdio: ["ignore", "ignore", "inherit"],
    });
    return readFileSync(screen, "utf8");
  };
  const shown = onTerminal("load", name);
  expect(shown).toMatch(
    /\d+% a_long_\S+: reading(, \d+ s left to read)?(, [\d,]+ lines\/s)?(, [\d.]+ [kM]B of [\d.]+ MB)?/,
  );
  expect(shown).toContain(`${name}: loaded`);
  for (const words of [["status"], ["loads"], ["partitions", "list"], ["load", "--help"]]) {
    // Where script has no terminal itself, it adds lines of its own about the command, which is long.
    const lines = onTerminal(...words)
      .split(/\r?\n/)
      .filter((line) => !line.startsWith("Script "));
    expect(lines.length).toBeGreaterThan(2);
    for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
  }
  expect(onTerminal("loads")).toContain("(left out: ");
  const piped = (await run("loads")).stdout;
  expect(piped.split("\n")[0]?.length).toBeGreaterThan(100);
  rmSync(screen);
});
