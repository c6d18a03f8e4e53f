/** Files of senders with columns of their own, by the command line: what a source says counts at every step. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { until } from "../../../db/testing/own_server.ts";
import { jsonLines, type Run, rollbookHere, startRollbook } from "../cli.ts";
import { invoiceId } from "../lines.ts";
import { disagreements, totalsOf } from "../warehouse.ts";

/** Windows-1252, a date of its own in the name, an ending of its own, a folder of its own. */
const TILL = String.raw`
files: till/*.txt
encoding: windows-1252
delimiter: ";"
columns:
  venue_id: Filiale
  invoice_id: Bon
  datetime_created: [Datum, Zeit]
  total: Betrag
datetime_created:
  format: dd.MM.yyyy HH:mm
total:
  decimal: ","
skip_when:
  Status: Storno
synced_on: {from: name, pattern: '_(?<day>\d\d)(?<month>\d\d)(?<year>\d{4})'}
`;
const HEADER = "Status;Filiale;Bon;Datum;Zeit;Betrag";
const sale = (number: number, total = "1,50", status = "ok") =>
  `${status};Caf\u00e9;${invoiceId(number)};01.01.2026;12:30;${total}`;
const plain = (number: number) => `v1,${invoiceId(number)},2026-01-01,1.00`;

/** Sessions that are in the transaction of a load. */
const CLAIMING = `
  select from pg_stat_activity
  where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()
    and backend_xid is not null`;

interface Scene {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  readonly inbox: string;
  readonly run: (...args: string[]) => Promise<Run>;
  /** Takes in what is in the inbox. */
  readonly watch: (...args: string[]) => Promise<Run>;
  readonly source: (name: string, text: string) => void;
  /** Writes a file of the inbox. */
  readonly put: (name: string, lines: readonly string[]) => string;
  readonly ledger: () => Promise<readonly Record<string, unknown>[]>;
}

async function setScene(environment: Record<string, string> = {}): Promise<Scene> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  mkdirSync(join(folder, "sources"));
  const run = (...args: string[]) =>
    rollbookHere(args, { environment: { ...warehouse.environment, ...environment }, folder });
  return {
    warehouse,
    folder,
    inbox,
    run,
    watch: (...args) => run("watch", "inbox", "--once", "--settle", "0", ...args),
    source: (name, text) => writeFileSync(join(folder, "sources", `${name}.yaml`), text),
    put: (name, lines) => {
      const path = join(inbox, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, `${lines.join("\n")}\n`, "latin1");
      return `inbox/${name}`;
    },
    ledger: () =>
      warehouse.query(`
        select file_name, status, synced_on::text, source, inserted::int, rejected::int, skipped::int
        from reports.load_history order by load_id`),
  };
}

function filesIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8", withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

test("load finds the sources beside the inbox, reads the file by the one that fits, and says so", async () => {
  const { warehouse, run, source, put, ledger } = await setScene();
  source("till", TILL);
  const file = put("till/sales_02012026.txt", [HEADER, sale(1), sale(2, "9,99", "Storno"), sale(3)]);
  const { code, stdout, stderr } = await run("load", file);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("(load 1), 2 lines: 2 inserted, 1 skipped by source till; ");
  const [again] = jsonLines((await run("load", file, "--json")).stdout);
  const [entry] = jsonLines((await run("loads", "--json")).stdout);
  expect(again).toMatchObject({
    outcome: "already_loaded",
    source: { name: "till", sha256: entry?.sourceSha256 },
  });
  expect(entry).toMatchObject({ source: "till", read: 2, skipped: 1, summed: 0, syncedOn: "2026-01-02" });
  expect((await run("loads")).stdout).toMatch(/source.* till /s);
  expect(await totalsOf(warehouse)).toEqual([
    { venue_id: "Caf\u00e9", created_on: "2026-01-01", invoices: 2, total: "3.00" },
  ]);
  expect(await ledger()).toHaveLength(1);
});

