import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { explainErrors } from "../program/terminal.ts";
import type { ArmResult, Results } from "../results.ts";
import { run } from "./cli.ts";
import { formatEuros, formatMs, formatRatio } from "./format.ts";
import { escapeMarkdown, html } from "./html.ts";
import { measureArm, measureSample, ratio, spread } from "./measures.ts";
import { checkTargets } from "./outcomes.ts";
import { writeReport } from "./report.ts";
import { describeCrossovers, summarize } from "./sentences.ts";
import { findCrossover, findSeries, type Point } from "./series.ts";
import { TARGETS } from "./targets.ts";
import {
  createArm,
  createCell,
  createCellResult,
  createFullResults,
  createResults,
  createSample,
} from "./testing.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollbook-report-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function write(results: Results): Promise<Record<"page" | "summary" | "plot", string>> {
  await writeReport({ results, folder });
  return read();
}

async function read() {
  const readOne = (name: string) => readFile(join(folder, name), "utf8");
  return {
    page: await readOne("report.html"),
    summary: await readOne("summary.md"),
    plot: await readOne("history.svg"),
  };
}

function line(...values: readonly (readonly [number, number])[]): readonly Point[] {
  return values.map(([x, y]) => ({ x, y }));
}

describe("crossovers", () => {
  test("two lines cross where their logarithms do", () => {
    const falling = line([1, 100], [100, 1]);
    const rising = line([1, 1], [100, 100]);
    expect(findCrossover(falling, rising)).toEqual({
      kind: "crossing",
      at: expect.closeTo(10),
      cheaperAfter: "first",
    });
    expect(findCrossover(rising, falling)).toMatchObject({ kind: "crossing", cheaperAfter: "second" });
  });

  test("lines that do not cross within what was measured have no crossing", () => {
    const low = line([1, 1], [10, 2], [100, 3]);
    const high = line([1, 5], [10, 5], [100, 5]);
    expect(findCrossover(low, high)).toEqual({ kind: "none", cheaper: "first", from: 1, to: 100 });
    expect(findCrossover(high, low)).toEqual({ kind: "none", cheaper: "second", from: 1, to: 100 });
  });

  test("a crossing on a measured point is that point's", () => {
    const found = findCrossover(line([1, 1], [10, 2], [100, 3]), line([1, 2], [10, 2], [100, 2]));
    expect(found).toMatchObject({ kind: "crossing", cheaperAfter: "second" });
    expect(found.kind === "crossing" && found.at > 1 && found.at < 100).toBe(true);
  });

  test("one common point is not enough", () => {
    expect(findCrossover(line([1, 1], [10, 2]), line([10, 1], [100, 2]))).toEqual({ kind: "not measured" });
    expect(findCrossover([], [])).toEqual({ kind: "not measured" });
  });

  test("the sentences name the crossing, or that there is none", () => {
    const sentences = describeCrossovers(createFullResults()).join("\n");
    expect(sentences).toMatch(
      /from a history of about [\d.]+ M invoices on, DuckDB without dedupe is slower than ours/,
    );
    expect(sentences).toContain("not within what was measured");
    expect(describeCrossovers(createResults([])).every((text) => text.includes("not measured"))).toBe(true);
  });
});

describe("measures and ratios", () => {
  const sample = createSample({ hash: 1, stage: 2, commit: 3, refresh: 10 });

  test("our totals are exact before the refresh, those of others after it", () => {
    const ours = createArm("delta", "incremental", [sample]);
    const other = createArm("materialized_view", "other", [sample]);
    expect(measureSample(ours, sample, "exact")).toBe(6);
    expect(measureSample(other, sample, "exact")).toBe(16);
    expect(measureSample(other, sample, "refresh")).toBe(10);
    expect(measureArm(createArm("copy", "floor", [createSample({ copy: 5 })]), "refresh")).toBeNull();
  });

  test("ratios are taken repetition by repetition, then their median", () => {
    const factor = ratio(spread([10, 40, 90]), spread([10, 20, 30]));
    expect(factor).toMatchObject({ median: 2, min: 1, max: 3 });
  });

  test("arms with different numbers of samples are compared by the median", () => {
    expect(ratio(spread([10, 30]), spread([1, 10, 100]))).toMatchObject({ median: 2, min: 1, max: 3 });
    expect(ratio(null, spread([1]))).toBeNull();
    expect(ratio(spread([1]), spread([0]))).toBeNull();
  });

  test("a series holds the cells that differ in nothing else", () => {
    const [series, ...others] = findSeries(createFullResults(), "history");
    expect(series?.cells.map(({ cell }) => cell.history)).toEqual([1e6, 10e6]);
    expect(others).toEqual([]);
  });
});

