import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { jsonLines, rollbookHere } from "../testing/cli.ts";
import { HOSTILE_TEXTS, unsafeIn } from "../testing/hostile.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";

const line = (venue: string, number: number, createdOn: string, total: string) =>
  `${venue},${invoiceId(number)},${createdOn}T12:00:00,${total}`;

/** Three files; the one in the middle corrects, confirms and brings invoices, and one of those comes again. */
const FILES = {
  "a_2026-10-05.csv": [
    line("v1", 1, "2026-10-04", "10.00"),
    line("v1", 2, "2026-10-04", "20.00"),
    line("v2", 3, "2026-09-30", "5.00"),
  ],
  "b_2026-10-06.csv": [
    line("v1", 1, "2026-10-04", "11.00"),
    line("v1", 2, "2026-10-04", "20.00"),
    line("test", 4, "2026-10-05", "99.00"),
    line("v1", 5, "2026-10-05", "7.00"),
  ],
  "c_2026-10-07.csv": [line("v1", 5, "2026-10-05", "7.00"), line("v1", 6, "2026-10-06", "3.00")],
};
const WITH_ALL = ["test,1,99.00", "v1,4,41.00", "v2,1,5.00"];
const WITHOUT_B = ["v1,4,40.00", "v2,1,5.00"];
const BECAUSE = ["--because", "test system's file"];

async function setScene() {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args, "--json");
    expect([code, stderr]).toEqual([0, ""]);
    return jsonLines(stdout);
  };
  const load = async (name: keyof typeof FILES) => {
    const [report] = await json("load", writeDrop(folder, name, FILES[name]));
    expect(report).toMatchObject({ outcome: "loaded" });
    return String(report?.loadId);
  };
  const totals = async (...flags: string[]) => {
    const { stdout } = await run("totals", "--by", "venue", "--format", "csv", ...flags);
    return stdout.trimEnd().split("\n").slice(1);
  };
  const refusal = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args);
    expect(code).toBeGreaterThan(0);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^rollbook: .*\n$/);
    return stderr;
  };
  const verify = async () => expect((await run("verify")).stdout).toMatch(/^Verified: /);
  return { warehouse, folder, run, json, load, totals, refusal, verify };
}

async function loadThree() {
  const scene = await setScene();
  const a = await scene.load("a_2026-10-05.csv");
  const b = await scene.load("b_2026-10-06.csv");
  const c = await scene.load("c_2026-10-07.csv");
  expect(await scene.totals()).toEqual(WITH_ALL);
  return { ...scene, a, b, c };
}

test("a load is undone, everything shows it, and the totals are those without its file", async () => {
  const { b, c, run, json, totals, verify } = await loadThree();
  const { code, stdout, stderr } = await run("undo", b, ...BECAUSE);
  const undo = Number(c) + 1;
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout.split("\n")).toEqual([
    `b_2026-10-06.csv (load ${b}): undone (undo ${undo})`,
    "  1 invoice goes: nothing else is known of it",
    "  1 invoice changes to what another load says",
    "  1 invoice stays: another load says the same of it",
    "  2 groups, -1 invoice, -100.00 euros; 1 partition (2026-10)",
    `Its file may be loaded again. If it must not be, take it out of the archive, too. To take this back: rollbook undo ${undo} --because TEXT`,
    "refreshed 1 partition (2026-10): 2 groups written",
    "",
  ]);
  expect(await totals()).toEqual(WITHOUT_B);
  expect((await json("status")).at(0)).toMatchObject({ lastLoads: [{ status: "undo" }, {}, {}, {}] });
  expect((await run("status")).stdout).toContain("nothing pending");
  await verify();

  const loads = await json("loads");
  const decidedBy = expect.stringMatching(/./);
  const because = "test system's file";
  expect(loads).toMatchObject([
    { loadId: undo, status: "undo", undoOf: Number(b), because, decidedBy, removed: 1, undoneBy: null },
    { loadId: Number(c), status: "loaded", undoOf: null, because: null, decidedBy: null, removed: 0 },
    { loadId: Number(b), status: "undone", undoneBy: { loadId: undo, because, decidedBy } },
    { status: "loaded", undoneBy: null },
  ]);
  expect(await json("loads", "--status", "undone")).toEqual([loads[2]]);
  expect(await json("loads", "--status", "undo")).toEqual([loads[0]]);
  const listed = (await run("loads")).stdout;
  expect(listed).toMatch(/ rejected {2}removed {2}finished at /);
  expect(listed).toContain(`\nload ${undo}: undid ${b}: test system's file (`);
  expect(listed).toContain(`\nload ${b}: undone by ${undo}: test system's file (`);

  const knownAt = String(loads[0]?.knownAt);
  const before = new Date(Date.parse(knownAt) - 1).toISOString();
  expect(await totals("--as-known-on", before)).toEqual(WITH_ALL);
  expect(await totals("--as-known-on", knownAt)).toEqual(WITHOUT_B);

  const changes = await json("explain-total", "--venue", "v1");
  expect(changes.map(({ loadId, invoices, total }) => [loadId, invoices, total])).toEqual([
    [Number(b) - 1, 2, "30.00"],
    [Number(b), 1, "8.00"],
    [Number(c), 1, "3.00"],
    [undo, 0, "-1.00"],
  ]);
  const explained = (await run("explain-total", "--venue", "v1")).stdout;
  expect(explained).toMatch(/total .* 4 +40\.00\n$/);
});

