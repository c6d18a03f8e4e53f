/** What is around every list: a table that scrolls by itself where it is wider than the page, also by keyboard. */
import { type Html, html, NOTHING } from "./html.ts";

/**
 * @param label what a screen reader calls it
 * @param head the cells of its head
 * @param foot its last row, where it has one
 */
export function frameTable(label: string, head: Html, rows: readonly Html[], foot?: Html): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${label}"><table>
<thead><tr>${head}</tr></thead>
<tbody>${rows}</tbody>${foot === undefined ? NOTHING : html`<tfoot><tr>${foot}</tr></tfoot>`}</table></div>`;
}
