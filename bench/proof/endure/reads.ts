/**
 * What a reader asks of the reports, and how it checks the answer: each read and its check are one snapshot,
 * so that they must agree, whatever is loaded and refreshed meanwhile.
 */
import type { Transaction } from "../../../db/client.ts";
import { addDays } from "../../../db/dates.ts";
import { LATEST_DAYS } from "./invoices.ts";

export const READS = [
  "a year by month",
  "one venue's days of a month",
  "as known on a moment",
  "freshness of all partitions",
  "a month against its invoices",
] as const;
export type ReadKind = (typeof READS)[number];

/** What a reader knows when it asks. */
export interface ReadContext {
  readonly tx: Transaction;
  /** The newest sync date, `YYYY-MM-DD`. */
  readonly today: string;
  /** Loads with so many invoices, all distinct, had committed before the snapshot was taken. */
  readonly floor: number;
  readonly memory: ReaderMemory;
  /** A number from 0 up to the limit. */
  readonly below: (limit: number) => number;
  /** The name of any venue. */
  readonly venue: () => string;
}

/** What one reader has seen. No invoice ever goes away, so its counts never fall. */
export interface ReaderMemory {
  readonly months: Map<string, number>;
  invoices: number;
  /** What the reports showed at some moments; they must show it for ever when asked as known then. */
  readonly moments: Moment[];
}

interface Moment {
  readonly knownAt: string;
  readonly from: string;
  readonly to: string;
  readonly shown: string;
}

export interface ReadResult {
  /** Of the report alone, without the check. */
  readonly ms: number;
  /** What is wrong; empty as a rule. */
  readonly problems: readonly string[];
}

const KEPT_MOMENTS = 100;

export const readers: Readonly<Record<ReadKind, (context: ReadContext) => Promise<ReadResult>>> = {
  "a year by month": readYear,
  "one venue's days of a month": readVenue,
  "as known on a moment": readAsKnown,
  "freshness of all partitions": readFreshness,
  "a month against its invoices": readMonth,
};

interface Timed {
  readonly rows: readonly Record<string, unknown>[];
  readonly ms: number;
}

async function ask({ tx }: ReadContext, text: string, values: readonly unknown[]): Promise<Timed> {
  const started = performance.now();
  const { rows } = await tx.client.query(text, [...values]);
  return { rows, ms: performance.now() - started };
}

/** The first rows of two answers that are not alike, in words. */
function compare(what: string, shown: Timed, expected: Timed): string[] {
  const length = Math.max(shown.rows.length, expected.rows.length);
  for (let index = 0; index < length; index += 1) {
    const [one, other] = [JSON.stringify(shown.rows[index]), JSON.stringify(expected.rows[index])];
    if (one !== other) return [`${what}: the report shows ${one}, not ${other}`];
  }
  return [];
}

/** A month, most often one of the last, from its first day to the first of the next. */
function anyMonth({ today, below }: ReadContext): { readonly from: string; readonly to: string } {
  const back = below(3) === 0 ? below(LATEST_DAYS) : below(60);
  const from = `${addDays(today, -back).slice(0, 7)}-01`;
  return { from, to: `${addDays(from, 32).slice(0, 7)}-01` };
}

/** Against the control totals of the catalog and what is pending. */
async function readYear(context: ReadContext): Promise<ReadResult> {
  const year = Number(context.today.slice(0, 4)) - context.below(4);
  const range = [`${year}-01-01`, `${year + 1}-01-01`];
  const shown = await ask(
    context,
    `select to_char(created_on, 'YYYY-MM') as month, sum(invoices)::bigint as invoices,
            sum(total)::numeric(24, 2) as total
     from reports.venue_daily_totals
     where created_on >= $1 and created_on < $2
     group by 1
     order by 1`,
    range,
  );
  const control = await ask(
    context,
    `select partition as month, rollup_invoices + pending_invoices as invoices,
            (rollup_total + pending_total)::numeric(24, 2) as total
     from reports.partition_freshness
     where lower >= $1 and lower < $2 and rollup_invoices + pending_invoices <> 0
     order by 1`,
    range,
  );
  const problems = compare(`the year ${year} by month, against the control totals`, shown, control);
  for (const { month, invoices } of shown.rows as { month: string; invoices: string }[]) {
    const before = context.memory.months.get(month) ?? 0;
    if (Number(invoices) < before) problems.push(`${month} went back from ${before} invoices to ${invoices}`);
    context.memory.months.set(month, Number(invoices));
  }
  return { ms: shown.ms, problems };
}

