import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { LIES, type Lie, type LieName } from "../../etl/testing/lies.ts";
import { NO_FIGURES } from "./simulate/figures.ts";
import type { Content } from "./simulate/history.ts";
import { addSeed, countSeeds, isDone, readRecord, writeRecord } from "./simulate/record.ts";
import { historyOf, type Lived, replay, simulate } from "./simulate/seeds.ts";

const SEEDS = 50;
const SIMULATE = fileURLToPath(new URL("./simulate.ts", import.meta.url));

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "rollbook-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function live(
  seeds: readonly number[],
  options: { readonly sites?: number; readonly shrinkMs?: number; readonly sabotage?: string } = {},
): Promise<readonly Lived[]> {
  const lived: Lived[] = [];
  const { sites = 2, shrinkMs = 0, sabotage } = options;
  await simulate({
    seeds,
    sites,
    shrinkMs,
    sabotage,
    failures: makeFolder(),
    onLived: (one) => {
      lived.push(one);
    },
  });
  return lived;
}

/** Drops that meet in their invoices, with absences, corrections and rejects; the last one is still to come. */
const LOADED = (() => {
  const lineOf = (invoice: number, day: number, cents: number) => ({
    venue: invoice % 2,
    invoice,
    day,
    second: 43_200,
    cents,
    comma: false,
    isVoid: false,
    form: 0,
  });
  const content = {
    lines: [lineOf(0, 1, 100), lineOf(1, 1, 200), lineOf(2, 2, 300), lineOf(3, -40, 400)],
    header: true,
    delimiter: ",",
    crlf: false,
    gzip: false,
    says: "nothing",
    spoiled: null,
  } as const;
  const contents: readonly Content[] = [
    content,
    { ...content, lines: [lineOf(0, 1, 150), lineOf(1, 1, 200), "bad_total", lineOf(4, 3, 500)] },
    { ...content, says: "void", lines: [{ ...lineOf(2, 2, 0), isVoid: true }, lineOf(3, -40, 450)] },
    { ...content, lines: [lineOf(7, 5, 700)] },
    { ...content, lines: [lineOf(5, 1, 600)] },
  ];
  const load = {
    do: "load",
    careful: false,
    strict: false,
    chunkLines: 5,
    replaces: null,
    fault: null,
  } as const;
  return {
    contents,
    // The second and the fourth are of one sync date.
    drops: [3, 4, 5, 4, 6].map((syncDay, index) => ({ content: index, syncDay, name: 0 })),
    steps: [[{ ...load, drop: 0 }], [{ ...load, drop: 1 }], [{ ...load, drop: 2 }], [{ ...load, drop: 3 }]],
  } as const;
})();

const failures = (lived: readonly Lived[]) =>
  lived.flatMap(({ seed, outcome }) => ("message" in outcome ? [`seed ${seed}: ${outcome.message}`] : []));

test(`the histories of seeds 1 to ${SEEDS} never differ from the model`, { timeout: 900_000 }, async () => {
  const lived = await live(Array.from({ length: SEEDS }, (_, index) => index + 1));
  expect(failures(lived)).toEqual([]);
  expect(lived).toHaveLength(SEEDS);
  const struck = new Set(
    lived.flatMap(({ outcome }) => Object.keys("faults" in outcome ? outcome.faults : {})),
  );
  for (const kind of [
    "load: kill",
    "load: crash",
    "load: terminate",
    "load: cut",
    "load: swallow",
    "error",
  ]) {
    expect(
      [...struck].filter((name) => name.startsWith(kind)),
      kind,
    ).not.toEqual([]);
  }
});

test("each lie of somebody with a loader's login is refused, changes nothing, or is named", {
  timeout: 300_000,
}, async () => {
  // What mends the others empties the queue.
  const emptied: LieName = "queue: deleted";
  const lies = [emptied, ...(Object.keys(LIES) as LieName[]).filter((lie) => lie !== emptied)];
  const { outcomes } = await replay({
    timeZone: "Europe/Berlin",
    granularity: "month",
    ...LOADED,
    steps: [
      ...LOADED.steps,
      ...lies.map((lie, about) => [{ do: "hostile", lie, about, when: "after", ms: 0 } as const]),
    ],
  });
  const count = (be: Lie["must"]["be"]) => lies.filter((lie) => LIES[lie].must.be === be).length;
  expect(outcomes).toMatchObject({
    "lie named": count("named"),
    "lie refused": count("refused"),
    "lie that changes nothing": count("nothing"),
  });
});

test("a defect of one cent is found, and its history made smaller", { timeout: 600_000 }, async () => {
  const sabotage = `
    create function public.defect() returns trigger language plpgsql as $$
    begin
      new.total := new.total + 0.01;
      return new;
    end $$;
    create trigger defect before insert on warehouse.venue_day_pending
      for each row when (new.total > 150) execute function public.defect();`;
  const lived = await live([2], { sites: 1, shrinkMs: 60_000, sabotage });
  const [{ outcome } = { outcome: NO_FIGURES }] = lived;
  if (!("message" in outcome)) throw new Error("the defect was not found");
  expect(outcome.message).toMatch(/rollup and pending|reports/);
  const kept = JSON.parse(readFileSync(outcome.kept, "utf8"));
  expect(kept.steps).toHaveLength(outcome.steps);
  // How much smaller depends on how many could be tried in that time.
  expect(JSON.stringify(kept).length).toBeLessThan(JSON.stringify(historyOf(2)).length);
});

test("a seed makes the same history in every process, and a history in a file is lived through", {
  timeout: 600_000,
}, async () => {
  const run = (...args: readonly string[]) =>
    promisify(execFile)(process.execPath, ["--import", import.meta.resolve("tsx"), SIMULATE, ...args]);
  const printed = await run("--print", "--from", "10");
  expect(JSON.parse(printed.stdout)).toEqual(JSON.parse(JSON.stringify(historyOf(10))));
  const file = join(makeFolder(), "history.json");
  writeFileSync(file, printed.stdout);
  const lived = await run("--history", file, "--json");
  expect(JSON.parse(lived.stdout)).toMatchObject({
    histories: 1,
    failed: [],
    steps: historyOf(10).steps.length,
  });
});

test("a record keeps the seeds that were lived through, over sittings", async () => {
  const path = join(makeFolder(), "record.json");
  let record = readRecord(path);
  for (const seed of [3, 1, 2, 7])
    record = addSeed(record, { seed, commit: "a", outcome: { ...NO_FIGURES, steps: 2 } });
  record = addSeed(record, { seed: 8, commit: "b", outcome: { seed: 8, message: "differs" } });
  writeRecord(path, record);
  const again = readRecord(path);
  expect(again).toEqual({
    version: 1,
    seeds: [
      [1, 3],
      [7, 8],
    ],
    commits: ["a", "b"],
    figures: { ...NO_FIGURES, steps: 8 },
    failures: [{ seed: 8, message: "differs" }],
  });
  expect(countSeeds(again)).toBe(5);
  expect([1, 4, 8].map((seed) => isDone(again, seed))).toEqual([true, false, false]);
  const mended = addSeed(again, { seed: 8, commit: "c", outcome: { ...NO_FIGURES, steps: 1 } });
  expect(mended).toMatchObject({ seeds: again.seeds, figures: { steps: 9 }, failures: [] });
  expect(isDone(mended, 8)).toBe(true);
  writeFileSync(path, "{}");
  expect(() => readRecord(path)).toThrow("is no record of a simulation");
});
