/** The report's plots: each an SVG text, drawn by ECharts without a browser. */
import * as echarts from "echarts";
import type { ArmResult, CellResult } from "../results.ts";
import {
  escapeHtml,
  formatBytes,
  formatCount,
  formatEuros,
  formatMs,
  formatNumber,
  formatRatio,
  formatShare,
} from "./format.ts";
import {
  isOurs,
  type Measure,
  measureArm,
  OURS,
  type Point,
  points,
  ratio,
  referenceArm,
  type Series,
  spread,
  standing,
} from "./measures.ts";

/** Pixels. Text is at least 12 of them, so a plot is never shown smaller than it is drawn on the screens it is for. */
export const WIDTHS = { wide: 960, narrow: 356 } as const;
export type Width = keyof typeof WIDTHS;

const FONT = "system-ui, 'DejaVu Sans', sans-serif";
const INK = "#1f2933";
const GRID = "#d9dee4";

interface Look {
  readonly color: string;
  readonly symbol: string;
  readonly dash: "solid" | "dashed" | "dotted";
}

/** Okabe and Ito's colours, which the colour-blind tell apart, darkened where they are lines on white; shapes and dashes besides. */
const COLORS = [
  "#0067a5",
  "#c75100",
  "#00795c",
  "#a3417f",
  "#8a6d00",
  "#3a86c8",
  "#7a3b10",
  "#5b4bb3",
] as const;
const SYMBOLS = ["circle", "rect", "triangle", "diamond"] as const;

/** The same arm looks the same in all plots; ours are solid, floors dotted. */
export function createLooks(cells: readonly CellResult[]): (arm: ArmResult) => Look {
  const names = [...new Set(cells.flatMap(({ arms }) => arms.map(({ arm }) => arm)))];
  return (arm) => {
    const index = Math.max(0, names.indexOf(arm.arm));
    return {
      color: arm.group === "floor" ? "#5f6b76" : (COLORS[index % COLORS.length] ?? INK),
      symbol: SYMBOLS[(index + Math.floor(index / COLORS.length)) % SYMBOLS.length] ?? "circle",
      dash: isOurs(arm) ? "solid" : arm.group === "floor" ? "dotted" : "dashed",
    };
  };
}

interface Drawing {
  readonly name: string;
  readonly title: string;
  readonly width: number;
  readonly height: number;
  readonly option: echarts.EChartsCoreOption;
}

function draw({ name, title, width, height, option }: Drawing): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      textStyle: { fontFamily: FONT, fontSize: 12, color: INK },
      ...option,
    });
    const svg = chart.renderToSVGString();
    const body = svg
      .replace(/^[\s\S]*?<svg[^>]*>/, "")
      .replace(/<style\s*>[\s\S]*?<\/style>/g, "")
      .replace(/ class="zr[^"]*"/g, "")
      .replace(/ ecmeta_[a-z_]+="[^"]*"/g, "")
      // ECharts counts its charts; the same results shall give the same bytes.
      .replace(/zr\d+-/g, `${name}-`);
    const id = `${name}-title`;
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="${id}" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}"><title id="${id}">${escapeHtml(title)}</title>${body}`
    );
  } finally {
    chart.dispose();
  }
}

