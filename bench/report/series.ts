/** Cells that differ in one size, and where the lines of two arms through them cross. */
import type { Cell, CellResult, Results } from "../results.ts";
import { formatCount } from "./format.ts";
import { findArm, isLoading, type Measure, mainCell, measureRight } from "./measures.ts";

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
 * Where two lines change places: on straight lines through the logarithms of neighbouring points that both
 * have, never beyond them. If there are several crossings, the last one. Lines that only touch do not cross.
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
  const different = gaps.filter(({ gap }) => gap !== 0);
  for (let index = different.length - 1; index > 0; index--) {
    const [a, b] = [different[index - 1], different[index]];
    if (a === undefined || b === undefined || a.gap > 0 === b.gap > 0) continue;
    const at = Math.exp(a.x + ((b.x - a.x) * a.gap) / (a.gap - b.gap));
    return { kind: "crossing", at, cheaperAfter: b.gap < 0 ? "first" : "second" };
  }
  return {
    kind: "none",
    cheaper: (different[0]?.gap ?? -1) < 0 ? "first" : "second",
    from: from.at,
    to: to.at,
  };
}
