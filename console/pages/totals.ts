/** Totals by venue and date: filtered, sorted, page by page, and as they were known on a date. */
import * as v from "valibot";
import { addDays, addMonths } from "../../db/dates.ts";
import { RollbookError } from "../../db/errors.ts";
import { GROUPINGS, type Grouping } from "../../etl/reports/totals.ts";
import { totalsCsv } from "../../etl/reports/totals_csv.ts";
import {
  keysOf,
  type ListedTotal,
  type Mark,
  markOf,
  readTotalsPage,
  sortsOf,
  streamTotals,
  TOTALS_SORTS,
  type TotalsPage,
  type TotalsSort,
} from "../../etl/reports/totals_page.ts";
import { countOf, type Formats, shortName } from "../formats.ts";
import { addressWith, type Html, html, NOTHING } from "../html.ts";
import { subtractEuros, sumEuros } from "../money.ts";
import { type Asking, csvPath, definePage } from "../page.ts";
import { swatch } from "../plots/outcome.ts";
import { drawTotals } from "../plots/totals.ts";
import { chooseRange, type Range, rangeAnswer, rangeQuery, sayRange, within } from "../range.ts";
import { inSnapshot, withSnapshot } from "../reports.ts";
import { count, date, euros, givenDate, givenVenue, month } from "../schemas.ts";
import { frameTable } from "../table.ts";

const LENGTHS = ["50", "100", "250", "1000"] as const;
const BY = "month";
export const TOTALS_PATH = "/totals";

const query = v.strictObject({
  by: v.optional(v.picklist(GROUPINGS), BY),
  venue: v.optional(givenVenue()),
  ...rangeQuery,
  knownOn: v.optional(
    v.pipe(
      givenDate(),
      v.description("What the reports showed at the end of this date, beside what they show now."),
    ),
  ),
  sort: v.optional(v.picklist(TOTALS_SORTS)),
  order: v.optional(v.picklist(["asc", "desc"])),
  rows: v.optional(v.picklist(LENGTHS), LENGTHS[0]),
  after: v.optional(v.pipe(v.string(), v.description("`next` of another answer."))),
  before: v.optional(v.pipe(v.string(), v.description("`previous` of another answer."))),
});
type Query = v.InferOutput<typeof query>;

const listedTotal = v.object({
  venue: v.nullable(v.string()),
  date: v.pipe(v.nullable(v.union([date(), month()])), v.description("A month is `YYYY-MM`.")),
  invoices: count(),
  total: euros(),
  invoicesNow: v.pipe(v.nullable(count()), v.description("As of now; null without `knownOn`.")),
  totalNow: v.nullable(euros()),
});

const answer = v.object({
  by: v.picklist(GROUPINGS),
  ...rangeAnswer,
  sort: v.picklist(TOTALS_SORTS),
  order: v.picklist(["asc", "desc"]),
  totals: v.array(listedTotal),
  next: v.pipe(v.nullable(v.string()), v.description("`after` of the next page; null on the last one.")),
  previous: v.pipe(
    v.nullable(v.string()),
    v.description("`before` of the previous page; null on the first one."),
  ),
});
type Answer = v.InferOutput<typeof answer>;

