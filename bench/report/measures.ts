/** What the report computes from the samples of an arm: measures, whether they count, and ratios. */
import { type ArmResult, type CellResult, median, type Results, type Sample } from "../results.ts";
import { formatEuros, formatNumber } from "./format.ts";

/** The arm that the others are compared with. */
export const OURS = "delta";

/**
 * Times of a sample: from file to exact totals; the refresh alone; from file to refreshed totals. Our views
 * are exact as soon as a load is committed, so `exact` leaves the refresh out for our arms. For the others it
 * is the whole.
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

/** Says what is the matter with an arm that may not be compared. */
export function describeStanding(arm: ArmResult): string {
  if (arm.verdict !== null && standing(arm) === "wrong")
    return `wrong: ${formatNumber(arm.verdict.groups)} groups, ${formatEuros(arm.verdict.cents)}`;
  if (arm.unavailable !== undefined)
    return arm.unavailable.startsWith("not available") ? "not available here" : "not run";
  return arm.samples.length === 0 ? "not measured" : "right";
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
 * How many times `over` is `under`. Repetitions are interleaved, so two arms with as many samples are
 * compared repetition by repetition; else each value is compared with the other's median.
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

/** Whether a batch is loaded into a history in this cell. */
export function isLoading({ cell }: CellResult): boolean {
  return cell.axis !== "reads" && cell.axis !== "backfill" && cell.history > 0;
}

function countRight(result: CellResult): number {
  return result.arms.filter((arm) => standing(arm) === "right").length;
}