test("a load of several files reads each by its source, and one of the drop format as ever", async () => {
  const { run, source, put, ledger } = await setScene();
  source("till", TILL);
  const files = [put("till/a_02012026.txt", [HEADER, sale(1)]), put("plain_2026-01-03.csv", [plain(2)])];
  const reports = jsonLines((await run("load", ...files, "--json")).stdout);
  expect(reports.map((report) => [report.source, report.rows])).toMatchObject([
    [{ name: "till" }, { skipped: 0, summed: 0 }],
    [null, {}],
  ]);
  expect(Object.keys(reports[1]?.rows as object)).not.toContain("skipped");
  expect(await ledger()).toMatchObject([
    { source: "till", synced_on: "2026-01-02" },
    { source: null, synced_on: "2026-01-03" },
  ]);
});

test.each([
  ["a source that is wrong", { till: `${TILL}\nfiels: x\n` }, "till.yaml:"],
  ["two sources for one file", { till: TILL, till2: TILL }, "several sources fit it"],
  ["a pattern that does not fit", { till: TILL.replace("_(?<day>", "-(?<day>") }, "synced_on.pattern"],
])("%s: refused before any file is loaded", async (_, sources, message) => {
  const { run, source, put, ledger } = await setScene();
  for (const [name, text] of Object.entries(sources)) source(name, text);
  const files = [put("plain_2026-01-03.csv", [plain(2)]), put("till/a_02012026.txt", [HEADER, sale(1)])];
  const { code, stdout, stderr } = await run("load", ...files);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(message);
  expect(await ledger()).toEqual([]);
});

test("--sources, --inbox and ROLLBOOK_SOURCES name the folders; one that is not there is an error", async () => {
  const { run, put, folder } = await setScene();
  mkdirSync(join(folder, "elsewhere"));
  writeFileSync(join(folder, "elsewhere", "till.yaml"), TILL);
  const file = put("deep/till/a_02012026.txt", [HEADER, sale(1)]);
  expect((await run("load", file, "--sources", "nowhere")).code).toBe(2);
  // The glob is one on the path below the inbox.
  const wrong = await run("load", file, "--json", "--sources", "elsewhere", "--inbox", "inbox");
  expect(jsonLines(wrong.stdout)).toMatchObject([
    { outcome: "rejected", error: { code: "not_csv" }, source: null },
  ]);
  const right = await run("load", file, "--json", "--sources", "elsewhere", "--inbox", "inbox/deep");
  expect(jsonLines(right.stdout)).toMatchObject([{ outcome: "loaded", source: { name: "till" } }]);
  const other = await setScene({ ROLLBOOK_SOURCES: join(folder, "elsewhere") });
  other.put("till/a_02012026.txt", [HEADER, sale(1)]);
  expect(jsonLines((await other.watch("--json")).stdout)).toMatchObject([{ source: { name: "till" } }]);
});

test("inbox list gives files of sources from folders below, by their own dates; what is not theirs stays", async () => {
  const { run, source, put, inbox } = await setScene();
  source("till", TILL);
  source("shop", "files: shop-*.tsv\nsynced_on: mtime\n");
  put("plain_2026-01-03.csv", [plain(2)]);
  put("till/a_04012026.txt", [HEADER, sale(1)]);
  put("till/b_02012026.txt", [HEADER, sale(2)]);
  put("till/c_2026-01-01.csv", [plain(3)]);
  put("till/nodate.txt", [HEADER]);
  put("other/d_2026-01-01.csv", [plain(4)]);
  put("shop-1.tsv", [plain(5)]);
  utimesSync(join(inbox, "shop-1.tsv"), new Date("2026-01-05T12:00:00Z"), new Date("2026-01-05T12:00:00Z"));
  const { code, stdout, stderr } = await run("inbox", "list", "inbox", "--settle", "0", "--json");
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([
    {
      files: ["till/b_02012026.txt", "plain_2026-01-03.csv", "till/a_04012026.txt", "shop-1.tsv"].map(
        (name) => join(inbox, name),
      ),
      syncedFrom: "2026-01-02",
      syncedTo: "2026-01-04",
    },
  ]);
  expect(stderr).toMatch(/^other: a folder, so it stays/m);
  expect(stderr).toMatch(/^till\/c_2026-01-01\.csv: no source reads it, so it stays/m);
  expect(stderr).toMatch(
    /till\/nodate\.txt: .*till\.yaml:\d+: synced_on\.pattern: .*; it stays where it is\.$/m,
  );
  const all = await run("inbox", "list", "inbox", "--settle", "0", "--json", "--recursive");
  expect(all.stderr).toMatch(/^[^\n]*nodate\.txt[^\n]*\n$/);
  expect(jsonLines(all.stdout)[0]?.files).toHaveLength(6);
});

