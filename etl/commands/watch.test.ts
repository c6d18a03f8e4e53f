import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { createEmptyDatabase, createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { listInbox } from "../inbox/list.ts";
import { jsonLines, type Run, rollbook, rollbookHere, startRollbook } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { disagreements } from "../testing/warehouse.ts";

const GOOD = (number: number) => `v1,${invoiceId(number)},2026-01-01,1.00`;

async function makeInbox(): Promise<{
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  readonly inbox: string;
  readonly once: (...args: string[]) => Promise<Run>;
}> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const options = { environment: warehouse.environment, folder };
  const once = (...args: string[]) =>
    rollbookHere(["watch", "inbox", "--once", "--settle", "1", ...args], options);
  return { warehouse, folder, inbox, once };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error("it did not come");
    await sleep(50);
  }
}

function filesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

test("--once takes in what is there, oldest sync date first, moves it, refreshes, and ends", async () => {
  const { warehouse, inbox, once } = await makeInbox();
  writeDrop(inbox, "a_2026-01-05.csv", [`v1,${invoiceId(1)},2026-01-01,3.00`]);
  writeDrop(inbox, "b_20260103.csv", [`v1,${invoiceId(1)},2026-01-01,1.00`]);
  writeDrop(inbox, "c_2026-01-04.csv", [`v1,${invoiceId(1)},2026-01-01,2.00`]);
  const { code, stdout, stderr } = await once("--json");
  expect([code, stderr]).toEqual([0, ""]);
  expect(jsonLines(stdout)).toMatchObject([
    { file: join(inbox, "b_20260103.csv"), outcome: "loaded", rows: { inserted: 1 } },
    { file: join(inbox, "c_2026-01-04.csv"), outcome: "loaded", rows: { corrected: 1 } },
    { file: join(inbox, "a_2026-01-05.csv"), outcome: "loaded", rows: { corrected: 1 } },
  ]);
  expect(filesIn(inbox)).toEqual(["archive"]);
  expect(filesIn(join(inbox, "archive"))).toEqual(["a_2026-01-05.csv", "b_20260103.csv", "c_2026-01-04.csv"]);
  expect(await warehouse.query("select from warehouse.venue_day_pending")).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await once()).toMatchObject({ code: 0, stdout: "" });
});

test("a file that grows for longer than several looks is taken when it stands still, once and whole", async () => {
  const { warehouse, inbox, once } = await makeInbox();
  const path = writeDrop(inbox, "a_2026-01-05.csv", [GOOD(0)]);
  const watched = once("--interval", "1", "--settle", "2", "--json");
  for (let line = 1; line <= 16; line++) {
    await sleep(250);
    appendFileSync(path, `${GOOD(line)}\n`);
  }
  expect(jsonLines((await watched).stdout)).toMatchObject([{ outcome: "loaded", rows: { inserted: 17 } }]);
  expect(await warehouse.query("select status from warehouse.loads")).toEqual([{ status: "loaded" }]);
});

test("a drop that is in already is archived; a taken name gets the load's number, nothing is overwritten", async () => {
  const { inbox, once } = await makeInbox();
  const send = (content: string) => writeDrop(inbox, "a_2026-01-05.csv.gz.csv", [content]);
  send(GOOD(1));
  await once();
  send(GOOD(2));
  const [second] = jsonLines((await once("--json")).stdout);
  send(GOOD(1));
  const [again] = jsonLines((await once("--json")).stdout);
  send(GOOD(1));
  await once();
  expect(again).toMatchObject({ outcome: "already_loaded" });
  const archive = join(inbox, "archive");
  expect(filesIn(archive)).toEqual(
    [
      "a_2026-01-05.csv.gz.csv",
      `a_2026-01-05.csv.gz.load-${second?.loadId}.csv`,
      `a_2026-01-05.csv.gz.load-${again?.loadId}.csv`,
      `a_2026-01-05.csv.gz.load-${again?.loadId}.3.csv`,
    ].sort(),
  );
  expect(readFileSync(join(archive, "a_2026-01-05.csv.gz.csv"), "utf8")).toBe(`${GOOD(1)}\n`);
  expect(readFileSync(join(archive, `a_2026-01-05.csv.gz.load-${second?.loadId}.csv`), "utf8")).toBe(
    `${GOOD(2)}\n`,
  );
});

