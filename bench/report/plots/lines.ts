/** Lines of all arms against the size of the history or the batch, both axes logarithmic. */
import type { ArmResult } from "../../results.ts";
import { formatCount, formatMs } from "../format.ts";
import { type Measure, OURS } from "../measures.ts";
import { type Point, points, type Series } from "../series.ts";
import { ceilAxis, cut, draw, type Frame, floorAxis, GRID, LABEL, type Looks } from "./draw.ts";

export interface Line {
  readonly arm: ArmResult;
  readonly points: readonly Point[];
}

/** The arms of a series that were right in at least two of its cells, reads not counted. */
export function findLines(series: Series, measure: Measure): readonly Line[] {
  const arms = new Map(series.cells.flatMap(({ arms }) => arms.map((arm) => [arm.arm, arm] as const)));
  return [...arms.values()]
    .map((arm) => ({ arm, points: points(series, arm.arm, measure).filter(({ x, y }) => x > 0 && y > 0) }))
    .filter((line) => line.arm.group !== "read" && line.points.length > 1);
}

export interface LinesOptions extends Frame {
  readonly lines: readonly Line[];
  readonly xName: string;
  readonly yName: string;
  readonly looks: Looks;
}

/** The lines are named at their ends where there is room, else by the legend below the plot. */
export function drawLines(options: LinesOptions): string {
  const { lines, xName, yName, looks } = options;
  const wide = options.width === "wide";
  const xs = lines.flatMap((line) => line.points.map(({ x }) => x));
  const ys = lines.flatMap((line) => line.points.map(({ y }) => y));
  const axis = {
    type: "log",
    splitLine: { lineStyle: { color: GRID } },
    axisLine: { show: true, lineStyle: { color: "#7b8794" } },
  };
  return draw(options, wide ? 460 : 380, {
    grid: { left: wide ? 64 : 58, right: wide ? 300 : 22, top: 34, bottom: 52, containLabel: false },
    xAxis: {
      ...axis,
      min: Math.min(...xs),
      max: Math.max(...xs),
      name: xName,
      nameLocation: "middle",
      nameGap: 32,
      nameTextStyle: LABEL,
      axisLabel: { ...LABEL, formatter: formatCount, hideOverlap: true },
    },
    yAxis: {
      ...axis,
      min: floorAxis(Math.min(...ys)),
      max: ceilAxis(Math.max(...ys)),
      name: yName,
      nameTextStyle: { ...LABEL, align: "left", padding: [0, 0, 0, wide ? -56 : -52] },
      axisLabel: { ...LABEL, formatter: formatMs },
    },
    series: lines.map((line) => seriesOf(line, looks, wide)),
  });
}

function seriesOf({ arm, points }: Line, looks: Looks, wide: boolean) {
  const { color, symbol, dash } = looks(arm);
  return {
    type: "line",
    z: arm.arm === OURS ? 4 : 3,
    name: arm.title,
    silent: true,
    data: points.map(({ x, y }) => [x, y]),
    symbol,
    symbolSize: 8,
    showAllSymbol: true,
    clip: false,
    lineStyle: { color, width: arm.group === "incremental" ? 3 : 1.75, type: dash },
    itemStyle: { color },
    endLabel: {
      show: wide,
      formatter: () => cut(arm.title, 40),
      color,
      fontSize: 12,
      textBorderColor: "#fff",
      distance: 8,
    },
    labelLayout: { moveOverlap: "shiftY" },
  };
}
