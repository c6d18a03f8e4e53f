import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { jsonLines, type Run, rollbookHere } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { disagreements } from "../testing/warehouse.ts";

const GOOD = (number: number) => `v1,${invoiceId(number)},2026-01-01,1.00`;
const BAD = "v1,no-uuid,2026-01-01,1.00";
const NAME = "a_2026-01-05.csv";

interface Scene {
  readonly warehouse: TestWarehouse;
  readonly inbox: string;
  readonly rejected: string;
  readonly run: (...args: string[]) => Promise<Run>;
  readonly decide: (name: string, decision: string) => Promise<Run>;
  readonly listed: () => Promise<readonly Record<string, unknown>[]>;
  /** Loads drops and archives them, as a scheduler does. */
  readonly ingest: (...names: string[]) => Promise<void>;
}

/** An inbox with a rejected drop of two good lines and a bad one. */
async function setScene(): Promise<Scene> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const rejected = join(inbox, "rejected");
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const ingest = async (...names: string[]) => {
    const paths = names.map((name) => join(inbox, name));
    await run("load", "--no-refresh", ...paths);
    expect(await run("inbox", "archive", "inbox", ...paths)).toMatchObject({ code: 0 });
  };
  writeDrop(inbox, NAME, [GOOD(1), BAD, GOOD(2)]);
  await ingest(NAME);
  return {
    warehouse,
    inbox,
    rejected,
    run,
    decide: (name, decision) =>
      run("inbox", "decide", "inbox", join(rejected, name), "--as", decision, "--json"),
    listed: async () => jsonLines((await run("inbox", "rejected", "inbox", "--json")).stdout),
    ingest,
  };
}

function filesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

test("rejected drops are listed with their reasons; one without a reason, too", async () => {
  const { inbox, rejected, run, listed } = await setScene();
  writeDrop(rejected, "old_2026-01-04.csv", ["x"]);
  const reason = JSON.parse(readFileSync(join(rejected, `${NAME}.reason.json`), "utf8"));
  expect(await listed()).toEqual([
    {
      file: "old_2026-01-04.csv",
      loadId: null,
      syncedOn: null,
      source: null,
      rejectedAt: null,
      error: null,
      rows: null,
      reasons: [],
      lines: [],
      path: join(rejected, "old_2026-01-04.csv"),
      bytes: 2,
    },
    { ...reason, path: join(rejected, NAME), bytes: `${GOOD(1)}\n${BAD}\n${GOOD(2)}\n`.length },
  ]);
  const forPeople = await run("inbox", "rejected", "inbox");
  expect(forPeople.stdout).toContain("too_many_rejects");
  expect(forPeople.stdout).toContain(`line 2: bad_uuid: ${BAD}`);
  rmSync(rejected, { recursive: true });
  expect(await run("inbox", "rejected", "inbox", "--json")).toEqual({ code: 0, stdout: "", stderr: "" });
  expect((await run("inbox", "rejected", "inbox")).stdout).toBe("Nothing waits for a decision.\n");
  expect(filesIn(inbox)).toEqual([]);
});

