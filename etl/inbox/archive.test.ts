import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { until } from "../../db/testing/own_server.ts";
import { jsonLines, type Run, rollbookHere, startRollbook } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { disagreements } from "../testing/warehouse.ts";
import { archiveDrops } from "./archive.ts";

const GOOD = (number: number) => `v1,${invoiceId(number)},2026-01-01,1.00`;
const BAD = "v1,no-uuid,2026-01-01,1.00";

interface Scene {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  readonly inbox: string;
  readonly run: (...args: string[]) => Promise<Run>;
  readonly load: (...names: string[]) => Promise<readonly Record<string, unknown>[]>;
  readonly archive: (...names: string[]) => Promise<Run>;
}

async function setScene(): Promise<Scene> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const paths = (names: readonly string[]) => names.map((name) => join(inbox, name));
  return {
    warehouse,
    folder,
    inbox,
    run,
    load: async (...names) => {
      const { code, stdout } = await run("load", "--no-refresh", "--json", "--", ...paths(names));
      expect([0, 3]).toContain(code);
      return jsonLines(stdout);
    },
    archive: (...names) => run("inbox", "archive", "inbox", ...paths(names), "--json"),
  };
}

function filesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

test("loaded drops go to archive/, rejected ones to rejected/ with their reason, others stay", async () => {
  const { inbox, load, archive } = await setScene();
  writeDrop(inbox, "good_2026-01-05.csv", [GOOD(1)]);
  writeDrop(inbox, "bad_2026-01-05.csv", [GOOD(2), BAD, "caf\u00e9"]);
  writeDrop(inbox, "nodate.csv", [GOOD(3)]);
  writeDrop(inbox, "new_2026-01-05.csv", [GOOD(4)]);
  const loaded = await load("good_2026-01-05.csv", "bad_2026-01-05.csv", "nodate.csv");
  const [good, bad, nodate] = loaded.map((report) => report.loadId);
  const names = [
    "good_2026-01-05.csv",
    "bad_2026-01-05.csv",
    "nodate.csv",
    "new_2026-01-05.csv",
    "gone_2026-01-05.csv",
  ];
  const { code, stdout, stderr } = await archive(...names);
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toEqual([
    {
      file: join(inbox, "good_2026-01-05.csv"),
      outcome: "loaded",
      loadId: good,
      movedTo: join(inbox, "archive", "good_2026-01-05.csv"),
    },
    {
      file: join(inbox, "bad_2026-01-05.csv"),
      outcome: "rejected",
      loadId: bad,
      movedTo: join(inbox, "rejected", "bad_2026-01-05.csv"),
      error: loaded[1]?.error,
    },
    {
      file: join(inbox, "nodate.csv"),
      outcome: "rejected",
      loadId: nodate,
      movedTo: join(inbox, "rejected", "nodate.csv"),
      error: loaded[2]?.error,
    },
    { file: join(inbox, "new_2026-01-05.csv"), outcome: "unknown", loadId: null, movedTo: null },
    { file: join(inbox, "gone_2026-01-05.csv"), outcome: "missing", loadId: null, movedTo: null },
  ]);
  expect(stderr.split("\n")).toEqual([
    expect.stringContaining("new_2026-01-05.csv: the ledger does not know it, so it stays"),
    expect.stringContaining("gone_2026-01-05.csv: not there, skipped"),
    "",
  ]);
  expect(filesIn(inbox)).toEqual(["archive", "new_2026-01-05.csv", "rejected"]);
  const text = readFileSync(join(inbox, "rejected", "bad_2026-01-05.csv.reason.json"), "utf8");
  expect(text.split("\n").length).toBeGreaterThan(10);
  expect(JSON.parse(text)).toEqual({
    file: "bad_2026-01-05.csv",
    loadId: bad,
    syncedOn: "2026-01-05",
    source: null,
    rejectedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/),
    error: loaded[1]?.error,
    rows: { read: 3, rejected: 2 },
    reasons: [
      expect.objectContaining({ reason: "wrong_column_count", count: 1, line: 3, cell: "café", total: null }),
      expect.objectContaining({ reason: "bad_uuid", count: 1, line: 2, cell: "no-uuid", total: "1.00" }),
    ],
    lines: [
      { line: 2, reason: "bad_uuid", column: "invoice_id", raw: BAD },
      { line: 3, reason: "wrong_column_count", column: null, raw: "café" },
    ],
  });
});

