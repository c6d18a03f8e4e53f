/** Reads totals page by page, in any order, and as they were known on a date beside those of today. */
import { type SQL, sql } from "drizzle-orm";
import type { Session } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { addDays, addMonths } from "../../db/dates.ts";
import { venueDailyTotals } from "../../db/schema.ts";
import { type Grouping, knownTotals, type TotalsFilter, where } from "./totals.ts";

export const TOTALS_SORTS = ["date", "venue", "total", "invoices"] as const;
export type TotalsSort = (typeof TOTALS_SORTS)[number];

/** One total. `venue` and `date` are null where the grouping has none; a month is `YYYY-MM`. */
export interface ListedTotal {
  readonly venue: string | null;
  readonly date: string | null;
  /** As known on the date that was asked for; else as of now. */
  readonly invoices: number;
  /** Euros. */
  readonly total: string;
  /** The same as of now; null where it was not asked what was known. */
  readonly invoicesNow: number | null;
  readonly totalNow: string | null;
}

export interface TotalsPage {
  readonly by: Grouping;
  readonly filter: TotalsFilter & { readonly from: string; readonly to: string };
  readonly sort: TotalsSort;
  readonly descending: boolean;
}

/** Where a page ends: the values of its last row that the order asks for. */
export type Mark = readonly string[];

/** A column of the order. */
interface Key {
  readonly name: TotalsSort;
  readonly descending: boolean;
}

/** By which columns a list can be sorted. */
export function sortsOf(by: Grouping): readonly TotalsSort[] {
  return TOTALS_SORTS.filter((sort) => hasKey(by, sort));
}

function hasKey(by: Grouping, sort: TotalsSort): boolean {
  if (sort === "venue") return by.startsWith("venue");
  return sort !== "date" || by !== "venue";
}

/** All columns of the order: what is the same in the first is in the order of its date and venue. */
export function keysOf({ by, sort, descending }: Omit<TotalsPage, "filter">): readonly Key[] {
  const others = (["date", "venue"] as const).filter((name) => name !== sort && hasKey(by, name));
  return [{ name: sort, descending }, ...others.map((name) => ({ name, descending: false }))];
}

/** The mark of a row. */
export function markOf(page: Omit<TotalsPage, "filter">, row: ListedTotal): Mark {
  return keysOf(page).map(({ name }) => String(row[name]));
}

/**
 * Reads the first rows after a mark, or the last before it; without a mark the first of all.
 *
 * In the order of dates only as many dates are read as the rows need. In any other order all totals of the range are
 * looked at, and the first are kept.
 *
 * @returns at most `limit`, in the order of the page
 */
export async function readTotalsPage(
  db: Session["db"],
  page: TotalsPage,
  options: { readonly limit: number; readonly after?: Mark | undefined; readonly before?: Mark | undefined },
): Promise<readonly ListedTotal[]> {
  const { after, before, limit } = options;
  const backward = after === undefined && before !== undefined;
  const keys = keysOf(page).map((key) => (backward ? { ...key, descending: !key.descending } : key));
  const rows: ListedTotal[] = [];
  for (const filter of windowsOf(page, keys, { mark: after ?? before, limit })) {
    const query = selectPage({ ...page, filter }, keys, after ?? before);
    const found = await db.execute<Row>(sql`${query} limit ${limit - rows.length}`);
    rows.push(...found.rows.map(toTotal));
    if (rows.length >= limit) break;
  }
  return backward ? rows.toReversed() : rows;
}

/** Reads all of them one by one, in the order of the page. */
export async function* streamTotals(session: Session, page: TotalsPage): AsyncGenerator<ListedTotal> {
  for await (const row of streamRows<Row>(session, selectPage(page, keysOf(page), undefined)))
    yield toTotal(row);
}

type Row = Readonly<Record<"venue" | "date" | "total" | "totalNow", string | null>> &
  Readonly<Record<"invoices" | "invoicesNow", string | null>>;

function toTotal(row: Row): ListedTotal {
  return {
    venue: row.venue,
    date: row.date,
    invoices: Number(row.invoices),
    total: row.total ?? "",
    invoicesNow: row.invoicesNow === null ? null : Number(row.invoicesNow),
    totalNow: row.totalNow,
  };
}

/** The ranges of dates that are read one after the other until there are enough rows, each larger than the one before. */
function* windowsOf(
  { by, filter }: TotalsPage,
  [first]: readonly Key[],
  { mark, limit }: { readonly mark: Mark | undefined; readonly limit: number },
): Generator<TotalsPage["filter"]> {
  if (first?.name !== "date") {
    yield filter;
    return;
  }
  const isMonthly = by.endsWith("month");
  const step = (date: string, units: number) => {
    const stepped = isMonthly ? addMonths(date, units) : addDays(date, units);
    // There is no date after the year 9999.
    return stepped.startsWith("+") ? filter.to : stepped;
  };
  const marked = mark?.[0] === undefined ? undefined : toDay(mark[0]);
  let units = by.startsWith("venue") ? 1 : limit;
  if (first.descending) {
    let to = marked === undefined ? filter.to : earlier(step(marked, 1), filter.to);
    while (filter.from < to) {
      const start = isMonthly ? `${addDays(to, -1).slice(0, 7)}-01` : step(to, -1);
      const from = later(step(start, 1 - units), filter.from);
      yield { ...filter, from, to };
      to = from;
      units *= 4;
    }
  } else {
    let from = marked === undefined ? filter.from : later(marked, filter.from);
    while (from < filter.to) {
      const start = isMonthly ? `${from.slice(0, 7)}-01` : from;
      const to = earlier(step(start, units), filter.to);
      yield { ...filter, from, to };
      from = to;
      units *= 4;
    }
  }
}