test("a dry run says what would change, and changes nothing", async () => {
  const { warehouse, b, run, json, totals } = await loadThree();
  const state = async () => [
    await totals(),
    await json("loads"),
    await warehouse.query("select * from warehouse.invoices order by invoice_id"),
    await warehouse.query("select * from warehouse.venue_day_deltas order by 1, 2, 3"),
    await warehouse.query("select * from warehouse.statements order by 1, 2, 3, 4"),
  ];
  const before = await state();
  const { code, stdout, stderr } = await run("undo", b, "--dry-run");
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout.split("\n")).toEqual([
    `b_2026-10-06.csv (load ${b}): would be undone`,
    "  1 invoice would go: nothing else is known of it",
    "  1 invoice would change to what another load says",
    "  1 invoice would stay: another load says the same of it",
    "  2 groups, -1 invoice, -100.00 euros; 1 partition (2026-10)",
    `Nothing was changed. To do it: rollbook undo ${b} --because TEXT`,
    "",
  ]);
  const [report] = await json("undo", b, "--dry-run", "--because", "just looking");
  expect(report).toMatchObject({ loadId: null });
  expect(await state()).toEqual(before);
  expect(await json("undo", b, ...BECAUSE)).toEqual([{ ...report, loadId: expect.any(Number) }]);
});

test("with --json it prints one object, and refreshes silently or, with --no-refresh, not at all", async () => {
  const { a, b, run, json, totals } = await loadThree();
  expect(await json("undo", b, ...BECAUSE, "--no-refresh")).toEqual([
    {
      loadId: expect.any(Number),
      undoOf: Number(b),
      undone: "load",
      fileName: "b_2026-10-06.csv",
      rows: { removed: 1, corrected: 1, unchanged: 1, inserted: 0 },
      groups: 2,
      invoices: -1,
      total: "-100.00",
      partitions: ["2026-10"],
    },
  ]);
  expect((await run("status")).stdout).toContain("changes pending");
  expect(await totals()).toEqual(WITHOUT_B);
  expect(await json("undo", a, ...BECAUSE)).toMatchObject([{ partitions: ["2026-09", "2026-10"] }]);
  expect(await totals()).toEqual(["v1,2,10.00"]);
});

test("its file may be loaded again, as a new load", async () => {
  const { folder, b, run, json, load, totals, refusal, verify } = await loadThree();
  await json("undo", b, ...BECAUSE);
  const again = await load("b_2026-10-06.csv");
  expect(Number(again)).toBeGreaterThan(Number(b));
  expect(await totals()).toEqual(WITH_ALL);
  expect((await run("load", `${folder}/b_2026-10-06.csv`)).stdout).toContain(
    `was loaded already (load ${again})`,
  );
  expect(await refusal("undo", b, ...BECAUSE)).toMatch(new RegExp(`^rollbook: .*${b}.*undone`));
  await verify();
});