test("what is rejected goes to rejected/ with its reason, and the exit code says so; what is no CSV file stays", async () => {
  const { warehouse, inbox, once } = await makeInbox();
  writeDrop(inbox, "bad_2026-01-05.csv", [GOOD(1), "v1,x,2026-01-01,1"]);
  writeDrop(inbox, "nodate.csv", [GOOD(9)]);
  writeDrop(inbox, "notes.txt", ["hello"]);
  writeDrop(inbox, "good_2026-01-05.csv", [GOOD(1)]);
  const { code, stdout, stderr } = await once("--json");
  expect(code).toBe(3);
  expect(jsonLines(stdout)).toHaveLength(3);
  expect(stderr).toContain("notes.txt: no CSV file, so it stays where it is");
  expect(await warehouse.query("select from warehouse.loads where file_name = 'notes.txt'")).toEqual([]);
  expect(filesIn(inbox)).toEqual(["archive", "notes.txt", "rejected"]);
  expect(filesIn(join(inbox, "archive"))).toEqual(["good_2026-01-05.csv"]);
  const names = ["bad_2026-01-05.csv", "nodate.csv"];
  const rejected = join(inbox, "rejected");
  expect(filesIn(rejected)).toEqual(names.flatMap((name) => [name, `${name}.reason.json`]));
  const reasons = names.map((name) =>
    JSON.parse(readFileSync(join(rejected, `${name}.reason.json`), "utf8")),
  );
  expect(reasons).toMatchObject([
    {
      file: "bad_2026-01-05.csv",
      syncedOn: "2026-01-05",
      error: { code: "too_many_rejects" },
      rows: { read: 2, rejected: 1 },
      lines: [{ line: 2, reason: "bad_uuid", column: "invoice_id", raw: "v1,x,2026-01-01,1" }],
    },
    { file: "nodate.csv", syncedOn: null, error: { code: "no_sync_date" }, lines: [] },
  ]);
});

test("what comes a moment after another file is taken with it, in the order of sync dates", async () => {
  const { inbox, once } = await makeInbox();
  writeDrop(inbox, "late_2026-01-06.csv", [GOOD(1)]);
  // At the first look this one stands still, and the next one does not.
  await sleep(1100);
  const watched = once("--json", "--settle", "1");
  writeDrop(inbox, "early_2026-01-05.csv", [GOOD(2)]);
  expect(jsonLines((await watched).stdout).map(({ syncedOn }) => syncedOn)).toEqual([
    "2026-01-05",
    "2026-01-06",
  ]);
});

test("a sync date that is given is that of all files; without one, what is in already needs none", async () => {
  const { warehouse, inbox, once } = await makeInbox();
  writeDrop(inbox, "export.csv", [GOOD(1)]);
  const given = await once("--json", "--synced-on", "2026-01-05");
  expect(jsonLines(given.stdout)).toMatchObject([{ outcome: "loaded", syncedOn: "2026-01-05" }]);
  writeDrop(inbox, "again.csv", [GOOD(1)]);
  writeDrop(inbox, "new.csv", [GOOD(2)]);
  const { code, stdout } = await once("--json");
  expect(code).toBe(3);
  expect(jsonLines(stdout)).toMatchObject([
    { file: join(inbox, "again.csv"), outcome: "already_loaded", syncedOn: "2026-01-05" },
    { file: join(inbox, "new.csv"), outcome: "rejected", error: { code: "no_sync_date" } },
  ]);
  expect(filesIn(join(inbox, "archive"))).toEqual([
    expect.stringMatching(/^again\.load-\d+\.csv$/),
    "export.csv",
  ]);
  expect(filesIn(join(inbox, "rejected"))).toEqual(["new.csv", "new.csv.reason.json"]);
  expect(await warehouse.query("select from warehouse.invoices")).toHaveLength(1);
});

test("the date of a file's last change can be its sync date, in watch, archive and decide", async () => {
  const { warehouse, folder, inbox, once } = await makeInbox();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const names = ["one.csv", "two.csv", "bad.csv"];
  for (const [index, name] of names.entries()) {
    const path = writeDrop(inbox, name, [GOOD(index), ...(name === "bad.csv" ? ["v1,x,2026-01-01,1"] : [])]);
    utimesSync(path, new Date("2026-01-05T12:00:00Z"), new Date("2026-01-05T12:00:00Z"));
  }
  renameSync(join(inbox, "two.csv"), join(folder, "two.csv"));
  const { stdout } = await once("--json", "--synced-on", "mtime");
  expect(jsonLines(stdout)).toMatchObject([
    { file: join(inbox, "bad.csv"), outcome: "rejected", syncedOn: "2026-01-05" },
    { file: join(inbox, "one.csv"), outcome: "loaded", syncedOn: "2026-01-05" },
  ]);
  renameSync(join(folder, "two.csv"), join(inbox, "two.csv"));
  await run("load", "--synced-on", "mtime", "inbox/two.csv");
  expect((await run("inbox", "archive", "inbox", "inbox/two.csv", "--synced-on", "mtime")).stdout).toContain(
    "two.csv: loaded",
  );
  await run("inbox", "decide", "inbox", "inbox/rejected/bad.csv", "--as", "load", "--synced-on", "mtime");
  expect(filesIn(join(inbox, "archive"))).toEqual(["bad.csv", "one.csv", "two.csv"]);
  expect(
    await warehouse.query("select synced_on::text, count(*)::int from warehouse.invoices group by 1"),
  ).toEqual([{ synced_on: "2026-01-05", count: 3 }]);
});

