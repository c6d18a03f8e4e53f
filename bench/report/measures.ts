/** What the report computes from the samples: measures, ratios, series, crossovers. */
import { type ArmResult, type Cell, type CellResult, median, type Results, type Sample } from "../results.ts";
import { formatCount } from "./format.ts";

/** The arm that the others are compared with. */
export const OURS = "delta";

/**
 * Times of a sample: from file to exact totals; the refresh alone; from file to refreshed totals. Our views are exact as soon as
 * a load is committed, so of our arms `exact` leaves the refresh out; of others it is the whole.
 */
export const MEASURES = ["exact", "refresh", "refreshed"] as const;
export type Measure = (typeof MEASURES)[number];

export const MEASURE_NAMES: Readonly<Record<Measure, string>> = {
  exact: "file to exact totals",
  refresh: "refresh alone",
  refreshed: "file to refreshed totals",
};

/** Milliseconds, or null where the arm has no such phase. */
export function measureSample(arm: ArmResult, sample: Sample, measure: Measure): number | null {
  if (measure === "refreshed") return sample.wallMs;
  const refreshes = sample.phases.filter(({ name }) => name === "refresh");
  const refreshMs = refreshes.reduce((sum, { ms }) => sum + ms, 0);
  if (measure === "refresh") return refreshes.length === 0 ? null : refreshMs;
  return isOurs(arm) ? sample.wallMs - refreshMs : sample.wallMs;
}

export function isOurs(arm: ArmResult): boolean {
  return arm.group === "incremental" || arm.group === "rebuild";
}

/** Whether the arm's numbers may be compared: it ran, and its totals are right or it keeps none. */
export type Standing = "right" | "wrong" | "unavailable";

export function standing(arm: ArmResult): Standing {
  if (arm.verdict !== null && !arm.verdict.exact) return "wrong";
  return arm.unavailable === undefined && arm.samples.length > 0 ? "right" : "unavailable";
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly values: readonly number[];
}

/** Null for no values. */
export function spread(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), values };
}

/** The measure over all samples of an arm, right or wrong; null where one sample lacks it. */
export function measureArm(arm: ArmResult, measure: Measure): Spread | null {
  const values = arm.samples.map((sample) => measureSample(arm, sample, measure));
  return values.every((value) => value !== null) ? spread(values) : null;
}

/** As `measureArm`, but null for an arm whose totals are wrong: a wrong time is never compared. */
export function measureRight(arm: ArmResult | undefined, measure: Measure): Spread | null {
  return arm === undefined || standing(arm) !== "right" ? null : measureArm(arm, measure);
}

/**
 * How many times `over` is `under`. Per repetition where both have as many samples, because the repetitions are interleaved;
 * else each value against the other's median.
 */
export function ratio(over: Spread | null, under: Spread | null): Spread | null {
  if (over === null || under === null || under.values.some((value) => value <= 0)) return null;
  const paired = over.values.length === under.values.length;
  return spread(
    over.values.map((value, index) => value / (paired ? (under.values[index] ?? 1) : under.median)),
  );
}

export function findArm(result: CellResult | undefined, name: string): ArmResult | undefined {
  return result?.arms.find(({ arm }) => arm === name);
}

/** What bars are compared with: ours; of reads the bare table; else the first arm that is right. */
export function referenceArm(result: CellResult): ArmResult | undefined {
  const right = result.arms.filter((arm) => standing(arm) === "right");
  const named = result.cell.axis === "reads" ? "rollup_table" : OURS;
  return right.find(({ arm }) => arm === named) ?? right[0];
}

/** The cell that the summary is about: the baseline, else the loading cell with the most arms. */
export function mainCell(results: Results): CellResult | undefined {
  const loading = results.cells.filter(isLoading);
  return (
    loading.find(({ cell }) => cell.axis === "baseline") ??
    loading.toSorted((a, b) => countRight(b) - countRight(a))[0]
  );
}

function isLoading({ cell }: CellResult): boolean {
  return cell.axis !== "reads" && cell.axis !== "backfill" && cell.history > 0;
}

