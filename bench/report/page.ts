/** The HTML page of the report: one file, no script, no network. */
import type { CellResult, Results } from "../results.ts";
import { notMeasured, showLines, showPhases, showRatios, showWal } from "./figures.ts";
import { formatCount } from "./format.ts";
import { type Html, html, trusted } from "./html.ts";
import { mainCell, referenceArm } from "./measures.ts";
import { createLooks, type Looks } from "./plots/draw.ts";
import { describeCrossovers, summarize } from "./sentences.ts";
import { STYLE } from "./style.ts";
import { formatDate, showArms, showEnvironment, showSamples, showTargets } from "./tables.ts";

interface Shown {
  readonly results: Results;
  readonly main: CellResult | undefined;
  readonly looks: Looks;
}

interface Section {
  readonly id: string;
  /** In the list of contents. */
  readonly name: string;
  readonly title: string;
  readonly show: (shown: Shown) => Html;
}

const SECTIONS: readonly Section[] = [
  { id: "summary", name: "Summary", title: "Summary", show: showSummary },
  { id: "targets", name: "Targets", title: "Targets", show: ({ results }) => showTargets(results) },
  {
    id: "history",
    name: "History",
    title: "Time against history",
    show: ({ results, looks }) =>
      html`${(["refresh", "refreshed"] as const).map((time) => showLines(results, looks, "history", time))}`,
  },
  {
    id: "batch",
    name: "Batch",
    title: "Time against batch",
    show: ({ results, looks }) =>
      html`${(["refresh", "refreshed"] as const).map((time) => showLines(results, looks, "batch", time))}`,
  },
  { id: "crossovers", name: "Crossovers", title: "Crossover points", show: showCrossovers },
  {
    id: "phases",
    name: "Phases",
    title: "Where the time goes",
    show: ({ results, main }) => showPhases(results, main),
  },
  {
    id: "wal",
    name: "WAL",
    title: "Write-ahead log",
    show: ({ main, looks }) => (main === undefined ? notMeasured("WAL by arm") : showWal(main, looks)),
  },
  { id: "cells", name: "Cells", title: "Every cell", show: showCells },
  {
    id: "environment",
    name: "Environment",
    title: "What ran where",
    show: ({ results }) => showEnvironment(results),
  },
  { id: "raw", name: "Numbers", title: "Every number", show: ({ results }) => showSamples(results) },
];

export function createPage(results: Results): string {
  const { profile, environment, startedAt, finishedAt } = results;
  const shown = { results, main: mainCell(results), looks: createLooks(results.cells) };
  const end =
    finishedAt === null
      ? html`. <strong>This run is not through: what is missing is missing here.</strong>`
      : html` to ${formatDate(finishedAt)}.`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rollbook benchmark, profile ${profile}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<main>
<h1>Rollbook benchmark</h1>
<p class="lead">Profile ${profile}, commit ${environment.commit}, ${formatDate(startedAt)}${end}</p>
<nav aria-label="Contents">${SECTIONS.map(({ id, name }) => html`<a href="#${id}">${name}</a> `)}</nav>
${SECTIONS.map(
  ({ id, title, show }) => html`<section id="${id}" aria-labelledby="${id}-heading">\
<h2 id="${id}-heading">${title}</h2>
${show(shown)}
</section>

`,
)}</main>
</body>
</html>
`.html;
}

function list(sentences: readonly string[]): Html {
  return html`<ul class="sentences">${sentences.map((text) => html`<li>${text}</li>`)}</ul>`;
}

function showSummary({ results, main }: Shown): Html {
  const cell = main && html`Where nothing else is said, the cell is <b>${main.cell.id}</b>.`;
  return html`${list(summarize(results))}
<p class="note">All times are medians of wall-clock time. ${cell}</p>`;
}

function showCrossovers({ results }: Shown): Html {
  return html`${list(describeCrossovers(results))}
<p class="note">Interpolated on straight lines through the logarithms of neighbouring measured points, never \
beyond them.</p>`;
}

function showCells({ results, looks }: Shown): Html {
  if (results.cells.length === 0) return notMeasured("Ratios by cell");
  return html`<p class="note">Time from file to refreshed totals as a multiple of ours, on a logarithmic scale \
that starts at 1: bars to the right are slower, to the left faster.
The bar ends at the median, the whisker goes from the least to the greatest. Ratios are taken repetition by \
repetition where both arms have as many samples (they ran interleaved), then their median. Wrong arms have no \
bar. Floors keep no totals.</p>
${results.cells.map((result, index) => showCell(result, index, looks))}`;
}

function showCell(result: CellResult, index: number, looks: Looks): Html {
  const reference = referenceArm(result);
  const title = reference === undefined ? "Ratios" : `Time as a multiple of ${reference.title}`;
  return html`<h3 id="cell-${index}">${result.cell.id}</h3>
<p>${describeSize(result)}</p>
${showRatios(title, `cell-${index}`, result, looks)}
${showArms(result)}`;
}

function describeSize({ cell, arms }: CellResult): string {
  const { axis, history, batch, lateness, granularity, corrections, files, loaders } = cell;
  const counts = arms.map((arm) => arm.samples.length).filter((count) => count > 0);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const samples = `${least === most ? most : `${least} to ${most}`} ${most === 1 ? "sample" : "samples"} an arm`;
  const parts = [
    `history ${formatCount(history)}`,
    `${axis === "reads" ? "pending" : "batch"} ${formatCount(batch)}`,
    `late ${lateness}`,
    `partitions by ${granularity}`,
    `corrections ${corrections * 100} %`,
    `${formatCount(files)} ${files === 1 ? "file" : "files"}`,
    `${loaders} ${loaders === 1 ? "loader" : "loaders"}`,
  ];
  const what = axis === "baseline" ? "The baseline" : `Varies ${axis}`;
  return `${what}: ${parts.join(", ")}; ${counts.length === 0 ? "no samples" : samples}.`;
}