test("load takes a rejected drop in, its bad line in quarantine, and archives it; again it is done already", async () => {
  const { warehouse, inbox, rejected, decide, listed, run } = await setScene();
  const { code, stdout } = await decide(NAME, "load");
  expect(code).toBe(0);
  const [report] = jsonLines(stdout);
  expect(report).toEqual({
    file: join(rejected, NAME),
    decision: "load",
    outcome: "loaded",
    loadId: expect.any(Number),
    movedTo: join(inbox, "archive", NAME),
  });
  expect([filesIn(rejected), filesIn(join(inbox, "archive"))]).toEqual([[], [NAME]]);
  expect(await listed()).toEqual([]);
  expect(await warehouse.query("select from warehouse.invoices")).toHaveLength(2);
  expect(await warehouse.query("select from warehouse.venue_day_pending")).not.toEqual([]);
  const rejects = await run("rejects", "--load", String(report?.loadId), "--json");
  expect(jsonLines(rejects.stdout)).toMatchObject([{ line: 2, raw: BAD }]);
  const again = await decide(NAME, "load");
  expect(again.code).toBe(0);
  expect(jsonLines(again.stdout)).toEqual([{ ...report, outcome: "already_loaded" }]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test.each([
  [
    "before the drop was moved",
    async ({ run, rejected }: Scene) =>
      run("load", "--max-rejects", "1", "--no-refresh", join(rejected, NAME)),
  ],
  [
    "before its reason was removed",
    async ({ run, rejected, inbox }: Scene) => {
      await run("load", "--max-rejects", "1", "--no-refresh", join(rejected, NAME));
      mkdirSync(join(inbox, "archive"));
      renameSync(join(rejected, NAME), join(inbox, "archive", NAME));
    },
  ],
])("a load that was cut off %s is finished by the same decision", async (_, cutOff) => {
  const scene = await setScene();
  await cutOff(scene);
  const { code, stdout } = await scene.decide(NAME, "load");
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([
    { outcome: "already_loaded", loadId: expect.any(Number), movedTo: join(scene.inbox, "archive", NAME) },
  ]);
  expect([filesIn(scene.rejected), filesIn(join(scene.inbox, "archive"))]).toEqual([[], [NAME]]);
  expect(await scene.warehouse.query("select from warehouse.loads where status = 'loaded'")).toHaveLength(1);
});

test("a drop that is rejected for another reason than its lines stays, with exit code 3 and that reason", async () => {
  const { inbox, rejected, decide, listed, ingest } = await setScene();
  writeDrop(inbox, "nodate.csv", [GOOD(1)]);
  await ingest("nodate.csv");
  const { code, stdout } = await decide("nodate.csv", "load");
  expect(code).toBe(3);
  const [report] = jsonLines(stdout);
  expect(report).toMatchObject({ outcome: "rejected", movedTo: null, error: { code: "no_sync_date" } });
  expect(filesIn(rejected)).toContain("nodate.csv");
  expect(await listed()).toContainEqual(
    expect.objectContaining({ file: "nodate.csv", loadId: report?.loadId }),
  );
});

test("a drop without a date is loaded with the date that is given, and with no other decision", async () => {
  const { warehouse, inbox, rejected, run, decide, ingest } = await setScene();
  writeDrop(inbox, "nodate.csv", [GOOD(1)]);
  await ingest("nodate.csv");
  const given = ["--synced-on", "2026-01-07", "--json"];
  const refused = await run(
    "inbox",
    "decide",
    "inbox",
    join(rejected, "nodate.csv"),
    "--as",
    "retry",
    ...given,
  );
  expect(refused).toMatchObject({ code: 2, stdout: "" });
  expect(filesIn(rejected)).toContain("nodate.csv");
  const { code, stdout } = await run(
    ...["inbox", "decide", "inbox", join(rejected, "nodate.csv"), "--as", "load", ...given],
  );
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([
    { outcome: "loaded", movedTo: join(inbox, "archive", "nodate.csv") },
  ]);
  expect(await warehouse.query("select synced_on::text from warehouse.invoices")).toEqual([
    { synced_on: "2026-01-07" },
  ]);
  expect(jsonLines((await decide("nodate.csv", "load")).stdout)).toMatchObject([
    { outcome: "already_loaded" },
  ]);
});

test("retry moves a drop back under its own name, overwrites nothing, and the next run decides anew", async () => {
  const { inbox, rejected, decide, ingest, listed } = await setScene();
  const [report] = jsonLines((await decide(NAME, "retry")).stdout);
  expect(report).toMatchObject({ decision: "retry", outcome: "returned", movedTo: join(inbox, NAME) });
  expect(filesIn(rejected)).toEqual([]);
  const again = await decide(NAME, "retry");
  expect(again.code).toBe(0);
  expect(jsonLines(again.stdout)).toMatchObject([
    { outcome: "already_returned", movedTo: join(inbox, NAME) },
  ]);
  await ingest(NAME);
  expect(await listed()).toMatchObject([{ file: NAME, error: { code: "too_many_rejects" } }]);
  // It is rejected under another name, for the first is taken; another drop of its name came to the inbox.
  writeDrop(inbox, NAME, [BAD]);
  await ingest(NAME);
  const [numbered = ""] = filesIn(rejected).filter((name) => /load-\d+\.csv$/.test(name));
  writeDrop(inbox, NAME, [GOOD(5)]);
  const [other] = jsonLines((await decide(numbered, "retry")).stdout);
  expect(other).toMatchObject({ outcome: "returned", movedTo: join(inbox, "a_2026-01-05.2.csv") });
  expect(readFileSync(join(inbox, NAME), "utf8")).toBe(`${GOOD(5)}\n`);
  expect(readFileSync(join(inbox, "a_2026-01-05.2.csv"), "utf8")).toBe(`${BAD}\n`);
});

test("a retry that was cut off before the reason was removed is finished by the same decision", async () => {
  const { inbox, rejected, decide } = await setScene();
  renameSync(join(rejected, NAME), join(inbox, NAME));
  expect(jsonLines((await decide(NAME, "retry")).stdout)).toMatchObject([{ outcome: "already_returned" }]);
  expect(filesIn(rejected)).toEqual([]);
});

test("what is kept is not asked about again, and stays", async () => {
  const { rejected, decide, listed } = await setScene();
  writeFileSync(join(rejected, "old.csv"), "x");
  for (const name of [NAME, "old.csv", NAME]) {
    const { code, stdout } = await decide(name, "keep");
    expect(code).toBe(0);
    expect(jsonLines(stdout)).toMatchObject([{ decision: "keep", outcome: "kept", movedTo: null }]);
  }
  expect(await listed()).toEqual([]);
  expect(filesIn(rejected)).toEqual([NAME, `${NAME}.reason.json`, "old.csv", "old.csv.reason.json"]);
  const reason = JSON.parse(readFileSync(join(rejected, `${NAME}.reason.json`), "utf8"));
  expect(reason).toMatchObject({
    error: { code: "too_many_rejects" },
    reviewedAt: expect.stringMatching(/Z$/),
  });
});

test("of a drop that nobody knows nothing is done", async () => {
  const { decide } = await setScene();
  for (const decision of ["load", "retry", "keep"]) {
    const { code, stdout, stderr } = await decide("gone_2026-01-05.csv", decision);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("there is no such rejected drop");
  }
});
