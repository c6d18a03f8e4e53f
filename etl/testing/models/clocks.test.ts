/**
 * The model's clocks against those of PostgreSQL: each change, the hours around it, and every day between.
 */
import { expect, test } from "vitest";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { dateOf, dayOf, dayOfDate, offsetAt, offsetOfWall, ZONES, type ZoneName } from "./clocks.ts";
import { WORLDS } from "./worlds.ts";

const DAY = 86_400;

/**
 * Seconds next to which a clock may say something new, for all worlds of a zone and some days around them.
 */
function secondsOf(timeZone: ZoneName): number[] {
  const worlds = WORLDS.filter((world) => world.timeZone === timeZone && world.earliest >= "1900");
  // The simulation is in a zone that the fuzzer leaves out.
  const ranges = worlds.length > 0 ? worlds : [{ earliest: "2000-01-01", syncedOn: "2030-01-01" }];
  const seconds = ranges.flatMap(({ earliest, syncedOn }) => {
    const [first, last] = [dayOfDate(earliest) - 4, dayOfDate(syncedOn) + 12];
    const days = Array.from({ length: last - first + 1 }, (_, index) => (first + index) * DAY);
    const changes = ZONES[timeZone].changes
      .map(([second]) => second)
      .filter((second) => second > first * DAY && second < last * DAY);
    const around = changes.flatMap((second) =>
      Array.from({ length: 401 }, (_, index) => second + (index - 200) * 900).flatMap((at) => [at - 1, at]),
    );
    return [...days, ...around];
  });
  return [...new Set(seconds)];
}

test.each(Object.keys(ZONES) as ZoneName[])(
  "the clock of %s is PostgreSQL's",
  { timeout: 300_000 },
  async (timeZone) => {
    const { query } = await createTestDatabase();
    const seconds = secondsOf(timeZone);
    const rows = await query<{ date: string; wall: number; read: number }>(
      `select (to_timestamp(s) at time zone $1)::date::text as date,
            extract(epoch from to_timestamp(s) at time zone $1)::float8 as wall,
            extract(epoch from (to_timestamp(s) at time zone 'UTC') at time zone $1)::float8 as read
     from unnest($2::float8[]) with ordinality as given (s, n) order by n`,
      [timeZone, seconds],
    );
    const zone = ZONES[timeZone];
    const model = seconds.map((second) => {
      const wall = second + offsetAt(zone, second);
      return { date: dateOf(Math.floor(wall / DAY)), wall, read: second - offsetOfWall(zone, second) };
    });
    expect(seconds.length).toBeGreaterThan(10);
    // Worlds of UTC need no table.
    expect(rows.filter((row, index) => JSON.stringify(row) !== JSON.stringify(model[index]))).toEqual([]);
  },
);

test("days are counted as PostgreSQL counts them, from year 1 to 9999", { timeout: 300_000 }, async () => {
  const { query } = await createTestDatabase();
  const days = Array.from({ length: 40_000 }, (_, index) => -719_162 + index * 91).filter(
    (day) => day <= 2_932_896,
  );
  const rows = await query<{ date: string }>(
    "select (date '1970-01-01' + n)::text as date from unnest($1::int[]) with ordinality as given (n, i) order by i",
    [[...days, 2_932_896]],
  );
  expect(rows.map(({ date }) => date)).toEqual([...days, 2_932_896].map(dateOf));
  for (const { date } of rows) expect(dateOf(dayOfDate(date))).toBe(date);
});

test.each([
  [1900, 2, 29],
  [2018, 2, 29],
  [2018, 4, 31],
  [2018, 0, 1],
  [2018, 13, 1],
  [2018, 1, 0],
  [0, 1, 1],
  [10_000, 1, 1],
])("there is no date %i-%i-%i", (year, month, day) => {
  expect(dayOf(year, month, day)).toBeUndefined();
});
