/** What the plots with one row for each arm or cell share: the axes, and the label of a row. */
import { cut, draw, type Frame, GRID, INK, LABEL, LABEL_FONT } from "./draw.ts";

const ROW = { wide: 26, narrow: 42 } as const;
/** Where the bars begin, in pixels. Only wide screens have room for the rows' names there. */
export const LEFT = { wide: 300, narrow: 12 } as const;

export interface RowsOptions extends Frame {
  readonly titles: readonly string[];
  /** Pixels for labels to the right of the bars, on wide screens. */
  readonly right: number;
  readonly x: {
    readonly type: "log" | "value";
    readonly min: number;
    readonly max: number;
    readonly format: (value: number) => string;
    readonly showMaxLabel: boolean;
  };
  readonly series: readonly unknown[];
}

export function drawRows(options: RowsOptions): string {
  const { titles, right, width, series } = options;
  const { format, showMaxLabel, ...x } = options.x;
  const wide = width === "wide";
  return draw(options, titles.length * ROW[width] + 44, {
    grid: { left: LEFT[width], right: wide ? right : 24, top: 8, bottom: 34, containLabel: false },
    xAxis: {
      ...x,
      splitNumber: wide ? 6 : 3,
      // On narrow screens names stand above the bars, where lines would cross them.
      splitLine: { show: wide, lineStyle: { color: GRID } },
      axisLabel: { ...LABEL, formatter: format, hideOverlap: true, showMaxLabel },
    },
    yAxis: {
      type: "category",
      inverse: true,
      data: titles,
      axisTick: { show: false },
      axisLine: { show: false },
      axisLabel: { ...LABEL, show: wide, interval: 0, formatter: (text: string) => cut(text, 39) },
    },
    series,
  });
}

/** What ECharts gives to the function that draws a row; `at` turns a value on the x axis into pixels. */
export interface Row {
  readonly index: number;
  /** The right end of the axis, in pixels. */
  readonly end: number;
  readonly at: (value: number) => readonly [x: number, y: number];
}

/** A series that is drawn by hand, row by row. */
export function drawByHand(rows: readonly unknown[], drawRow: (row: Row) => unknown): unknown {
  return {
    type: "custom",
    silent: true,
    clip: false,
    data: [...rows.keys()],
    encode: { y: 0 },
    renderItem: (
      { dataIndex, coordSys }: { dataIndex: number; coordSys: { x: number; width: number } },
      api: { coord: (value: [number, number]) => [number, number] },
    ) =>
      drawRow({
        index: dataIndex,
        end: coordSys.x + coordSys.width,
        at: (value) => api.coord([value, dataIndex]),
      }),
  };
}

/** @param outlined with a white edge, where lines or bars may lie behind it */
export function drawLabel(text: string, x: number, y: number, outlined: boolean): unknown {
  const outline = outlined ? { stroke: "#fff", lineWidth: 3 } : {};
  return {
    type: "text",
    style: { text, x, y, textVerticalAlign: "middle", font: LABEL_FONT, fill: INK, ...outline },
  };
}
