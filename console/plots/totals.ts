/** Totals, one bar each. */
import type { ListedTotal } from "../../etl/reports/totals_page.ts";
import { type Formats, name } from "../formats.ts";
import type { Html } from "../html.ts";
import { drawChart, labelAxis, numberAxis } from "./chart.ts";

/** Characters of a label. */
const LABEL_LENGTH = 14;

/**
 * @param rows from left to right
 * @param title what is seen, for who does not see it
 */
export function drawTotals(rows: readonly ListedTotal[], title: string, formats: Formats): Html {
  const isCompared = rows.some(({ totalNow }) => totalNow !== null);
  return drawChart({
    name: "totals",
    title,
    height: 220,
    option: () => ({
      grid: { left: 56, right: 8, top: 12, bottom: 28 },
      xAxis: labelAxis(rows.map(labelOf)),
      yAxis: numberAxis(formats, 4),
      series: [
        {
          type: "bar",
          barMaxWidth: 36,
          barGap: "0%",
          data: rows.map(({ total }) => Number(total)),
          itemStyle: { color: "var(--blue)" },
        },
        ...(isCompared
          ? [
              {
                type: "bar",
                barMaxWidth: 36,
                data: rows.map(({ totalNow }) => Number(totalNow)),
                itemStyle: { color: "var(--orange)" },
              },
            ]
          : []),
      ],
    }),
  });
}

/** What tells a row from the next: its date, else its venue. */
function labelOf({ date, venue }: ListedTotal): string {
  const characters = [...name(date ?? venue ?? "")];
  return characters.length > LABEL_LENGTH
    ? `${characters.slice(0, LABEL_LENGTH - 1).join("")}…`
    : characters.join("");
}
