/** The speed to reach, as data, and how a run compares with it. */
import type { ArmResult, Cell, CellResult, Results } from "../results.ts";
import { formatBytes, formatRatio } from "./format.ts";
import { findArm, MEASURE_NAMES, type Measure, mainCell, measureRight, ratio, standing } from "./measures.ts";

/** What is measured in which cell. */
interface Operand {
  /** Alternatives: the fastest of those that ran. */
  readonly arms: readonly string[];
  readonly measure: Measure;
  /**
   * Sizes of the cell. What is left out is as in the run's main cell; with `axis`, anything. In a denominator what is left out is
   * as in the numerator's cell.
   */
  readonly where?: Partial<Cell>;
}

interface RatioTarget {
  readonly kind: "ratio";
  readonly title: string;
  readonly over: Operand;
  readonly under: Operand;
  /** One of the two. */
  readonly most?: number;
  readonly least?: number;
}

interface MemoryTarget {
  readonly kind: "memory";
  readonly title: string;
  /** Greatest resident memory of Node in any cell; or how much more it is at 5 M rows or more than at 1 M. */
  readonly of: "peak" | "growth";
  readonly mostBytes: number;
}

export type Target = RatioTarget | MemoryTarget;

const LOAD_SIZES = [
  { history: 10e6, batch: 100e3, name: "100 k rows, 10 M history" },
  { history: 10e6, batch: 1e6, name: "1 M rows, 10 M history" },
  { history: 100e6, batch: 100e3, name: "100 k rows, 100 M history" },
  { history: 100e6, batch: 1e6, name: "1 M rows, 100 M history" },
] as const;

const MB = 1e6;

export const TARGETS: readonly Target[] = [
  ...LOAD_SIZES.map(({ name, ...where }) => against("exact", `${name}: against unsorted COPY`, where, 1)),
  ...LOAD_SIZES.map(({ name, ...where }) =>
    against("refreshed", `${name}: against unsorted COPY`, where, where.batch >= 1e6 ? 1 : 1.2),
  ),
  against("exact", "backfill into an empty warehouse: against unsorted COPY", { axis: "backfill" }, 0.5),
  {
    kind: "ratio",
    title: "refresh alone: 100 M history against 10 M",
    over: { arms: ["delta"], measure: "refresh", where: { history: 100e6 } },
    under: { arms: ["delta"], measure: "refresh", where: { history: 10e6 } },
    most: 1.5,
  },
  slower(["full"], "refresh", "full rebuild against delta, 100 M history", { history: 100e6 }, 80),
  slower(
    ["materialized_view"],
    "refresh",
    "refresh materialized view against delta, 100 M history",
    { history: 100e6 },
    80,
  ),
  slower(
    ["full"],
    "refresh",
    "full rebuild against delta, 100 M history, none late",
    { history: 100e6, lateness: "none" },
    1000,
  ),
  slower(
    ["materialized_view"],
    "refresh",
    "refresh materialized view against delta, 100 M history, none late",
    { history: 100e6, lateness: "none" },
    1000,
  ),
  slower(
    ["duckdb_dedupe"],
    "refreshed",
    "DuckDB with the same dedupe against delta, 100 M history",
    { history: 100e6 },
    1,
  ),
  slower(["timescaledb"], "exact", "TimescaleDB against delta, 10 M history", { history: 10e6 }, 20),
  slower(["pg_ivm"], "exact", "pg_ivm against delta, 10 M history", { history: 10e6 }, 50),
  slower(
    ["pg_trickle", "pg_trickle_differential", "pg_trickle_full"],
    "exact",
    "pg_trickle, its better mode, against delta, 10 M history",
    { history: 10e6 },
    10,
  ),
  {
    kind: "ratio",
    title: "file to refreshed totals: 1,000 drops of 1,000 rows against one drop of 1 M",
    over: {
      arms: ["delta"],
      measure: "refreshed",
      where: { axis: "files", files: 1000, batch: 1e6, loaders: 1 },
    },
    under: { arms: ["delta_one_file"], measure: "refreshed" },
    most: 4,
  },
  readTarget("view over a year, nothing pending: against the bare rollup table", 0, 1.3),
  readTarget("view over a year, 100 k rows pending: against the bare rollup table", 100e3, 3),
  ...[10e6, 100e6].map(
    (history): RatioTarget => ({
      kind: "ratio",
      title: `full rebuild against refresh materialized view, ${history / 1e6} M history`,
      over: { arms: ["full"], measure: "refresh", where: { history } },
      under: { arms: ["materialized_view"], measure: "refresh" },
      most: 0.7,
    }),
  ),
  { kind: "memory", title: "memory of Node: 5 M rows or more against 1 M", of: "growth", mostBytes: 50 * MB },
  { kind: "memory", title: "memory of Node: the greatest of any cell", of: "peak", mostBytes: 300 * MB },
];

function against(measure: Measure, what: string, where: Partial<Cell>, most: number): RatioTarget {
  const title = `${MEASURE_NAMES[measure]}, ${what}`;
  const over = { arms: ["delta"], measure, where };
  return { kind: "ratio", title, over, under: { arms: ["copy"], measure: "refreshed" }, most };
}

function slower(
  arms: readonly string[],
  measure: Measure,
  what: string,
  where: Partial<Cell>,
  least: number,
): RatioTarget {
  const title = `${MEASURE_NAMES[measure]}, ${what}`;
  return { kind: "ratio", title, over: { arms, measure, where }, under: { arms: ["delta"], measure }, least };
}