test("an undo is undone by its own number: then the load counts again, and can be undone again", async () => {
  const { b, run, json, totals, refusal, verify } = await loadThree();
  const [first] = await json("undo", b, ...BECAUSE);
  const undo = String(first?.loadId);
  const back = await run("undo", undo, "--because", "it was right");
  expect([back.code, back.stderr]).toEqual([0, ""]);
  const second = Number(undo) + 1;
  expect(back.stdout.split("\n")).toEqual([
    expect.stringMatching(new RegExp(`\\(undo ${undo}\\): undone \\(undo ${second}\\)$`)),
    "  1 invoice changes to what was undone",
    "  1 invoice comes back",
    "  1 invoice stays: another load says the same of it",
    "  2 groups, +1 invoice, +100.00 euros; 1 partition (2026-10)",
    "What it had taken back counts again.",
    "refreshed 1 partition (2026-10): 2 groups written",
    "",
  ]);
  expect(await totals()).toEqual(WITH_ALL);
  expect((await json("loads")).map(({ status }) => status)).toEqual([
    "undo",
    "undone",
    "loaded",
    "loaded",
    "loaded",
  ]);
  const listed = (await run("loads")).stdout;
  expect(listed).toContain(`load ${second}: undid ${undo}: it was right (`);
  expect(listed).toContain(`load ${undo}: undid ${b}: test system's file (`);
  expect(listed).toContain(`load ${undo}: undone by ${second}: it was right (`);
  expect(await refusal("undo", String(second), ...BECAUSE)).toContain(`undo ${b}`);
  await verify();
  const [third] = await json("undo", b, "--because", "wrong all the same");
  expect(await totals()).toEqual(WITHOUT_B);
  expect(await json("loads", "--load", b)).toMatchObject([
    { status: "undone", undoneBy: { loadId: third?.loadId, because: "wrong all the same" } },
  ]);
  await verify();
});

test("what cannot be undone is refused, and it says why and what to do", async () => {
  const { folder, b, run, json, load, refusal } = await loadThree();
  const rejected = writeDrop(folder, "r_2026-10-08.csv", ["x"]);
  const [report] = jsonLines((await run("load", rejected, "--json")).stdout);
  expect(await refusal("undo", String(report?.loadId), ...BECAUSE)).toMatch(/rejected/);
  expect(await refusal("undo", "4711", ...BECAUSE)).toMatch(/^rollbook: there is no .*4711/);
  const [first] = await json("undo", b, ...BECAUSE);
  expect(await refusal("undo", b, ...BECAUSE)).toMatch(new RegExp(`undone.*${first?.loadId}`));
  expect(await refusal("undo", b, "--dry-run")).toMatch(new RegExp(`undone.*${first?.loadId}`));
  const again = await load("b_2026-10-06.csv");
  expect(await refusal("undo", String(first?.loadId), ...BECAUSE)).toMatch(new RegExp(`undo ${again}`));
});

test("a load in a partition that is detached or dropped is refused by name", async () => {
  const { a, run, json, refusal, totals } = await loadThree();
  await run("partitions", "detach", "2026-09");
  expect(await refusal("undo", a, ...BECAUSE)).toMatch(/2026-09.*detached/);
  await run("partitions", "attach", "2026-09");
  expect(await json("undo", a, "--dry-run")).toMatchObject([{ undoOf: Number(a) }]);
  expect((await run("partitions", "drop", "2026-09", "--yes")).code).toBe(0);
  expect(await refusal("undo", a, ...BECAUSE)).toMatch(/2026-09.*dropped/);
  expect(await totals()).toEqual(WITH_ALL);
});

test("it asks why, and takes no empty answer", async () => {
  const { run, refusal, b, json } = await loadThree();
  const before = await json("loads");
  expect(await refusal("undo", b)).toBe("rollbook: why? Say it: --because TEXT. The ledger keeps it.\n");
  expect(await refusal("undo", b, "--because", " ")).toBe("rollbook: --because is empty. Say why.\n");
  expect(await refusal("undo", b, "--because", " ", "--dry-run")).toContain("--because is empty");
  for (const args of [[], ["x"], ["0"], ["1", "2"], ["1.5"]]) {
    expect((await run("undo", ...args, ...BECAUSE)).code).toBe(2);
  }
  expect(await json("loads")).toEqual(before);
});

test("a hostile reason is kept to the letter in JSON, and harmless for people", async () => {
  const { run, json, b } = await loadThree();
  // No argument of a command holds a zero byte.
  const because = HOSTILE_TEXTS.map(({ text }) => text.replaceAll("\0", ""))
    .join(" ")
    .trim();
  await json("undo", b, "--because", because);
  expect(await json("loads", "--load", b)).toMatchObject([{ undoneBy: { because } }]);
  for (const flags of [[], ["--json"]]) expect(unsafeIn((await run("loads", ...flags)).stdout)).toEqual([]);
});