test("run again it changes nothing; a name that is taken gets the load's number, nothing is overwritten", async () => {
  const { inbox, load, archive } = await setScene();
  const names: unknown[] = [];
  for (const number of [1, 2, 1]) {
    writeDrop(inbox, "a_2026-01-05.csv", [GOOD(number)]);
    const [report] = await load("a_2026-01-05.csv");
    names.push(`a_2026-01-05.load-${report?.loadId}.csv`);
    expect((await archive("a_2026-01-05.csv")).code).toBe(0);
    expect(jsonLines((await archive("a_2026-01-05.csv")).stdout)).toMatchObject([{ outcome: "missing" }]);
  }
  const folder = join(inbox, "archive");
  expect(filesIn(folder)).toEqual(["a_2026-01-05.csv", names[1], names[2]].sort());
  expect(readFileSync(join(folder, "a_2026-01-05.csv"), "utf8")).toBe(`${GOOD(1)}\n`);
  expect(readFileSync(join(folder, String(names[1])), "utf8")).toBe(`${GOOD(2)}\n`);
});

test("the same bytes under two names are one load, and both drops go; for another date they stay", async () => {
  const { inbox, load, archive } = await setScene();
  for (const name of ["a_2026-01-05.csv", "b_2026-01-05.csv", "b_2026-01-06.csv"])
    writeDrop(inbox, name, [GOOD(1)]);
  await load("a_2026-01-05.csv");
  const { stdout } = await archive(
    "a_2026-01-05.csv",
    "b_2026-01-05.csv",
    "b_2026-01-06.csv",
    "a_2026-01-05.csv",
  );
  expect(jsonLines(stdout).map(({ outcome }) => outcome)).toEqual(["loaded", "loaded", "unknown", "missing"]);
  expect(filesIn(inbox)).toEqual(["archive", "b_2026-01-06.csv"]);
});

test("the same bytes rejected under two names have each its own name in the reason, and go back by it", async () => {
  const { inbox, run, load, archive } = await setScene();
  const names = ["a_2026-01-05.csv", "b_2026-01-05.csv"];
  for (const name of names) writeDrop(inbox, name, [BAD]);
  await load(...names);
  await archive(...names);
  for (const name of names) {
    const text = readFileSync(join(inbox, "rejected", `${name}.reason.json`), "utf8");
    expect(JSON.parse(text)).toMatchObject({ file: name });
    expect((await run("inbox", "decide", "inbox", `inbox/rejected/${name}`, "--as", "retry")).code).toBe(0);
  }
  expect(filesIn(inbox)).toEqual([...names, "rejected"]);
  expect(filesIn(join(inbox, "rejected"))).toEqual([]);
});

test("a drop that is refused by its name is known by that name, too", async () => {
  const { inbox, load, archive } = await setScene();
  writeDrop(inbox, "one.csv", [GOOD(1)]);
  writeDrop(inbox, "two.csv", [GOOD(1)]);
  await load("one.csv");
  const { stdout } = await archive("one.csv", "two.csv");
  expect(jsonLines(stdout).map(({ outcome }) => outcome)).toEqual(["rejected", "unknown"]);
});

test("a drop without a date in its name is archived when its bytes are loaded, whatever date was given for it", async () => {
  const { warehouse, inbox, run, load, archive } = await setScene();
  const names = ["undated.csv", "other.csv", "third.csv", "dated_2026-01-06.csv"];
  for (const name of names) writeDrop(inbox, name, [GOOD(1)]);
  await load("undated.csv");
  await archive("undated.csv");
  const rejected = join(inbox, "rejected", "undated.csv");
  const { code } = await run("load", "--no-refresh", "--synced-on", "2026-01-05", rejected);
  expect(code).toBe(0);
  const waiting = await run("inbox", "rejected", "inbox");
  expect(waiting.stdout).toContain(
    "To load it: rollbook inbox decide, with --as load --synced-on YYYY-MM-DD",
  );
  const { stdout } = await archive("rejected/undated.csv", ...names.slice(1));
  expect(jsonLines(stdout).map(({ outcome }) => outcome)).toEqual(["loaded", "loaded", "loaded", "unknown"]);
  expect(filesIn(inbox)).toEqual(["archive", "dated_2026-01-06.csv", "rejected"]);
  expect(filesIn(join(inbox, "rejected"))).toEqual([]);
  expect((await run("inbox", "rejected", "inbox")).stdout).toBe("Nothing waits for a decision.\n");
  // Of a dated name the date counts, unless another one is given.
  const given = await run(
    "inbox",
    "archive",
    "inbox",
    "inbox/dated_2026-01-06.csv",
    "--synced-on",
    "2026-01-05",
  );
  expect(given.stdout).toMatch(/dated_2026-01-06\.csv: loaded \(load \d+\), now /);
  expect(await warehouse.query("select from warehouse.invoices")).toHaveLength(1);
});

