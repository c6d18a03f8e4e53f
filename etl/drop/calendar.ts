/** The warehouse's calendar, asked of PostgreSQL, so that one time-zone database decides what date an instant has. */
import type { Session } from "../../db/client.ts";
import type { DateThreshold } from "./validate.ts";

/** How far from a date's midnight a change of the clock can move what belongs to it: the date line moves it by a day. */
const REACH_HOURS = 26;

/**
 * For each date: from when on `created_on` is that date or later, for instants and for wall-clock times.
 *
 * Nearly always that is one moment, midnight. Where the clock changes within {@link REACH_HOURS} of it, every minute of
 * that time is asked for, so that a midnight that comes twice, or never, and a skipped day are right, too.
 */
export async function readThresholds(options: {
  readonly session: Session;
  readonly timeZone: string;
  readonly dates: readonly string[];
}): Promise<ReadonlyMap<string, DateThreshold>> {
  const { session, timeZone, dates } = options;
  const result = await session.client.query(
    `select day::text as date, extract(epoch from midnight)::float8 as instant, extract(epoch from day::timestamp)::float8 as wall,
            (select count(distinct (t at time zone $2) - (t at time zone 'UTC'))
             from (select midnight + n * interval '1 hour' as t from generate_series(-$3::int, $3::int) n) hours) = 1 as steady
     from (select day, day::timestamp at time zone $2 as midnight from unnest($1::date[]) as days (day)) midnights`,
    [dates, timeZone, REACH_HOURS],
  );
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
  const result = await session.client.query(
    `with minutes as (
       select kind, n, seconds, reached, lag(reached, 1, false) over (partition by kind order by n) as before
       from generate_series(-$3::int * 60, $3::int * 60) n
       cross join lateral (
         select ($1::date::timestamp at time zone $2) + n * interval '1 minute' as instant,
                $1::date::timestamp + n * interval '1 minute' as wall
       ) t
       cross join lateral (values
         ('instant', extract(epoch from instant), (instant at time zone $2)::date >= $1::date),
         ('wall', extract(epoch from wall), ((wall at time zone $2) at time zone $2)::date >= $1::date)
       ) as marks (kind, seconds, reached)
     )
     select kind, seconds::float8 as seconds from minutes where reached <> before order by n`,
    [date, timeZone, REACH_HOURS],
  );
  const of = (kind: string) =>
    result.rows.filter((row) => row.kind === kind).map((row) => Number(row.seconds));
  return { date, instants: of("instant"), walls: of("wall") };
}

/** Hours from a date's midnight to the end of what its lines, and those of the offsets around it, can reach. */
const DAY_REACH_HOURS = 24 + REACH_HOURS;

/**
 * The offset from UTC, in seconds, that the warehouse's clock has on a date and around it; null where it changes then.
 *
 * Where it does not, `created_on` of an instant of the date, or of a UTC date of that name, follows by addition.
 */
export async function readOffsets(options: {
  readonly session: Session;
  readonly timeZone: string;
  readonly dates: readonly string[];
}): Promise<ReadonlyMap<string, number | null>> {
  const { session, timeZone, dates } = options;
  const result = await session.client.query<{ date: string; offset: number; steady: boolean }>(
    `select day::text as date, extract(epoch from day::timestamp - (midnight at time zone 'UTC'))::float8 as "offset",
            (select count(distinct (t at time zone $2) - (t at time zone 'UTC'))
             from (select midnight + n * interval '1 hour' as t from generate_series(-$3::int, $4::int) n) hours) = 1 as steady
     from (select day, day::timestamp at time zone $2 as midnight from unnest($1::date[]) as days (day)) midnights`,
    [dates, timeZone, REACH_HOURS, DAY_REACH_HOURS],
  );
  return new Map(result.rows.map(({ date, offset, steady }) => [date, steady ? offset : null]));
}
