/** Plots by ECharts, on the server. Colours are those of the style sheet, so that they follow dark and light. */
import { BarChart, CustomChart } from "echarts/charts";
import { GridComponent } from "echarts/components";
import { type EChartsCoreOption, init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import type { Formats } from "../formats.ts";
import { type Html, html, trusted } from "../html.ts";

use([BarChart, CustomChart, GridComponent, SVGRenderer]);

/** Pixels. Text grows with its drawing, so there are three, and the style sheet shows the one that fits best. */
const WIDTHS = { wide: 1080, middle: 640, narrow: 330 } as const;
const NAMES = ["wide", "middle", "narrow"] as const;

/** An axis label. */
export const LABEL = { color: "var(--muted)", fontSize: 12 } as const;
export const LINE = { lineStyle: { color: "var(--line)" } } as const;

/**
 * @param plot.name unique in the page
 * @param plot.title what it shows, for who does not see it; numbers that matter stand in the page besides
 * @param plot.option as ECharts takes it
 */
export function drawChart(plot: {
  readonly name: string;
  readonly title: string;
  readonly height: number;
  readonly option: (width: keyof typeof WIDTHS) => EChartsCoreOption;
}): Html {
  const { name, title, height, option } = plot;
  const drawings = NAMES.map((width) => {
    const size = { width: WIDTHS[width], height };
    const body = render(size, `${name}-${width}-`, option(width));
    return html`<svg class="plot ${width}" role="img" aria-label="${title}" viewBox="0 0 ${size.width} ${height}">${trusted(body)}</svg>`;
  });
  return html`${drawings}`;
}

function render(
  size: { readonly width: number; readonly height: number },
  prefix: string,
  option: EChartsCoreOption,
): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, ...size });
  try {
    chart.setOption({ animation: false, textStyle: LABEL, ...option });
    return (
      chart
        .renderToSVGString()
        .replace(/^[\s\S]*?<svg[^>]*>/, "")
        .replace(/<\/svg>\s*$/, "")
        .replace(/<style\s*>[\s\S]*?<\/style>/g, "")
        .replace(/ ecmeta_[a-z_]+="[^"]*"/g, "")
        .replace(/ class="zr[^"]*"/g, "")
        // The page's policy allows no style in an attribute; the style sheet has the font.
        .replace(/ style="[^"]*"/g, "")
        // ECharts counts its charts.
        .replace(/zr\d+-/g, prefix)
    );
  } finally {
    chart.dispose();
  }
}

/** An axis with a label below each bar. */
export function labelAxis(labels: readonly string[]) {
  return {
    type: "category",
    data: labels,
    axisLabel: { ...LABEL, hideOverlap: true },
    axisTick: { show: false },
    axisLine: LINE,
  } as const;
}

/** An axis of numbers, in short. */
export function numberAxis(formats: Formats, splitNumber: number) {
  return {
    type: "value",
    splitNumber,
    axisLabel: { ...LABEL, formatter: (value: number) => formats.short(value) },
    splitLine: LINE,
  } as const;
}