/** A month's first. */
function toDay(date: string): string {
  return date.length === 7 ? `${date}-01` : date;
}

const earlier = (one: string, other: string) => (one < other ? one : other);
const later = (one: string, other: string) => (one < other ? other : one);

function selectPage(page: TotalsPage, keys: readonly Key[], mark: Mark | undefined): SQL {
  const order = keys.map(({ name, descending }) => sql`${expressionOf(name)} ${direction(descending)}`);
  const date = page.by.endsWith("month") ? sql`to_char(t.date, 'YYYY-MM')` : sql`t.date::text`;
  return sql`
    select t.venue, ${date} as date, t.invoices, t.total::text as total,
           t.invoices_now as "invoicesNow", t.total_now::text as "totalNow"
    from (${selectGroups(page)}) t
    ${mark === undefined ? sql`` : sql`where ${isAfter(keys, mark)}`}
    order by ${sql.join(order, sql`, `)}`;
}

function direction(descending: boolean): SQL {
  return descending ? sql`desc` : sql`asc`;
}

function expressionOf(name: TotalsSort): SQL {
  return name === "venue" ? sql`t.venue collate "C"` : sql`t.${sql.identifier(name)}`;
}

const TYPES = { date: sql`date`, venue: sql`text`, total: sql`numeric`, invoices: sql`bigint` } as const;

/** Whether a row comes after a mark: in its first column, or in the next one where that is the same. */
function isAfter([key, ...others]: readonly Key[], [value, ...rest]: Mark): SQL {
  if (key === undefined || value === undefined) return sql`false`;
  const column = expressionOf(key.name);
  const bound = sql`${key.name === "date" ? toDay(value) : value}::${TYPES[key.name]}`;
  const further = key.descending ? sql`${column} < ${bound}` : sql`${column} > ${bound}`;
  if (others.length === 0) return further;
  return sql`(${further} or (${column} = ${bound} and ${isAfter(others, rest)}))`;
}

function selectGroups({ by, filter }: TotalsPage): SQL {
  const daily = selectDaily(filter);
  const now =
    filter.asKnownOn === undefined
      ? sql`null::bigint, null::numeric`
      : sql`sum(d.invoices_now), sum(d.total_now)`;
  const isThere =
    filter.asKnownOn === undefined
      ? sql`sum(d.invoices) <> 0`
      : sql`sum(d.invoices) <> 0 or sum(d.invoices_now) <> 0`;
  // One row of a venue and day is one group already.
  if (by === "venue,day" && filter.asKnownOn === undefined)
    return sql`select d.venue_id as venue, d.created_on as date, d.invoices, d.total, d.invoices_now, d.total_now from (${daily}) d`;
  const sums = sql`sum(d.invoices)::bigint as invoices, sum(d.total)::numeric(24, 2) as total`;
  const [venue, date] = [by.startsWith("venue") ? sql`d.venue_id` : undefined, dateOf(by)];
  const keys = [venue, date].filter((key) => key !== undefined);
  return sql`
    select venue, date, invoices, total, invoices_now::bigint, total_now::numeric(24, 2)
    from (
      select ${venue ?? sql`null::text`} as venue, ${date ?? sql`null::date`} as date, ${sums}, ${now}
      from (${daily}) d
      group by ${sql.join(keys, sql`, `)}
      having ${isThere}
    ) g (venue, date, invoices, total, invoices_now, total_now)`;
}

/** Without a time zone, which would be looked up for each row. */
function dateOf(by: Grouping): SQL | undefined {
  if (by.endsWith("day")) return sql`d.created_on`;
  return by.endsWith("month") ? sql`date_trunc('month', d.created_on::timestamp)::date` : undefined;
}

/** What was known, and what is now, as rows of one query: a group may be in one of them alone. */
function selectDaily(filter: TotalsFilter): SQL {
  const { asKnownOn } = filter;
  const now = sql`from ${venueDailyTotals} t ${where(filter)}`;
  if (asKnownOn === undefined)
    return sql`select t.venue_id, t.created_on, t.invoices, t.total, null::bigint as invoices_now, null::numeric as total_now ${now}`;
  return sql`
    select t.venue_id, t.created_on, t.invoices, t.total, 0::bigint as invoices_now, 0::numeric as total_now
    from ${knownTotals(asKnownOn)} t
    ${where(filter)}
    union all
    select t.venue_id, t.created_on, 0, 0, t.invoices, t.total ${now}`;
}