test("a file without a line is loaded, and people are warned: it may be an export that failed", async () => {
  const { inbox, once } = await makeInbox();
  writeDrop(inbox, "empty_2026-01-05.csv", []);
  writeDrop(inbox, "header_2026-01-05.csv", ["venue_id,invoice_id,datetime_created,total"]);
  writeDrop(inbox, "good_2026-01-05.csv", [GOOD(1)]);
  const { code, stderr } = await once("--json");
  expect(code).toBe(0);
  expect(stderr.split("\n")).toEqual([
    `warning: ${inbox}/empty_2026-01-05.csv holds no invoices. If there should be some, its export may have failed.`,
    `warning: ${inbox}/header_2026-01-05.csv holds no invoices. If there should be some, its export may have failed.`,
    "",
  ]);
});

test("unfinished and hidden files, folders, links, pipes, and names that are not UTF-8 stay where they are", async () => {
  const { folder, inbox, once } = await makeInbox();
  const elsewhere = writeDrop(folder, "elsewhere_2026-01-05.csv", [GOOD(1)]);
  writeDrop(inbox, "a_2026-01-05.csv.part", [GOOD(1)]);
  writeDrop(inbox, ".hidden_2026-01-05.csv", [GOOD(1)]);
  writeDrop(inbox, "sub/a_2026-01-05.csv", [GOOD(1)]);
  symlinkSync(elsewhere, join(inbox, "link_2026-01-05.csv"));
  symlinkSync("/nowhere", join(inbox, "broken_2026-01-05.csv"));
  symlinkSync(folder, join(inbox, "foldered_2026-01-05.csv"));
  execFileSync("mkfifo", [join(inbox, "pipe_2026-01-05.csv")]);
  const before = filesIn(inbox);
  const left = await once();
  expect(left).toMatchObject({ code: 0, stdout: "" });
  const [link, stays] = ["a symbolic link", "so it stays where it is"];
  expect(left.stderr.split("\n").sort()).toEqual([
    "",
    `broken_2026-01-05.csv: ${link}, ${stays}: links are not followed. Put the file itself here.`,
    `foldered_2026-01-05.csv: ${link}, ${stays}: links are not followed. Put the file itself here.`,
    `link_2026-01-05.csv: ${link}, ${stays}: links are not followed. Put the file itself here.`,
    `pipe_2026-01-05.csv: a pipe and no file, ${stays}, unopened. Remove it.`,
    `sub: a folder, ${stays}: only files directly in the inbox are loaded, unless --recursive is set.`,
  ]);
  expect(filesIn(inbox)).toEqual(before);
  for (const name of before.filter((one) => !one.includes("a_")))
    rmSync(join(inbox, name), { recursive: true });
  if (process.platform === "darwin") return; // Its file systems refuse such names.
  const odd = Buffer.concat([
    Buffer.from(`${inbox}/B\u001b`),
    Buffer.from([0xfc]),
    Buffer.from("_2026-01-05.csv"),
  ]);
  writeFileSync(odd, `${GOOD(1)}\n`);
  const notUtf8 = await once();
  expect(notUtf8).toMatchObject({ code: 0, stdout: "" });
  expect(notUtf8.stderr).toBe(
    "B\\u{1b}ü_2026-01-05.csv: its name is not UTF-8, so it stays where it is. Rename it.\n",
  );
  expect(existsSync(odd)).toBe(true);
});

