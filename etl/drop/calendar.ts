/**
 * The warehouse's calendar. PostgreSQL is asked, so that one time-zone database decides what date an instant
 * has.
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
 * Nearly always that is one moment, midnight. Where the clock changes within {@link REACH_HOURS} of it,
 * PostgreSQL is asked for every minute of that time. So a midnight that comes twice, or never, and a skipped
 * day are right, too.
 */
export async function readThresholds(options: {
  readonly session: Session;
  readonly timeZone: string;
  readonly dates: readonly string[];
}): Promise<ReadonlyMap<string, DateThreshold>> {
  const { session, timeZone, dates } = options;
  const result = await session.db.execute<{
    date: string;
    instant: number;
    wall: number;
    steady: boolean;
  }>(sql`
    select day::text as date,
           extract(epoch from midnight)::float8 as instant,
           extract(epoch from day::timestamp)::float8 as wall,
           ${isSteady(timeZone, -REACH_HOURS, REACH_HOURS)} as steady
    from ${midnightsOf(dates, timeZone)}`);
  const thresholds = new Map<string, DateThreshold>();
  for (const row of result.rows) {
    thresholds.set(
      row.date,
      row.steady
        ? { date: row.date, instants: [row.instant], walls: [row.wall] }
        : await readByTheMinute(session, timeZone, row.date),
    );
  }
  return thresholds;
}

async function readByTheMinute(session: Session, timeZone: string, date: string): Promise<DateThreshold> {
  const result = await session.db.execute<{ kind: string; seconds: number }>(sql`
    with minutes as (
      select kind, n, seconds, reached, lag(reached, 1, false) over (partition by kind order by n) as before
      from generate_series(-${REACH_HOURS}::int * 60, ${REACH_HOURS}::int * 60) n
      cross join lateral (
        select (${date}::date::timestamp at time zone ${timeZone}) + n * interval '1 minute' as instant,
               ${date}::date::timestamp + n * interval '1 minute' as wall
      ) t
      cross join lateral (values
        ('instant', extract(epoch from instant), (instant at time zone ${timeZone})::date >= ${date}::date),
        ('wall', extract(epoch from wall),
         ((wall at time zone ${timeZone}) at time zone ${timeZone})::date >= ${date}::date)
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

/** Each date with its `midnight`, an instant. */
function midnightsOf(dates: readonly string[], timeZone: string): SQL {
  return sql`(
      select day, day::timestamp at time zone ${timeZone} as midnight
      from unnest(${sql.param(dates)}::date[]) as days (day)
    ) midnights`;
}

/** Whether the clock shows one offset from UTC all the time between so many hours from `midnight`. */
function isSteady(timeZone: string, fromHours: number, toHours: number): SQL {
  return sql`(
             select count(distinct (t at time zone ${timeZone}) - (t at time zone 'UTC'))
             from (
               select midnight + n * interval '1 hour' as t
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
           extract(epoch from day::timestamp - (midnight at time zone 'UTC'))::float8 as "offset",
           ${isSteady(timeZone, -REACH_HOURS, DAY_REACH_HOURS)} as steady
    from ${midnightsOf(dates, timeZone)}`);
  return new Map(result.rows.map(({ date, offset, steady }) => [date, steady ? offset : null]));
}
