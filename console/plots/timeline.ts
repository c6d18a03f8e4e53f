/** Invoices of each partition, in the order of time, coloured by its state. */
import type { Formats } from "../formats.ts";
import { type Html, html } from "../html.ts";
import { drawChart, labelAxis, numberAxis } from "./chart.ts";
import { swatch } from "./outcome.ts";

interface Bar {
  readonly partition: string;
  readonly state: string;
  readonly invoices: number;
  readonly pendingChanges: number;
}

const KINDS = [
  ["up to date", "blue"],
  ["pending", "orange"],
  ["to be rebuilt", "red"],
  ["detached or dropped", "grey"],
] as const;

function kindOf({ state, pendingChanges }: Bar): number {
  if (state === "stale") return 2;
  if (state !== "open") return 3;
  return pendingChanges > 0 ? 1 : 0;
}

/** @param partitions the newest first */
export function drawTimeline(partitions: readonly Bar[], formats: Formats): Html {
  const bars = partitions.toReversed();
  const [first, last] = [bars[0]?.partition ?? "", bars.at(-1)?.partition ?? ""];
  const kinds = new Set(bars.map(kindOf));
  return html`${drawChart({
    name: "timeline",
    title: `Invoices of the partitions ${first} to ${last}; the table below has the numbers`,
    height: 170,
    option: (width) => ({
      grid: { left: 64, right: 8, top: 10, bottom: 24 },
      xAxis: labelAxis(bars.map(({ partition }) => partition)),
      yAxis: numberAxis(formats, 3),
      series: [
        {
          type: "bar",
          barCategoryGap: width === "narrow" ? "15%" : "25%",
          barMaxWidth: 40,
          data: bars.map((bar) => ({
            value: bar.invoices,
            itemStyle: { color: `var(--${KINDS[kindOf(bar)]?.[1]})` },
          })),
        },
      ],
    }),
  })}<ul class="legend">${KINDS.filter((_, index) => kinds.has(index)).map(
    ([label, color]) => html`<li>${swatch(color)}${label}</li>`,
  )}</ul>`;
}
