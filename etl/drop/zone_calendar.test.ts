import fc from "fast-check";
import { expect, test } from "vitest";
import { withSession } from "../../db/client.ts";
import { addDays, toDate } from "../../db/dates.ts";
import { createTestDatabase } from "../../db/testing/database.ts";
import { readCreatedOn, readThresholds, readWallDate } from "./calendar.ts";
import { createZoneCalendar } from "./zone_calendar.ts";

/** Zones, and dates around which something unusual happens to the clock, near the start of a day or across it. */
const CLOCKS = [
  ["UTC", "00:00", "2018-07-01", "an ordinary day"],
  ["Europe/Berlin", "00:00", "2018-03-25", "the clock goes forward in the night"],
  ["Europe/Berlin", "02:30", "2018-03-25", "the day starts at a time that does not exist"],
  ["Europe/Berlin", "02:30", "2018-10-28", "the day starts at a time that comes twice"],
  ["Europe/Berlin", "04:00", "2018-10-28", "the clock goes back before the day starts"],
  ["America/Sao_Paulo", "00:00", "2017-10-14", "the next midnight does not exist"],
  ["America/Sao_Paulo", "00:00", "2018-02-17", "the last hour comes twice"],
  ["America/St_Johns", "00:00", "2008-11-01", "midnight comes twice, the second time an hour later"],
  ["Pacific/Apia", "00:00", "2011-12-30", "the date does not exist"],
  ["Asia/Kolkata", "06:00", "2018-07-01", "the offset is not a whole hour"],
  ["Pacific/Kiritimati", "00:00", "2018-07-01", "the day begins 14 hours before UTC's"],
  ["Africa/Monrovia", "00:00", "1972-01-06", "the offset changes by 44 minutes and a half"],
] as const;

test.each(CLOCKS)(
  "in %s, days starting at %s, around %s (%s), the calendar is PostgreSQL's",
  async (timeZone, dayStarts, date) => {
    const database = await createTestDatabase();
    const own = createZoneCalendar({ timeZone, dayStarts });
    const dates = [-2, -1, 0, 1, 2].map((days) => addDays(date, days));
    const noon = Date.parse(`${date}T12:00:00Z`) / 1000;
    const times = fc
      .sample(
        fc.record({
          kind: fc.constantFrom("walls" as const, "instants" as const),
          second: fc.oneof(
            fc.integer({ min: noon - 200_000, max: noon + 200_000 }),
            fc.integer({ min: -100, max: 100 }).map((halves) => noon + halves * 1800),
            fc.integer({ min: -100, max: 100 }).map((halves) => noon + halves * 1800 - 1),
          ),
        }),
        { numRuns: 1000, seed: 1 },
      )
      .toSorted((one, other) => one.second - other.second);
    await withSession(database, async (session) => {
      const thresholds = await readThresholds({ session, timeZone, dayStarts, dates });
      expect(dates.map(own.thresholdOf)).toEqual(dates.map((one) => thresholds.get(one)));
      const createdOn = await readCreatedOn({ session, timeZone, dayStarts, times });
      expect(times.map((time) => toDate(own.dayOf(time)))).toEqual(createdOn);
      const instant = new Date((noon - 43_200) * 1000);
      expect(toDate(own.wallDayOf(instant))).toBe(await readWallDate({ session, timeZone, instant }));
    });
  },
);
