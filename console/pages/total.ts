/** A total: the loads that made it, what they corrected, what it is made of, and its invoices. */
import { and, asc, eq, gt, gte, lt, sql } from "drizzle-orm";
import * as v from "valibot";
import type { Session } from "../../db/client.ts";
import { addDays, addMonths } from "../../db/dates.ts";
import { loadHistory, reportedCorrections, reportedInvoices } from "../../db/schema.ts";
import { type Change, type Grouping, streamChanges } from "../../etl/reports/totals.ts";
import { readTotalsPage } from "../../etl/reports/totals_page.ts";
import { isoInstant } from "../../etl/reports/zone.ts";
import { countOf, type Formats, shortName } from "../formats.ts";
import { addressWith, type Html, html, NOTHING } from "../html.ts";
import { subtractEuros, sumEuros } from "../money.ts";
import { definePage, type View } from "../page.ts";
import { swatch } from "../plots/outcome.ts";
import { drawWaterfall, type Step } from "../plots/waterfall.ts";
import { chooseRange, type Range, rangeAnswer, rangeQuery, sayRange } from "../range.ts";
import { withSnapshot } from "../reports.ts";
import { count, date, euros, givenDate, givenInvoice, givenVenue, instant, month } from "../schemas.ts";
import { frameTable } from "../table.ts";
import { explainAddress, rangeOf, showChange, TOTALS_PATH } from "./totals.ts";

export const EXPLAIN_PATH = "/totals/explain";
/** Loads, corrections, parts and invoices that are shown at once. */
const MOST = { changes: 50, steps: 24, corrections: 50, parts: 62, lines: 50 } as const;

const query = v.strictObject({
  venue: v.optional(givenVenue()),
  ...rangeQuery,
  knownOn: v.optional(v.pipe(givenDate(), v.description("What the reports showed at the end of this date."))),
  after: v.optional(
    v.pipe(givenInvoice(), v.description("`lines.next` of another answer: the invoices after it.")),
  ),
});
type Query = v.InferOutput<typeof query>;

const sums = { invoices: count(), total: euros() };
const change = v.object({
  load: v.number(),
  file: v.string(),
  syncedOn: v.nullable(date()),
  knownAt: instant(),
  ...sums,
});
const correction = v.object({
  load: v.number(),
  file: v.string(),
  knownAt: instant(),
  undone: v.pipe(v.boolean(), v.description("The load was undone since: this does not count.")),
  venue: v.string(),
  date: date(),
  invoice: v.string(),
  oldTotal: euros(),
  newTotal: v.pipe(
    v.nullable(euros()),
    v.description("Null where the invoice was taken out, or it is not known any more."),
  ),
});
const part = v.object({
  venue: v.nullable(v.string()),
  date: v.nullable(v.union([date(), month()])),
  ...sums,
});
const line = v.object({
  invoice: v.string(),
  createdAt: instant(),
  total: euros(),
  load: v.number(),
  file: v.string(),
});

const answer = v.object({
  ...rangeAnswer,
  ...sums,
  invoicesNow: v.pipe(v.nullable(count()), v.description("As of now; null without `knownOn`.")),
  totalNow: v.nullable(euros()),
  earlier: v.pipe(
    v.object({ loads: count(), ...sums }),
    v.description("Loads before those that are listed, and what they made together."),
  ),
  changes: v.pipe(
    v.array(change),
    v.description("Loads, in the order in which they became known. With `earlier` they add up to the total."),
  ),
  corrections: v.pipe(
    v.nullable(v.object({ listed: v.array(correction), more: v.boolean() })),
    v.description("The newest first; null for more than a month."),
  ),
  parts: v.pipe(
    v.nullable(
      v.object({ by: v.picklist(["month", "day", "venue"]), listed: v.array(part), more: v.boolean() }),
    ),
    v.description("What the total is made of; null for one venue and date."),
  ),
  lines: v.pipe(
    v.nullable(v.object({ listed: v.array(line), next: v.nullable(v.string()) })),
    v.description("The invoices as they stand now; null but for one venue and date."),
  ),
});
type Answer = v.InferOutput<typeof answer>;
type Line = v.InferOutput<typeof line>;

