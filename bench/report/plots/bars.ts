/** One bar for each arm: its time as a multiple of ours, or the write-ahead log it wrote. */
import type { ArmResult, CellResult } from "../../results.ts";
import { formatBytes, formatMs, formatRatio } from "../format.ts";
import { describeStanding, measureArm, ratio, referenceArm, spread, standing } from "../measures.ts";
import { ceilAxis, cut, type Frame, floorAxis, INK, type Looks, type Width } from "./draw.ts";
import { drawByHand, drawLabel, drawRows, LEFT, type Row } from "./rows.ts";

export interface CellPlotOptions {
  readonly name: string;
  readonly result: CellResult;
  readonly width: Width;
  readonly looks: Looks;
}

/** Ratios of all arms to ours, file to refreshed totals; null where nothing was measured. */
export function drawRatios({ name, result, width, looks }: CellPlotOptions): string | null {
  const reference = referenceArm(result);
  const under = reference && measureArm(reference, "refreshed");
  if (reference === undefined || under === undefined || under === null) return null;
  const barOf = (arm: ArmResult): Bar => {
    const time = standing(arm) === "right" ? measureArm(arm, "refreshed") : null;
    const value = arm === reference ? ratio(under, { ...under, values: [] }) : ratio(time, under);
    const label =
      value === null || time === null
        ? describeStanding(arm)
        : `${formatRatio(value.median)}, ${formatMs(time.median)}`;
    return { title: arm.title, color: looks(arm).color, value, label };
  };
  const bars = result.arms
    .map(barOf)
    .toSorted((a, b) => (a.value?.median ?? Infinity) - (b.value?.median ?? Infinity));
  const title = `${result.cell.id}: time as a multiple of ${reference.title}`;
  return drawBars({ name, title, width, bars, log: true, format: formatRatio });
}

/** WAL by arm; null where none was measured. */
export function drawWal({ name, result, width, looks }: CellPlotOptions): string | null {
  const bars = result.arms
    .filter((arm) => standing(arm) === "right")
    .flatMap((arm): Bar[] => {
      const value = spread(arm.samples.flatMap(({ walBytes }) => walBytes ?? []));
      if (value === null) return [];
      return [{ title: arm.title, color: looks(arm).color, value, label: formatBytes(value.median) }];
    })
    .toSorted((a, b) => (a.value?.median ?? 0) - (b.value?.median ?? 0));
  if (bars.length === 0) return null;
  const title = `${result.cell.id}: WAL written`;
  return drawBars({ name, title, width, bars, log: false, format: formatBytes });
}

interface Bar {
  readonly title: string;
  readonly color: string;
  /** Null where `label` says why there is none. */
  readonly value: { readonly median: number; readonly min: number; readonly max: number } | null;
  readonly label: string;
}

interface BarsOptions extends Frame {
  readonly bars: readonly Bar[];
  /** On a log axis bars start at 1, which is the reference. */
  readonly log: boolean;
  readonly format: (value: number) => string;
}

/** Horizontal bars from the origin to the median, a whisker from min to max, the label at the right. */
function drawBars(options: BarsOptions): string {
  const { bars, width, log, format } = options;
  const all = bars.flatMap(({ value }) => (value === null ? [] : [value.min, value.max, value.median]));
  const range = log
    ? { min: floorAxis(Math.min(...all, 0.5)), max: ceilAxis(Math.max(...all, 2)) }
    : { min: 0, max: Math.max(...all, 0) || 1 };
  return drawRows({
    ...options,
    titles: bars.map((bar) => bar.title),
    right: 250,
    x: { type: log ? "log" : "value", ...range, format, showMaxLabel: log },
    series: [drawByHand(bars, (row) => drawBar(bars[row.index] as Bar, row, width, log))],
  });
}

function drawBar(bar: Bar, { at, end: right }: Row, width: Width, log: boolean): unknown {
  const wide = width === "wide";
  const [origin, middle] = at(log ? 1 : 0);
  const title = cut(bar.title, Math.max(14, 50 - bar.label.length));
  const label = wide
    ? drawLabel(cut(bar.label, 38), right + 12, middle, false)
    : drawLabel(`${title}: ${cut(bar.label, 34)}`, LEFT[width], middle - 8, true);
  if (bar.value === null) return { type: "group", children: [label] };
  const y = wide ? middle : middle + 9;
  const [[end], [low], [high]] = [at(bar.value.median), at(bar.value.min), at(bar.value.max)];
  const x = Math.min(origin, end);
  return {
    type: "group",
    children: [
      {
        type: "rect",
        shape: { x, y: y - 7, width: Math.max(2, Math.abs(end - origin)), height: 14 },
        style: { fill: bar.color },
      },
      ...(log ? [drawLine(origin, y - 11, origin, y + 11)] : []),
      drawLine(low, y, high, y),
      drawLine(low, y - 4, low, y + 4),
      drawLine(high, y - 4, high, y + 4),
      label,
    ],
  };
}

function drawLine(x1: number, y1: number, x2: number, y2: number): unknown {
  return { type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: INK, lineWidth: 1.5 } };
}
