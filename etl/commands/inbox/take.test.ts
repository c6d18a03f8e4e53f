import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { jsonLines, type Run, rollbookHere, startRollbook } from "../../testing/cli.ts";
import { invoiceId, writeDrop } from "../../testing/lines.ts";
import { disagreements } from "../../testing/warehouse.ts";

const GOOD = (number: number, createdOn = "2026-01-01") => `v1,${invoiceId(number)},${createdOn},1.00`;

interface Inbox {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  readonly inbox: string;
  readonly run: (...args: string[]) => Promise<Run>;
  readonly take: (...args: string[]) => Promise<Run>;
  /** As a process of its own. */
  readonly startTake: (...args: string[]) => ReturnType<typeof startRollbook>;
}

async function makeInbox(): Promise<Inbox> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const options = { environment: warehouse.environment, folder };
  const flags = ["--settle", "0", "--json"];
  return {
    warehouse,
    folder,
    inbox,
    run: (...args) => rollbookHere(args, options),
    take: (...args) => rollbookHere(["inbox", "take", "inbox", ...flags, ...args], options),
    startTake: (...args) => {
      const started = startRollbook(["inbox", "take", "inbox", ...flags, ...args], options);
      onTestFinished(() => {
        started.child.kill("SIGKILL");
      });
      return started;
    },
  };
}

function filesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

const ofKind = ({ stdout }: Run, kind: string) => jsonLines(stdout).filter((line) => line.kind === kind);

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error("it did not come");
    await sleep(1);
  }
}

/** All drops are in once, nothing is pending, everything is archived. */
async function expectTakenIn({ warehouse, inbox }: Inbox, names: readonly string[], invoices: number) {
  expect(filesIn(inbox).filter((name) => name !== "archive")).toEqual([]);
  const archive = join(inbox, "archive");
  // A kill between two steps of a move leaves one name taken by nothing, and the file then gets its load's number.
  const archived = filesIn(archive).filter((name) => readFileSync(join(archive, name)).length > 0);
  expect(filesIn(archive).length - archived.length).toBeLessThanOrEqual(1);
  expect(archived.map((name) => name.replace(/\.load-\d+/, "")).sort()).toEqual([...names].sort());
  expect(await warehouse.query("select from warehouse.invoices")).toHaveLength(invoices);
  const loaded = await warehouse.query<{ name: string }>(
    "select file_name as name from warehouse.loads where status = 'loaded' order by 1",
  );
  expect(loaded.map(({ name }) => name)).toEqual([...names].sort());
  expect(await warehouse.query("select from warehouse.venue_day_pending")).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
}

