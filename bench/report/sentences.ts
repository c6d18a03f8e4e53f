/** The run in plain sentences, for who does not read plots. */
import type { ArmResult, Cell, CellResult, Results, Verdict } from "../results.ts";
import { formatCount, formatEuros, formatMs, formatNumber, formatRatio, formatShare } from "./format.ts";
import {
  type Crossover,
  findArm,
  findCrossover,
  findSeries,
  type Measure,
  mainCell,
  measureRight,
  OURS,
  points,
  ratio,
  type Series,
  type Spread,
  standing,
} from "./measures.ts";

/** What the run shows, the most important first. Never compares with an arm that is wrong. */
export function summarize(results: Results): readonly string[] {
  const main = mainCell(results);
  if (main === undefined) return ["Nothing was measured yet."];
  return [
    ...describeOurs(main),
    ...describeOthers(main),
    ...describeGrowth(results),
    ...describeWrong(results),
    ...describeUnavailable(results),
  ];
}

function describeOurs({ cell, arms }: CellResult): string[] {
  const delta = arms.find(({ arm }) => arm === OURS);
  if (delta === undefined)
    return [`The arm ${OURS} was not measured at ${formatCount(cell.history)} invoices.`];
  if (standing(delta) === "wrong") return [`Our own totals are wrong: see below. Nothing else here counts.`];
  const all = measureRight(delta, "refreshed");
  const exact = measureRight(delta, "exact");
  const refresh = measureRight(delta, "refresh");
  if (all === null || exact === null)
    return [`The arm ${OURS} was not measured: ${delta.unavailable ?? "no samples"}.`];
  return [
    `With ${formatCount(cell.history)} invoices in the warehouse, a batch of ${formatCount(cell.batch)} was in the totals, file to end, after ${formatMs(all.median)}; ` +
      `the views were exact after ${formatMs(exact.median)}${refresh === null ? "" : `, and the refresh of the rollup took ${formatMs(refresh.median)} of it`}.`,
  ];
}

interface Comparison {
  readonly arm: string;
  readonly measure: Measure;
  readonly say: (time: string, how: string) => string;
}

const COMPARISONS: readonly Comparison[] = [
  {
    arm: "full",
    measure: "refresh",
    say: (time, how) => `A full rebuild instead of that refresh took ${time}: ${how}.`,
  },
  {
    arm: "materialized_view",
    measure: "refresh",
    say: (time, how) => `PostgreSQL's refresh materialized view took ${time}: ${how}.`,
  },
  {
    arm: "duckdb_dedupe",
    measure: "refreshed",
    say: (time, how) =>
      `DuckDB, with the same dedupe and everything recomputed, took ${time} file to end: ${how}.`,
  },
  {
    arm: "copy",
    measure: "refreshed",
    say: (time, how) =>
      `Bare COPY of the same rows, which checks nothing and keeps no totals, took ${time}: ${how} file to end.`,
  },
];

function describeOthers(main: CellResult): string[] {
  return COMPARISONS.flatMap(({ arm, measure, say }) => {
    const time = measureRight(findArm(main, arm), measure);
    const factor = ratio(time, measureRight(findArm(main, OURS), measure));
    return time === null || factor === null ? [] : [say(formatMs(time.median), describeFactor(factor))];
  });
}

/** `24x as long as ours (22x to 25x)`. */
function describeFactor({ median, min, max, values }: Spread): string {
  return `${formatRatio(median)} as long as ours${values.length > 1 ? ` (${formatRatio(min)} to ${formatRatio(max)})` : ""}`;
}

function describeGrowth(results: Results): string[] {
  const series = findSeries(results, "history")[0];
  if (series === undefined) return [];
  return [OURS, "full"].flatMap((arm) => {
    const line = points(series, arm, "refresh");
    const [first, last] = [line[0], line.at(-1)];
    if (first === undefined || last === undefined || last.x <= first.x) return [];
    const name = arm === OURS ? "our refresh" : "a full rebuild";
    return [
      `From ${formatCount(first.x)} to ${formatCount(last.x)} invoices of history, ${formatRatio(last.x / first.x)} as many, ${name} went from ${formatMs(first.y)} to ${formatMs(last.y)}, ${formatRatio(last.y / first.y)}.`,
    ];
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
    return [
      `Wrong, so not compared: ${arm.title}. Its totals were wrong in ${cases.length} ${cases.length === 1 ? "cell" : "cells"}, at worst (${cell.id}) in ${formatNumber(verdict.groups)} groups by ${formatEuros(verdict.cents)} in all.`,
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

/** The crossovers that the issue asks for, each a sentence. */
export function describeCrossovers(results: Results): readonly string[] {
  const batches = findSeries(results, "batch");
  const histories = findSeries(results, "history");
  return [
    ...REBUILDS.flatMap(({ arm, name }) =>
      batches.length === 0
        ? [
            `From which batch on ${name} is cheaper than our refresh: not measured; the run has one size of batch.`,
          ]
        : batches.map((series) => describeBatch(series, arm, name)),
    ),
    ...BRUTE_FORCE.flatMap(({ arm, name }) =>
      histories.length === 0
        ? [
            `From which history on ${name} is slower than ours: not measured; the run has one size of history.`,
          ]
        : histories.map((series) => describeHistory(series, arm, name)),
    ),
  ];
}

const REBUILDS = [
  { arm: "full", name: "a full rebuild" },
  { arm: "partition", name: "a rebuild of the touched partitions" },
  { arm: "materialized_view", name: "refresh materialized view" },
] as const;

const BRUTE_FORCE = [
  { arm: "duckdb", name: "DuckDB without dedupe" },
  { arm: "duckdb_dedupe", name: "DuckDB with the same dedupe" },
] as const;

function describeBatch(series: Series, arm: string, name: string): string {
  const history = series.cells[0]?.cell.history ?? 0;
  const size = (batch: number) =>
    `${formatCount(batch)} invoices (${formatShare(batch / history)} of the history)`;
  const found = findCrossover(points(series, arm, "refresh"), points(series, OURS, "refresh"));
  return `Refresh alone, ${series.common}: ${sayCrossover(found, name, "our refresh", "a batch", size)}`;
}

function describeHistory(series: Series, arm: string, name: string): string {
  const found = findCrossover(points(series, arm, "refreshed"), points(series, OURS, "refreshed"));
  const size = (history: number) => `${formatCount(history)} invoices`;
  return `File to refreshed totals, ${series.common}: ${sayCrossover(found, name, "ours", "a history", size)}`;
}

function sayCrossover(
  found: Crossover,
  other: string,
  ours: string,
  what: string,
  size: (at: number) => string,
): string {
  if (found.kind === "not measured") return `${other} against ${ours}: not measured at two sizes.`;
  if (found.kind === "crossing")
    return `from ${what} of about ${size(found.at)} on, ${other} is ${found.cheaperAfter === "first" ? "faster" : "slower"} than ${ours}.`;
  const always = `${other} was ${found.cheaper === "first" ? "faster" : "slower"} than ${ours} throughout`;
  return `not within what was measured: ${always}, from ${what} of ${size(found.from)} to ${size(found.to)}.`;
}
