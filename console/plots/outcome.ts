/** What became of the lines of a load, as one bar. */
import * as v from "valibot";
import type { Formats } from "../formats.ts";
import { type Html, html, NOTHING } from "../html.ts";
import { count } from "../schemas.ts";

/** In the order in which they are drawn: what counts first, what was refused last. */
const PARTS = [
  ["inserted", "inserted", "blue"],
  ["corrected", "corrected", "orange"],
  ["summed", "summed", "teal"],
  ["voided", "void", "pink"],
  ["unchanged", "unchanged", "grey"],
  ["superseded", "superseded", "violet"],
  ["rejected", "rejected", "red"],
] as const;

export const linesSchema = v.object({
  read: v.pipe(count(), v.description("Lines read: the sum of the others.")),
  inserted: count(),
  corrected: count(),
  unchanged: count(),
  superseded: count(),
  rejected: count(),
  summed: count(),
  voided: count(),
});
export type Lines = v.InferOutput<typeof linesSchema>;

/** The parts that there are, each with its share of all. */
function partsOf(lines: Lines) {
  const all = PARTS.reduce((sum, [key]) => sum + lines[key], 0);
  return PARTS.filter(([key]) => lines[key] > 0).map(([key, label, color]) => ({
    label,
    color,
    lines: lines[key],
    share: lines[key] / all,
  }));
}

const LENGTH = 1000;
/** A single bad line among a million is seen, too. */
const LEAST = 6;

/** The bar alone: a table has its numbers beside it. */
export function drawOutcome(lines: Lines, formats: Formats, kind: "" | "tall" = ""): Html {
  const parts = partsOf(lines);
  if (parts.length === 0) return NOTHING;
  const room = LENGTH - parts.length * LEAST;
  let x = 0;
  const rects = parts.map(({ color, share, label, lines: number }) => {
    const width = LEAST + room * share;
    const rect = html`<rect class="fill-${color}" x="${x.toFixed(1)}" width="${width.toFixed(1)}" height="10"><title>${formats.count(number)} ${label}</title></rect>`;
    x += width;
    return rect;
  });
  const said = parts.map(({ label, lines: number }) => `${formats.count(number)} ${label}`).join(", ");
  return html`<svg class="bar ${kind}" viewBox="0 0 ${LENGTH} 10" preserveAspectRatio="none" role="img" aria-label="${said}">${rects}</svg>`;
}

/** What the colours mean, with numbers. */
export function listOutcome(lines: Lines, formats: Formats): Html {
  return html`<ul class="legend">${partsOf(lines).map(
    ({ label, color, lines: number, share }) =>
      html`<li>${swatch(color)}${formats.count(number)} ${label} <span>${formats.share(share)}</span></li>`,
  )}</ul>`;
}

/** A square of a colour, for a legend. */
export function swatch(color: string): Html {
  return html`<svg viewBox="0 0 10 10" aria-hidden="true"><rect class="fill-${color}" width="10" height="10" rx="2"/></svg>`;
}