test("what is ready is loaded, refreshed and moved, and each step is told with what a scheduler needs", async () => {
  const { warehouse, inbox, run, take } = await makeInbox();
  writeDrop(inbox, "a_2026-01-05.csv", [`v1,${invoiceId(1)},2026-01-01,3.00`]);
  writeDrop(inbox, "b_20260103.csv", [`v1,${invoiceId(1)},2026-01-01,1.00`, GOOD(2, "2025-12-31")]);
  writeDrop(inbox, "bad_2026-01-05.csv", [GOOD(5), "v1,x,2026-01-01,1"]);
  writeDrop(inbox, "notes.txt", ["hello"]);
  const taken = await take();
  expect([taken.code, taken.stderr]).toEqual([3, expect.stringContaining("notes.txt: no CSV file")]);
  expect(jsonLines(taken.stdout)).toMatchObject([
    {
      kind: "ready",
      files: 3,
      syncedFrom: "2026-01-03",
      syncedTo: "2026-01-05",
      label: "3 drops of 2026-01-03 to 2026-01-05",
    },
    { kind: "load", file: join(inbox, "b_20260103.csv"), outcome: "loaded", rows: { inserted: 2 } },
    { kind: "load", file: join(inbox, "a_2026-01-05.csv"), outcome: "loaded", rows: { corrected: 1 } },
    {
      kind: "load",
      file: join(inbox, "bad_2026-01-05.csv"),
      outcome: "rejected",
      error: { code: "too_many_rejects" },
    },
    { kind: "partition", partition: "2025-12", rollupInvoices: 1, rollupTotal: "1.00", pendingInvoices: 0 },
    { kind: "partition", partition: "2026-01", rollupInvoices: 1, rollupTotal: "3.00", pendingInvoices: 0 },
    { kind: "move", outcome: "loaded", movedTo: join(inbox, "archive", "b_20260103.csv") },
    { kind: "move", outcome: "loaded", movedTo: join(inbox, "archive", "a_2026-01-05.csv") },
    { kind: "move", outcome: "rejected", movedTo: join(inbox, "rejected", "bad_2026-01-05.csv") },
  ]);
  expect(filesIn(inbox)).toEqual(["archive", "notes.txt", "rejected"]);
  const reason = readFileSync(join(inbox, "rejected", "bad_2026-01-05.csv.reason.json"), "utf8");
  expect(JSON.parse(reason)).toMatchObject({
    file: "bad_2026-01-05.csv",
    error: { code: "too_many_rejects" },
  });
  expect(await warehouse.query("select from warehouse.venue_day_pending")).toEqual([]);

  // The same bytes again change nothing, and are told as what is in already.
  writeDrop(inbox, "a_2026-01-05.csv", [`v1,${invoiceId(1)},2026-01-01,3.00`]);
  const again = await take();
  expect(again.code).toBe(0);
  expect(ofKind(again, "load")).toMatchObject([{ outcome: "already_loaded" }]);
  expect(ofKind(again, "move")).toMatchObject([
    { outcome: "loaded", movedTo: expect.stringContaining(".load-") },
  ]);
  expect(await disagreements(warehouse)).toEqual([]);

  // For people.
  writeDrop(inbox, "c_2026-01-06.csv", [GOOD(9)]);
  const said = await run("inbox", "take", "inbox", "--settle", "0");
  expect(said.stdout).toMatch(/c_2026-01-06\.csv: loaded \(load \d+\), 1 line: 1 inserted/);
  expect(said.stdout).toContain("refreshed 1 partition (2026-01): 1 group written");
  expect(said.stdout).toContain(`now ${join(inbox, "archive", "c_2026-01-06.csv")}`);
  expect((await run("inbox", "take", "inbox", "--settle", "0")).stdout).toBe("No file is ready.\n");
});

test("what others left pending is refreshed, also when no file is ready", async () => {
  const { warehouse, folder, take, run } = await makeInbox();
  const path = writeDrop(folder, "other_2026-01-05.csv", [GOOD(1), GOOD(2, "2025-11-01")]);
  await run("load", "--no-refresh", path);
  expect(await warehouse.query("select from warehouse.venue_day_pending")).not.toEqual([]);
  const { code, stdout } = await take();
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([
    { kind: "partition", partition: "2025-11", rollupInvoices: 1 },
    { kind: "partition", partition: "2026-01", rollupInvoices: 1 },
  ]);
  expect(await warehouse.query("select from warehouse.venue_day_pending")).toEqual([]);
  expect(await take()).toMatchObject({ code: 0, stdout: "" });
});

test("more than --up-to is left as it is, cut into batches for others", async () => {
  const { warehouse, inbox, take, run } = await makeInbox();
  for (const day of [1, 2, 3, 4]) writeDrop(inbox, `a_2026-01-0${day}.csv`, [GOOD(day)]);
  const left = await take("--up-to", "1");
  expect(left.code).toBe(0);
  expect(jsonLines(left.stdout)).toMatchObject([
    {
      kind: "batch",
      files: [1, 2, 3, 4].map((day) => join(inbox, `a_2026-01-0${day}.csv`)),
      label: "4 drops of 2026-01-01 to 2026-01-04",
    },
  ]);
  expect(left.stderr).toContain("4 files, more than 1 MB: nothing was loaded");
  expect(await warehouse.query("select from warehouse.loads")).toEqual([]);
  expect((await take("--up-to", "1.001")).code).toBe(0);
  expect(filesIn(join(inbox, "archive"))).toHaveLength(4);
  expect((await run("inbox", "take", "inbox", "--up-to", "much")).stderr).toContain(
    "Give a number of megabytes",
  );
});

