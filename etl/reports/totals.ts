/** Reports the totals, and the loads that made them. */
import { and, type SQL, sql } from "drizzle-orm";
import type { Database, Session } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { errorState, RollbookError, SQLSTATE } from "../../db/errors.ts";
import { loadHistory, type Settings, venueDailyTotals } from "../../db/schema.ts";
import { inWarehouseZone, isoInstant } from "./zone.ts";

export const GROUPINGS = ["venue,day", "venue,month", "venue", "day", "month"] as const;
export type Grouping = (typeof GROUPINGS)[number];

/** One total, in euros. It has `venue_id` and `created_on` if the grouping has them; a month is `YYYY-MM`. */
export interface Total {
  readonly venue_id?: string;
  readonly created_on?: string;
  readonly invoices: number;
  readonly total: string;
}

export interface TotalsFilter {
  /** First creation date, `YYYY-MM-DD`. */
  readonly from?: string | undefined;
  /** First creation date that no longer counts. */
  readonly to?: string | undefined;
  readonly venue?: string | undefined;
  /** What the reports showed at this moment, or at the end of this date in the warehouse's zone. */
  readonly asKnownOn?: string | undefined;
}

export interface TotalsOptions extends TotalsFilter {
  readonly database: Database;
  readonly settings: Settings;
  readonly by: Grouping;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads totals one by one, sorted by the columns of the grouping, venues by the bytes of their ids.
 *
 * @throws RollbookError `usage` for an `asKnownOn` that is no date and no timestamp
 */
export async function readTotals(
  options: TotalsOptions,
  onTotal: (total: Total) => Promise<void>,
): Promise<void> {
  await asKnown(options, async (session) => {
    const rows = streamRows<{ venue_id?: string; created_on?: string; invoices: string; total: string }>(
      session,
      selectTotals(options),
    );
    for await (const row of rows) await onTotal({ ...row, invoices: Number(row.invoices) });
  });
}

function selectTotals(options: TotalsOptions): SQL {
  const keys = groupingKeys(options.by);
  const names = sql.join(
    keys.map((key) => sql`${key.expression} as ${sql.identifier(key.name)}`),
    sql`, `,
  );
  const order = sql.join(
    keys.map((key) => key.expression),
    sql`, `,
  );
  return sql`
    select ${names}, sum(t.invoices)::bigint as invoices, sum(t.total)::numeric(24, 2)::text as total
    from ${totalsSource(options.asKnownOn)} t
    ${where(options)}
    group by ${order}
    having sum(t.invoices) <> 0
    order by ${order}`;
}

function groupingKeys(by: Grouping): readonly { readonly name: string; readonly expression: SQL }[] {
  const venue = { name: "venue_id", expression: sql`t.venue_id collate "C"` };
  const day = { name: "created_on", expression: sql`t.created_on` };
  const month = { name: "created_on", expression: sql`to_char(t.created_on, 'YYYY-MM')` };
  const keys = { venue, day, month };
  return by.split(",").map((name) => keys[name as keyof typeof keys]);
}

function totalsSource(asKnownOn: string | undefined): SQL {
  return asKnownOn === undefined ? sql`${venueDailyTotals}` : knownTotals(asKnownOn);
}

/** What `reports.venue_daily_totals` showed then. */
export function knownTotals(asKnownOn: string): SQL {
  return sql`reports.venue_daily_totals_as_known_on(${knownMoment(asKnownOn)})`;
}

/** A date counts to its end; a timestamp without an offset is in the session's zone, the warehouse's. */
function knownMoment(text: string): SQL {
  return DATE.test(text) ? sql`${text}::date` : sql`${text}::timestamptz`;
}

/** The condition of a filter on rows called `t`. */
export function where({ from, to, venue }: TotalsFilter): SQL {
  const condition = and(
    from === undefined ? undefined : sql`t.created_on >= ${from}::date`,
    to === undefined ? undefined : sql`t.created_on < ${to}::date`,
    venue === undefined ? undefined : sql`t.venue_id = ${venue}`,
  );
  return condition === undefined ? sql`` : sql`where ${condition}`;
}

/** What one load changed in the totals asked for. */
export interface Change {
  readonly loadId: number;
  readonly fileName: string;
  readonly syncedOn: string | null;
  readonly knownAt: string;
  readonly invoices: number;
  readonly total: string;
}

/**
 * Reads the loads that made a total, in the order in which they became known. Their changes add up to the
 * total.
 */
export async function explainTotal(
  options: Omit<TotalsOptions, "by">,
  onChange: (change: Change) => Promise<void>,
): Promise<void> {
  await asKnown(options, async (session) => {
    for await (const change of streamChanges(session, options)) await onChange(change);
  });
}

/** The same in a session in the warehouse's zone. */
export async function* streamChanges(
  session: Session,
  options: Omit<TotalsOptions, "by" | "database">,
): AsyncGenerator<Change> {
  const known = options.asKnownOn;
  const { timeZone } = options.settings;
  const isDate = known !== undefined && DATE.test(known);
  const end = isDate
    ? sql`((${known}::date + 1)::timestamp at time zone ${timeZone}) - interval '1 microsecond'`
    : sql`${known ?? "infinity"}::timestamptz`;
  const rows = streamRows<Omit<Change, "invoices"> & { invoices: string }>(
    session,
    sql`
      select l.load_id as "loadId", l.file_name as "fileName", l.synced_on::text as "syncedOn",
             l.known_at::text as "knownAt", d.invoices, d.total::text as total
      from (
        -- The ledger is looked up for each load, and not for each of its deltas.
        select t.load_id, sum(t.invoices)::bigint as invoices, sum(t.total)::numeric(24, 2) as total
        from reports.venue_daily_deltas t
        ${where(options)}
        group by t.load_id
      ) d
      join ${loadHistory} l on l.load_id = d.load_id
      where l.known_at <= ${end}
      order by l.known_at`,
  );
  for await (const row of rows)
    yield { ...row, knownAt: isoInstant(row.knownAt), invoices: Number(row.invoices) };
}

/** PostgreSQL would accept more than these two forms: `now`, `infinity`, `10/5/2026`. */
const DATE = /^\d{4}-\d\d-\d\d$/;
const TIMESTAMP = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?\s?(Z|[+-]\d\d(:?\d\d)?)?$/i;

/** For a text of the right form that is no moment: 30 February, an offset of 99 hours (22009). */
const NO_SUCH_MOMENT: ReadonlySet<string | undefined> = new Set([
  SQLSTATE.invalidDatetime,
  SQLSTATE.datetimeOverflow,
  "22009",
]);

async function asKnown(options: Omit<TotalsOptions, "by">, work: (session: Session) => Promise<void>) {
  const { asKnownOn } = options;
  if (asKnownOn !== undefined && !DATE.test(asKnownOn) && !TIMESTAMP.test(asKnownOn)) {
    throw noMoment(asKnownOn);
  }
  try {
    await inWarehouseZone(options, work);
  } catch (error) {
    if (!NO_SUCH_MOMENT.has(errorState(error))) throw error;
    throw noMoment(asKnownOn, error);
  }
}

function noMoment(text: string | undefined, cause?: unknown): RollbookError {
  return new RollbookError({
    code: "usage",
    message:
      `--as-known-on ${JSON.stringify(text)}: give a date (2026-10-05, which means its end) ` +
      "or a timestamp (2026-10-05T18:00:00+02:00).",
    cause,
  });
}