test("the newest word of the ledger counts: a drop that is tried again stays until it is decided; one that is in is in", async () => {
  const { warehouse, inbox, load, archive, run } = await setScene();
  const name = "a_2026-01-05.csv";
  writeDrop(inbox, name, [GOOD(1), BAD]);
  const outcome = async () => jsonLines((await archive(name)).stdout)[0]?.outcome;
  const fail = () =>
    warehouse.query(
      "insert into warehouse.loads (file_name, sha256, bytes, synced_on, status) select file_name, sha256, bytes, synced_on, 'failed' from warehouse.loads limit 1",
    );
  await load(name);
  await fail();
  expect(await outcome()).toBe("unknown");
  await run("load", "--no-refresh", "--max-rejects", "1", join(inbox, name));
  await fail();
  expect(await outcome()).toBe("loaded");
});

test("a file whose load was undone stays, with or without a sync date, until it is loaded again", async () => {
  const { inbox, load, archive, run } = await setScene();
  writeDrop(inbox, "a_2026-01-05.csv", [GOOD(1)]);
  writeDrop(inbox, "undated.csv", [GOOD(2)]);
  const [dated] = await load("a_2026-01-05.csv");
  const given = await run("load", "--json", "--synced-on", "2026-01-05", join(inbox, "undated.csv"));
  const undated = jsonLines(given.stdout)[0];
  for (const report of [dated, undated]) {
    expect((await run("undo", String(report?.loadId), "--because", "wrong file")).code).toBe(0);
  }
  const { stdout, stderr } = await archive("a_2026-01-05.csv", "undated.csv");
  expect(jsonLines(stdout)).toMatchObject([
    { outcome: "unknown", loadId: dated?.loadId, movedTo: null, error: { code: "undone" } },
    { outcome: "unknown", loadId: undated?.loadId, movedTo: null, error: { code: "undone" } },
  ]);
  expect(stderr).toContain(`load ${dated?.loadId} was undone, so it stays, and the next run loads it again`);
  await load("a_2026-01-05.csv");
  expect(jsonLines((await archive("a_2026-01-05.csv")).stdout)).toMatchObject([{ outcome: "loaded" }]);
});

test("what was accepted after review goes from rejected/ to archive/, and its reason goes away", async () => {
  const { inbox, load, archive, run } = await setScene();
  const rejected = join(inbox, "rejected");
  writeDrop(inbox, "a_2026-01-05.csv", [GOOD(1), BAD]);
  await load("a_2026-01-05.csv");
  await archive("a_2026-01-05.csv");
  rmSync(join(rejected, "a_2026-01-05.csv.reason.json"));
  // It stays while it is rejected, and gets its reason.
  const stays = jsonLines((await archive("rejected/a_2026-01-05.csv")).stdout);
  expect(stays).toMatchObject([{ outcome: "rejected", movedTo: null, error: { code: "too_many_rejects" } }]);
  expect(filesIn(rejected)).toEqual(["a_2026-01-05.csv", "a_2026-01-05.csv.reason.json"]);
  await run("load", "--max-rejects", "1", join(rejected, "a_2026-01-05.csv"));
  const [moved] = jsonLines((await archive("rejected/a_2026-01-05.csv")).stdout);
  expect(moved).toMatchObject({ outcome: "loaded", movedTo: join(inbox, "archive", "a_2026-01-05.csv") });
  expect(filesIn(rejected)).toEqual([]);
});

test("a drop that is replaced while it is looked up stays, and the next load takes it in", async () => {
  const { warehouse, inbox, load, archive } = await setScene();
  const name = "a_2026-01-05.csv";
  const path = writeDrop(inbox, name, [GOOD(1)]);
  await load(name);
  const holder = await warehouse.database.pool.connect();
  onTestFinished(() => holder.release(true));
  await holder.query("begin");
  await holder.query("lock table warehouse.loads in access exclusive mode");
  const archived = archive(name);
  await until("the ledger is asked", async () => {
    const waiting = await warehouse.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    return waiting.length > 0;
  });
  writeDrop(inbox, "new.part", [GOOD(2)]);
  renameSync(join(inbox, "new.part"), path);
  await holder.query("commit");
  const { code, stdout } = await archived;
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([
    { outcome: "unknown", loadId: null, movedTo: null, error: { code: "file_changed" } },
  ]);
  expect(readFileSync(path, "utf8")).toBe(`${GOOD(2)}\n`);
  await load(name);
  expect(jsonLines((await archive(name)).stdout)).toMatchObject([{ outcome: "loaded" }]);
});

