/** `report.html`, `summary.md` and `history.svg` of a run. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileWhole } from "../generator/sink.ts";
import type { Results } from "../results.ts";
import { createPage } from "./page.ts";
import { createLooks, drawNothing } from "./plots/draw.ts";
import { drawLines, findLines } from "./plots/lines.ts";
import { findSeries } from "./series.ts";
import { createSummary } from "./summary.ts";

export interface ReportOptions {
  /** Also of a run that is not through: what is missing is reported as not measured. */
  readonly results: Results;
  /** Made when missing. */
  readonly folder: string;
}

/** Writes the report; each file has its name only when it is whole. Returns the paths. */
export async function writeReport(options: ReportOptions): Promise<{ readonly files: readonly string[] }> {
  const { results, folder } = options;
  const contents = {
    "report.html": createPage(results),
    "summary.md": createSummary(results),
    "history.svg": createHistoryPlot(results),
  };
  await mkdir(folder, { recursive: true });
  const files: string[] = [];
  for (const [name, content] of Object.entries(contents)) {
    const path = join(folder, name);
    await writeFileWhole({ path, pages: [Buffer.from(content)], gzip: false });
    files.push(path);
  }
  return { files };
}

function createHistoryPlot(results: Results): string {
  const title = "Time from file to refreshed totals, by history";
  const series = findSeries(results, "history")[0];
  const lines = series === undefined ? [] : findLines(series, "refreshed");
  if (lines.length === 0) return drawNothing(title, "The run has one size of history.");
  const looks = createLooks(results.cells);
  return drawLines({
    name: "history",
    title,
    lines,
    xName: "invoices in the warehouse",
    yName: `median time from file to refreshed totals: ${series?.common}`,
    width: "wide",
    looks,
  });
}