export const total = definePage({
  path: EXPLAIN_PATH,
  title: "A total",
  summary:
    "A total: the loads that made it, in order, what they corrected, what it is made of, and its invoices.",
  query,
  answer,
  read: (asking, given) =>
    withSnapshot(asking, async (session) => {
      const { db } = session;
      const range = await chooseRange(db, given);
      const filter = { ...range, venue: given.venue, asKnownOn: given.knownOn };
      const changes = await readChanges(session, { ...filter, settings: asking.settings });
      const now =
        given.knownOn === undefined
          ? undefined
          : await readChanges(session, { ...filter, asKnownOn: undefined, settings: asking.settings });
      return {
        ...range,
        ...changes,
        invoicesNow: now?.invoices ?? null,
        totalNow: now?.total ?? null,
        corrections: await readCorrections(db, filter),
        parts: await readParts(db, filter),
        lines: await readLines(db, filter, given.after),
      };
    }),
  show: (found, view) => showTotal(found, view),
});

interface Filter extends Range {
  readonly venue?: string | undefined;
  readonly asKnownOn?: string | undefined;
}

type Streamed = Parameters<typeof streamChanges>[1];

/** The newest loads one by one, and the sum of the others. */
async function readChanges(session: Session, options: Streamed) {
  let early: Pick<Change, "invoices" | "total"> = { invoices: 0, total: "0.00" };
  let loads = 0;
  const newest: Change[] = [];
  for await (const next of streamChanges(session, options)) {
    newest.push(next);
    if (newest.length <= MOST.changes) continue;
    early = sumOf([early, newest.shift() as Change]);
    loads += 1;
  }
  return {
    ...sumOf([early, ...newest]),
    earlier: { loads, ...early },
    changes: newest.map(({ loadId, fileName, syncedOn, knownAt, invoices, total: of }) => ({
      ...{ load: loadId, file: fileName, syncedOn, knownAt, invoices, total: of },
    })),
  };
}

function sumOf(all: readonly Pick<Change, "invoices" | "total">[]) {
  return {
    invoices: all.reduce((sum, { invoices }) => sum + invoices, 0),
    total: sumEuros(all.map(({ total: of }) => of)),
  };
}

async function readCorrections(
  db: Session["db"],
  { from, to, venue, asKnownOn }: Filter,
): Promise<Answer["corrections"]> {
  // Each is looked up in the invoices.
  if (partsOf({ from, to }) === "month") return null;
  const of = reportedCorrections;
  const rows = await db
    .select({
      load: of.loadId,
      file: loadHistory.fileName,
      knownAt: of.knownAt,
      undone: of.undone,
      venue: of.venueId,
      date: of.createdOn,
      invoice: of.invoiceId,
      oldTotal: of.oldTotal,
      newTotal: of.newTotal,
    })
    .from(of)
    .innerJoin(loadHistory, eq(loadHistory.loadId, of.loadId))
    .where(
      and(
        gte(of.createdOn, from),
        lt(of.createdOn, to),
        venue === undefined ? undefined : eq(of.venueId, venue),
        asKnownOn === undefined ? undefined : sql`${of.knownAt} < (${asKnownOn}::date + 1)::timestamptz`,
      ),
    )
    // The newest first: of many the newest are shown.
    .orderBy(sql`${of.knownAt} desc`, asc(of.invoiceId))
    .limit(MOST.corrections + 1);
  const listed = rows.slice(0, MOST.corrections).map((row) => ({ ...row, knownAt: isoInstant(row.knownAt) }));
  return { listed, more: rows.length > MOST.corrections };
}

