/**
 * The warehouse's calendar: a date of it is that of the wall clock, less the time when a day starts. PostgreSQL
 * is asked, so that one time-zone database decides what date an instant has.
 */
import { type SQL, sql } from "drizzle-orm";
import type { Session } from "../../db/client.ts";

/**
 * When a date of the warehouse's calendar begins: `created_on >= date` holds from `instants[0]` on, no more
 * from `instants[1]` on, again from `instants[2]` on, and so forth; likewise for wall-clock times. Whole
 * seconds since 1970-01-01, ascending; `walls` reads the wall clock as if it were UTC. Always an odd number
 * of entries, nearly always one.
 */
export interface DateThreshold {
  /** `YYYY-MM-DD`. */
  readonly date: string;
  readonly instants: readonly number[];
  readonly walls: readonly number[];
}

/** A change of the clock can move the beginning of a date by so much: the date line moves it by a day. */
const REACH_HOURS = 26;

/**
 * For each date: from when on `created_on` is that date or later, for instants and for wall-clock times.
 *
 * Nearly always that is one moment, the day's start. Where the clock changes within {@link REACH_HOURS} of it,
 * PostgreSQL is asked for every minute of that time. So a start that comes twice, or never, and a skipped
 * day are right, too.
 */
export async function readThresholds(options: {
  readonly session: Session;
  readonly timeZone: string;
  /** `HH:MM`, when a day of the warehouse begins. */
  readonly dayStarts: string;
  readonly dates: readonly string[];
}): Promise<ReadonlyMap<string, DateThreshold>> {
  const { session, timeZone, dayStarts, dates } = options;
  const result = await session.db.execute<{
    date: string;
    instant: number;
    wall: number;
    steady: boolean;
  }>(sql`
    select day::text as date,
           extract(epoch from start)::float8 as instant,
           extract(epoch from day + ${dayStarts}::interval)::float8 as wall,
           ${isSteady(timeZone, -REACH_HOURS, REACH_HOURS)} as steady
    from ${startsOf(dates, timeZone, dayStarts)}`);
  const thresholds = new Map<string, DateThreshold>();
  for (const row of result.rows) {
    thresholds.set(
      row.date,
      row.steady
        ? { date: row.date, instants: [row.instant], walls: [row.wall] }
        : await readByTheMinute(session, timeZone, dayStarts, row.date),
    );
  }
  return thresholds;
}

async function readByTheMinute(
  session: Session,
  timeZone: string,
  dayStarts: string,
  date: string,
): Promise<DateThreshold> {
  const start = sql`(${date}::date + ${dayStarts}::interval)`;
  const result = await session.db.execute<{ kind: string; seconds: number }>(sql`
    with minutes as (
      select kind, n, seconds, reached, lag(reached, 1, false) over (partition by kind order by n) as before
      from generate_series(-${REACH_HOURS}::int * 60, ${REACH_HOURS}::int * 60) n
      cross join lateral (
        select (${start} at time zone ${timeZone}) + n * interval '1 minute' as instant,
               ${start} + n * interval '1 minute' as wall
      ) t
      cross join lateral (values
        ('instant', extract(epoch from instant), (instant at time zone ${timeZone}) >= ${start}),
        ('wall', extract(epoch from wall),
         ((wall at time zone ${timeZone}) at time zone ${timeZone}) >= ${start})
      ) as marks (kind, seconds, reached)
    )
    select kind, seconds::float8 as seconds
    from minutes
    where reached <> before
    order by n`);
  const of = (kind: string) =>
    result.rows.filter((row) => row.kind === kind).map((row) => Number(row.seconds));
  return { date, instants: of("instant"), walls: of("wall") };
}

/** Each date with its `start`, an instant. */
function startsOf(dates: readonly string[], timeZone: string, dayStarts: string): SQL {
  return sql`(
      select day, (day + ${dayStarts}::interval) at time zone ${timeZone} as start
      from unnest(${sql.param(dates)}::date[]) as days (day)
    ) starts`;
}

/** Whether the clock shows one offset from UTC all the time between so many hours from `start`. */
function isSteady(timeZone: string, fromHours: number, toHours: number): SQL {
  return sql`(
             select count(distinct (t at time zone ${timeZone}) - (t at time zone 'UTC'))
             from (
               select start + n * interval '1 hour' as t
               from generate_series(${fromHours}::int, ${toHours}::int) n
             ) hours
           ) = 1`;
}

/** The lines of a date, by any offset, lie before so many hours after its midnight. */
const DAY_REACH_HOURS = 24 + REACH_HOURS;

/**
 * The offset from UTC, in seconds, that the warehouse's clock has on each date and around it; null where it
 * changes then.
 *
 * Where it does not change, `created_on` of an instant of the date, or of a UTC date of that name, is found
 * by addition.
 */
export async function readOffsets(options: {
  readonly session: Session;
  readonly timeZone: string;
  readonly dates: readonly string[];
}): Promise<ReadonlyMap<string, number | null>> {
  const { session, timeZone, dates } = options;
  const result = await session.db.execute<{ date: string; offset: number; steady: boolean }>(sql`
    select day::text as date,
           extract(epoch from day::timestamp - (start at time zone 'UTC'))::float8 as "offset",
           ${isSteady(timeZone, -REACH_HOURS, DAY_REACH_HOURS)} as steady
    from ${startsOf(dates, timeZone, "00:00")}`);
  return new Map(result.rows.map(({ date, offset, steady }) => [date, steady ? offset : null]));
}

/** `created_on` of times: in seconds since 1970-01-01, where `walls` reads the wall clock as if it were UTC. */
export async function readCreatedOn(options: {
  readonly session: Session;
  readonly timeZone: string;
  readonly dayStarts: string;
  readonly times: readonly { readonly kind: "walls" | "instants"; readonly second: number }[];
}): Promise<readonly string[]> {
  const { session, timeZone, dayStarts, times } = options;
  const seconds = times.map(({ second }) => second);
  const walls = times.map(({ kind }) => kind === "walls");
  const result = await session.db.execute<{ date: string }>(sql`
    select ((instant at time zone ${timeZone}) - ${dayStarts}::interval)::date::text as date
    from unnest(${sql.param(seconds)}::float8[], ${sql.param(walls)}::boolean[])
      with ordinality as times (second, wall, position)
    cross join lateral (
      select case when wall
               then (to_timestamp(second) at time zone 'UTC') at time zone ${timeZone}
               else to_timestamp(second)
             end as instant
    ) t
    order by position`);
  return result.rows.map(({ date }) => date);
}

/** The date that the wall clock of the warehouse shows at an instant, whenever its days start. */
export async function readWallDate(options: {
  readonly session: Session;
  readonly timeZone: string;
  readonly instant: Date;
}): Promise<string> {
  const { session, timeZone, instant } = options;
  const found = await session.db.execute<{ date: string }>(
    sql`select (${instant.toISOString()}::timestamptz at time zone ${timeZone})::date::text as date`,
  );
  return found.rows[0]?.date ?? "";
}