test("a drop that cannot be moved holds up no other; the exit code is 1 until it can", async () => {
  const { inbox, load, archive } = await setScene();
  writeDrop(inbox, "a_2026-01-05.csv", [GOOD(1)]);
  writeDrop(inbox, "nodate.csv", [GOOD(2)]);
  const [loaded] = await load("a_2026-01-05.csv", "nodate.csv");
  // Not even root can make a file in it.
  writeFileSync(join(inbox, "archive"), "");
  const { code, stdout, stderr } = await archive("a_2026-01-05.csv", "nodate.csv");
  expect(code).toBe(1);
  expect(jsonLines(stdout)).toMatchObject([
    { outcome: "failed", loadId: loaded?.loadId, movedTo: null, error: { code: "not_moved" } },
    { outcome: "rejected", movedTo: join(inbox, "rejected", "nodate.csv") },
  ]);
  expect(stderr).toMatch(/a_2026-01-05\.csv: not moved \(load \d+\): EEXIST/);
  rmSync(join(inbox, "archive"));
  expect(jsonLines((await archive("a_2026-01-05.csv")).stdout)).toMatchObject([{ outcome: "loaded" }]);
});

test("two thousand drops, killed midway and at once by two: each ends in one place, whole", async () => {
  const { warehouse, folder, inbox } = await setScene();
  const names = Array.from({ length: 2000 }, (_, n) => `d${n}_2026-01-05.csv`);
  for (const [n, name] of names.entries()) writeDrop(inbox, name, [GOOD(n)]);
  await warehouse.query(`
    insert into warehouse.loads (file_name, sha256, bytes, synced_on, status, error_code, error_message)
    select format('d%s_2026-01-05.csv', n), sha256(convert_to(format(e'v1,%s,2026-01-01,1.00\\n', '00000000-0000-4000-8000-' || lpad(n::text, 12, '0')), 'UTF8')),
           1, '2026-01-05', case when n % 3 = 0 then 'rejected' else 'loaded' end, 'too_many_rejects', 'no'
    from generate_series(0, 1999) n`);
  const options = { environment: warehouse.environment, folder };
  const args = ["inbox", "archive", "inbox", ...names.map((name) => join(inbox, name)), "--json"];
  const killed = startRollbook(args, options);
  await until("some are moved", () => filesIn(join(inbox, "archive")).length > 50);
  killed.child.kill("SIGKILL");
  const first = await killed.ended;
  expect(jsonLines(first.stdout).length).toBeLessThan(2000);
  const both = await Promise.all([startRollbook(args, options).ended, startRollbook(args, options).ended]);
  for (const { code, stdout } of both) {
    expect(code).toBe(0);
    expect(jsonLines(stdout)).toHaveLength(2000);
    expect(jsonLines(stdout).filter(({ outcome }) => outcome === "unknown" || outcome === "failed")).toEqual(
      [],
    );
  }
  expect(filesIn(inbox)).toEqual(["archive", "rejected"]);
  const contents = ["archive", "rejected"].flatMap((place) =>
    filesIn(join(inbox, place))
      // A kill may also leave the beginning of a reason, which has a name of its own.
      .filter((name) => !name.endsWith(".reason.json") && !/^\.reason-.*\.part$/.test(name))
      .map((name) => readFileSync(join(inbox, place, name), "utf8")),
  );
  // A kill may leave one name taken by nothing.
  expect(contents.filter((text) => text !== "").sort()).toEqual(names.map((_, n) => `${GOOD(n)}\n`).sort());
  expect(contents.filter((text) => text === "").length).toBeLessThanOrEqual(1);
  expect(await disagreements(warehouse)).toEqual([]);
});

test("all files are moved although nobody takes the reports, and the failure to report is thrown afterwards", async () => {
  const { warehouse, inbox, load } = await setScene();
  const names = [1, 2, 3, 4].map((number) => `a${number}_2026-01-05.csv`);
  for (const [index, name] of names.entries()) writeDrop(inbox, name, [GOOD(index)]);
  await load(...names);
  let reports = 0;
  const archived = archiveDrops({
    ...warehouse,
    folder: inbox,
    files: names.map((name) => join(inbox, name)),
    onReport: async () => {
      reports += 1;
      throw new Error("nobody reads");
    },
  });
  await expect(archived).rejects.toThrow("nobody reads");
  expect(reports).toBe(1);
  expect(filesIn(join(inbox, "archive"))).toEqual(names);
});