/** One level below: months of years, days of a month, venues of a day. */
async function readParts(db: Session["db"], filter: Filter): Promise<Answer["parts"]> {
  const by = partsOf(filter);
  if (by === undefined) return null;
  const page = { by, filter, sort: by === "venue" ? "total" : "date", descending: by === "venue" } as const;
  const rows = await readTotalsPage(db, page, { limit: MOST.parts + 1 });
  const listed = rows
    .slice(0, MOST.parts)
    .map(({ venue, date: on, invoices, total: of }) => ({ venue, date: on, invoices, total: of }));
  return { by, listed, more: rows.length > MOST.parts };
}

function partsOf({ from, to, venue }: Filter): "month" | "day" | "venue" | undefined {
  if (to > addMonths(from, 1)) return "month";
  if (to > addDays(from, 1)) return "day";
  return venue === undefined ? "venue" : undefined;
}

async function readLines(
  db: Session["db"],
  filter: Filter,
  after: string | undefined,
): Promise<Answer["lines"]> {
  const { from, venue } = filter;
  if (venue === undefined || partsOf(filter) !== undefined) return null;
  const of = reportedInvoices;
  const rows = await db
    .select({
      invoice: of.invoiceId,
      createdAt: of.createdAt,
      total: of.total,
      load: of.loadId,
      file: loadHistory.fileName,
    })
    .from(of)
    .innerJoin(loadHistory, eq(loadHistory.loadId, of.loadId))
    .where(
      and(
        eq(of.createdOn, from),
        eq(of.venueId, venue),
        after === undefined ? undefined : gt(of.invoiceId, after),
      ),
    )
    .orderBy(asc(of.invoiceId))
    .limit(MOST.lines + 1);
  const listed = rows.slice(0, MOST.lines).map((row) => ({ ...row, createdAt: isoInstant(row.createdAt) }));
  return { listed, next: rows.length > MOST.lines ? (listed.at(-1)?.invoice ?? null) : null };
}

function showTotal(found: Answer, { query: given, formats }: View<Query>): Html {
  const { parts, lines, changes, corrections } = found;
  const { venue, knownOn } = given;
  const range = { from: found.from, to: found.to };
  return html`
<h1>${venue === undefined ? "All venues" : shortName(venue)}, <span class="nowrap">${sayRange(range)}</span></h1>
<p class="lead">${showWay(given, range)}</p>
<div class="grid">
<section class="card"><h2>${knownOn === undefined ? "Total" : `As known at the end of ${knownOn}`}</h2><p class="figure">${formats.euros(found.total)} <small>euros, ${countOf(formats, found.invoices, "invoice")}</small></p></section>
${
  found.totalNow === null
    ? NOTHING
    : html`<section class="card"><h2>Now</h2><p class="figure">${formats.euros(found.totalNow)} <small>euros, ${countOf(formats, found.invoicesNow ?? 0, "invoice")}</small></p><p class="muted">Changed since by ${showChange(subtractEuros(found.totalNow, found.total), formats)}</p></section>`
}
</div>
${parts === null ? NOTHING : showParts(parts, given, range, formats)}
${lines === null ? NOTHING : showLines(lines, given, range, formats)}
<section class="card"><h2>Which loads made it</h2>${
    changes.length === 0
      ? html`<p class="muted">No load changed this total.</p>`
      : showChanges(found, formats)
  }</section>
${corrections === null || corrections.listed.length === 0 ? NOTHING : showCorrections(corrections, given, formats)}`;
}