test("the flags of a load count: sync date, limit of rejects, suspicion, limit of files", async () => {
  const { inbox, take } = await makeInbox();
  writeDrop(inbox, "undated.csv", [GOOD(1)]);
  expect(ofKind(await take("--synced-on", "2026-01-05"), "load")).toMatchObject([{ syncedOn: "2026-01-05" }]);
  const bad = Array.from({ length: 3 }, () => "v1,x,2026-01-01,1");
  writeDrop(inbox, "bad_2026-01-05.csv", [GOOD(2), ...bad]);
  const refused = await take("--max-rejects", "0.9", "--refuse-suspicious");
  expect(ofKind(refused, "load")).toMatchObject([
    { outcome: "rejected", error: { code: "suspicious_rejects" } },
  ]);
  for (const day of [1, 2, 3]) writeDrop(inbox, `c_2026-02-0${day}.csv`, [GOOD(10 + day)]);
  const limited = await take("--limit", "2");
  expect(ofKind(limited, "move").map(({ file }) => file)).toEqual([
    join(inbox, "c_2026-02-01.csv"),
    join(inbox, "c_2026-02-02.csv"),
  ]);
  expect(limited.stderr).toContain("1 more file ready; the oldest come first");
});

test("a file that cannot be moved fails the round, which goes on with the others, and the next one moves it", async () => {
  const opened = await makeInbox();
  const { inbox, take } = opened;
  // archive/ cannot be made: there is a pipe of that name.
  execFileSync("mkfifo", [join(inbox, "archive")]);
  writeDrop(inbox, "a_2026-01-05.csv", [GOOD(1)]);
  writeDrop(inbox, "undated.csv", [GOOD(2)]);
  const failed = await take();
  expect(failed.code).toBe(1);
  expect(ofKind(failed, "move")).toMatchObject([
    {
      file: join(inbox, "a_2026-01-05.csv"),
      outcome: "failed",
      movedTo: null,
      error: { message: expect.any(String) },
    },
    { file: join(inbox, "undated.csv"), outcome: "rejected" },
  ]);
  rmSync(join(inbox, "archive"));
  rmSync(join(inbox, "rejected"), { recursive: true });
  expect((await take()).code).toBe(0);
  await expectTakenIn(opened, ["a_2026-01-05.csv"], 1);
});

test("several files are loaded at a time, and told as if one after the other", async () => {
  const opened = await makeInbox();
  const names = writeMany(opened.inbox);
  const taken = await opened.take("--at-once", "4");
  expect([taken.code, taken.stderr]).toEqual([0, ""]);
  expect(ofKind(taken, "load")).toHaveLength(60);
  expect(ofKind(taken, "move").map(({ file }) => file)).toEqual(
    names.map((name) => join(opened.inbox, name)),
  );
  await expectTakenIn(opened, names, 60);
});

test("while the database is away the round fails, and the files stay", async () => {
  const { inbox, folder, take } = await makeInbox();
  writeDrop(inbox, "a_2026-01-05.csv", [GOOD(1)]);
  const away = await rollbookHere(["inbox", "take", "inbox", "--settle", "0", "--json"], {
    environment: { PGHOST: "127.0.0.1", PGPORT: "1", PGUSER: "nobody", PGDATABASE: "none" },
    folder,
  });
  expect(away.code).toBe(1);
  expect(filesIn(inbox)).toEqual(["a_2026-01-05.csv"]);
  expect((await take()).code).toBe(0);
});

