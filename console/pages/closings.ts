/** What was closed. */
import { desc, lt } from "drizzle-orm";
import * as v from "valibot";
import { reportedClosings } from "../../db/schema.ts";
import { isoInstant } from "../../etl/reports/zone.ts";
import { type Formats, name } from "../formats.ts";
import { addressWith, type Html, html, NOTHING } from "../html.ts";
import { definePage } from "../page.ts";
import { inSnapshot } from "../reports.ts";
import { count, date, euros, instant, loadNumber } from "../schemas.ts";
import { frameTable } from "../table.ts";

/** Closings of one page. */
const LENGTH = 50;

export const closingSchema = v.object({
  closing: v.number(),
  period: v.string(),
  from: date(),
  to: v.pipe(date(), v.description("First creation date after it.")),
  groups: count(),
  invoices: count(),
  total: euros(),
  sha256: v.string(),
  closedBy: v.string(),
  closedAt: instant(),
  replacedBy: v.pipe(
    v.nullable(v.number()),
    v.description("The next closing of the same dates, which counts instead."),
  ),
});
type Closing = v.InferOutput<typeof closingSchema>;

export const CLOSING_COLUMNS = {
  closing: reportedClosings.closing,
  period: reportedClosings.period,
  from: reportedClosings.firstDate,
  to: reportedClosings.dateAfter,
  groups: reportedClosings.groups,
  invoices: reportedClosings.invoices,
  total: reportedClosings.total,
  sha256: reportedClosings.sha256,
  closedBy: reportedClosings.closedBy,
  closedAt: reportedClosings.closedAt,
  replacedBy: reportedClosings.replacedBy,
};
export const describeClosing = <Row extends { readonly closedAt: string }>(row: Row) => ({
  ...row,
  closedAt: isoInstant(row.closedAt),
});

export const closings = definePage({
  path: "/closings",
  menu: "Closings",
  title: "Restatements and closings",
  summary: "What was closed, the newest closing first.",
  query: v.strictObject({ before: v.optional(loadNumber()) }),
  answer: v.object({
    closings: v.array(closingSchema),
    next: v.pipe(v.nullable(v.number()), v.description("`before` of the next page; null on the last one.")),
  }),
  read: (asking, { before }) =>
    inSnapshot(asking, async (db) => {
      const rows = await db
        .select(CLOSING_COLUMNS)
        .from(reportedClosings)
        .where(before === undefined ? undefined : lt(reportedClosings.closing, before))
        .orderBy(desc(reportedClosings.closing))
        .limit(LENGTH + 1);
      const found = rows.slice(0, LENGTH).map(describeClosing);
      return { closings: found, next: rows.length > LENGTH ? (found.at(-1)?.closing ?? null) : null };
    }),
  show: ({ closings: found, next }, { query, formats }) => html`
<h1>Restatements and closings</h1>
<p class="lead">A closing certifies what a period was. What has changed since is a restatement.</p>
<section class="card">${
    found.length === 0
      ? html`<p class="muted">Nothing is closed. <code>rollbook close 2026-10</code> certifies what a month was.</p>`
      : showClosings(found, formats)
  }</section>
<nav class="pages" aria-label="Further closings">${
    query.before === undefined ? NOTHING : html`<a href="/closings">Newest</a>`
  }${next === null ? NOTHING : html`<a href="${addressWith("/closings", { before: next })}" rel="next">Older</a>`}</nav>`,
});

function showClosings(found: readonly Closing[], formats: Formats): Html {
  return frameTable(
    "Closings",
    html`<th class="number">Closing</th><th>Period</th><th class="number">Groups</th><th class="number">Invoices</th><th class="number">Total when closed</th><th>Closed</th><th>By</th><th>Digest</th><th></th>`,
    found.map(
      (one) => html`<tr><td class="number"><a href="/closings/${one.closing}">${one.closing}</a></td>
<td class="nowrap"><a href="/closings/${one.closing}">${one.period}</a></td><td class="number">${formats.count(one.groups)}</td>
<td class="number">${formats.count(one.invoices)}</td><td class="number">${formats.euros(one.total)}</td>
<td class="nowrap">${formats.instant(one.closedAt)}</td><td>${name(one.closedBy)}</td><td><code>${one.sha256.slice(0, 12)}</code></td>
<td class="nowrap muted">${one.replacedBy === null ? "" : html`closed again by <a href="/closings/${one.replacedBy}">${one.replacedBy}</a>`}</td></tr>`,
    ),
  );
}