/** The way back up, from wherever the reader came. */
function showWay({ venue, knownOn }: Query, { from, to }: Range): Html {
  const links: Html[] = [];
  const add = (text: string, address: string) => links.push(html`<a href="${address}">${text}</a>`);
  const monthStart = `${from.slice(0, 7)}-01`;
  const inMonth = { from: monthStart, to: addMonths(monthStart, 1) };
  const inYear = { from: `${from.slice(0, 4)}-01-01`, to: addMonths(`${from.slice(0, 4)}-12-01`, 1) };
  const isIn = (outer: Range) =>
    outer.from <= from && to <= outer.to && (outer.from !== from || outer.to !== to);
  if (isIn(inYear)) add(from.slice(0, 4), explainAddress({ ...inYear, venue, knownOn }));
  if (isIn(inMonth)) add(from.slice(0, 7), explainAddress({ ...inMonth, venue, knownOn }));
  if (venue !== undefined) add("All venues", explainAddress({ from, to, knownOn }));
  else add("By venue", addressWith(TOTALS_PATH, { by: "venue", from, to, knownOn }));
  return html`${links.map((link, index) => html`${index === 0 ? "" : " · "}${link}`)}`;
}

const PART_NAMES = { month: "Month", day: "Date", venue: "Venue" } as const;

function showParts(
  { by, listed, more }: NonNullable<Answer["parts"]>,
  { venue, knownOn }: Query,
  range: Range,
  formats: Formats,
): Html {
  const all = addressWith(TOTALS_PATH, { by: by satisfies Grouping, venue, knownOn, ...range });
  return html`<section class="card"><h2>What it is made of</h2>${frameTable(
    "What it is made of",
    html`<th>${PART_NAMES[by]}</th><th class="number">Invoices</th><th class="number">Total</th>`,
    listed.map((row) => {
      const address = explainAddress({ ...rangeOf(row, range), venue: row.venue ?? venue, knownOn });
      return html`<tr><td class="${row.venue === null ? "nowrap" : "key"}"><a href="${address}">${row.venue === null ? row.date : shortName(row.venue)}</a></td><td class="number">${formats.count(row.invoices)}</td><td class="number">${formats.euros(row.total)}</td></tr>`;
    }),
  )}<p><a href="${all}">${more ? "All of them" : "The same as a list"}, sorted as you like</a></p></section>`;
}

/** Where an invoice is, with the lines that say it. */
export function invoiceAddress(of: {
  readonly venue: string;
  readonly date: string;
  readonly invoice: string;
}): string {
  return addressWith(`/totals/invoices/${of.invoice}`, { venue: of.venue, date: of.date });
}

function showLines(
  { listed, next }: NonNullable<Answer["lines"]>,
  given: Query,
  { from, to }: Range,
  formats: Formats,
): Html {
  const venue = given.venue ?? "";
  const address = (after: string | undefined) => addressWith(EXPLAIN_PATH, { ...given, from, to, after });
  const row = ({ invoice, createdAt, total: of, load, file }: Line) => html`<tr>
<td class="id"><a href="${invoiceAddress({ venue, date: from, invoice })}">${invoice}</a></td>
<td class="nowrap">${formats.instant(createdAt)}</td><td class="number">${formats.euros(of)}</td>
<td class="number"><a href="/loads/${load}">${load}</a></td><td class="file">${shortName(file)}</td></tr>`;
  return html`<section class="card"><h2>Its invoices${given.knownOn === undefined ? "" : ", as they stand now"}</h2>${
    listed.length === 0
      ? html`<p class="muted">There are none here: none stands, or their partition is detached or dropped.</p>`
      : frameTable(
          "Invoices",
          html`<th>Invoice</th><th>Created</th><th class="number">Total</th><th class="number">Load</th><th>File that says it</th>`,
          listed.map(row),
        )
  }<nav class="pages" aria-label="Further invoices">${given.after === undefined ? NOTHING : html`<a href="${address(undefined)}">First</a>`}${
    next === null ? NOTHING : html`<a href="${address(next)}" rel="next">Next</a>`
  }</nav></section>`;
}

