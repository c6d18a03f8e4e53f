/** The start: how the year went, what is fresh, and what waits for somebody. */
import { and, desc, eq, gte, isNull, lt, sql } from "drizzle-orm";
import * as v from "valibot";
import type { Session } from "../../db/client.ts";
import { addDays } from "../../db/dates.ts";
import { loadHistory, partitionFreshness, reportedClosings, restatingLoads } from "../../db/schema.ts";
import { sumOpenRejects } from "../../etl/reports/open_rejects.ts";
import { summarizeProofs } from "../../etl/reports/proofs.ts";
import { readSilence } from "../../etl/reports/silence.ts";
import { isoInstant } from "../../etl/reports/zone.ts";
import { sumEuros } from "../money.ts";
import { type Asking, definePage } from "../page.ts";
import { inSnapshot } from "../reports.ts";
import { month } from "../schemas.ts";
import { describeListed, LEDGER_COLUMNS } from "./loads.ts";
import { monthsBefore } from "./months.ts";
import { NAMED_VENUES, type Overview, overviewAnswer } from "./overview_answer.ts";
import { showOverview } from "./overview_cards.ts";

const MONTHS = 12;
const LAST_LOADS = 6;
const LAST_CLOSINGS = 4;

export const overview = definePage({
  path: "/",
  menu: "Overview",
  title: "Overview",
  isLive: true,
  summary: "How the year went, what is fresh, and what waits for somebody.",
  query: v.strictObject({
    /** The last of the months that are shown. */
    until: v.optional(month()),
  }),
  answer: overviewAnswer,
  read: async (asking, { until }) => {
    const found = await inSnapshot(asking, async (db) => {
      const { today, newest } = await findNewest(db);
      const last = until ?? (newest ?? today).slice(0, 7);
      return {
        ...{ today, newest, freshness: await readFreshness(db), loads: await readLastLoads(db) },
        ...(await readYear(db, last, newest ?? today)),
      };
    });
    // Their sessions are their own: nothing may wait for a second one while it has one.
    const { database, memory } = asking;
    return {
      ...found,
      proofs: await readProofs(asking),
      openRejects: await sumOpenRejects(asking),
      silence: await recallSilence(asking),
      closings: (await memory.recall("closings", () => readClosings({ database })))?.value ?? null,
    };
  },
  show: showOverview,
});

/**
 * The newest creation date, up to today. It is looked for in partition after partition, the newest first, and nearly always found in the first:
 * so no other is planned, or read.
 */
async function findNewest(
  db: Session["db"],
): Promise<{ readonly today: string; readonly newest: string | null }> {
  const { rows: partitions } = await db.execute<{
    today: string;
    lower: string | null;
    upper: string | null;
  }>(sql`
    select t.today, p.lower, p.upper
    from (select current_date as today) t
    left join reports.partition_freshness p
      on p.state <> 'detached' and p.rollup_invoices + p.pending_invoices > 0 and p.lower <= t.today
    order by p.lower desc`);
  const today = partitions[0]?.today ?? "";
  for (const { lower, upper } of partitions) {
    const { rows } = await db.execute<{ newest: string | null }>(sql`
      select max(created_on) as newest
      from reports.daily_totals
      where created_on >= ${lower}::date and created_on < ${upper}::date and created_on <= ${today}::date`);
    const newest = rows[0]?.newest ?? null;
    if (newest !== null) return { today, newest };
  }
  return { today, newest: null };
}

/** The days of twelve months, and the same days of the newest month and of those before. */
async function readYear(db: Session["db"], last: string, newest: string) {
  const months = Array.from({ length: MONTHS + 1 }, (_, index) => monthsBefore(last, MONTHS - index));
  const end = `${monthsBefore(last, -1)}-01`;
  const { rows } = await db.execute<{ date: string; invoices: string; total: string }>(sql`
    select created_on as date, invoices, total
    from reports.daily_totals
    where created_on >= ${`${months[0]}-01`}::date and created_on < ${end}::date
    order by created_on`);
  const all = rows.map((row) => ({ ...row, invoices: Number(row.invoices) }));
  const daysOf = (first: string, to: string) => all.filter(({ date }) => date >= first && date < to);
  const sum = (some: typeof all) => ({
    invoices: some.reduce((sum, { invoices }) => sum + invoices, 0),
    total: sumEuros(some.map(({ total }) => total)),
  });
  const days = daysOf(`${months[1]}-01`, end);
  const lastDay = newest.startsWith(last) ? newest : addDays(end, -1);
  const compare = (month: string) => {
    const [from, next] = [`${month}-01`, `${monthsBefore(month, -1)}-01`];
    // A shorter month ends before.
    const to = [addDays(from, Number(lastDay.slice(8)) - 1), addDays(next, -1)].toSorted()[0] ?? from;
    return { from, to, ...sum(daysOf(from, addDays(to, 1))) };
  };
  return {
    months: months
      .slice(1)
      .map((month) => ({ month, ...sum(daysOf(`${month}-01`, `${monthsBefore(month, -1)}-01`)) })),
    days,
    compared:
      days.length === 0
        ? null
        : {
            newest: compare(last),
            before: compare(monthsBefore(last, 1)),
            yearBefore: compare(monthsBefore(last, 12)),
          },
  };
}

