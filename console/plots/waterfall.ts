/** How a total came about: what each load added or took away, in order, and what it is. */
import type { Formats } from "../formats.ts";
import type { Html } from "../html.ts";
import { drawChart, labelAxis, numberAxis } from "./chart.ts";

export interface Step {
  readonly label: string;
  /** In euros, before and after it. */
  readonly from: string;
  readonly to: string;
  /** Whether it is the total itself. */
  readonly isTotal?: boolean;
}

export function drawWaterfall(steps: readonly Step[], formats: Formats): Html {
  const end = steps.at(-1);
  return drawChart({
    name: "waterfall",
    title: `How the total came about in ${steps.length - 1} steps, to ${formats.euros(end?.to ?? "0.00")} euros. The table below has the numbers.`,
    height: 240,
    option: () => ({
      grid: { left: 56, right: 8, top: 12, bottom: 28 },
      xAxis: labelAxis(steps.map(({ label }) => label)),
      yAxis: numberAxis(formats, 4),
      series: [
        {
          type: "custom",
          data: steps.map(({ from, to }, index) => [index, Number(from), Number(to)]),
          encode: { x: 0, y: [1, 2] },
          renderItem: (_: unknown, api: DrawingApi) => drawStep(api, steps),
        },
      ],
    }),
  });
}

/** What ECharts gives to a custom series. */
interface DrawingApi {
  readonly value: (dimension: number) => number;
  readonly coord: (point: readonly [number, number]) => [number, number];
  readonly size: (size: readonly [number, number]) => [number, number];
}

const WIDEST = 36;

function drawStep(api: DrawingApi, steps: readonly Step[]) {
  const index = api.value(0);
  const [from, to] = [api.value(1), api.value(2)];
  const [x, start] = api.coord([index, from]);
  const [, end] = api.coord([index, to]);
  const [band] = api.size([1, 0]);
  const width = Math.min(WIDEST, band * 0.7);
  const color = steps[index]?.isTotal === true ? "var(--grey)" : to < from ? "var(--red)" : "var(--blue)";
  const height = Math.max(1, Math.abs(end - start));
  const bar = {
    type: "rect",
    shape: { x: x - width / 2, y: Math.min(start, end), width, height },
    style: { fill: color },
  };
  if (index === steps.length - 1) return bar;
  // From the end of a step to the next one.
  const line = {
    type: "line",
    shape: { x1: x - width / 2, y1: end, x2: x + band - width / 2, y2: end },
    style: { stroke: "var(--muted)", lineWidth: 1 },
  };
  return { type: "group", children: [line, bar] };
}