/** An SVG that says why there is no plot. */
export function drawNothing(title: string, why: string): string {
  const text = `${title}: not measured. ${why}`;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="960" height="60" viewBox="0 0 960 60"><title>${escapeHtml(text)}</title>` +
    `<rect width="960" height="60" fill="#fff"/><text x="16" y="35" font-family="${FONT}" font-size="14" fill="${INK}">${escapeHtml(text)}</text></svg>`
  );
}

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

export interface LinesOptions {
  readonly name: string;
  readonly title: string;
  readonly lines: readonly Line[];
  readonly xName: string;
  /** Default: `median time`. */
  readonly yName?: string;
  readonly width: Width;
  readonly looks: (arm: ArmResult) => Look;
}

/** Log-log. Named at the lines' ends where there is room, else the legend below the plot names them. */
export function drawLines({ name, title, lines, xName, yName, width, looks }: LinesOptions): string {
  const wide = width === "wide";
  const xs = [...new Set(lines.flatMap((line) => line.points.map(({ x }) => x)))];
  const ys = lines.flatMap((line) => line.points.map(({ y }) => y));
  const axis = {
    type: "log",
    splitLine: { lineStyle: { color: GRID } },
    axisLine: { show: true, lineStyle: { color: "#7b8794" } },
  };
  return draw({
    name,
    title,
    width: WIDTHS[width],
    height: wide ? 460 : 380,
    option: {
      backgroundColor: "#fff",
      grid: { left: wide ? 64 : 58, right: wide ? 300 : 22, top: 34, bottom: 52, containLabel: false },
      xAxis: {
        ...axis,
        min: Math.min(...xs),
        max: Math.max(...xs),
        name: xName,
        nameLocation: "middle",
        nameGap: 32,
        nameTextStyle: { color: INK, fontSize: 12 },
        axisLabel: { color: INK, fontSize: 12, formatter: formatCount, hideOverlap: true },
      },
      yAxis: {
        ...axis,
        min: floorAxis(Math.min(...ys)),
        max: ceilAxis(Math.max(...ys)),
        name: yName ?? "median time",
        nameTextStyle: { color: INK, fontSize: 12, align: "left", padding: [0, 0, 0, wide ? -56 : -52] },
        axisLabel: { color: INK, fontSize: 12, formatter: formatMs },
      },
      series: lines.map(({ arm, points: some }) => {
        const look = looks(arm);
        return {
          type: "line",
          z: arm.arm === OURS ? 4 : 3,
          name: arm.title,
          silent: true,
          data: some.map(({ x, y }) => [x, y]),
          symbol: look.symbol,
          symbolSize: 8,
          showAllSymbol: true,
          clip: false,
          lineStyle: { color: look.color, width: arm.group === "incremental" ? 3 : 1.75, type: look.dash },
          itemStyle: { color: look.color },
          endLabel: {
            show: wide,
            formatter: () => cut(arm.title, 40),
            color: look.color,
            fontSize: 12,
            textBorderColor: "#fff",
            distance: 8,
          },
          labelLayout: { moveOverlap: "shiftY" },
        };
      }),
    },
  });
}

/** The next of 1, 2, 5 times a power of ten: log axes need not span whole decades. */
function ceilAxis(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value * 0.999) ?? 10);
}

function floorAxis(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([5, 2, 1].find((step) => step * power <= value * 1.001) ?? 1);
}

interface Bar {
  readonly title: string;
  readonly color: string;
  /** Median, min and max; null where `label` says why there is none. */
  readonly value: { readonly median: number; readonly min: number; readonly max: number } | null;
  readonly label: string;
}

interface BarsOptions {
  readonly name: string;
  readonly title: string;
  readonly bars: readonly Bar[];
  readonly width: Width;
  /** Where bars start: on a log axis 1, which is the reference. */
  readonly log: boolean;
  readonly format: (value: number) => string;
}

const ROW = { wide: 26, narrow: 42 } as const;

/** Horizontal bars from the origin to the median, a whisker from min to max, the label at the right. */
function drawBars({ name, title, bars, width, log, format }: BarsOptions): string {
  const wide = width === "wide";
  const all = bars.flatMap(({ value }) => (value === null ? [] : [value.min, value.max, value.median]));
  const largest = Math.max(...all, log ? 1 : 0);
  const left = wide ? 300 : 12;
  return draw({
    name,
    title,
    width: WIDTHS[width],
    height: bars.length * ROW[width] + 44,
    option: {
      backgroundColor: "#fff",
      grid: { left, right: wide ? 250 : 24, top: 8, bottom: 34, containLabel: false },
      xAxis: {
        type: log ? "log" : "value",
        min: log ? floorAxis(Math.min(...all, 0.5)) : 0,
        max: log ? ceilAxis(Math.max(largest, 2)) : largest || 1,
        splitNumber: wide ? 6 : 3,
        // On narrow screens names stand above the bars, where lines would cross them.
        splitLine: { show: wide, lineStyle: { color: GRID } },
        axisLabel: { color: INK, fontSize: 12, formatter: format, hideOverlap: true, showMaxLabel: log },
      },
      yAxis: {
        type: "category",
        inverse: true,
        data: bars.map((bar) => bar.title),
        axisTick: { show: false },
        axisLine: { show: false },
        axisLabel: {
          show: wide,
          color: INK,
          fontSize: 12,
          interval: 0,
          formatter: (text: string) => cut(text, 39),
        },
      },
      series: [
        {
          type: "custom",
          silent: true,
          clip: false,
          data: bars.map((_, index) => index),
          encode: { y: 0 },
          renderItem: (
            params: { dataIndex: number; coordSys: { x: number; width: number } },
            api: { coord: (value: [number, number]) => number[] },
          ) => {
            const bar = bars[params.dataIndex];
            if (bar === undefined) return null;
            const right = params.coordSys.x + params.coordSys.width;
            const at = (value: number) => api.coord([value, params.dataIndex]);
            const [origin = 0, middle = 0] = at(log ? 1 : 0);
            const y = wide ? middle : middle + 9;
            const text = wide
              ? cut(bar.label, 38)
              : `${cut(bar.title, Math.max(14, 50 - bar.label.length))}: ${cut(bar.label, 34)}`;
            const label = {
              type: "text",
              style: {
                text,
                x: wide ? right + 12 : left,
                y: wide ? middle : middle - 8,
                textVerticalAlign: "middle",
                font: `12px ${FONT}`,
                fill: INK,
                ...(wide ? {} : { stroke: "#fff", lineWidth: 3 }),
              },
            };
            if (bar.value === null) return { type: "group", children: [label] };
            const [end = origin] = at(bar.value.median);
            const [low = end] = at(bar.value.min);
            const [high = end] = at(bar.value.max);
            const line = (x1: number, y1: number, x2: number, y2: number) => ({
              type: "line",
              shape: { x1, y1, x2, y2 },
              style: { stroke: INK, lineWidth: 1.5 },
            });
            return {
              type: "group",
              children: [
                {
                  type: "rect",
                  shape: {
                    x: Math.min(origin, end),
                    y: y - 7,
                    width: Math.max(2, Math.abs(end - origin)),
                    height: 14,
                  },
                  style: { fill: bar.color },
                },
                ...(log ? [line(origin, y - 11, origin, y + 11)] : []),
                line(low, y, high, y),
                line(low, y - 4, low, y + 4),
                line(high, y - 4, high, y + 4),
                label,
              ],
            };
          },
        },
      ],
    },
  });
}

/** Says what is the matter with an arm that has no bar. */
export function describeStanding(arm: ArmResult): string {
  if (arm.verdict !== null && standing(arm) === "wrong")
    return `wrong: ${formatNumber(arm.verdict.groups)} groups, ${formatEuros(arm.verdict.cents)}`;
  if (arm.unavailable !== undefined)
    return arm.unavailable.startsWith("not available") ? "not available here" : "not run";
  return arm.samples.length === 0 ? "not measured" : "right";
}

export interface CellPlotOptions {
  readonly name: string;
  readonly result: CellResult;
  readonly width: Width;
  readonly looks: (arm: ArmResult) => Look;
}

/** Ratios of all arms to ours, file to refreshed totals; null where nothing was measured. */
export function drawRatios({ name, result, width, looks }: CellPlotOptions): string | null {
  const reference = referenceArm(result);
  const under = reference && measureArm(reference, "refreshed");
  if (reference === undefined || under === undefined || under === null) return null;
  const bars = result.arms
    .map((arm): Bar => {
      const time = standing(arm) === "right" ? measureArm(arm, "refreshed") : null;
      const value = arm === reference ? ratio(under, { ...under, values: [] }) : ratio(time, under);
      const label =
        value === null || time === null
          ? describeStanding(arm)
          : `${formatRatio(value.median)}, ${formatMs(time.median)}`;
      return { title: arm.title, color: looks(arm).color, value, label };
    })
    .toSorted((a, b) => (a.value?.median ?? Infinity) - (b.value?.median ?? Infinity));
  const title = `${result.cell.id}: time as a multiple of ${reference.title}`;
  return drawBars({ name, title, bars, width, log: true, format: formatRatio });
}

/** WAL by arm; null where none was measured. */
export function drawWal({ name, result, width, looks }: CellPlotOptions): string | null {
  const bars = result.arms
    .filter((arm) => standing(arm) === "right")
    .flatMap((arm): Bar[] => {
      const value = spread(arm.samples.flatMap(({ walBytes }) => walBytes ?? []));
      return value === null
        ? []
        : [{ title: arm.title, color: looks(arm).color, value, label: formatBytes(value.median) }];
    })
    .toSorted((a, b) => (a.value?.median ?? 0) - (b.value?.median ?? 0));
  if (bars.length === 0) return null;
  return drawBars({
    name,
    title: `${result.cell.id}: WAL written`,
    bars,
    width,
    log: false,
    format: formatBytes,
  });
}

interface Stack {
  readonly title: string;
  readonly phases: ReadonlyMap<string, number>;
}

export interface PhasesOptions {
  readonly name: string;
  readonly title: string;
  readonly stacks: readonly Stack[];
  readonly width: Width;
  /** Of the whole, instead of times. */
  readonly shares: boolean;
}

/** The median of each phase of an arm; empty for a wrong one. */
export function stackArm(title: string, arm: ArmResult | undefined): Stack {
  const phases = new Map<string, number>();
  if (arm === undefined || standing(arm) !== "right") return { title, phases };
  for (const phase of new Set(arm.samples.flatMap((sample) => sample.phases.map((one) => one.name)))) {
    const times = arm.samples.map((sample) =>
      sample.phases.filter((one) => one.name === phase).reduce((sum, { ms }) => sum + ms, 0),
    );
    phases.set(phase, spread(times)?.median ?? 0);
  }
  return { title, phases };
}

/** Stacked horizontal bars; the colours are those of `phaseColors`. */
export function drawPhases({ name, title, stacks, width, shares }: PhasesOptions): string | null {
  const some = stacks.filter(({ phases }) => phases.size > 0);
  if (some.length === 0) return null;
  const wide = width === "wide";
  const sums = some.map(({ phases }) => [...phases.values()].reduce((sum, ms) => sum + ms, 0));
  const largest = Math.max(...sums) || 1;
  const left = wide ? 300 : 12;
  return draw({
    name,
    title,
    width: WIDTHS[width],
    height: some.length * ROW[width] + 44,
    option: {
      backgroundColor: "#fff",
      grid: { left, right: wide ? 90 : 24, top: 8, bottom: 34, containLabel: false },
      xAxis: {
        type: "value",
        min: 0,
        max: shares ? 1 : largest,
        splitNumber: wide ? 6 : 3,
        // On narrow screens names stand above the bars, where lines would cross them.
        splitLine: { show: wide, lineStyle: { color: GRID } },
        axisLabel: {
          color: INK,
          fontSize: 12,
          formatter: shares ? formatShare : formatMs,
          hideOverlap: true,
          showMaxLabel: shares,
        },
      },
      yAxis: {
        type: "category",
        inverse: true,
        data: some.map((stack) => stack.title),
        axisTick: { show: false },
        axisLine: { show: false },
        axisLabel: {
          show: wide,
          color: INK,
          fontSize: 12,
          interval: 0,
          formatter: (text: string) => cut(text, 39),
        },
      },
      series: [...phaseColors(some)]
        .map(([phase, color]) => ({
          type: "bar",
          name: phase,
          stack: "phases",
          silent: true,
          barWidth: 14,
          ...(wide ? {} : { barGap: 0 }),
          itemStyle: { color, borderColor: "#fff", borderWidth: 0.5 },
          data: some.map(
            ({ phases }, index) => (phases.get(phase) ?? 0) / (shares ? (sums[index] ?? 0) || 1 : 1),
          ),
        }))
        .concat([
          {
            // Invisible, at the end of the stack: holds the label.
            type: "custom",
            silent: true,
            clip: false,
            data: some.map((_, index) => index),
            encode: { y: 0 },
            renderItem: (
              params: { dataIndex: number },
              api: { coord: (value: [number, number]) => number[] },
            ) => {
              const sum = sums[params.dataIndex] ?? 0;
              const [x = 0, y = 0] = api.coord([shares ? 1 : sum, params.dataIndex]);
              const text = wide
                ? formatMs(sum)
                : `${cut(some[params.dataIndex]?.title ?? "", 38)}: ${formatMs(sum)}`;
              const place = wide ? { x: x + 8, y } : { x: left, y: y - 14 };
              return {
                type: "text",
                style: {
                  text,
                  ...place,
                  textVerticalAlign: "middle",
                  font: `12px ${FONT}`,
                  fill: INK,
                  stroke: "#fff",
                  lineWidth: 3,
                },
              };
            },
          } as never,
        ]),
    },
  });
}

/** A colour for each phase that occurs. */
export function phaseColors(stacks: readonly Stack[]): ReadonlyMap<string, string> {
  const names = [...new Set(stacks.flatMap(({ phases }) => [...phases.keys()]))];
  const others = names.filter((name) => name !== "refresh");
  const colors = new Map(others.map((name, index) => [name, COLORS[index % COLORS.length] ?? INK]));
  return names.includes("refresh") ? colors.set("refresh", "#e69f00") : colors;
}

function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