async function readFreshness(db: Session["db"]): Promise<Overview["freshness"]> {
  const p = partitionFreshness;
  const [row] = await db
    .select({
      partitions: sql`count(*)`.mapWith(Number),
      invoices:
        sql`coalesce(sum(${p.rollupInvoices} + ${p.pendingInvoices}) filter (where ${p.state} <> 'detached'), 0)`.mapWith(
          Number,
        ),
      total: sql<string>`coalesce(sum(${p.rollupTotal} + ${p.pendingTotal}) filter (where ${p.state} <> 'detached'), 0)::numeric(24, 2)::text`,
      pendingChanges: sql`coalesce(sum(${p.pendingChanges}), 0)`.mapWith(Number),
      pendingPartitions: sql`count(*) filter (where ${p.pendingChanges} > 0)`.mapWith(Number),
      stalePartitions: sql`count(*) filter (where ${p.state} = 'stale')`.mapWith(Number),
      refreshedAt: sql<string | null>`max(${p.refreshedAt})::text`,
      newestKnownAt: sql<string | null>`(select max(known_at)::text from reports.load_history)`,
    })
    .from(p);
  if (row === undefined) throw new Error("an aggregate returned no row");
  return { ...row, refreshedAt: isoInstant(row.refreshedAt), newestKnownAt: isoInstant(row.newestKnownAt) };
}

async function readLastLoads(db: Session["db"]) {
  const rows = await db
    .select(LEDGER_COLUMNS)
    .from(loadHistory)
    .orderBy(desc(loadHistory.loadId))
    .limit(LAST_LOADS);
  return rows.map(describeListed);
}

async function readProofs(asking: Asking): Promise<Overview["proofs"]> {
  const { diverged, ...summary } = await summarizeProofs(asking);
  return { ...summary, diverged: [...diverged] };
}

/** Who is silent is found in all that was ever loaded. */
async function recallSilence({ database, memory }: Asking): Promise<Overview["silence"]> {
  const found = await memory.recall("silence", () => readSilence({ database }));
  if (found === undefined) return null;
  const { venues, missing } = found.value;
  return {
    asOf: found.at,
    venues: venues.slice(0, NAMED_VENUES).map(({ venueId }) => venueId ?? ""),
    silent: venues.length,
    missing: missing.length,
  };
}

async function readClosings(asking: Pick<Asking, "database">): Promise<Overview["closings"]> {
  return inSnapshot(asking, async (db) => {
    const newest = await db
      .select()
      .from(reportedClosings)
      .where(isNull(reportedClosings.replacedBy))
      .orderBy(desc(reportedClosings.firstDate), desc(reportedClosings.closing))
      .limit(LAST_CLOSINGS);
    const found: NonNullable<Overview["closings"]> = [];
    for (const { closing, period, firstDate, dateAfter, invoices, total, closedAt } of newest) {
      // The dates are said again, so that no partition of other periods is planned.
      const r = restatingLoads;
      const [changed] = await db
        .select({
          groups: sql`count(distinct (${r.venueId}, ${r.createdOn}))`.mapWith(Number),
          total: sql<string>`coalesce(sum(${r.total}), 0)::numeric(24, 2)::text`,
        })
        .from(r)
        .where(and(eq(r.closing, closing), gte(r.createdOn, firstDate), lt(r.createdOn, dateAfter)));
      found.push({
        ...{ closing, period, invoices, total, closedAt: isoInstant(closedAt) },
        ...{ changedGroups: changed?.groups ?? 0, changedTotal: changed?.total ?? "0.00" },
      });
    }
    return found;
  });
}