export const totals = definePage({
  path: TOTALS_PATH,
  menu: "Totals",
  title: "Totals",
  summary: "Totals by venue and date, sorted, page by page, and as they were known on a date.",
  query,
  answer,
  read: (asking, given) =>
    inSnapshot(asking, async (db) => {
      const page = pageOf(given, await chooseRange(db, given));
      const { rows, next, previous } = await readPage(db, page, given);
      const { by, sort, descending, filter } = page;
      const { from, to } = filter;
      return {
        by,
        from,
        to,
        sort,
        order: descending ? "desc" : "asc",
        totals: [...rows],
        next,
        previous,
      } as const;
    }),
  csv: (asking, given) => ({
    fileName: ["totals", given.by.replace(",", "_"), given.from, given.to]
      .filter(Boolean)
      .join("_")
      .concat(".csv"),
    write: (add) => writeCsv(asking, given, add),
  }),
  show: (found, { query: given, formats }) => {
    const state = { ...given, from: found.from, to: found.to, sort: found.sort, order: found.order };
    const page: State = { ...state, after: undefined, before: undefined };
    return html`
<h1>Totals</h1>
<p class="lead">${sayWhat(given, found)}</p>
${showFilter(page)}
${found.totals.length === 0 ? NOTHING : showPlot(found, formats)}
<section class="card">${
      found.totals.length === 0
        ? html`<p class="muted">There are no invoices in ${sayRange(found)}${given.venue === undefined ? "" : " of this venue"}.</p>`
        : showTable(page, found, formats)
    }</section>
<nav class="pages" aria-label="Further totals">${
      found.previous === null
        ? NOTHING
        : html`<a href="${addressWith(TOTALS_PATH, page)}">First</a><a href="${addressWith(TOTALS_PATH, { ...page, before: found.previous })}" rel="prev">Previous</a>`
    }${
      found.next === null
        ? NOTHING
        : html`<a href="${addressWith(TOTALS_PATH, { ...page, after: found.next })}" rel="next">Next</a>`
    }<a class="beside" href="${explainAddress({ ...page })}">Which loads made all of this</a><a href="${addressWith(csvPath({ path: TOTALS_PATH }), { ...page, rows: undefined })}">All of it as CSV</a></nav>`;
  },
});

/** What an address of this page says. */
type State = Query &
  Readonly<Record<"sort", TotalsSort> & Record<"order", "asc" | "desc"> & Record<keyof Range, string>>;

/** @throws RollbookError `usage` for an order that the grouping does not have */
function pageOf(given: Query, { from, to }: Range): TotalsPage {
  const { by, venue, knownOn } = given;
  const sort = given.sort ?? (by === "venue" ? "total" : "date");
  const sorts = sortsOf(by);
  if (!sorts.includes(sort))
    throw new RollbookError({ code: "usage", message: `sort: totals by ${by} have ${sorts.join(", ")}` });
  const descending = (given.order ?? defaultOrder(sort)) === "desc";
  return { by, sort, descending, filter: { from, to, venue, asKnownOn: knownOn } };
}

function defaultOrder(sort: TotalsSort): "asc" | "desc" {
  return sort === "venue" ? "asc" : "desc";
}

async function readPage(db: Parameters<typeof readTotalsPage>[0], page: TotalsPage, given: Query) {
  const length = Number(given.rows);
  const after = readMark(page, "after", given.after);
  const before = readMark(page, "before", given.before);
  if (after !== undefined && before !== undefined)
    throw new RollbookError({ code: "usage", message: "give after or before, not both" });
  const read = (mark: { readonly after?: Mark | undefined; readonly before?: Mark | undefined }) =>
    readTotalsPage(db, page, { ...mark, limit: length + 1 });
  const found = await read({ after, before });
  // Whoever comes back to the beginning sees a whole page.
  if (before !== undefined && found.length <= length) return cut(await read({}), { hasBefore: false });
  if (before !== undefined) return { ...cut(found.slice(1), { hasBefore: true }), next: say(found.at(-1)) };
  return cut(found, { hasBefore: after !== undefined });

  function cut(all: readonly ListedTotal[], { hasBefore }: { readonly hasBefore: boolean }) {
    const rows = all.slice(0, length);
    return {
      rows,
      next: all.length > length ? say(rows.at(-1)) : null,
      previous: hasBefore ? say(rows[0]) : null,
    };
  }
  function say(row: ListedTotal | undefined): string | null {
    return row === undefined ? null : JSON.stringify(markOf(page, row));
  }
}

const MARKS: Readonly<Record<TotalsSort, RegExp>> = {
  date: /^\d{4}-\d\d(-\d\d)?$/,
  venue: /^[^\0]{1,200}$/su,
  total: /^-?\d{1,22}\.\d\d$/,
  invoices: /^-?\d{1,15}$/,
};