function showChanges({ changes, earlier, total: of, invoices }: Answer, formats: Formats): Html {
  let sum = earlier.total;
  const rows = changes.map((row) => {
    sum = sumEuros([sum, row.total]);
    return { ...row, after: sum };
  });
  const isLong = rows.length > MOST.steps;
  const shown = isLong ? rows.slice(-MOST.steps + 1) : rows;
  const begin = subtractEuros(shown[0]?.after ?? "0.00", shown[0]?.total ?? "0.00");
  const before = earlier.loads + rows.length - shown.length;
  const steps: readonly Step[] = [
    ...(before === 0 ? [] : [{ label: `${formats.count(before)} before`, from: "0.00", to: begin }]),
    ...shown.map(({ load, after, total: by }) => ({
      label: String(load),
      from: subtractEuros(after, by),
      to: after,
    })),
    { label: "total", from: "0.00", to: of, isTotal: true },
  ];
  return html`${drawWaterfall(steps, formats)}
<ul class="legend"><li>${swatch("blue")}added</li><li>${swatch("red")}taken away</li><li>${swatch("grey")}the total</li><li>By the number of the load</li></ul>
${frameTable(
  "Loads",
  html`<th class="number">Load</th><th>File</th><th>Synced on</th><th>Known at</th><th class="number">Invoices</th><th class="number">Euros</th><th class="number">Total after it</th>`,
  [
    earlier.loads === 0
      ? NOTHING
      : html`<tr><td></td><td class="muted">${countOf(formats, earlier.loads, "earlier load")}</td><td></td><td></td><td class="number">${formats.signed(earlier.invoices)}</td><td class="number">${formats.change(earlier.total)}</td><td class="number">${formats.euros(earlier.total)}</td></tr>`,
    ...rows.map(
      (row) =>
        html`<tr><td class="number"><a href="/loads/${row.load}">${row.load}</a></td><td class="file">${shortName(row.file)}</td><td class="nowrap">${row.syncedOn ?? ""}</td><td class="nowrap">${formats.instant(row.knownAt)}</td><td class="number">${formats.signed(row.invoices)}</td><td class="number">${formats.change(row.total)}</td><td class="number">${formats.euros(row.after)}</td></tr>`,
    ),
  ],
  html`<th colspan="4">Total</th><td class="number">${formats.count(invoices)}</td><td class="number">${formats.euros(of)}</td><td></td>`,
)}`;
}

function showCorrections(
  { listed, more }: NonNullable<Answer["corrections"]>,
  given: Query,
  formats: Formats,
): Html {
  const hasVenue = given.venue === undefined;
  return html`<section class="card"><h2>${more ? `The newest ${MOST.corrections} corrections` : "Corrections"}</h2>${frameTable(
    "Corrections",
    html`<th>Known at</th><th class="number">Load</th><th>File</th>${hasVenue ? html`<th>Venue</th>` : NOTHING}<th>Date</th><th>Invoice</th><th class="number">Before</th><th class="number">After</th><th class="number">Change</th>`,
    listed.map(
      (row) =>
        html`<tr><td class="nowrap">${formats.instant(row.knownAt)}</td><td class="number"><a href="/loads/${row.load}">${row.load}</a></td><td class="file">${shortName(row.file)}${row.undone ? html` <span class="muted">(undone)</span>` : NOTHING}</td>${hasVenue ? html`<td class="key">${shortName(row.venue)}</td>` : NOTHING}<td class="nowrap">${row.date}</td><td class="id"><a href="${invoiceAddress(row)}">${row.invoice}</a></td><td class="number">${formats.euros(row.oldTotal)}</td>${showAfter(row, formats)}</tr>`,
    ),
  )}</section>`;
}

/** What a correction made of a total, and by how much. */
export function showAfter(
  {
    oldTotal,
    newTotal,
    undone,
  }: { readonly oldTotal: string; readonly newTotal: string | null; readonly undone: boolean },
  formats: Formats,
): Html {
  if (newTotal === null)
    return html`<td class="number muted">${undone ? "not kept" : "taken out"}</td><td></td>`;
  const by = subtractEuros(newTotal, oldTotal);
  return html`<td class="number">${formats.euros(newTotal)}</td><td class="number">${by === "0.00" ? html`<span class="muted">only its time</span>` : showChange(by, formats)}</td>`;
}
