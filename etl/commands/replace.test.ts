/** `load --replace`: a file takes the place of another. */
import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { jsonLines, rollbookHere } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";

const line = (number: number, total: string) => `v1,${invoiceId(number)},2026-10-04T12:00:00,${total}`;
const DOUBLED = [line(1, "20.00"), line(2, "40.00")];
const RIGHT = [line(1, "10.00"), line(3, "5.00")];
const BECAUSE = ["--because", "doubled amounts"];

async function setScene(wrong: readonly string[] = DOUBLED, ...flags: readonly string[]) {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const write = (name: string, lines: readonly string[]) => writeDrop(folder, name, lines);
  const load = async (name: string, lines: readonly string[]) => {
    const { stdout } = await run("load", write(name, lines), "--json", ...flags);
    expect(jsonLines(stdout)).toMatchObject([{ outcome: "loaded" }]);
    return String(jsonLines(stdout)[0]?.loadId);
  };
  const loads = async () =>
    jsonLines((await run("loads", "--json")).stdout).map(({ loadId, status }) => [loadId, status]);
  const totals = async () => (await run("totals", "--by", "venue", "--format", "csv")).stdout.split("\n")[1];
  const verify = async () => expect((await run("verify")).stdout).toMatch(/^Verified: /);
  return { folder, run, write, load, loads, totals, verify, wrong: await load("a_2026-10-05.csv", wrong) };
}

test("a corrected file takes the place of the wrong one, as if that had never been loaded", async () => {
  const { run, write, wrong, loads, totals, verify } = await setScene();
  const path = write("b_2026-10-05.csv", RIGHT);
  const { code, stdout, stderr } = await run("load", path, "--replace", wrong, ...BECAUSE);
  const [loaded, undo] = [Number(wrong) + 1, Number(wrong) + 2];
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout.split("\n")).toEqual([
    `a_2026-10-05.csv (load ${wrong}): undone (undo ${undo})`,
    "  2 invoices go: nothing else is known of them",
    "  1 group, -2 invoices, -60.00 euros; 1 partition (2026-10)",
    expect.stringMatching(
      new RegExp(`b_2026-10-05\\.csv: loaded \\(load ${loaded}\\), 2 lines: 2 inserted;`),
    ),
    "refreshed 1 partition (2026-10): 1 group written",
    "",
  ]);
  expect(await totals()).toBe("v1,2,15.00");
  expect(await loads()).toEqual([
    [undo, "undo"],
    [loaded, "loaded"],
    [Number(wrong), "undone"],
  ]);
  expect((await run("loads")).stdout).toContain(`load ${wrong}: undone by ${undo}: doubled amounts (`);
  await verify();
});

test("with --json the object of the load says what was replaced", async () => {
  const { run, write, wrong } = await setScene();
  const path = write("b_2026-10-05.csv", RIGHT);
  const { stdout } = await run("load", path, "--replace", wrong, ...BECAUSE, "--json", "--no-refresh");
  const [report, ...more] = jsonLines(stdout);
  expect(more).toEqual([]);
  expect(report).toMatchObject({
    outcome: "loaded",
    rows: { read: 2, inserted: 2 },
    replaced: { loadId: expect.any(Number), undoOf: Number(wrong), undone: "load", rows: { removed: 2 } },
  });
});

test("if the file is refused, the load stays as it is", async () => {
  const { run, write, wrong, loads, totals, verify } = await setScene();
  const path = write("b_2026-10-05.csv", [...RIGHT, "v1,no-uuid,2026-10-04,1.00"]);
  const said = await run("load", path, "--replace", wrong, ...BECAUSE);
  expect(said.code).toBe(3);
  expect(said.stdout).toMatch(/: rejected \(load \d+\): too_many_rejects: [^\n]*\n/);
  expect(said.stdout).toContain(`\nload ${wrong} stays as it is.\n`);
  const { code, stdout } = await run("load", path, "--replace", wrong, ...BECAUSE, "--json");
  expect(code).toBe(3);
  expect(jsonLines(stdout)).toMatchObject([{ outcome: "rejected", replaced: null }]);
  expect((await loads()).map(([, status]) => status)).toEqual(["rejected", "rejected", "loaded"]);
  expect(await totals()).toBe("v1,2,60.00");
  await verify();
});

test("a file that is in already replaces nothing", async () => {
  const { run, write, load, wrong, totals } = await setScene();
  await load("b_2026-10-05.csv", RIGHT);
  const before = await totals();
  const path = write("b_2026-10-05.csv", RIGHT);
  const { code, stdout } = await run("load", path, "--replace", wrong, ...BECAUSE);
  expect(code).toBe(0);
  expect(stdout).toMatch(/was loaded already .*\nload \d+ stays as it is\.\n$/);
  expect(await totals()).toBe(before);
});

test("the same file may replace itself: read by other rules, or as it was", async () => {
  const { folder, run, wrong, totals, verify } = await setScene(
    [line(1, "10.00"), line(2, '"7,50"')],
    "--max-rejects",
    "1",
  );
  expect(await totals()).toBe("v1,1,10.00");
  const path = `${folder}/a_2026-10-05.csv`;
  const again = await run("load", path, "--replace", wrong, ...BECAUSE, "--decimal-comma", "--json");
  expect(jsonLines(again.stdout)).toMatchObject([{ outcome: "loaded", rows: { inserted: 2, rejected: 0 } }]);
  expect(await totals()).toBe("v1,2,17.50");
  const number = String(jsonLines(again.stdout)[0]?.loadId);
  expect((await run("load", path, "--replace", number, ...BECAUSE, "--decimal-comma")).code).toBe(0);
  expect(await totals()).toBe("v1,2,17.50");
  expect((await run("rejects")).stdout).toContain("No rejects are open");
  await verify();
});

test("what cannot be replaced, and wrong flags, are refused before anything is loaded", async () => {
  const { run, write, wrong, loads, totals } = await setScene();
  const path = write("b_2026-10-05.csv", RIGHT);
  const other = write("c_2026-10-05.csv", RIGHT);
  const before = await loads();
  const refused = async (...args: string[]) => {
    const { code, stdout, stderr } = await run("load", path, ...args);
    expect([code, stdout]).toEqual([2, ""]);
    return stderr;
  };
  expect(await refused("--replace", "4711", ...BECAUSE)).toMatch(/there is no load 4711/);
  expect(await refused("--replace", wrong)).toMatch(/why\? Say it: --because TEXT/);
  expect(await refused("--replace", wrong, "--because", "")).toMatch(/--because is empty/);
  expect(await refused("--because", "x")).toMatch(/--because goes with --replace/);
  expect(await refused(other, "--replace", wrong, ...BECAUSE)).toMatch(/--replace takes one file/);
  expect(await refused("--again", "--replace", wrong, ...BECAUSE)).toMatch(/--again/);
  expect(await refused("--replace", "x", ...BECAUSE)).toMatch(/whole number/);
  expect(await loads()).toEqual(before);
  const { stdout } = await run("undo", wrong, ...BECAUSE, "--json");
  const undo = String(jsonLines(stdout)[0]?.loadId);
  expect(await refused("--replace", wrong, ...BECAUSE)).toMatch(/undone already/);
  expect(await refused("--replace", undo, ...BECAUSE)).toMatch(/no load/);
  expect(await totals()).toBe("");
});
