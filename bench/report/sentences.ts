/** The run in plain sentences, for those who do not read plots. */
import type { ArmResult, Cell, CellResult, Results, Verdict } from "../results.ts";
import { formatCount, formatEuros, formatMs, formatNumber, formatRatio, formatShare } from "./format.ts";
import {
  findArm,
  type Measure,
  mainCell,
  measureRight,
  OURS,
  ratio,
  type Spread,
  standing,
} from "./measures.ts";
import { type Crossover, findCrossover, findSeries, points, type Series } from "./series.ts";

/** What the run shows, the most important first. Never compares with an arm that is wrong. */
export function summarize(results: Results): readonly string[] {
  const main = mainCell(results);
  if (main === undefined) return ["Nothing was measured yet."];
  return [
    describeOurs(main),
    ...describeOthers(main),
    ...describeGrowth(results),
    ...describeWrong(results),
    ...describeUnavailable(results),
  ];
}

function describeOurs({ cell, arms }: CellResult): string {
  const history = formatCount(cell.history);
  const delta = arms.find(({ arm }) => arm === OURS);
  if (delta === undefined) return `The arm ${OURS} was not measured at ${history} invoices.`;
  if (standing(delta) === "wrong") return "Our own totals are wrong: see below. Nothing else here counts.";
  const all = measureRight(delta, "refreshed");
  const exact = measureRight(delta, "exact");
  const refresh = measureRight(delta, "refresh");
  if (all === null || exact === null)
    return `The arm ${OURS} was not measured: ${delta.unavailable ?? "no samples"}.`;
  const rollup =
    refresh === null ? "" : `, and the refresh of the rollup took ${formatMs(refresh.median)} of it`;
  return (
    `With ${history} invoices in the warehouse, a batch of ${formatCount(cell.batch)} was in the totals, ` +
    `file to end, after ${formatMs(all.median)}; the views were exact after ${formatMs(exact.median)}${rollup}.`
  );
}

/** Others beside ours. */
const COMPARISONS: readonly (readonly [arm: string, measure: Measure, sentence: string])[] = [
  ["full", "refresh", "A full rebuild instead of that refresh took TIME: FACTOR."],
  ["materialized_view", "refresh", "PostgreSQL's refresh materialized view took TIME: FACTOR."],
  [
    "duckdb_dedupe",
    "refreshed",
    "DuckDB, with the same dedupe and everything recomputed, took TIME file to end: FACTOR.",
  ],
  [
    "copy",
    "refreshed",
    "Bare COPY of the same rows, which checks nothing and keeps no totals, took TIME: FACTOR file to end.",
  ],
];

function describeOthers(main: CellResult): string[] {
  return COMPARISONS.flatMap(([arm, measure, sentence]) => {
    const time = measureRight(findArm(main, arm), measure);
    const factor = ratio(time, measureRight(findArm(main, OURS), measure));
    if (time === null || factor === null) return [];
    return [sentence.replace("TIME", formatMs(time.median)).replace("FACTOR", describeFactor(factor))];
  });
}

/** `24x as long as ours (22x to 25x)`. */
function describeFactor({ median, min, max, values }: Spread): string {
  const range = values.length > 1 ? ` (${formatRatio(min)} to ${formatRatio(max)})` : "";
  return `${formatRatio(median)} as long as ours${range}`;
}

function describeGrowth(results: Results): string[] {
  const series = findSeries(results, "history")[0];
  if (series === undefined) return [];
  return [OURS, "full"].flatMap((arm) => {
    const line = points(series, arm, "refresh");
    const [first, last] = [line[0], line.at(-1)];
    if (first === undefined || last === undefined || last.x <= first.x) return [];
    const name = arm === OURS ? "our refresh" : "a full rebuild";
    const sizes = `From ${formatCount(first.x)} to ${formatCount(last.x)} invoices of history`;
    const times = `from ${formatMs(first.y)} to ${formatMs(last.y)}, ${formatRatio(last.y / first.y)}`;
    return [`${sizes}, ${formatRatio(last.x / first.x)} as many, ${name} went ${times}.`];
  });
}

