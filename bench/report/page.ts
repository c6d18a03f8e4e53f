/** The HTML page of the report: one file, no script, no network. */
import type { ArmResult, CellResult, Results, Sample } from "../results.ts";
import {
  formatBytes,
  formatCount,
  formatEuros,
  formatMs,
  formatRatio,
  type Html,
  html,
  trusted,
} from "./format.ts";
import {
  type Along,
  findSeries,
  MEASURE_NAMES,
  MEASURES,
  type Measure,
  mainCell,
  measureArm,
  measureSample,
  OURS,
  ratio,
  referenceArm,
  type Spread,
  standing,
} from "./measures.ts";
import {
  createLooks,
  describeStanding,
  drawLines,
  drawPhases,
  drawRatios,
  drawWal,
  findLines,
  phaseColors,
  stackArm,
  WIDTHS,
  type Width,
} from "./plots.ts";
import { describeCrossovers, summarize } from "./sentences.ts";
import { STYLE } from "./style.ts";
import { checkTargets } from "./targets.ts";

type Looks = ReturnType<typeof createLooks>;

export function createPage(results: Results): string {
  const looks = createLooks(results.cells);
  const main = mainCell(results);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rollbook benchmark, profile ${results.profile}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<main>
<h1>Rollbook benchmark</h1>
<p class="lead">Profile ${results.profile}, commit ${results.environment.commit}, ${formatDate(results.startedAt)}${
    results.finishedAt === null
      ? html`. <strong>This run is not through: what is missing is missing here.</strong>`
      : html` to ${formatDate(results.finishedAt)}.`
  }</p>
<nav aria-label="Contents">${NAVIGATION.map(([id, name]) => html`<a href="#${id}">${name}</a> `)}</nav>
${section(
  "summary",
  "Summary",
  html`<ul class="sentences">${summarize(results).map((text) => html`<li>${text}</li>`)}</ul>
<p class="note">All times are medians of wall-clock time. ${
    main === undefined ? "" : html`Where nothing else is said, the cell is <b>${main.cell.id}</b>.`
  }</p>`,
)}
${section("targets", "Targets", showTargets(results))}
${section("history", "Time against history", html`${showLines(results, looks, "history", "refresh")}${showLines(results, looks, "history", "refreshed")}`)}
${section("batch", "Time against batch", html`${showLines(results, looks, "batch", "refresh")}${showLines(results, looks, "batch", "refreshed")}`)}
${section(
  "crossovers",
  "Crossover points",
  html`<ul class="sentences">${describeCrossovers(results).map((text) => html`<li>${text}</li>`)}</ul>
<p class="note">Interpolated on straight lines through the logarithms of neighbouring measured points, never beyond them.</p>`,
)}
${section("phases", "Where the time goes", showPhases(results, main))}
${section("wal", "Write-ahead log", main === undefined ? notMeasured("WAL by arm") : showWal(main, looks))}
${section(
  "cells",
  "Every cell",
  results.cells.length === 0
    ? notMeasured("Ratios by cell")
    : html`<p class="note">Time from file to refreshed totals as a multiple of ours, on a logarithmic scale that starts at 1: bars to the right are slower, to the left faster.
The bar ends at the median, the whisker goes from the least to the greatest. Ratios are taken repetition by repetition where both arms have as many samples (they ran interleaved), then their median. Wrong arms have no bar. Floors keep no totals.</p>
${results.cells.map((result, index) => showCell(result, index, looks))}`,
)}
${section("environment", "What ran where", showEnvironment(results))}
${section("raw", "Every number", showRaw(results))}
</main>
</body>
</html>
`;
  return page.html;
}

const NAVIGATION = [
  ["summary", "Summary"],
  ["targets", "Targets"],
  ["history", "History"],
  ["batch", "Batch"],
  ["crossovers", "Crossovers"],
  ["phases", "Phases"],
  ["wal", "WAL"],
  ["cells", "Cells"],
  ["environment", "Environment"],
  ["raw", "Numbers"],
] as const;

function section(id: string, title: string, content: Html): Html {
  return html`<section id="${id}" aria-labelledby="${id}-heading"><h2 id="${id}-heading">${title}</h2>
${content}
</section>
`;
}

function notMeasured(what: string, why = ""): Html {
  return html`<p class="missing">${what}: not measured. ${why}</p>`;
}

/** Draws once for wide and once for narrow screens; the style sheet shows one of them. */
function figure(
  title: string,
  name: string,
  draw: (name: string, width: Width) => string | null,
  legend?: Html,
): Html {
  const drawn = (Object.keys(WIDTHS) as Width[]).flatMap((width) => {
    const svg = draw(`${name}-${width}`, width);
    return svg === null ? [] : [html`<div class="${width}">${trusted(svg)}</div>`];
  });
  if (drawn.length === 0) return notMeasured(title);
  return html`<figure class="plot" id="plot-${name}"><figcaption>${title}</figcaption>${drawn}${legend}</figure>`;
}

function showLines(results: Results, looks: Looks, along: Along, measure: Measure): Html {
  const all = findSeries(results, along);
  const title = `${MEASURE_NAMES[measure]} against ${along}`;
  if (all.length === 0) return notMeasured(title, `The run has one size of ${along}.`);
  const plots = all.map((series, index) => {
    const lines = findLines(series, measure);
    const full = `${capitalize(title)}: ${series.common}`;
    if (lines.length === 0) return notMeasured(full, "No arm was right at two sizes.");
    const xName = along === "history" ? "invoices in the warehouse" : "invoices in the batch";
    const wrong = series.cells.flatMap(({ arms }) =>
      arms.filter((arm) => standing(arm) === "wrong").map((arm) => arm.title),
    );
    const legend = html`<ul class="legend narrow">${lines.map(({ arm }) => {
      const { color, dash } = looks(arm);
      return html`<li><span class="line" style="border-top: 3px ${dash} ${color}"></span>${arm.title}</li>`;
    })}</ul>${wrong.length === 0 ? "" : html`<p class="note">Left out, because wrong: ${[...new Set(wrong)].join("; ")}.</p>`}`;
    const name = `${along}-${measure}-${index}`;
    const drawOne = (id: string, width: Width) =>
      drawLines({ name: id, title: full, lines, xName, width, looks });
    return figure(full, name, drawOne, legend);
  });
  return html`${plots}`;
}

function showTargets(results: Results): Html {
  const reports = checkTargets(results);
  const count = (outcome: string) => reports.filter((report) => report.outcome === outcome).length;
  return html`<p>${count("met")} met, ${count("missed") + count("wrong totals")} missed, ${count("not measured")} not measured in this run.</p>
${table(
  "Targets",
  ["measure", "target", "measured", "outcome"],
  reports.map(({ title, bound, measured, outcome }) => [
    title,
    bound,
    measured,
    html`<span class="${outcome.replaceAll(" ", "-")}">${outcome}</span>`,
  ]),
  "targets",
)}
<p class="note">Ratios of one cell are taken repetition by repetition, then their median (least to greatest in brackets); ratios of two cells are of medians.</p>`;
}

function showPhases(results: Results, main: CellResult | undefined): Html {
  const fast = main?.arms.filter((arm) => arm.group === "incremental" || arm.group === "floor") ?? [];
  const byArm = fast.map((arm) => stackArm(arm.title, arm));
  const byCell = results.cells.map((result) =>
    stackArm(
      result.cell.id,
      result.arms.find(({ arm }) => arm === OURS),
    ),
  );
  const legend = (stacks: typeof byArm) =>
    html`<ul class="legend">${[...phaseColors(stacks)].map(
      ([phase, color]) => html`<li><span class="box" style="background: ${color}"></span>${phase}</li>`,
    )}</ul>`;
  const armTitle = `Phases of ours and of the floors: ${main?.cell.id ?? ""}`;
  const cellTitle = "Phases of ours in every cell, as shares of the whole";
  return html`${figure(armTitle, "phases-arms", (name, width) => drawPhases({ name, title: armTitle, stacks: byArm, width, shares: false }), legend(byArm))}
${figure(cellTitle, "phases-cells", (name, width) => drawPhases({ name, title: cellTitle, stacks: byCell, width, shares: true }), legend(byCell))}`;
}

function showWal(main: CellResult, looks: Looks): Html {
  const title = `WAL written, median with least and greatest: ${main.cell.id}`;
  return figure(title, "wal", (name, width) => drawWal({ name, result: main, width, looks }));
}

function showCell(result: CellResult, index: number, looks: Looks): Html {
  const { cell, arms } = result;
  const reference = referenceArm(result);
  const title = reference === undefined ? "Ratios" : `Time as a multiple of ${reference.title}`;
  const rows = arms.map((arm) => [
    arm.title,
    ...MEASURES.map((measure) =>
      arm.group === "floor" && measure === "exact" ? "keeps none" : tellSpread(measureArm(arm, measure)),
    ),
    ...MEASURES.map((measure) => tellRatio(arm, reference, measure)),
    tellVerdict(arm),
  ]);
  return html`<h3 id="cell-${index}">${cell.id}</h3>
<p>${describeSize(result)}</p>
${figure(title, `cell-${index}`, (name, width) => drawRatios({ name, result, width, looks }))}
<details><summary>Times and ratios</summary>${table(
    cell.id,
    [
      "arm",
      ...MEASURES.map((measure) => MEASURE_NAMES[measure]),
      ...MEASURES.map((measure) => `ratio, ${MEASURE_NAMES[measure]}`),
      "totals",
    ],
    rows,
  )}</details>
`;
}

function describeSize({ cell, arms }: CellResult): string {
  const samples = arms.map((arm) => arm.samples.length).filter((count) => count > 0);
  const runs = samples.length === 0 ? "no samples" : tellRange(samples);
  const files = `${formatCount(cell.files)} ${cell.files === 1 ? "file" : "files"}, ${cell.loaders} ${cell.loaders === 1 ? "loader" : "loaders"}`;
  const axis = cell.axis === "baseline" ? "The baseline" : `Varies ${cell.axis}`;
  return `${axis}: history ${formatCount(cell.history)}, ${cell.axis === "reads" ? "pending" : "batch"} ${formatCount(cell.batch)}, late ${cell.lateness}, partitions by ${cell.granularity}, corrections ${cell.corrections * 100} %, ${files}; ${runs}.`;
}

function tellRange(samples: readonly number[]): string {
  const [least, most] = [Math.min(...samples), Math.max(...samples)];
  return `${least === most ? most : `${least} to ${most}`} ${most === 1 ? "sample" : "samples"} an arm`;
}

function tellSpread(times: Spread | null): string {
  if (times === null) return "";
  const range = times.values.length > 1 ? ` (${formatMs(times.min)} to ${formatMs(times.max)})` : "";
  return `${formatMs(times.median)}${range}`;
}

function tellRatio(arm: ArmResult, reference: ArmResult | undefined, measure: Measure): string {
  if (reference === undefined || standing(arm) !== "right") return "";
  if (arm.group === "floor" && measure === "exact") return "";
  const factor = ratio(measureArm(arm, measure), measureArm(reference, measure));
  return factor === null ? "" : arm === reference ? "1x" : formatRatio(factor.median);
}

function tellVerdict(arm: ArmResult): Html {
  if (standing(arm) === "wrong") return html`<strong class="wrong">${describeStanding(arm)}</strong>`;
  if (arm.samples.length === 0) return html`${arm.unavailable ?? "not measured"}`;
  return html`${arm.verdict === null ? "not kept" : "exact"}`;
}

function showEnvironment({ environment, startedAt, finishedAt }: Results): Html {
  const { cpu, cores, memoryBytes, os, node, postgres, duckdb, commit, server, settings } = environment;
  const facts: readonly (readonly [string, string])[] = [
    ["CPU", `${cpu}, ${cores} ${cores === 1 ? "core" : "cores"}`],
    ["memory", formatBytes(memoryBytes)],
    ["system", os],
    ["Node", node],
    ["PostgreSQL", `${postgres}, ${server}`],
    ["DuckDB", duckdb],
    ["commit", commit],
    ["started", formatDate(startedAt)],
    ["finished", finishedAt === null ? "not yet" : formatDate(finishedAt)],
  ];
  return html`<p>Arms ran interleaved, so that noise hits all alike. Each arm starts after a checkpoint. Durability and all other settings are the same for all arms.</p>
${table("Machine and versions", ["what", "value"], facts, "text")}
<h3>PostgreSQL's settings</h3>
${table("PostgreSQL's settings", ["setting", "value"], Object.entries(settings), "text")}`;
}

const RAW_HEAD = [
  "cell",
  "arm",
  "sample",
  ...MEASURES.map((measure) => `${MEASURE_NAMES[measure]}, ms`),
  "phases, ms",
  "WAL, bytes",
  "temporary, bytes",
  "heap growth, bytes",
  "index growth, bytes",
  "Node's peak, bytes",
  "rows",
  "groups",
  "totals",
];

function showRaw(results: Results): Html {
  const rows = results.cells.flatMap(({ cell, arms }) =>
    arms.flatMap((arm) =>
      arm.samples.length === 0
        ? [[cell.id, arm.title, "", ...RAW_HEAD.slice(4).map(() => ""), arm.unavailable ?? "not measured"]]
        : arm.samples.map((sample, index) => listSample(cell.id, arm, sample, index)),
    ),
  );
  if (rows.length === 0) return notMeasured("Samples");
  return html`<details><summary>All ${rows.length} rows</summary>
${table("Every sample", RAW_HEAD, rows)}</details>`;
}

function listSample(cell: string, arm: ArmResult, sample: Sample, index: number): readonly (string | Html)[] {
  const ms = (value: number | null) => (value === null ? "" : value.toFixed(1));
  const { walBytes, tempBytes, heapBytes, indexBytes, nodePeakBytes, rows, groups } = sample;
  const sizes = [walBytes, tempBytes, heapBytes, indexBytes, nodePeakBytes, rows, groups];
  return [
    cell,
    arm.title,
    String(index + 1),
    ...MEASURES.map((measure) => ms(measureSample(arm, sample, measure))),
    sample.phases.map((phase) => `${phase.name} ${ms(phase.ms)}`).join(", "),
    ...sizes.map((size) => (size === null ? "" : String(size))),
    arm.verdict !== null && !arm.verdict.exact
      ? html`<strong class="wrong">wrong: ${arm.verdict.groups} groups, ${formatEuros(arm.verdict.cents)}</strong>`
      : tellVerdict(arm),
  ];
}

/** Scrolls in a container of its own, also by keyboard. Columns of `text` tables wrap. */
function table(
  label: string,
  head: readonly string[],
  rows: readonly (readonly (string | Html)[])[],
  kind: "numbers" | "text" | "targets" = "numbers",
): Html {
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${label}"><table class="${kind}">
<thead><tr>${head.map((text) => html`<th scope="col">${text}</th>`)}</tr></thead>
<tbody>
${rows.map(
  (row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>
`,
)}</tbody></table></div>`;
}

function formatDate(iso: string): string {
  return iso.replace("T", " ").replace(/(:\d\d)(\.\d+)?Z$/, "$1 UTC");
}

function capitalize(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
