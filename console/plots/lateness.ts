/** How late the invoices of a load are, as a histogram. */
import type { Formats } from "../formats.ts";
import type { Html } from "../html.ts";
import { drawChart, LABEL, LINE } from "./chart.ts";

/** Days from creation to sync; each bin from the end of the one before. */
export const BINS = [
  { label: "same day", to: 0 },
  { label: "1 day", to: 1 },
  { label: "2–7 days", to: 7 },
  { label: "8–30 days", to: 30 },
  { label: "31–90 days", to: 90 },
  { label: "91–365 days", to: 365 },
  { label: "more", to: Number.POSITIVE_INFINITY },
] as const;

/** @param counts invoices of each bin */
export function drawLateness(counts: readonly number[], formats: Formats): Html {
  const said = BINS.map(({ label }, index) => `${label} ${formats.count(counts[index] ?? 0)}`).join(", ");
  return drawChart({
    name: "lateness",
    title: `Invoices by days from creation to sync date: ${said}`,
    height: 220,
    option: (width) => ({
      grid: { left: 82, right: width === "narrow" ? 64 : 90, top: 4, bottom: 4 },
      yAxis: {
        type: "category",
        inverse: true,
        data: BINS.map(({ label }) => label),
        axisLabel: LABEL,
        axisTick: { show: false },
        axisLine: LINE,
      },
      xAxis: { type: "value", show: false, min: 0 },
      series: [
        {
          type: "bar",
          barWidth: 16,
          data: counts.map((value) => Math.max(0, value)),
          itemStyle: { color: "var(--blue)" },
          label: {
            show: true,
            position: "right",
            ...LABEL,
            formatter: ({ dataIndex }: { readonly dataIndex: number }) =>
              formats.count(counts[dataIndex] ?? 0),
          },
        },
      ],
    }),
  });
}

/** The bin of a number of days. */
export function binOf(days: number): number {
  return BINS.findIndex(({ to }) => days <= to);
}