/** One sentence for each arm that was wrong anywhere: in how many cells, and the worst of them. */
function describeWrong(results: Results): string[] {
  const wrong = new Map<string, { arm: ArmResult; verdict: Verdict; cell: Cell }[]>();
  for (const { cell, arms } of results.cells) {
    for (const arm of arms) {
      if (arm.verdict === null || standing(arm) !== "wrong") continue;
      wrong.set(arm.arm, [...(wrong.get(arm.arm) ?? []), { arm, verdict: arm.verdict, cell }]);
    }
  }
  return [...wrong.values()].flatMap((cases) => {
    const worst = cases.toSorted((a, b) => (BigInt(a.verdict.cents) < BigInt(b.verdict.cents) ? 1 : -1))[0];
    if (worst === undefined) return [];
    const { arm, verdict, cell } = worst;
    const cells = `${cases.length} ${cases.length === 1 ? "cell" : "cells"}`;
    const error = `${formatNumber(verdict.groups)} groups by ${formatEuros(verdict.cents)} in all`;
    return [
      `Wrong, so not compared: ${arm.title}. Its totals were wrong in ${cells}, at worst (${cell.id}) in ${error}.`,
    ];
  });
}

function describeUnavailable(results: Results): string[] {
  const all = results.cells.flatMap(({ arms }) => arms);
  const never = new Map<string, ArmResult>();
  for (const arm of all) if (arm.unavailable !== undefined) never.set(arm.arm, arm);
  for (const arm of all) if (arm.samples.length > 0) never.delete(arm.arm);
  return [...never.values()].map((arm) => `Not measured: ${arm.title} (${arm.unavailable}).`);
}

/** What is asked of a series: when one of these ways overtakes ours. */
const CROSSOVERS = [
  {
    along: "batch",
    measure: "refresh",
    what: "Refresh alone",
    ours: "our refresh",
    change: "cheaper",
    others: {
      full: "a full rebuild",
      partition: "a rebuild of the touched partitions",
      materialized_view: "refresh materialized view",
    },
  },
  {
    along: "history",
    measure: "refreshed",
    what: "File to refreshed totals",
    ours: "ours",
    change: "slower",
    others: { duckdb: "DuckDB without dedupe", duckdb_dedupe: "DuckDB with the same dedupe" },
  },
] as const;

/** From which batch on each way to rebuild is cheaper, and from which history on brute force is slower. */
export function describeCrossovers(results: Results): readonly string[] {
  return CROSSOVERS.flatMap(({ along, measure, what, ours, change, others }) => {
    const all = findSeries(results, along);
    return Object.entries(others).flatMap(([arm, name]) => {
      if (all.length === 0)
        return [
          `From which ${along} on ${name} is ${change} than ${ours}: not measured; ` +
            `the run has one size of ${along}.`,
        ];
      return all.map((series) => {
        const found = findCrossover(points(series, arm, measure), points(series, OURS, measure));
        return `${what}, ${series.common}: ${describeCrossover(found, name, ours, series)}`;
      });
    });
  });
}

function describeCrossover(found: Crossover, other: string, ours: string, series: Series): string {
  if (found.kind === "not measured") return `${other} against ${ours}: not measured at two sizes.`;
  const history = series.cells[0]?.cell.history ?? 0;
  const size = (count: number) => {
    const share = series.along === "batch" ? ` (${formatShare(count / history)} of the history)` : "";
    return `${formatCount(count)} invoices${share}`;
  };
  if (found.kind === "crossing") {
    const speed = found.cheaperAfter === "first" ? "faster" : "slower";
    return `from a ${series.along} of about ${size(found.at)} on, ${other} is ${speed} than ${ours}.`;
  }
  const always = `${other} was ${found.cheaper === "first" ? "faster" : "slower"} than ${ours} throughout`;
  const range = `from a ${series.along} of ${size(found.from)} to ${size(found.to)}`;
  return `not within what was measured: ${always}, ${range}.`;
}
