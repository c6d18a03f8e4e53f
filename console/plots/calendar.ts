/** A year of days, a small calendar for each month, coloured by total. The steps differ in lightness, so no colour need be told from another. */
import { addDays, toDay } from "../../db/dates.ts";
import { type Formats, monthName, shortMonth } from "../formats.ts";
import { type Html, html, NOTHING } from "../html.ts";

export interface CalendarDay {
  readonly date: string;
  readonly invoices: number;
  readonly total: string;
}

export interface CalendarMonth {
  /** `2026-10`. */
  readonly month: string;
  readonly invoices: number;
  readonly total: string;
}

/** Steps of the scale, each with a fifth of the days that have sales. */
const STEPS = 5;
const CELL = 14;
const GAP = 2;

export function drawCalendar(plot: {
  readonly months: readonly CalendarMonth[];
  readonly days: readonly CalendarDay[];
  /** Days after it are left out. */
  readonly today: string;
  readonly formats: Formats;
}): Html {
  const { months, days, today, formats } = plot;
  const bounds = findBounds(days);
  const byDate = new Map(days.map((day) => [day.date, day]));
  return html`<div class="calendar">${months.map(
    ({ month, invoices, total }) => html`<div class="month">
<h3>${shortMonth(month)} <span class="muted">${month.slice(0, 4)}</span></h3>
${drawMonth({ month, byDate, today, bounds, formats })}
<div class="number">${invoices === 0 ? html`<span class="muted">no invoices</span>` : formats.euros(total)}</div>
</div>`,
  )}</div>${showLegend(bounds, formats)}`;
}

function drawMonth(plot: {
  readonly month: string;
  readonly byDate: ReadonlyMap<string, CalendarDay>;
  readonly today: string;
  readonly bounds: readonly number[];
  readonly formats: Formats;
}): Html {
  const { month, byDate, today, bounds, formats } = plot;
  const first = `${month}-01`;
  // 1970-01-01 was a Thursday.
  const offset = (toDay(first) + 3) % 7;
  const cells: Html[] = [];
  for (let date = first; date.startsWith(month) && date <= today; date = addDays(date, 1)) {
    const place = offset + Number(date.slice(8)) - 1;
    const [x, y] = [(place % 7) * (CELL + GAP), Math.floor(place / 7) * (CELL + GAP)];
    const day = byDate.get(date);
    const said =
      day === undefined
        ? "no invoices"
        : `${formats.euros(day.total)}, ${formats.count(day.invoices)} invoices`;
    cells.push(
      html`<rect class="${stepClass(day, bounds)}" x="${x}" y="${y}" width="${CELL}" height="${CELL}" rx="2"><title>${date}: ${said}</title></rect>`,
    );
  }
  const size = 7 * (CELL + GAP) - GAP;
  return html`<svg viewBox="-1 -1 ${size + 2} ${6 * (CELL + GAP) - GAP + 2}" role="img" aria-label="Days of ${monthName(month)}">${cells}</svg>`;
}

/** Greatest totals of all steps but the last. */
function findBounds(days: readonly CalendarDay[]): readonly number[] {
  const totals = days.map(({ total }) => Number(total)).filter((total) => total > 0);
  const sorted = totals.toSorted((a, b) => a - b);
  if (sorted.length === 0) return [];
  return Array.from(
    { length: STEPS - 1 },
    (_, index) => sorted[Math.ceil(((index + 1) / STEPS) * sorted.length) - 1] ?? 0,
  );
}

function stepClass(day: CalendarDay | undefined, bounds: readonly number[]): string {
  if (day === undefined) return "day-none";
  const total = Number(day.total);
  if (total <= 0) return "day-negative";
  return `step-${1 + bounds.filter((bound) => total > bound).length}`;
}

function showLegend(bounds: readonly number[], formats: Formats): Html {
  if (bounds.length === 0) return NOTHING;
  const square = (kind: string) =>
    html`<svg viewBox="-1 -1 16 16" aria-hidden="true"><rect class="${kind}" width="14" height="14" rx="2"/></svg>`;
  const whole = (value: number) => formats.count(Math.round(value));
  return html`<ul class="legend"><li>${square("day-none")}no invoices</li><li>${square("day-negative")}zero or less</li>${[
    ...bounds,
    undefined,
  ].map(
    (bound, index) =>
      html`<li>${square(`step-${index + 1}`)}${bound === undefined ? `more than ${whole(bounds.at(-1) ?? 0)}` : `to ${whole(bound)}`}</li>`,
  )}</ul>`;
}