describe("targets", () => {
  const cell = createCell("baseline");
  const copy = createArm(
    "copy",
    "floor",
    [100, 100, 100].map((ms) => createSample({ copy: ms })),
  );
  const delta = (stage: number, changes: Partial<ArmResult> = {}) =>
    createArm(
      "delta",
      "incremental",
      [1, 2, 3].map((refresh) => createSample({ stage, refresh })),
      changes,
    );
  const check = (...arms: readonly ArmResult[]) =>
    checkTargets(createResults([createCellResult(cell, arms)]))[0];

  test("a ratio within its bound meets it, one above misses it", () => {
    expect(check(delta(90), copy)).toMatchObject({
      bound: "<= 1x",
      measured: expect.stringMatching(/^0\.900x/),
      outcome: "met",
    });
    expect(check(delta(100.4), copy)).toMatchObject({
      measured: expect.stringMatching(/^1\.004x/),
      outcome: "missed",
    });
  });

  test("what was not measured is neither met nor missed", () => {
    expect(check(delta(90))).toMatchObject({ outcome: "not measured" });
    expect(checkTargets(createResults([])).map(({ outcome }) => outcome)).toEqual(
      TARGETS.map(() => "not measured"),
    );
  });

  test("wrong totals meet no target", () => {
    const wrong = delta(1, { verdict: { exact: false, groups: 1, cents: "1" } });
    expect(check(wrong, copy)).toMatchObject({ outcome: "wrong totals" });
  });

  test("a target over two cells compares their medians", () => {
    const cells = [
      createCellResult(cell, [delta(1)]),
      createCellResult(createCell("history", { history: 100e6 }), [delta(5)]),
    ];
    const report = checkTargets(createResults(cells)).find(({ title }) =>
      title.includes("100 M history against 10 M"),
    );
    expect(report).toMatchObject({ measured: "1.000x (0.500x to 1.500x)", outcome: "met" });
  });

  test("a run with all axes answers reads, files, backfill and memory", () => {
    const reports = checkTargets(createFullResults());
    for (const word of ["nothing pending", "rows pending", "1,000 drops", "backfill", "memory of Node"]) {
      for (const report of reports.filter(({ title }) => title.includes(word)))
        expect(report.outcome, report.title).toMatch(/^(met|missed)$/);
    }
  });
});

describe("a wrong arm", () => {
  const samples = [createSample({ copy: 1, refresh: 1 })];
  const wrong = createArm("lookback", "other", samples, {
    verdict: { exact: false, groups: 12, cents: "345678" },
  });
  const ours = createArm("delta", "incremental", [createSample({ stage: 50, refresh: 50 })]);
  const results = createResults([
    createCellResult(createCell("baseline"), [ours, wrong]),
    createCellResult(createCell("history", { history: 1e6 }), [ours, wrong]),
  ]);

  test("is called wrong, with its groups and euros", async () => {
    expect(summarize(results).join("\n")).toContain("wrong in 2 cells, at worst");
    const { page, summary } = await write(results);
    expect(page).toContain("wrong: 12 groups, 3,456.78 €");
    expect(summary).toContain("| lookback window of 3 days | wrong: 12 groups, 3,456.78 € |");
  });

  test("has no ratio, no bar and no line", async () => {
    const { page, summary, plot } = await write(results);
    expect(page).not.toContain("0.02x");
    expect(summary).not.toContain("0.02x");
    expect(plot).not.toContain("lookback");
    expect(page).toContain("Left out, because wrong: lookback window of 3 days.");
  });

  test("that is ours spoils the summary", () => {
    const broken = createArm("delta", "incremental", samples, {
      verdict: { exact: false, groups: 1, cents: "1" },
    });
    const [sentence] = summarize(createResults([createCellResult(createCell("baseline"), [broken])]));
    expect(sentence).toContain("Our own totals are wrong");
  });
});

