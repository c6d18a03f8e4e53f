import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { until } from "../../db/testing/own_server.ts";
import { jsonLines, type Run, rollbookHere, startRollbook } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { disagreements, totalsOf } from "../testing/warehouse.ts";

const line = (number: number, total = "10.00") => `v1,${invoiceId(number)},2026-01-01,${total}`;
const NAME = "a_2026-01-05.csv";

interface Scene {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  readonly inbox: string;
  readonly archive: string;
  readonly run: (...args: string[]) => Promise<Run>;
  /** Takes in what is in the inbox. */
  readonly watch: () => Promise<Run>;
  /** What `inbox check` finds; its last object is the summary. */
  readonly check: (...args: string[]) => Promise<readonly Record<string, unknown>[]>;
  readonly total: () => Promise<string>;
}

async function setScene(): Promise<Scene> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  return {
    warehouse,
    folder,
    inbox,
    archive: join(inbox, "archive"),
    run,
    watch: async () => run("watch", "inbox", "--once", "--settle", "0"),
    check: async (...args) => {
      const { code, stdout } = await run("inbox", "check", "inbox", "--json", ...args);
      expect(code).toBe(0);
      return jsonLines(stdout);
    },
    total: async () => {
      expect(await disagreements(warehouse)).toEqual([]);
      const [row] = await totalsOf(warehouse);
      return `${row?.invoices} for ${row?.total}`;
    },
  };
}

