/** What all plots share: sizes, colours, and how an SVG text is made, by ECharts without a browser. */
import * as echarts from "echarts";
import type { ArmResult, CellResult } from "../../results.ts";
import { escapeHtml } from "../html.ts";
import { isOurs } from "../measures.ts";

/**
 * Pixels. Text is at least 12 of them, so no plot is shown smaller than it is drawn on the screens it is for.
 */
export const WIDTHS = { wide: 960, narrow: 356 } as const;
export type Width = keyof typeof WIDTHS;

const FONT = "system-ui, 'DejaVu Sans', sans-serif";
export const LABEL_FONT = `12px ${FONT}`;
export const INK = "#1f2933";
export const GRID = "#d9dee4";
/** An axis label. */
export const LABEL = { color: INK, fontSize: 12 } as const;

interface Look {
  readonly color: string;
  readonly symbol: string;
  readonly dash: "solid" | "dashed" | "dotted";
}
export type Looks = (arm: ArmResult) => Look;

/** Okabe and Ito's colours, which colour-blind readers can distinguish, darkened for lines on white. */
const COLORS = ["#0067a5", "#c75100", "#00795c", "#a3417f", "#8a6d00", "#3a86c8", "#7a3b10", "#5b4bb3"];
const SYMBOLS = ["circle", "rect", "triangle", "diamond"];

export const colorAt = (index: number) => COLORS[index % COLORS.length] ?? INK;

/** The same arm looks the same in all plots; ours are solid, floors dotted. */
export function createLooks(cells: readonly CellResult[]): Looks {
  const names = [...new Set(cells.flatMap(({ arms }) => arms.map(({ arm }) => arm)))];
  return (arm) => {
    const index = Math.max(0, names.indexOf(arm.arm));
    return {
      color: arm.group === "floor" ? "#5f6b76" : colorAt(index),
      symbol: SYMBOLS[(index + Math.floor(index / COLORS.length)) % SYMBOLS.length] ?? "circle",
      dash: isOurs(arm) ? "solid" : arm.group === "floor" ? "dotted" : "dashed",
    };
  };
}

/**
 * Which drawing of a plot: the prefix of its ids, unique in a page, what it is called, and for which screens.
 */
export interface Frame {
  readonly name: string;
  readonly title: string;
  readonly width: Width;
}

/** @param height in pixels */
export function draw(
  { name, title, width }: Frame,
  height: number,
  option: echarts.EChartsCoreOption,
): string {
  const size = { width: WIDTHS[width], height };
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, ...size });
  try {
    const textStyle = { fontFamily: FONT, ...LABEL };
    chart.setOption({ animation: false, textStyle, backgroundColor: "#fff", ...option });
    const body = chart
      .renderToSVGString()
      .replace(/^[\s\S]*?<svg[^>]*>/, "")
      .replace(/<style\s*>[\s\S]*?<\/style>/g, "")
      .replace(/ class="zr[^"]*"/g, "")
      .replace(/ ecmeta_[a-z_]+="[^"]*"/g, "")
      // ECharts counts its charts; the same results shall give the same bytes.
      .replace(/zr\d+-/g, `${name}-`);
    const id = `${name}-title`;
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="${id}" width="${size.width}" ` +
      `height="${height}" viewBox="0 0 ${size.width} ${height}"><title id="${id}">${escapeHtml(title)}</title>${body}`
    );
  } finally {
    chart.dispose();
  }
}

/** An SVG that says why there is no plot. */
export function drawNothing(title: string, why: string): string {
  const text = escapeHtml(`${title}: not measured. ${why}`);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="960" height="60" viewBox="0 0 960 60">` +
    `<title>${text}</title><rect width="960" height="60" fill="#fff"/>` +
    `<text x="16" y="35" font-family="${FONT}" font-size="14" fill="${INK}">${text}</text></svg>`
  );
}

export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** The next of 1, 2, 5 times a power of ten: log axes need not span whole decades. */
export function ceilAxis(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value * 0.999) ?? 10);
}

export function floorAxis(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([5, 2, 1].find((step) => step * power <= value * 1.001) ?? 1);
}