function readTarget(title: string, batch: number, most: number): RatioTarget {
  const over = { arms: ["view"], measure: "refreshed", where: { axis: "reads", batch } } as const;
  return { kind: "ratio", title, over, under: { arms: ["rollup_table"], measure: "refreshed" }, most };
}

export interface TargetReport {
  readonly title: string;
  /** `<= 1x`. */
  readonly bound: string;
  /** `0.93x (0.9x to 1.02x)`, or why there is none. */
  readonly measured: string;
  readonly outcome: "met" | "missed" | "not measured" | "wrong totals";
}

/** Every target, in order. A target whose cells or arms the run lacks is `not measured`. */
export function checkTargets(
  results: Results,
  targets: readonly Target[] = TARGETS,
): readonly TargetReport[] {
  return targets.map((target) =>
    target.kind === "ratio" ? checkRatio(results, target) : checkMemory(results, target),
  );
}

function checkRatio(results: Results, target: RatioTarget): TargetReport {
  const bound = target.most === undefined ? `>= ${target.least}x` : `<= ${target.most}x`;
  const report = { title: target.title, bound };
  const overCell = findCell(results, target.over.where ?? {}, mainCell(results)?.cell);
  const underCell = overCell && findCell(results, target.under.where ?? {}, overCell.cell);
  if (overCell === undefined || underCell === undefined)
    return { ...report, measured: "no such cell in this run", outcome: "not measured" };
  const over = findOperand(overCell, target.over);
  const under = findOperand(underCell, target.under);
  for (const side of [over, under]) {
    if (typeof side !== "string") continue;
    return { ...report, measured: side, outcome: side.startsWith("wrong") ? "wrong totals" : "not measured" };
  }
  if (typeof over === "string" || typeof under === "string") throw new Error("unreachable");
  // Repetitions of different cells do not belong together.
  const value =
    overCell === underCell ? ratio(over, under) : ratio(over, { ...under, values: [under.median] });
  if (value === null) return { ...report, measured: "no time measured", outcome: "not measured" };
  const met = value.median <= (target.most ?? Infinity) && value.median >= (target.least ?? 0);
  const range = value.values.length > 1 ? ` (${formatExact(value.min)} to ${formatExact(value.max)})` : "";
  return { ...report, measured: `${formatExact(value.median)}${range}`, outcome: met ? "met" : "missed" };
}

/** A ratio just above its bound must not look equal to it. */
function formatExact(value: number): string {
  return value < 10 ? `${value.toFixed(3)}x` : formatRatio(value);
}

/** The fastest right arm's measure, or why there is none. */
function findOperand(result: CellResult, operand: Operand) {
  const arms = operand.arms.flatMap((name) => findArm(result, name) ?? []);
  const measured = arms.flatMap((arm) => measureRight(arm, operand.measure) ?? []);
  const fastest = measured.toSorted((a, b) => a.median - b.median)[0];
  if (fastest !== undefined) return fastest;
  const wrong = arms.find((arm) => standing(arm) === "wrong");
  if (wrong !== undefined) return `wrong totals of ${wrong.arm}`;
  return describeAbsence(arms[0], operand);
}

function describeAbsence(arm: ArmResult | undefined, { arms, measure }: Operand): string {
  if (arm === undefined) return `no arm ${arms[0]} in this cell`;
  return arm.unavailable ?? `no ${MEASURE_NAMES[measure]} of ${arm.arm}`;
}

function findCell(results: Results, where: Partial<Cell>, base: Cell | undefined): CellResult | undefined {
  const { id: _id, axis: _axis, ...sizes } = base ?? ({} as Partial<Cell>);
  const wanted = Object.entries(where.axis === undefined ? { ...sizes, ...where } : where);
  const found = results.cells.filter(({ cell }) =>
    wanted.every(([key, value]) => cell[key as keyof Cell] === value),
  );
  // Cells of other axes may have the same sizes, for instance reads.
  return found.find(({ cell }) => cell === base) ?? found.find(({ cell }) => isComparable(cell, where, base));
}

function isComparable(cell: Cell, where: Partial<Cell>, base: Cell | undefined): boolean {
  return where.axis !== undefined || (cell.axis === "reads") === (base?.axis === "reads");
}

function checkMemory(results: Results, target: MemoryTarget): TargetReport {
  const report = { title: target.title, bound: `<= ${formatBytes(target.mostBytes)}` };
  const peaks = results.cells.flatMap((result) => {
    const samples = findArm(result, "delta")?.samples ?? [];
    const bytes = samples.flatMap(({ nodePeakBytes }) => nodePeakBytes ?? []);
    return bytes.length === 0 ? [] : [{ cell: result.cell, bytes: Math.max(...bytes) }];
  });
  const large = peaks.filter(({ cell }) => cell.batch >= 5e6 && cell.files === 1);
  const million = peaks.filter(({ cell }) => cell.batch === 1e6 && cell.files === 1 && cell.loaders === 1);
  const greatest = (some: typeof peaks) => Math.max(...some.map(({ bytes }) => bytes));
  const measured = target.of === "peak" ? peaks.length > 0 : large.length > 0 && million.length > 0;
  if (!measured) return { ...report, measured: "no such cell in this run", outcome: "not measured" };
  const bytes = target.of === "peak" ? greatest(peaks) : greatest(large) - greatest(million);
  return { ...report, measured: formatBytes(bytes), outcome: bytes <= target.mostBytes ? "met" : "missed" };
}