function countRight(result: CellResult): number {
  return result.arms.filter((arm) => standing(arm) === "right").length;
}

export type Along = "history" | "batch";

/** Cells that differ in one size only, in its order. */
export interface Series {
  readonly along: Along;
  readonly cells: readonly CellResult[];
  /** What all cells have in common, in words. */
  readonly common: string;
}

/** Groups of at least two cells along an axis; the main cell's group first, then the longer ones. */
export function findSeries(results: Results, along: Along): readonly Series[] {
  const main = mainCell(results);
  const groups = new Map<string, CellResult[]>();
  for (const result of results.cells.filter(isLoading)) {
    const group = groups.get(describeCell(result.cell, along)) ?? [];
    if (!group.some(({ cell }) => cell[along] === result.cell[along])) group.push(result);
    groups.set(describeCell(result.cell, along), group);
  }
  return [...groups]
    .filter(([, cells]) => cells.length > 1)
    .sort(([, a], [, b]) => rank(b, main) - rank(a, main))
    .map(([common, cells]) => ({
      along,
      common,
      cells: cells.toSorted((a, b) => a.cell[along] - b.cell[along]),
    }));
}

function rank(cells: readonly CellResult[], main: CellResult | undefined): number {
  return cells.length + (main !== undefined && cells.includes(main) ? 1e6 : 0);
}

function describeCell(cell: Cell, without: Along): string {
  return [
    ...(without === "history" ? [] : [`history of ${formatCount(cell.history)} invoices`]),
    ...(without === "batch" ? [] : [`batch of ${formatCount(cell.batch)} invoices`]),
    `${cell.lateness === "even" ? "all, evenly," : cell.lateness} late`,
    `partitions by ${cell.granularity}`,
    ...(cell.corrections > 0 ? [`corrections ${cell.corrections * 100} %`] : []),
    ...(cell.files > 1 ? [`${cell.files} files`] : []),
    ...(cell.loaders > 1 ? [`${cell.loaders} loaders`] : []),
  ].join(", ");
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The medians of an arm along a series, where its totals are right. */
export function points(series: Series, arm: string, measure: Measure): readonly Point[] {
  return series.cells.flatMap((result) => {
    const measured = measureRight(findArm(result, arm), measure);
    return measured === null ? [] : [{ x: result.cell[series.along], y: measured.median }];
  });
}

export type Crossover =
  | { readonly kind: "crossing"; readonly at: number; readonly cheaperAfter: "first" | "second" }
  | {
      readonly kind: "none";
      readonly cheaper: "first" | "second";
      readonly from: number;
      readonly to: number;
    }
  | { readonly kind: "not measured" };

/**
 * Where two lines change places: on straight lines through the logarithms of neighbouring points that both have; never beyond
 * them. The last crossing, if there are several. Lines that only touch do not cross.
 */
export function findCrossover(first: readonly Point[], second: readonly Point[]): Crossover {
  const gaps = first.flatMap(({ x, y }) => {
    const other = second.find((point) => point.x === x);
    return other === undefined || y <= 0 || other.y <= 0 || x <= 0
      ? []
      : [{ x: Math.log(x), gap: Math.log(y) - Math.log(other.y), at: x }];
  });
  const from = gaps[0];
  const to = gaps.at(-1);
  if (from === undefined || to === undefined || gaps.length < 2) return { kind: "not measured" };
  const apart = gaps.filter(({ gap }) => gap !== 0);
  for (let index = apart.length - 1; index > 0; index--) {
    const [a, b] = [apart[index - 1], apart[index]];
    if (a === undefined || b === undefined || a.gap > 0 === b.gap > 0) continue;
    const at = Math.exp(a.x + ((b.x - a.x) * a.gap) / (a.gap - b.gap));
    return { kind: "crossing", at, cheaperAfter: b.gap < 0 ? "first" : "second" };
  }
  return { kind: "none", cheaper: (apart[0]?.gap ?? -1) < 0 ? "first" : "second", from: from.at, to: to.at };
}