test("list, load and archive, step by step: each knows the file by its source", async () => {
  const { run, source, put, inbox } = await setScene();
  source("till", TILL);
  put("till/a_02012026.txt", [HEADER, sale(1)]);
  put("till/bad_02012026.txt", [HEADER, sale(2, "x")]);
  const [batch] = jsonLines((await run("inbox", "list", "inbox", "--settle", "0", "--json")).stdout);
  const files = batch?.files as string[];
  expect((await run("load", ...files, "--inbox", "inbox", "--no-refresh")).code).toBe(3);
  const archived = await run("inbox", "archive", "inbox", ...files, "--json");
  expect(archived.code).toBe(0);
  expect(jsonLines(archived.stdout)).toMatchObject([
    { outcome: "loaded", movedTo: join(inbox, "archive/till/a_02012026.txt") },
    { outcome: "rejected", movedTo: join(inbox, "rejected/till/bad_02012026.txt") },
  ]);
  const reason = JSON.parse(readFileSync(join(inbox, "rejected/till/bad_02012026.txt.reason.json"), "utf8"));
  expect(reason).toMatchObject({ source: { name: "till" }, syncedOn: "2026-01-02" });
  expect((await run("inbox", "rejected", "inbox")).stdout).toContain(", source till, 1 of 1 line rejected");
  const missing = await run("inbox", "archive", "inbox", "inbox/other/x.csv");
  expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining("lies neither in inbox") });
});