function filesIn(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/** As if it had been written long ago. */
function makeOld(path: string): void {
  utimesSync(path, new Date("2020-01-01"), new Date("2020-01-01"));
}

const summary = (counts: Record<string, number>) => ({
  kind: "summary",
  files: 0,
  hashed: 0,
  returned: 0,
  unknown: 0,
  undone: 0,
  failed: 0,
  ...counts,
});

test("an archived file that grew goes back to the inbox, is loaded again, and then all is right", async () => {
  const { inbox, archive, run, watch, check, total } = await setScene();
  writeDrop(inbox, NAME, [line(1), line(2, "12")]);
  await watch();
  expect(await check("--hash-within", "1000000")).toEqual([summary({ files: 1 })]);
  truncateSync(join(archive, NAME), readFileSync(join(archive, NAME)).length - 1);
  appendFileSync(join(archive, NAME), `34.50\n${line(3)}\n`);
  const [found, last] = await check();
  expect(found).toEqual({
    kind: "file",
    file: join(archive, NAME),
    outcome: "returned",
    loadId: expect.any(Number),
    movedTo: join(inbox, NAME),
  });
  expect(last).toEqual(summary({ files: 1, hashed: 1, returned: 1 }));
  expect([filesIn(archive), filesIn(inbox)]).toEqual([[], [NAME, "archive"]]);
  // Nothing is left to find, whether it was loaded already or not.
  expect(await check()).toEqual([summary({})]);
  await watch();
  expect(await total()).toBe("3 for 1254.50");
  expect(await check("--hash-within", "1")).toEqual([summary({ files: 1, hashed: 1 })]);
  const forPeople = await run("inbox", "check", "inbox");
  expect(forPeople.stdout).toMatch(
    /^1 archived file checked, [01] by hash: 0 back to the inbox, 0 unknown, 0 undone, 0 failed\.\n$/,
  );
  appendFileSync(join(archive, NAME), `${line(4)}\n`);
  const warned = await run("inbox", "check", "inbox");
  expect(warned.stderr).toMatch(
    /^warning: .*is not as it was loaded \(load \d+\), so it went back to the inbox/,
  );
});

test("one of the same size is found by its time, and without a new time when it is its turn to be hashed", async () => {
  const { inbox, archive, watch, check, total } = await setScene();
  const path = join(archive, NAME);
  writeDrop(inbox, NAME, [line(1, "10.00")]);
  await watch();
  writeFileSync(path, `${line(1, "20.00")}\n`);
  expect(await check("--hash-within", "1000000")).toMatchObject([{ outcome: "returned" }, { returned: 1 }]);
  await watch();
  expect(await total()).toBe("1 for 20.00");
  writeFileSync(path, `${line(1, "30.00")}\n`);
  makeOld(path);
  expect(await check("--hash-within", "1000000")).toEqual([summary({ files: 1 })]);
  expect(await check("--hash-within", "1")).toMatchObject([{ outcome: "returned" }, { returned: 1 }]);
  await watch();
  expect(await total()).toBe("1 for 30.00");
});

test("what the ledger does not know stays, and so does an empty file; without an archive there is nothing to do", async () => {
  const { inbox, archive, watch, check } = await setScene();
  expect(await check()).toEqual([summary({})]);
  writeDrop(inbox, NAME, [line(1)]);
  await watch();
  truncateSync(join(archive, NAME));
  writeDrop(archive, "foreign_2026-01-05.csv", [line(2)]);
  writeDrop(archive, "letter.txt", ["x"]);
  const before = filesIn(archive);
  const found = await check("--hash-within", "1");
  expect(found.map(({ file, outcome }) => [file, outcome])).toEqual([
    [join(archive, NAME), "unknown"],
    [join(archive, "foreign_2026-01-05.csv"), "unknown"],
    [join(archive, "letter.txt"), "unknown"],
    [undefined, undefined],
  ]);
  expect(filesIn(archive)).toEqual(before);
  expect(filesIn(inbox)).toEqual(["archive"]);
});

test("a file goes back under the name it came with, beside another one of that name in the inbox", async () => {
  const { inbox, archive, watch, check, total } = await setScene();
  for (const number of [1, 2]) {
    writeDrop(inbox, NAME, [line(number)]);
    await watch();
  }
  const [numbered = ""] = filesIn(archive).filter((name) => name.includes(".load-"));
  writeDrop(inbox, NAME, [line(5)]);
  appendFileSync(join(archive, NAME), `${line(3)}\n`);
  appendFileSync(join(archive, numbered), `${line(4)}\n`);
  expect(await check()).toMatchObject([
    { file: join(archive, NAME), movedTo: join(inbox, "a_2026-01-05.2.csv") },
    { file: join(archive, numbered), movedTo: join(inbox, "a_2026-01-05.3.csv") },
    { returned: 2 },
  ]);
  expect(readFileSync(join(inbox, NAME), "utf8")).toBe(`${line(5)}\n`);
  await watch();
  expect(await total()).toBe("5 for 50.00");
});

test("the same bytes under another name are found, too, by the number in their archived name", async () => {
  const { inbox, archive, watch, check, total } = await setScene();
  writeDrop(inbox, NAME, [line(1)]);
  await watch();
  writeDrop(inbox, "b_2026-01-05.csv", [line(1)]);
  await watch();
  const [other = ""] = filesIn(archive).filter((name) => name.startsWith("b_"));
  expect(other).toMatch(/^b_2026-01-05\.load-\d+\.csv$/);
  appendFileSync(join(archive, other), `${line(2)}\n`);
  expect(await check()).toMatchObject([{ movedTo: join(inbox, NAME) }, { files: 2, returned: 1 }]);
  await watch();
  expect(await total()).toBe("2 for 20.00");
});

test.each([
  ["that holds no date", "export.csv", "export_2026-01-05.csv"],
  ["that holds an earlier date", "export_2026-01-03.csv", "export_2026-01-03_2026-01-05.csv"],
  ["that holds a later date", "export_2026-01-09.csv", "returned_2026-01-05.csv"],
  ["that is long", `${"n".repeat(240)}.csv`, "returned_2026-01-05.csv"],
])("a file with a name %s goes back with the sync date that was given for it", async (_, name, back) => {
  const { warehouse, inbox, archive, run, watch, check, total } = await setScene();
  // Newer than the name says: what comes back must not be taken for older.
  writeDrop(inbox, "b_2026-01-04.csv", [line(1, "1.00")]);
  await watch();
  const path = writeDrop(inbox, name, [line(1, "12")]);
  await run("load", "--synced-on", "2026-01-05", path);
  mkdirSync(archive, { recursive: true });
  renameSync(path, join(archive, name));
  truncateSync(join(archive, name), readFileSync(join(archive, name)).length - 1);
  appendFileSync(join(archive, name), "34.50\n");
  expect(await check()).toMatchObject([{ outcome: "returned", movedTo: join(inbox, back) }, { files: 2 }]);
  await watch();
  expect(await total()).toBe("1 for 1234.50");
  expect(await warehouse.query("select distinct synced_on::text from warehouse.invoices")).toEqual([
    { synced_on: "2026-01-05" },
  ]);
});

test("hundreds of changed files, killed midway and at once by two: each is back once, whole", async () => {
  const { warehouse, folder, inbox, archive, run, watch, total } = await setScene();
  const names = Array.from({ length: 400 }, (_, number) => `d${number}_2026-01-05.csv`);
  for (const [number, name] of names.entries()) writeDrop(archive, name, [line(number), line(1000 + number)]);
  await warehouse.query(`
    insert into warehouse.loads (file_name, sha256, bytes, synced_on, status, known_at)
    select format('d%s_2026-01-05.csv', n), sha256(convert_to(n::text, 'UTF8')), 1, '2026-01-05', 'loaded',
           clock_timestamp() + n * interval '1 microsecond'
    from generate_series(0, 399) n`);
  const options = { environment: warehouse.environment, folder };
  const args = ["inbox", "check", "inbox", "--json"];
  const killed = startRollbook(args, options);
  await until("some are back", () => filesIn(inbox).length > 20);
  killed.child.kill("SIGKILL");
  await killed.ended;
  expect(filesIn(archive).length).toBeGreaterThan(0);
  const both = await Promise.all([startRollbook(args, options).ended, startRollbook(args, options).ended]);
  for (const { code, stderr } of both) expect([code, stderr.includes("could not")]).toEqual([0, false]);
  expect(filesIn(archive)).toEqual([]);
  const contents = filesIn(inbox)
    .filter((name) => name !== "archive")
    .map((name) => readFileSync(join(inbox, name), "utf8"))
    // A kill may leave one name taken by nothing.
    .filter((text) => text !== "");
  const wanted = names.map((_, number) => `${line(number)}\n${line(1000 + number)}\n`);
  expect(contents.sort()).toEqual(wanted.sort());
  expect((await watch()).code).toBe(0);
  expect((await run("inbox", "check", "inbox", "--hash-within", "1")).stdout).toContain(
    " 0 back to the inbox",
  );
  expect(await total()).toBe("800 for 8000.00");
});

test("a file whose load was undone stays and is named, also when its sender went on writing; in the inbox it is loaded anew", async () => {
  const { inbox, archive, run, watch, check, total } = await setScene();
  writeDrop(inbox, NAME, [line(1)]);
  writeDrop(inbox, "b_2026-01-06.csv", [line(2), line(3)]);
  await watch();
  const [loaded] = jsonLines((await run("loads", "--json")).stdout);
  const loadId = Number(loaded?.loadId);
  expect((await run("undo", String(loadId), "--because", "wrong file")).code).toBe(0);
  const undone = {
    kind: "file",
    file: join(archive, "b_2026-01-06.csv"),
    outcome: "undone",
    loadId,
    movedTo: null,
  };
  expect(await check("--hash-within", "1")).toEqual([undone, summary({ files: 2, hashed: 2, undone: 1 })]);
  const forPeople = await run("inbox", "check", "inbox", "--hash-within", "1");
  expect(forPeople.stderr).toContain(`b_2026-01-06.csv: load ${loadId} read it, and was undone. It stays`);
  expect(forPeople.stdout).toContain("0 unknown, 1 undone, 0 failed");
  appendFileSync(join(archive, "b_2026-01-06.csv"), `${line(4)}\n`);
  expect(await check("--hash-within", "1")).toEqual([undone, summary({ files: 2, hashed: 2, undone: 1 })]);
  expect(filesIn(archive)).toEqual([NAME, "b_2026-01-06.csv"]);
  expect(await total()).toBe("1 for 10.00");
  writeDrop(inbox, "b_2026-01-06.csv", [line(2), line(3)]);
  expect((await watch()).stdout).toMatch(/b_2026-01-06\.csv: loaded \(load \d+\), 2 lines: 2 inserted/);
  expect(await total()).toBe("3 for 30.00");
  expect(filesIn(archive)).toHaveLength(3);
  // Now the first one is a load's again that counts, and has more lines than that.
  expect(await check("--hash-within", "1")).toMatchObject([{ file: undone.file, outcome: "returned" }, {}]);
});