test("a file that cannot be moved is loaded once and tried ever more rarely; the others are not held up", async () => {
  const { warehouse, folder, inbox } = await makeInbox();
  // rejected/ cannot be made: there is a pipe of that name.
  execFileSync("mkfifo", [join(inbox, "rejected")]);
  writeDrop(inbox, "nodate.csv", [GOOD(9)]);
  const abort = new AbortController();
  const running = rollbookHere(["watch", "inbox", "--interval", "1"], {
    environment: warehouse.environment,
    folder,
    signal: abort.signal,
  });
  for (const number of [1, 2, 3, 4]) {
    writeDrop(inbox, `a_2026-01-0${number}.csv`, [GOOD(number)]);
    await until(() => filesIn(join(inbox, "archive")).length === number);
  }
  abort.abort(new Error("the test has seen enough"));
  const { stdout, stderr } = await running;
  expect(stdout.match(/nodate\.csv: rejected/g)).toHaveLength(1);
  expect(
    (stderr.match(/nodate\.csv is rejected, but cannot be moved to rejected\/: /g) ?? []).length,
  ).toBeLessThan(5);
  expect(await warehouse.query("select from warehouse.loads where status = 'rejected'")).toHaveLength(1);
  expect(filesIn(inbox)).toContain("nodate.csv");
  const ended = await rollbookHere(["watch", "inbox", "--once", "--interval", "1"], {
    environment: warehouse.environment,
    folder,
  });
  expect(ended.code).toBe(1);
});

test("a folder that is none, or may not be read or written, is a usage error", async () => {
  const { warehouse, folder, inbox } = await makeInbox();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  expect((await run("watch", "outbox")).stderr).toContain("there is no such folder");
  writeDrop(folder, "a_2026-01-05.csv", [GOOD(1)]);
  expect(await run("watch", "a_2026-01-05.csv")).toMatchObject({ code: 2, stdout: "" });
  const caps = "-dac_override,-dac_read_search";
  const wrapper = process.getuid?.() === 0 ? ["setpriv", `--bounding-set=${caps}`, `--inh-caps=${caps}`] : [];
  const { environment } = warehouse;
  chmodSync(inbox, 0o500);
  const denied = await rollbook(["watch", "inbox", "--once"], { environment, folder, wrapper });
  chmodSync(inbox, 0o700);
  expect(denied).toMatchObject({ code: 2, stdout: "" });
  expect(denied.stderr).toContain("may not both read it and move files out of it");
  await expect(listInbox(join(folder, "gone"))).rejects.toThrow("cannot be read (ENOENT)");
});

test("as a process: a file that grows waits until it is whole, and SIGTERM ends the watch with 143", async () => {
  const { warehouse, folder, inbox } = await makeInbox();
  const growing = writeDrop(inbox, "growing_2026-01-05.csv", [GOOD(0)]);
  const { child, ended } = startRollbook(["watch", "inbox", "--interval", "1", "--json"], {
    environment: warehouse.environment,
    folder,
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  for (let number = 1; number <= 30; number += 1) {
    appendFileSync(growing, `${GOOD(number)}\n`);
    await sleep(100);
    expect(filesIn(join(inbox, "archive"))).toEqual([]);
  }
  await until(() => filesIn(join(inbox, "archive")).length === 1);
  writeDrop(inbox, "later_2026-01-05.csv.part", [GOOD(100)]);
  renameSync(join(inbox, "later_2026-01-05.csv.part"), join(inbox, "later_2026-01-05.csv"));
  await until(() => filesIn(join(inbox, "archive")).length === 2);
  child.kill("SIGTERM");
  const { code, stdout, stderr } = await ended;
  expect(code).toBe(143);
  expect(jsonLines(stdout)).toMatchObject([
    { outcome: "loaded", rows: { read: 31, inserted: 31 } },
    { outcome: "loaded", rows: { read: 1 } },
  ]);
  expect(stderr).toContain("watching inbox; Ctrl-C ends it");
  expect(stderr).toContain("ended by SIGTERM");
});

test("the database goes away and comes back: what is in the inbox is loaded then", async () => {
  const { warehouse, folder, inbox } = await makeInbox();
  const [{ name = "" } = {}] = await warehouse.query<{ name: string }>("select current_database() as name");
  const abort = new AbortController();
  const running = rollbookHere(["watch", "inbox", "--interval", "1"], {
    environment: warehouse.environment,
    folder,
    signal: abort.signal,
  });
  writeDrop(inbox, "a_2026-01-04.csv", [GOOD(1)]);
  await until(() => filesIn(join(inbox, "archive")).length === 1);
  const { database: other } = await createEmptyDatabase();
  await other.pool.query(`alter database ${name} with allow_connections false`);
  await other.pool.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [name]);
  writeDrop(inbox, "b_2026-01-05.csv", [GOOD(2)]);
  await sleep(4000);
  expect(filesIn(inbox)).toContain("b_2026-01-05.csv");
  await other.pool.query(`alter database ${name} with allow_connections true`);
  await until(() => filesIn(join(inbox, "archive")).length === 2);
  abort.abort(new Error("the test has seen enough"));
  await running;
  expect(await warehouse.query("select from warehouse.invoices")).toHaveLength(2);
});