test("watch takes files of sources, refuses one once, and a run twice changes nothing", async () => {
  const { warehouse, watch, source, put, inbox, ledger } = await setScene();
  source("till", TILL);
  put("till/a_02012026.txt", [HEADER, sale(1)]);
  put("till/undated.txt", [HEADER, sale(9)]);
  put("plain_2026-01-03.csv", [plain(2)]);
  const first = await watch();
  expect(first.code).toBe(0);
  expect(first.stderr.match(/synced_on\.pattern/g)).toHaveLength(1);
  expect(filesIn(inbox)).toEqual([
    "archive/plain_2026-01-03.csv",
    "archive/till/a_02012026.txt",
    "till/undated.txt",
  ]);
  const before = await ledger();
  expect((await watch()).code).toBe(0);
  expect(await ledger()).toEqual(before);
  // The same bytes again, under another name of the same date: a number tells the two apart.
  put("till/again_02012026.txt", [HEADER, sale(1)]);
  await watch();
  expect(filesIn(join(inbox, "archive/till"))).toEqual(["a_02012026.txt", "again_02012026.load-1.txt"]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test("two watches at once take in each file of a source once", async () => {
  const { warehouse, watch, source, put, inbox, ledger } = await setScene();
  source("till", TILL);
  for (let number = 0; number < 20; number += 1) {
    put(`till/${number}_02012026.txt`, [HEADER, sale(number)]);
  }
  const runs = await Promise.all([watch(), watch()]);
  expect(runs.map(({ code }) => code)).toEqual([0, 0]);
  expect(await ledger()).toHaveLength(20);
  expect(filesIn(join(inbox, "archive/till"))).toHaveLength(20);
  expect(await totalsOf(warehouse)).toMatchObject([{ invoices: 20, total: "30.00" }]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test("a load that was killed before the file was moved is finished by the next run, also by a source", async () => {
  const { folder, warehouse, run, watch, source, put, inbox, ledger } = await setScene();
  source("till", TILL);
  const file = put("till/a_02012026.txt", [HEADER, sale(1)]);
  // As after a crash between the commit and the move.
  await run("load", file);
  expect(jsonLines((await watch("--json")).stdout)).toMatchObject([{ outcome: "already_loaded", loadId: 1 }]);
  expect(filesIn(inbox)).toEqual(["archive/till/a_02012026.txt"]);
  // A process that is killed while it loads leaves nothing.
  put("till/b_02012026.txt", [HEADER, ...Array.from({ length: 20_000 }, (_, n) => sale(n + 10))]);
  const { child, ended } = startRollbook(["load", "inbox/till/b_02012026.txt"], {
    environment: warehouse.environment,
    folder,
  });
  const isLoading = async () => (await warehouse.query(CLAIMING)).length > 0;
  await until("the load is open", async () => (await isLoading()) || child.exitCode !== null);
  child.kill("SIGKILL");
  await ended;
  await watch();
  expect((await ledger()).filter(({ status }) => status === "loaded")).toHaveLength(2);
  expect(await totalsOf(warehouse)).toMatchObject([{ invoices: 20_001 }]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test("a file of a source that grew after it was archived comes back to its folder, and is loaded again", async () => {
  const { warehouse, run, watch, source, put, inbox } = await setScene();
  source("till", TILL);
  put("till/a_02012026.txt", [HEADER, sale(1)]);
  await watch();
  appendFileSync(join(inbox, "archive/till/a_02012026.txt"), `${sale(2)}\n`, "latin1");
  const found = jsonLines((await run("inbox", "check", "inbox", "--json")).stdout);
  expect(found).toMatchObject([
    { outcome: "returned", loadId: 1, movedTo: join(inbox, "till/a_02012026.txt") },
    { kind: "summary", files: 1 },
  ]);
  await watch();
  expect(await totalsOf(warehouse)).toMatchObject([{ invoices: 2, total: "3.00" }]);
});

test("a file whose date somebody gave gets it into its name when it comes back, also with another ending", async () => {
  const { run, watch, source, put, inbox } = await setScene();
  source("till", TILL.replace(/^synced_on.*$/m, ""));
  put("till/a.txt", [HEADER, sale(1)]);
  await watch("--synced-on", "2026-01-02");
  appendFileSync(join(inbox, "archive/till/a.txt"), `${sale(2)}\n`, "latin1");
  await run("inbox", "check", "inbox");
  expect(filesIn(inbox)).toEqual(["till/a_2026-01-02.txt"]);
  expect(jsonLines((await watch("--json")).stdout)).toMatchObject([
    { outcome: "loaded", syncedOn: "2026-01-02", rows: { inserted: 1, unchanged: 1 } },
  ]);
});

test("decide loads a rejected file by today's source, whatever its max_rejects, but not rows that are added up", async () => {
  const { run, watch, source, put, inbox, ledger } = await setScene();
  source("till", TILL);
  put("till/a_02012026.txt", [HEADER, sale(1), sale(2, "x")]);
  expect((await watch()).code).toBe(3);
  const file = "inbox/rejected/till/a_02012026.txt";
  const decide = () => run("inbox", "decide", "inbox", file, "--as", "load");
  source("till", TILL.replace('decimal: ","', 'decimal: ","\n  sum_rows: true'));
  const refused = await decide();
  expect(refused.code).toBe(3);
  expect(refused.stdout).toContain("source till adds up rows (sum_rows)");
  source("till", `${TILL}max_rejects: 0\n`);
  expect(await decide()).toMatchObject({ code: 0, stdout: expect.stringContaining("loaded; ") });
  expect(filesIn(inbox)).toEqual(["archive/till/a_02012026.txt"]);
  expect((await ledger()).at(-1)).toMatchObject({
    status: "loaded",
    source: "till",
    inserted: 1,
    rejected: 1,
  });
  source("other", TILL);
  put("rejected/till/b_02012026.txt", [HEADER, sale(3)]);
  const several = await run("inbox", "decide", "inbox", "inbox/rejected/till/b_02012026.txt", "--as", "load");
  expect(several).toMatchObject({ code: 2, stderr: expect.stringContaining("several sources fit it") });
});

test("rejects retry reads the open lines by today's source, found by where the file lies or by its name", async () => {
  const { warehouse, run, watch, source, put, ledger } = await setScene();
  source("till", `${TILL.replace('decimal: ","', 'decimal: "."')}max_rejects: 1\n`);
  put("till/a_02012026.txt", [HEADER, sale(1), sale(2, "2.50")]);
  await watch();
  expect(await ledger()).toMatchObject([{ inserted: 1, rejected: 1 }]);
  const retry = () => run("rejects", "retry", "--load", "1", "inbox");
  source("till", `${TILL.replace('decimal: ","', 'decimal: ","\n  sum_rows: true')}`);
  expect(await retry()).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("adds up rows (sum_rows)"),
  });
  // No glob fits any more, and the ledger knows the name of the source.
  source("till", TILL.replace("till/*.txt", "new/*.txt"));
  expect(await retry()).toMatchObject({ code: 0, stdout: expect.stringContaining("1 line: 1 inserted") });
  expect((await ledger()).at(-1)).toMatchObject({ status: "retry", source: "till", inserted: 1 });
  expect(await disagreements(warehouse)).toEqual([]);
});

test("lines that a source leaves out by now are no longer open after a retry", async () => {
  const { warehouse, run, watch, source, put, ledger } = await setScene();
  source("till", `${TILL}max_rejects: 1\n`);
  put("till/a_02012026.txt", [HEADER, sale(1), sale(2, "x", "Training"), sale(3, "y")]);
  await watch();
  const retry = () => run("rejects", "retry", "--load", "1", "inbox");
  expect((await retry()).stdout).toContain("nothing can be taken in, open as before: 2 lines");
  source("till", TILL.replace("Status: Storno", "Status: [Storno, Training]"));
  expect((await retry()).stdout).toContain("1 line: 1 rejected, 1 left out by its source; ");
  expect((await ledger()).at(-1)).toMatchObject({ status: "retry", inserted: 0, rejected: 1, skipped: 1 });
  expect(jsonLines((await run("rejects", "--json")).stdout)).toMatchObject([{ lines: 1, firstCell: "y" }]);
  expect((await run("verify")).code).toBe(0);
  expect(await disagreements(warehouse)).toEqual([]);
});

test("a file whose sources changed so that several fit stays where it is when it is archived", async () => {
  const { run, source, put, inbox } = await setScene();
  source("till", TILL);
  const file = put("till/a_02012026.txt", [HEADER, sale(1)]);
  await run("load", file);
  source("other", TILL);
  const { code, stdout, stderr } = await run("inbox", "archive", "inbox", file, "--json");
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([{ outcome: "unknown", movedTo: null }]);
  expect(stderr).toContain("several sources fit it");
  expect(filesIn(inbox)).toEqual(["till/a_02012026.txt"]);
});

test("rejects retry refuses a file whose source is gone", async () => {
  const { run, watch, source, put } = await setScene();
  source("till", `${TILL}max_rejects: 1\n`);
  put("till/a_02012026.txt", [HEADER, sale(1), sale(2, "x")]);
  await watch();
  const { code, stderr } = await run("rejects", "retry", "--load", "1", "inbox", "--sources", "inbox");
  expect(code).toBe(2);
  expect(stderr).toContain("load 1 was read by source till, and there is no such source now");
});

/** The venue is that of the folder, and the register numbers its receipts from 1. */
const VENUES = `
files: venues/*/*.csv
columns: {datetime_created: when, total: amount}
venue_id: {from_path: '^venues/([^/]+)/'}
invoice_id: {uuid5_of: nr}
max_rejects: 1
`;

test("two venues that send the same bytes are two drops, at every step", async () => {
  const { warehouse, run, watch, source, put, ledger } = await setScene();
  source("venues", VENUES);
  const lines = ["nr,when,amount", "1,2026-01-01 10:00,5.00", '2,2026-01-01 11:00,"7,50"'];
  const [first, second] = ["east", "west"].map((venue) => put(`venues/${venue}/a_2026-01-02.csv`, lines));
  expect((await run("load", String(first))).code).toBe(0);
  const archived = jsonLines((await run("inbox", "archive", "inbox", String(second), "--json")).stdout);
  expect(archived).toMatchObject([{ outcome: "unknown" }]);
  await watch();
  expect(await ledger()).toMatchObject([
    { status: "loaded", inserted: 1 },
    { status: "loaded", inserted: 1 },
  ]);
  expect(await warehouse.query("select venue_id from reports.load_history order by load_id")).toEqual([
    { venue_id: "east" },
    { venue_id: "west" },
  ]);
  source("venues", `${VENUES}total: {decimal: ","}\n`);
  for (const load of ["1", "2"]) expect((await run("rejects", "retry", "--load", load)).code).toBe(0);
  expect(await totalsOf(warehouse)).toEqual(
    ["east", "west"].map((venue) => ({
      venue_id: venue,
      created_on: "2026-01-01",
      invoices: 2,
      total: "12.50",
    })),
  );
  expect(await disagreements(warehouse)).toEqual([]);
  // Both have a receipt 1.
  expect((await run("verify", "--identity")).code).toBe(0);
});

test("rejects retry refuses a source that gives another venue than then", async () => {
  const { run, watch, source, put } = await setScene();
  source("venues", VENUES);
  put("venues/east/a_2026-01-02.csv", ["nr,when,amount", "1,2026-01-01 10:00,5.00", "2,x,7.50"]);
  await watch();
  source("venues", VENUES.replace("'^venues/([^/]+)/'", "'^venues/(..)'"));
  const { code, stderr } = await run("rejects", "retry", "--load", "1");
  expect([code, stderr]).toEqual([2, expect.stringContaining("the venue east when load 1 read it")]);
});

test("the archive, loaded again, changes nothing: a load's number in a name there is no part of its venue", async () => {
  const { warehouse, folder, inbox, run, watch, source, put } = await setScene();
  source(
    "till",
    `
files: till-*.csv
columns: {datetime_created: when, total: amount}
venue_id: {from_path: '^till-([^/]+)[.]csv$'}
invoice_id: {uuid5_of: nr}
synced_on: mtime
`,
  );
  for (const day of ["02", "03", "04"]) {
    const file = put("till-east.csv", ["nr,when,amount", `${day},2026-01-01 10:00,1.00`]);
    const time = new Date(`2026-01-${day}T12:00:00Z`);
    utimesSync(join(folder, file), time, time);
    await watch();
  }
  const archived = filesIn(join(inbox, "archive")).map((name) => `inbox/archive/${name}`);
  expect(archived).toHaveLength(3);
  const reports = jsonLines((await run("load", "--json", ...archived)).stdout);
  expect(reports.map(({ outcome }) => outcome)).toEqual(Array(3).fill("already_loaded"));
  await run("load", "--again", ...archived);
  expect(await totalsOf(warehouse)).toEqual([
    { venue_id: "east", created_on: "2026-01-01", invoices: 3, total: "3.00" },
  ]);
});

test("whoever mends a source and loads its file again is told how it is read anew", async () => {
  const { warehouse, run, source, put } = await setScene();
  const text = "files: x/*\ncolumns: {total: net}\n";
  source("x", text);
  const file = put("x/a_2026-01-02.csv", [
    "venue_id,invoice_id,datetime_created,net,gross",
    `v1,${invoiceId(1)},2026-01-01,1.00,2.00`,
  ]);
  await run("load", file);
  expect((await run("load", file)).stdout).toMatch(/was loaded already \(load 1\), nothing changed\n/);
  source("x", text.replace("net", "gross"));
  expect((await run("load", file)).stdout).toContain(
    "nothing changed: it was read by source x as it was then. With --replace 1 it is read as today's sources say\n",
  );
  const replaced = await run("load", file, "--replace", "1", "--because", "source mended");
  expect(replaced.stdout).toContain("1 inserted, read by source x");
  expect(await totalsOf(warehouse)).toMatchObject([{ invoices: 1, total: "2.00" }]);
  expect(await disagreements(warehouse)).toEqual([]);
});