describe("a partial run", () => {
  test("without cells says so, and draws nothing", async () => {
    const { page, summary, plot } = await write(createResults([], { finishedAt: null }));
    expect(page).toContain("This run is not through");
    expect(page).toContain("not measured");
    expect(page).not.toContain("<figure");
    expect(summary).toBe("Nothing was measured yet.\n");
    expect(plot).toContain("not measured");
  });

  test("with arms that have no samples, or are not available, draws no empty plot", async () => {
    const none = createArm("delta", "incremental", [], { verdict: null });
    const away = createArm("pg_ivm", "other", [], {
      unavailable: "not available here: no extension",
      verdict: null,
    });
    const { page } = await write(createResults([createCellResult(createCell("baseline"), [none, away])]));
    expect(page).not.toContain("<figure");
    expect(page).toContain("not available here: no extension");
  });

  test("with one history has bars, but no plot against history", async () => {
    const arms = [createArm("delta", "incremental", [createSample({ stage: 1, refresh: 1 })])];
    const { page, plot } = await write(createResults([createCellResult(createCell("baseline"), arms)]));
    expect(page).toContain('id="plot-cell-0"');
    expect(page).not.toContain('id="plot-history');
    expect(page).toContain("refresh alone against history: not measured");
    expect(plot).toContain("The run has one size of history.");
  });

  test("with times of zero, and without ours, is reported", async () => {
    const arms = [
      createArm("copy", "floor", [createSample({ copy: 0 })]),
      createArm("novel", "other", [createSample({ x: 3 })]),
    ];
    const cells = [createCell("baseline"), createCell("history", { history: 1 })].map((cell) =>
      createCellResult(cell, arms),
    );
    const { page } = await write(createResults(cells));
    expect(page).toContain("novel");
  });
});

describe("the files", () => {
  test("hold data as text, never as markup", async () => {
    const evil = `<script>alert("1")</script>|{a}`;
    const arm = createArm("delta", "incremental", [createSample({ [evil]: 5, refresh: 1 })], { title: evil });
    const cells = [1e6, 10e6].map((history) =>
      createCellResult(createCell("history", { history, id: `${evil}${history}` }), [arm]),
    );
    const results = createResults(cells, { profile: evil as "smoke" });
    const environment = { ...results.environment, cpu: evil, settings: { [evil]: evil } };
    const { page, summary, plot } = await write({ ...results, environment });
    for (const text of [page, plot, summary]) {
      expect(text.replaceAll("\\<", "")).not.toContain("<script");
      expect(text).toContain("alert(");
    }
  });

  test("of a full run have no script, name no address, hold every sample, come out the same again", async () => {
    const results = createFullResults();
    const { page, summary, plot } = await write(results);
    expect(page).not.toContain("<script");
    expect(new Set(page.match(/https?:\/\/[^"'\s<]+/g) ?? [])).toEqual(
      new Set(["http://www.w3.org/2000/svg"]),
    );
    const samples = results.cells.flatMap(({ arms }) => arms.map((arm) => Math.max(1, arm.samples.length)));
    expect(page).toContain(`All ${samples.reduce((sum, count) => sum + count, 0)} rows`);

    await writeFile(join(folder, "results.json"), JSON.stringify(results));
    expect(await run([folder])).toBe(0);
    expect(await read()).toEqual({ page, summary, plot });
    expect((await readdir(folder)).sort()).toEqual([
      "history.svg",
      "report.html",
      "results.json",
      "summary.md",
    ]);
  });

  test("are not written without results", async () => {
    expect(await explainErrors(() => run([folder]))).toBe(2);
    expect(await readdir(folder)).toEqual([]);
  });
});

test("numbers read well", () => {
  expect([0.04, 3.21, 999, 1234, 90_000, 720_000].map(formatMs)).toEqual([
    "0.04 ms",
    "3.21 ms",
    "999 ms",
    "1.23 s",
    "90 s",
    "12 min",
  ]);
  expect(["0", "7", "-1234567", "98765432109876543210"].map(formatEuros)).toEqual([
    "0.00 €",
    "0.07 €",
    "-12,345.67 €",
    "987,654,321,098,765,432.10 €",
  ]);
  expect([0.5, 1, 12.34, 1234].map(formatRatio)).toEqual(["0.5x", "1x", "12.3x", "1,234x"]);
  expect(escapeMarkdown("a|b\n<c> *d*")).toBe("a\\|b \\<c\\> \\*d\\*");
  expect(html`<p>${"<&\"'>"}</p>`.html).toBe("<p>&lt;&amp;&quot;&#39;&gt;</p>");
});
