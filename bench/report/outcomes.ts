/** How a run compares with the targets. */
import type { Cell, CellResult, Results } from "../results.ts";
import { formatBytes, formatRatio } from "./format.ts";
import { findArm, MEASURE_NAMES, mainCell, measureRight, ratio, type Spread, standing } from "./measures.ts";
import { type MemoryTarget, type Operand, type RatioTarget, TARGETS, type Target } from "./targets.ts";

export interface TargetReport {
  readonly title: string;
  /** `<= 1x`. */
  readonly bound: string;
  /** `0.93x (0.9x to 1.02x)`, or why there is none. */
  readonly measured: string;
  readonly outcome: "met" | "missed" | "not measured" | "wrong totals";
}

type Missing = Pick<TargetReport, "measured" | "outcome">;
const NO_CELL: Missing = { measured: "no such cell in this run", outcome: "not measured" };

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
  if (overCell === undefined || underCell === undefined) return { ...report, ...NO_CELL };
  const over = findOperand(overCell, target.over);
  if ("outcome" in over) return { ...report, ...over };
  const under = findOperand(underCell, target.under);
  if ("outcome" in under) return { ...report, ...under };
  // Repetitions of different cells do not belong together.
  const value = ratio(over, overCell === underCell ? under : { ...under, values: [under.median] });
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
function findOperand(result: CellResult, { arms: names, measure }: Operand): Spread | Missing {
  const arms = names.flatMap((name) => findArm(result, name) ?? []);
  const measured = arms.flatMap((arm) => measureRight(arm, measure) ?? []);
  const fastest = measured.toSorted((a, b) => a.median - b.median)[0];
  if (fastest !== undefined) return fastest;
  const wrong = arms.find((arm) => standing(arm) === "wrong");
  if (wrong !== undefined) return { measured: `wrong totals of ${wrong.arm}`, outcome: "wrong totals" };
  const [first] = arms;
  const why =
    first === undefined
      ? `no arm ${names[0]} in this cell`
      : (first.unavailable ?? `no ${MEASURE_NAMES[measure]} of ${first.arm}`);
  return { measured: why, outcome: "not measured" };
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
  if (!measured) return { ...report, ...NO_CELL };
  const bytes = target.of === "peak" ? greatest(peaks) : greatest(large) - greatest(million);
  return { ...report, measured: formatBytes(bytes), outcome: bytes <= target.mostBytes ? "met" : "missed" };
}
