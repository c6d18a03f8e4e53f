/** A closing: what the period was, and what has changed it since. */
import { and, asc, desc, eq, gte, lt, sql } from "drizzle-orm";
import * as v from "valibot";
import type { Session } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { reportedClosings, restatements, restatingLoads } from "../../db/schema.ts";
import { isoInstant } from "../../etl/reports/zone.ts";
import { countOf, type Formats, name, shortName } from "../formats.ts";
import { type Html, html, NOTHING } from "../html.ts";
import { definePage } from "../page.ts";
import { inSnapshot } from "../reports.ts";
import { count, date, euros, instant, loadNumber } from "../schemas.ts";
import { frameTable } from "../table.ts";
import { CLOSING_COLUMNS, closingSchema, describeClosing } from "./closings.ts";

/** Groups and loads that are listed. */
const LISTED = 200;

const change = { invoices: count(), total: euros() };

const answer = v.object({
  closing: closingSchema,
  restated: v.pipe(
    v.object({ groups: count(), ...change }),
    v.description("Of a period that was closed again the newest closing has them."),
  ),
  byGroup: v.pipe(
    v.array(
      v.object({
        venue: v.nullable(v.string()),
        date: date(),
        thenInvoices: count(),
        thenTotal: euros(),
        nowInvoices: count(),
        nowTotal: euros(),
        ...change,
      }),
    ),
    v.description("By the size of the change, at most 200."),
  ),
  byLoad: v.pipe(
    v.array(v.object({ load: v.number(), file: v.string(), knownAt: instant(), groups: count(), ...change })),
    v.description("In the order in which they became known, at most 200."),
  ),
});
type Answer = v.InferOutput<typeof answer>;

export const closing = definePage({
  path: "/closings/:closing",
  title: ({ closing: { period, closing: number } }) => `${period}, closing ${number}`,
  summary: "One closing: what the period was, and what has changed it since.",
  query: v.strictObject({ closing: loadNumber() }),
  answer,
  read: (asking, { closing: number }) =>
    inSnapshot(asking, async (db) => {
      const [found] = await db
        .select(CLOSING_COLUMNS)
        .from(reportedClosings)
        .where(eq(reportedClosings.closing, number));
      if (found === undefined)
        throw new RollbookError({ code: "not_found", message: `There is no closing ${number}.` });
      return { closing: describeClosing(found), ...(await readRestated(db, found)) };
    }),
  show: ({ closing: found, restated, byGroup, byLoad }, { formats }) => html`
<h1>${found.period}</h1>
<p class="lead">Closing ${found.closing}, by ${name(found.closedBy)} on ${formats.instant(found.closedAt)}</p>
${
  found.replacedBy === null
    ? NOTHING
    : html`<p class="notice">The period was closed again: <a href="/closings/${found.replacedBy}">closing ${found.replacedBy}</a> counts, and has the restatements.</p>`
}
<div class="grid">
<section class="card"><h2>When it was closed</h2>
<p class="figure">${formats.euros(found.total)} <small>${countOf(formats, found.invoices, "invoice")}</small></p>
<dl class="facts"><dt>Groups</dt><dd>${formats.count(found.groups)}</dd><dt>Digest</dt><dd><code>${found.sha256}</code></dd></dl></section>
<section class="card"><h2>Changed since</h2>${
    restated.groups === 0
      ? html`<p class="figure"><span class="status ok">nothing</span></p>`
      : html`<p class="figure">${formats.change(restated.total)} <small>${countOf({ ...formats, count: formats.signed }, restated.invoices, "invoice")} in ${countOf(formats, restated.groups, "group")}</small></p>`
  }<pre>rollbook restated ${found.period}</pre></section>
</div>
${showGroups(byGroup, restated.groups, formats)}
${showLoads(byLoad, formats)}`,
});

