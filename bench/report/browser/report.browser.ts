/** The report in a real browser: in `npm run test:all`. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launchChromium } from "../../../db/testing/chromium.ts";
import type { Results } from "../../results.ts";
import { standing } from "../measures.ts";
import { writeReport } from "../report.ts";
import { createFullResults, createResults } from "../testing.ts";
import { PROBE, type Probe } from "./probe.ts";

let browser: Browser;
let folder: string;

beforeAll(async () => {
  browser = await launchChromium();
  folder = await mkdtemp(join(tmpdir(), "rollbook-report-"));
});

afterAll(async () => {
  await browser?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

interface Seen extends Probe {
  readonly complaints: readonly string[];
  readonly requests: readonly string[];
}

async function look(results: Results, width: number): Promise<Seen> {
  const { files } = await writeReport({ results, folder });
  const url = pathToFileURL(files.find((file) => file.endsWith("report.html")) ?? "").href;
  const page = await browser.newPage({ viewport: { width, height: 900 } });
  try {
    const complaints: string[] = [];
    const requests: string[] = [];
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => requests.push(request.url()));
    await page.goto(url, { waitUntil: "load" });
    const probe = await page.evaluate<Probe>(PROBE);
    // Set to look at the report oneself.
    const shots = process.env.ROLLBOOK_SCREENSHOTS;
    if (shots !== undefined)
      await page.screenshot({
        path: join(shots, `report-${results.cells.length}-${width}.png`),
        fullPage: true,
      });
    return { ...probe, complaints, requests: requests.filter((request) => request !== url) };
  } finally {
    await page.close();
  }
}

const PLOTS = [
  "plot-history-refresh-0",
  "plot-history-refreshed-0",
  "plot-batch-refresh-0",
  "plot-batch-refreshed-0",
  "plot-phases-arms",
  "plot-phases-cells",
  "plot-wal",
];

describe.each([1280, 390])("at %i pixels", (width) => {
  let seen: Seen;
  beforeAll(async () => {
    seen = await look(createFullResults(), width);
  });

  test("the browser has nothing to complain about and fetches nothing", () => {
    expect(seen.complaints).toEqual([]);
    expect(seen.requests).toEqual([]);
  });

  test("every plot is there, once, with marks and a title", () => {
    const { cells } = createFullResults();
    expect(seen.plots.map(({ id }) => id)).toEqual([
      ...PLOTS,
      ...cells.map((_, index) => `plot-cell-${index}`),
    ]);
    // Bars of floors are grey, and an arm that is wrong or not available has none.
    const bars = cells.map(({ arms }) =>
      arms.filter((arm) => standing(arm) === "right" && arm.group !== "floor"),
    );
    const least = [...PLOTS.map(() => 2), ...bars.map(({ length }) => length)];
    for (const [index, plot] of seen.plots.entries()) {
      expect(plot, plot.id).toMatchObject({ shown: 1, title: expect.stringMatching(/\w/) });
      expect(plot.width, plot.id).toBeGreaterThan(300);
      expect(plot.height, plot.id).toBeGreaterThan(80);
      expect(plot.marks, plot.id).toBeGreaterThanOrEqual(least[index] ?? 1);
    }
  });

  test("nothing is wider than the screen, and no plot cuts its text", () => {
    expect(seen.viewportWidth).toBe(width);
    expect(seen.documentWidth).toBeLessThanOrEqual(width);
    expect(seen.tooWide).toEqual([]);
    expect(seen.cutText).toEqual([]);
  });

  test("no text is smaller than 11 pixels", () => {
    expect(seen.smallText).toEqual([]);
  });

  test("the headings are there", () => {
    expect(seen.headings).toEqual([
      "Rollbook benchmark",
      "Summary",
      "Targets",
      "Time against history",
      "Time against batch",
      "Crossover points",
      "Where the time goes",
      "Write-ahead log",
      "Every cell",
      "What ran where",
      "Every number",
    ]);
  });
});

test("a run without any cell has a page without plots", async () => {
  const seen = await look(createResults([]), 390);
  expect(seen.complaints).toEqual([]);
  expect(seen.plots).toEqual([]);
  expect(seen.documentWidth).toBeLessThanOrEqual(390);
});