test("a scheduler that tries again is told with --since what its earlier attempt has done", async () => {
  const { warehouse, inbox, take } = await makeInbox();
  writeDrop(inbox, "before_2026-01-05.csv", [GOOD(1, "2025-06-01")]);
  await take();
  const [{ now = "" } = {}] = await warehouse.query<{ now: string }>(
    `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now`,
  );
  writeDrop(inbox, "a_2026-01-05.csv", [GOOD(2)]);
  writeDrop(inbox, "bad_2026-01-05.csv", ["v1,x,2026-01-01,1"]);
  await take();
  writeDrop(inbox, "again_2026-01-05.csv", [GOOD(2)]);
  writeDrop(inbox, "b_2026-01-05.csv", [GOOD(3, "2025-12-01")]);
  const tried = await take("--since", now);
  expect(tried.code).toBe(0);
  expect(ofKind(tried, "load")).toMatchObject([
    { file: join(inbox, "again_2026-01-05.csv"), outcome: "already_loaded" },
    { file: join(inbox, "b_2026-01-05.csv"), outcome: "loaded" },
    {
      file: "bad_2026-01-05.csv",
      outcome: "rejected",
      error: { code: "too_many_rejects" },
      reasons: [{ count: 1 }],
    },
  ]);
  expect(ofKind(tried, "partition").map(({ partition }) => partition)).toEqual(["2025-12", "2026-01"]);
  const nothingReady = await take("--since", now);
  expect(ofKind(nothingReady, "load")).toMatchObject([
    { file: "a_2026-01-05.csv", outcome: "loaded", rows: { inserted: 1 }, partitions: ["2026-01"] },
    { file: "bad_2026-01-05.csv" },
    { file: "b_2026-01-05.csv" },
  ]);
  expect((await take("--since", "yesterday")).stderr).toContain("Give an instant with its offset");
});

/** The drops of a round that takes a while, in three partitions. */
function writeMany(inbox: string): readonly string[] {
  return Array.from({ length: 60 }, (_, number) => {
    const name = `many-${String(number).padStart(2, "0")}_2026-03-05.csv`;
    writeDrop(inbox, name, [GOOD(number, `2026-0${1 + (number % 3)}-01`)]);
    return name;
  });
}

/** Holds a lock until the test releases it. */
async function holdLock(warehouse: TestWarehouse, table: string): Promise<() => Promise<void>> {
  const client = new pg.Client({
    host: warehouse.environment.PGHOST,
    port: Number(warehouse.environment.PGPORT),
    user: warehouse.environment.PGUSER,
    database: warehouse.environment.PGDATABASE,
  });
  await client.connect();
  await client.query(`begin; lock table ${table} in exclusive mode`);
  return () => client.end();
}

async function count(warehouse: TestWarehouse, from: string): Promise<number> {
  const [row] = await warehouse.query<{ count: string }>(`select count(*) from ${from}`);
  return Number(row?.count);
}

test.each<{
  readonly step: string;
  readonly lock?: string;
  readonly reached: (inbox: Inbox) => Promise<boolean>;
}>([
  {
    step: "between two loads",
    reached: async ({ warehouse }) => (await count(warehouse, "warehouse.loads where status = 'loaded'")) > 5,
  },
  {
    step: "in the refresh",
    lock: "warehouse.venue_day_rollup",
    reached: async ({ warehouse }) =>
      (await count(
        warehouse,
        "pg_locks join pg_stat_activity using (pid) where datname = current_database() and not granted and relation is not null",
      )) > 0,
  },
  { step: "between two moves", reached: async ({ inbox }) => filesIn(join(inbox, "archive")).length > 0 },
])("a round that is killed $step is finished by the next one", async ({ lock, reached }) => {
  const opened = await makeInbox();
  const { warehouse, inbox, startTake, take } = opened;
  const names = writeMany(inbox);
  const release = lock === undefined ? undefined : await holdLock(warehouse, lock);
  const { child, ended } = startTake("--at-once", "2");
  await until(() => reached(opened));
  child.kill("SIGKILL");
  const killed = await ended;
  expect(killed.stdout.includes('"kind":"move"')).toBe(false);
  await release?.();
  expect((await take()).code).toBe(0);
  await expectTakenIn(opened, names, 60);
});

test("two rounds at once take each file once", async () => {
  const opened = await makeInbox();
  const names = writeMany(opened.inbox);
  const rounds = [opened.startTake(), opened.startTake()];
  const [one, other] = await Promise.all(rounds.map(({ ended }) => ended));
  expect(
    [one?.code, other?.code, one?.stderr, other?.stderr].filter((each) => each !== 0 && each !== ""),
  ).toEqual([]);
  await expectTakenIn(opened, names, 60);
});