/** Against the invoices. */
async function readVenue(context: ReadContext): Promise<ReadResult> {
  const { from, to } = anyMonth(context);
  const venue = context.venue();
  const values = [venue, from, to];
  const shown = await ask(
    context,
    `select created_on::text as day, invoices, total
     from reports.venue_daily_totals
     where venue_id = $1 and created_on >= $2 and created_on < $3
     order by 1`,
    values,
  );
  const recomputed = await ask(
    context,
    `select created_on::text as day, count(*) as invoices, sum(total)::numeric(24, 2) as total
     from warehouse.invoices
     where venue_key = (select venue_key from warehouse.venues where venue_id = $1)
       and created_on >= $2 and created_on < $3
     group by created_on
     order by 1`,
    values,
  );
  return {
    ms: shown.ms,
    problems: compare(`${venue} from ${from}, against its invoices`, shown, recomputed),
  };
}

const AS_KNOWN = `
  select created_on::text as day, sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2) as total
  from reports.venue_daily_totals_as_known_on($1::timestamptz)
  where created_on >= $2 and created_on < $3
  group by created_on
  order by 1`;

/** As known on the newest moment: what is shown now. As known on one before: what was shown then. */
async function readAsKnown(context: ReadContext): Promise<ReadResult> {
  const { memory, below } = context;
  const before = memory.moments[below(2 * memory.moments.length)];
  if (before !== undefined) {
    const { knownAt, from, to } = before;
    const again = await ask(context, AS_KNOWN, [knownAt, from, to]);
    const same = JSON.stringify(again.rows) === before.shown;
    return {
      ms: again.ms,
      problems: same ? [] : [`the days from ${from} as known on ${knownAt} are not what was shown then`],
    };
  }
  const newest = await ask(context, "select max(known_at)::text as known_at from reports.load_history", []);
  const knownAt = newest.rows[0]?.known_at;
  if (typeof knownAt !== "string") return { ms: newest.ms, problems: [] };
  const { from, to } = anyMonth(context);
  const known = await ask(context, AS_KNOWN, [knownAt, from, to]);
  const shown = await ask(
    context,
    `select created_on::text as day, sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2) as total
     from reports.venue_daily_totals
     where created_on >= $1 and created_on < $2
     group by created_on
     order by 1`,
    [from, to],
  );
  memory.moments.push({ knownAt, from, to, shown: JSON.stringify(known.rows) });
  if (memory.moments.length > KEPT_MOMENTS) memory.moments.splice(below(KEPT_MOMENTS), 1);
  const what = `the days from ${from}, against those as known on ${knownAt}`;
  return { ms: known.ms, problems: compare(what, shown, known) };
}

/** Against the ledger, and against what had been committed before. */
async function readFreshness(context: ReadContext): Promise<ReadResult> {
  const { memory, floor } = context;
  const shown = await ask(
    context,
    `select partition, state, refreshed_at, pending_changes, rollup_invoices + pending_invoices as invoices
     from reports.partition_freshness
     order by 1`,
    [],
  );
  const ledger = await ask(
    context,
    "select coalesce(sum(inserted), 0)::bigint as invoices from reports.load_history where status = 'loaded'",
    [],
  );
  const invoices = shown.rows.reduce((sum, row) => sum + Number(row.invoices), 0);
  const entered = Number(ledger.rows[0]?.invoices);
  const problems: string[] = [];
  if (invoices !== entered)
    problems.push(`the partitions hold ${invoices} invoices, the ledger entered ${entered}`);
  if (invoices < memory.invoices)
    problems.push(`the invoices went back from ${memory.invoices} to ${invoices}`);
  if (invoices < floor) problems.push(`${invoices} invoices are shown after loads of ${floor} had committed`);
  memory.invoices = invoices;
  return { ms: shown.ms, problems };
}

/** Every venue and day of a month, against the invoices: the heavy one. */
async function readMonth(context: ReadContext): Promise<ReadResult> {
  const { from, to } = anyMonth(context);
  const offenders = await ask(
    context,
    `select v.venue_id, created_on::text as day, s.invoices as shown, s.total as shown_total,
            r.invoices as recomputed, r.total as recomputed_total
     from (
       select venue_key, created_on, invoices, total
       from warehouse.venue_day_totals
       where created_on >= $1 and created_on < $2
     ) s
     full join (
       select venue_key, created_on, count(*) as invoices, sum(total)::numeric(24, 2) as total
       from warehouse.invoices
       where created_on >= $1 and created_on < $2
       group by venue_key, created_on
     ) r using (venue_key, created_on)
     left join warehouse.venues v using (venue_key)
     where (s.invoices, s.total) is distinct from (r.invoices, r.total)
     order by 1, 2
     limit 3`,
    [from, to],
  );
  const problems = offenders.rows.map(
    (row) => `the month from ${from}, against its invoices: ${JSON.stringify(row)}`,
  );
  return { ms: offenders.ms, problems };
}
