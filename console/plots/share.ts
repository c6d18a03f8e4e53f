/** A bar of one colour, for a cell of a table: its number stands beside it. */
import { type Html, html } from "../html.ts";

/** @param share 0 to 1 */
export function drawShare(share: number, color = "blue"): Html {
  const width = Math.max(0, Math.min(1, share)) * 100;
  return html`<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="fill-faint" width="100" height="10"/><rect class="fill-${color}" width="${width.toFixed(2)}" height="10"/></svg>`;
}