/** The dates are said again, so that no partition of other periods is planned. */
async function readRestated(
  db: Session["db"],
  { closing: number, from, to }: { readonly closing: number; readonly from: string; readonly to: string },
): Promise<Omit<Answer, "closing">> {
  const [r, l] = [restatements, restatingLoads];
  const ofGroups = and(eq(r.closing, number), gte(r.createdOn, from), lt(r.createdOn, to));
  const groups = await db
    .select({
      ...{ venue: r.venueId, date: r.createdOn, thenInvoices: r.thenInvoices, thenTotal: r.thenTotal },
      ...{ nowInvoices: r.nowInvoices, nowTotal: r.nowTotal, invoices: r.invoices, total: r.total },
      allGroups: sql`count(*) over ()`.mapWith(Number),
      allInvoices: sql`sum(${r.invoices}) over ()`.mapWith(Number),
      allTotal: sql<string>`(sum(${r.total}) over ())::numeric(24, 2)::text`,
    })
    .from(r)
    .where(ofGroups)
    .orderBy(sql`abs(${r.total}) desc`, asc(r.createdOn), asc(r.venueId))
    .limit(LISTED);
  const byLoad = await db
    .select({
      ...{ load: l.loadId, file: l.fileName, knownAt: l.knownAt },
      groups: sql`count(*)`.mapWith(Number),
      invoices: sql`sum(${l.invoices})`.mapWith(Number),
      total: sql<string>`sum(${l.total})::numeric(24, 2)::text`,
    })
    .from(l)
    .where(and(eq(l.closing, number), gte(l.createdOn, from), lt(l.createdOn, to)))
    .groupBy(l.loadId, l.fileName, l.knownAt)
    .orderBy(desc(l.knownAt))
    .limit(LISTED);
  const [first] = groups;
  return {
    restated: {
      groups: first?.allGroups ?? 0,
      invoices: first?.allInvoices ?? 0,
      total: first?.allTotal ?? "0.00",
    },
    byGroup: groups.map(({ allGroups, allInvoices, allTotal, ...group }) => group),
    byLoad: byLoad.map((row) => ({ ...row, knownAt: isoInstant(row.knownAt) })).toReversed(),
  };
}

function showGroups(groups: Answer["byGroup"], all: number, formats: Formats): Html {
  if (groups.length === 0) return NOTHING;
  return html`<section class="card"><h2>Groups that have changed</h2>
${frameTable(
  "Groups",
  html`<th>Venue</th><th>Date</th><th class="number">Invoices then</th><th class="number">now</th><th class="number">Total then</th><th class="number">now</th><th class="number">Change</th>`,
  groups.map(
    (
      one,
    ) => html`<tr><th scope="row" class="file">${shortName(one.venue ?? "")}</th><td class="nowrap">${one.date}</td>
<td class="number">${formats.count(one.thenInvoices)}</td><td class="number">${formats.count(one.nowInvoices)}</td>
<td class="number">${formats.euros(one.thenTotal)}</td><td class="number">${formats.euros(one.nowTotal)}</td><td class="number">${formats.change(one.total)}</td></tr>`,
  ),
)}${
  all > groups.length
    ? html`<p class="muted">And ${formats.count(all - groups.length)} that have changed by less.</p>`
    : NOTHING
}</section>`;
}

function showLoads(loads: Answer["byLoad"], formats: Formats): Html {
  if (loads.length === 0) return NOTHING;
  return html`<section class="card"><h2>What has changed them</h2>
${frameTable(
  "Loads",
  html`<th class="number">Load</th><th>File</th><th>Known from</th><th class="number">Groups</th><th class="number">Invoices</th><th class="number">Total</th>`,
  loads.map(
    (
      one,
    ) => html`<tr><td class="number"><a href="/loads/${one.load}">${one.load}</a></td><td class="file">${shortName(one.file)}</td>
<td class="nowrap">${formats.instant(one.knownAt)}</td><td class="number">${formats.count(one.groups)}</td><td class="number">${formats.signed(one.invoices)}</td><td class="number">${formats.change(one.total)}</td></tr>`,
  ),
)}</section>`;
}