/** @throws RollbookError `usage` */
function readMark(page: TotalsPage, member: string, text: string | undefined): Mark | undefined {
  if (text === undefined) return undefined;
  const mark = parseJson(text);
  const keys = keysOf(page);
  const isMark =
    Array.isArray(mark) &&
    mark.length === keys.length &&
    keys.every(({ name: key }, index) => {
      const value: unknown = mark[index];
      return typeof value === "string" && MARKS[key].test(value) && (key !== "date" || isDay(value));
    });
  if (isMark) return mark as Mark;
  throw new RollbookError({ code: "usage", message: `${member}: take it from the address of another page` });
}

function isDay(text: string): boolean {
  return v.is(givenDate(), text.length === 7 ? `${text}-01` : text);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Lines of CSV that are sent at once. */
const CSV_LINES = 1000;

function writeCsv(asking: Asking, given: Query, add: (text: string) => Promise<void>): Promise<void> {
  return withSnapshot(asking, async (session) => {
    const page = pageOf(given, await chooseRange(session.db, given));
    const columns = [
      ...page.by.split(",").map((key) => (key === "venue" ? "venue_id" : "created_on")),
      "invoices",
      "total",
      ...(given.knownOn === undefined ? [] : ["invoices_now", "total_now"]),
    ];
    // Goes with the first rows: so what is wrong with the query is said as on any page.
    let head = `${columns.join(",")}\n`;
    let rows: object[] = [];
    const flush = async () => {
      const text = head + totalsCsv(rows, { columns, guarded: true });
      [head, rows] = ["", []];
      if (text !== "") await add(text);
    };
    for await (const { venue, date: created_on, invoices, total, invoicesNow, totalNow } of streamTotals(
      session,
      page,
    )) {
      rows.push({
        venue_id: venue,
        created_on,
        invoices,
        total,
        invoices_now: invoicesNow,
        total_now: totalNow,
      });
      if (rows.length === CSV_LINES) await flush();
    }
    await flush();
  });
}

const NAMES: Readonly<Record<Grouping, string>> = {
  "venue,day": "venue and day",
  "venue,month": "venue and month",
  venue: "venue",
  day: "day",
  month: "month",
};

function sayWhat({ from, to, venue, knownOn, by }: Query, found: Answer): Html {
  const isDefault = from === undefined && to === undefined;
  return html`By ${NAMES[by]}, ${sayRange(found)}${isDefault ? " (the last twelve months, because no dates were given)" : ""}${
    venue === undefined ? NOTHING : html`, of ${shortName(venue)}`
  }.${knownOn === undefined ? "" : ` As known at the end of ${knownOn}, and how much has changed since.`}`;
}

function showFilter({ by, venue, from, to, knownOn, rows }: State): Html {
  return html`<form class="filter" action="${TOTALS_PATH}">
<label>By<select name="by">${GROUPINGS.map((one) => html`<option value="${one}"${one === by ? html` selected` : NOTHING}>${NAMES[one]}</option>`)}</select></label>
<label>Venue, its whole id<input name="venue" maxlength="200" value="${venue ?? ""}"></label>
<label>From<input type="date" name="from" value="${from}"></label>
<label>Before<input type="date" name="to" value="${to}"></label>
<label>As known on<input type="date" name="knownOn" value="${knownOn ?? ""}"></label>
<label>Rows<select name="rows">${LENGTHS.map((one) => html`<option${one === rows ? html` selected` : NOTHING}>${one}</option>`)}</select></label>
<button>Show</button>
</form>`;
}

function showPlot(found: Answer, formats: Formats): Html {
  // Time goes from left to right.
  const rows = found.sort === "date" && found.order === "desc" ? found.totals.toReversed() : found.totals;
  const all = rows.map(({ total }) => Number(total));
  const title = `Totals of ${countOf(formats, rows.length, "row")}, from ${formats.count(Math.min(...all))} to ${formats.count(Math.max(...all))} euros. The table below has the numbers.`;
  const isCompared = found.totals.some(({ totalNow }) => totalNow !== null);
  return html`<section class="card"><h2>Totals of the rows below, in euros</h2>${drawTotals(rows, title, formats)}${
    isCompared
      ? html`<ul class="legend"><li>${swatch("blue")}as known then</li><li>${swatch("orange")}now</li></ul>`
      : NOTHING
  }</section>`;
}

function showTable(page: State, { totals: rows }: Answer, formats: Formats): Html {
  const isKnown = page.knownOn !== undefined;
  const [hasVenue, hasDate] = [page.by.startsWith("venue"), page.by !== "venue"];
  const head = (sort: TotalsSort, text: string, kind = "") => showHead(page, sort, text, kind);
  const sums = {
    invoices: rows.reduce((sum, { invoices }) => sum + invoices, 0),
    total: sumEuros(rows.map(({ total }) => total)),
    totalNow: isKnown ? sumEuros(rows.map(({ totalNow }) => totalNow ?? "0.00")) : null,
  };
  const numbers = (row: {
    readonly invoices: number;
    readonly total: string;
    readonly totalNow: string | null;
  }) =>
    html`<td class="number">${formats.count(row.invoices)}</td><td class="number">${formats.euros(row.total)}</td>${
      row.totalNow === null
        ? NOTHING
        : html`<td class="number">${formats.euros(row.totalNow)}</td><td class="number">${showChange(subtractEuros(row.totalNow, row.total), formats)}</td>`
    }`;
  return frameTable(
    "Totals",
    html`${hasVenue ? head("venue", "Venue") : NOTHING}${hasDate ? head("date", page.by.endsWith("month") ? "Month" : "Date") : NOTHING}${head("invoices", isKnown ? "Invoices then" : "Invoices", "number")}${head("total", isKnown ? "Total then" : "Total", "number")}${
      isKnown ? html`<th class="number">Total now</th><th class="number">Change</th>` : NOTHING
    }`,
    rows.map((row) => {
      const address = explainAddress({ ...page, ...rangeOf(row, page), venue: row.venue ?? page.venue });
      const venue =
        row.venue === null
          ? NOTHING
          : html`<td class="key"><a href="${address}">${shortName(row.venue)}</a></td>`;
      return html`<tr>${venue}${hasDate ? html`<td class="nowrap"><a href="${address}">${row.date}</a></td>` : NOTHING}${numbers(row)}</tr>`;
    }),
    html`<th${hasVenue && hasDate ? html` colspan="2"` : NOTHING}>These ${countOf(formats, rows.length, "row")}</th>${numbers(sums)}`,
  );
}

/** A column by which the list can be sorted: a link that sorts by it, or the other way round. */
function showHead(page: State, sort: TotalsSort, text: string, kind: string): Html {
  const isSorted = page.sort === sort;
  const order = isSorted ? (page.order === "asc" ? "desc" : "asc") : defaultOrder(sort);
  const sorted = page.order === "asc" ? "ascending" : "descending";
  return html`<th class="${kind}"${isSorted ? html` aria-sort="${sorted}"` : NOTHING}><a href="${addressWith(TOTALS_PATH, { ...page, sort, order })}">${text}${
    isSorted ? (page.order === "asc" ? " ↑" : " ↓") : ""
  }</a></th>`;
}

/** A change in money; none is not worth a look. */
export function showChange(change: string, formats: Formats): Html {
  return change === "0.00" ? html`<span class="muted">0</span>` : html`${formats.change(change)}`;
}

/** The dates of a row. */
export function rangeOf({ date: of }: Pick<ListedTotal, "date">, range: Range): Range {
  if (of === null) return { from: range.from, to: range.to };
  if (of.length === 7) return within({ from: `${of}-01`, to: addMonths(`${of}-01`, 1) }, range);
  return { from: of, to: addDays(of, 1) };
}

/** Where it is explained which loads made a total. */
export function explainAddress({
  venue,
  from,
  to,
  knownOn,
}: Range & { readonly venue?: string | undefined; readonly knownOn?: string | undefined }): string {
  return addressWith("/totals/explain", { venue, from, to, knownOn });
}
