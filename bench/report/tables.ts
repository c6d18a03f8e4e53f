/** The page's tables: targets, the arms of a cell, the environment, and every sample. */
import type { ArmResult, CellResult, Results, Sample } from "../results.ts";
import { notMeasured } from "./figures.ts";
import { formatBytes, formatEuros, formatMs, formatRatio } from "./format.ts";
import { type Html, html } from "./html.ts";
import {
  describeStanding,
  MEASURE_NAMES,
  MEASURES,
  type Measure,
  measureArm,
  measureSample,
  ratio,
  referenceArm,
  type Spread,
  standing,
} from "./measures.ts";
import { checkTargets } from "./outcomes.ts";

type Row = readonly (string | Html)[];

/** Scrolls in a container of its own, also by keyboard. Columns of `text` tables wrap. */
function table(
  label: string,
  head: readonly string[],
  rows: readonly Row[],
  kind: "numbers" | "text" | "targets" = "numbers",
): Html {
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${label}"><table class="${kind}">
<thead><tr>${head.map((text) => html`<th scope="col">${text}</th>`)}</tr></thead>
<tbody>
${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>\n`)}</tbody></table></div>`;
}

export function showTargets(results: Results): Html {
  const reports = checkTargets(results);
  const count = (outcome: string) => reports.filter((report) => report.outcome === outcome).length;
  const missed = count("missed") + count("wrong totals");
  const rows = reports.map(({ title, bound, measured, outcome }) => {
    const mark = html`<span class="${outcome.replaceAll(" ", "-")}">${outcome}</span>`;
    return [title, bound, measured, mark];
  });
  return html`<p>${count("met")} met, ${missed} missed, ${count("not measured")} not measured in this run.</p>
${table("Targets", ["measure", "target", "measured", "outcome"], rows, "targets")}
<p class="note">Ratios of one cell are taken repetition by repetition, then their median (least to greatest in \
brackets); ratios of two cells are of medians.</p>`;
}

const CELL_HEAD = [
  "arm",
  ...MEASURES.map((measure) => MEASURE_NAMES[measure]),
  ...MEASURES.map((measure) => `ratio, ${MEASURE_NAMES[measure]}`),
  "totals",
];

/** Times and ratios of all arms of a cell. */
export function showArms(result: CellResult): Html {
  const reference = referenceArm(result);
  const keepsNone = (arm: ArmResult, measure: Measure) => arm.group === "floor" && measure === "exact";
  const rows = result.arms.map((arm) => [
    arm.title,
    ...MEASURES.map((measure) =>
      keepsNone(arm, measure) ? "keeps none" : formatSpread(measureArm(arm, measure)),
    ),
    ...MEASURES.map((measure) => (keepsNone(arm, measure) ? "" : formatFactor(arm, reference, measure))),
    formatVerdict(arm),
  ]);
  return html`<details><summary>Times and ratios</summary>${table(result.cell.id, CELL_HEAD, rows)}</details>
`;
}

function formatSpread(times: Spread | null): string {
  if (times === null) return "";
  const range = times.values.length > 1 ? ` (${formatMs(times.min)} to ${formatMs(times.max)})` : "";
  return `${formatMs(times.median)}${range}`;
}

function formatFactor(arm: ArmResult, reference: ArmResult | undefined, measure: Measure): string {
  if (reference === undefined || standing(arm) !== "right") return "";
  const factor = ratio(measureArm(arm, measure), measureArm(reference, measure));
  return factor === null ? "" : arm === reference ? "1x" : formatRatio(factor.median);
}

function formatVerdict(arm: ArmResult): Html {
  if (standing(arm) === "wrong") return html`<strong class="wrong">${describeStanding(arm)}</strong>`;
  if (arm.samples.length === 0) return html`${arm.unavailable ?? "not measured"}`;
  return html`${arm.verdict === null ? "not kept" : "exact"}`;
}

export function showEnvironment({ environment, startedAt, finishedAt }: Results): Html {
  const { cpu, cores, memoryBytes, os, node, postgres, duckdb, commit, server, settings } = environment;
  const facts: readonly Row[] = [
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
  return html`<p>Arms ran interleaved, so that noise hits all alike. Each arm starts after a checkpoint. \
Durability and all other settings are the same for all arms.</p>
${table("Machine and versions", ["what", "value"], facts, "text")}
<h3>PostgreSQL's settings</h3>
${table("PostgreSQL's settings", ["setting", "value"], Object.entries(settings), "text")}`;
}

export function formatDate(iso: string): string {
  return iso.replace("T", " ").replace(/(:\d\d)(\.\d+)?Z$/, "$1 UTC");
}

const SIZES = [
  ["WAL, bytes", "walBytes"],
  ["temporary, bytes", "tempBytes"],
  ["heap growth, bytes", "heapBytes"],
  ["index growth, bytes", "indexBytes"],
  ["Node's peak, bytes", "nodePeakBytes"],
  ["rows", "rows"],
  ["groups", "groups"],
] as const satisfies readonly (readonly [string, keyof Sample])[];

const SAMPLE_HEAD = [
  "cell",
  "arm",
  "sample",
  ...MEASURES.map((measure) => `${MEASURE_NAMES[measure]}, ms`),
  "phases, ms",
  ...SIZES.map(([name]) => name),
  "totals",
];

export function showSamples(results: Results): Html {
  const rows = results.cells.flatMap(({ cell, arms }) =>
    arms.flatMap((arm): Row[] =>
      arm.samples.length === 0
        ? [[cell.id, arm.title, "", ...SAMPLE_HEAD.slice(4).map(() => ""), arm.unavailable ?? "not measured"]]
        : arm.samples.map((sample, index) => [cell.id, ...listSample(arm, sample, index)]),
    ),
  );
  if (rows.length === 0) return notMeasured("Samples");
  return html`<details><summary>All ${rows.length} rows</summary>
${table("Every sample", SAMPLE_HEAD, rows)}</details>`;
}

function listSample(arm: ArmResult, sample: Sample, index: number): Row {
  const ms = (value: number | null) => value?.toFixed(1) ?? "";
  const { verdict } = arm;
  return [
    arm.title,
    String(index + 1),
    ...MEASURES.map((measure) => ms(measureSample(arm, sample, measure))),
    sample.phases.map((phase) => `${phase.name} ${ms(phase.ms)}`).join(", "),
    ...SIZES.map(([, size]) => String(sample[size] ?? "")),
    verdict?.exact === false
      ? html`<strong class="wrong">wrong: ${verdict.groups} groups, ${formatEuros(verdict.cents)}</strong>`
      : formatVerdict(arm),
  ];
}
