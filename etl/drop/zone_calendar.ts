/**
 * The calendar of a warehouse that is not there: as calendar.ts has it, by the time-zone data of Node.js in place
 * of PostgreSQL's. The two agree but for zones whose rules changed lately; the warehouse decides.
 */
import { toDay } from "../../db/dates.ts";
import type { DateThreshold } from "./calendar.ts";
import type { Timestamp } from "./value/timestamp.ts";
import { createZoneClock, type ZoneClock } from "./value/zone.ts";

export interface ZoneCalendar {
  /** From when on `created_on` is a date or later. `date`: `YYYY-MM-DD`. */
  readonly thresholdOf: (date: string) => DateThreshold;
  /** `created_on` of a time, in days since 1970-01-01. */
  readonly dayOf: (time: Pick<Timestamp, "kind" | "second">) => number;
  /** The date that the wall clock shows at an instant, whenever days start; in days since 1970-01-01. */
  readonly wallDayOf: (instant: Date) => number;
}

const DAY = 86_400;
const MINUTE = 60;
/** A change of the clock can move the beginning of a date by so much: the date line moves it by a day. */
const REACH = 26 * 3600;

/**
 * @param options.timeZone an IANA name that Node.js knows
 * @param options.dayStarts `HH:MM`, when a day begins
 */
export function createZoneCalendar(options: {
  readonly timeZone: string;
  readonly dayStarts: string;
}): ZoneCalendar {
  const clock = createZoneClock(options.timeZone);
  const startOfDay = secondsOf(options.dayStarts);
  return {
    thresholdOf: (date) => findThreshold(clock, date, toDay(date) * DAY + startOfDay),
    dayOf: ({ kind, second }) => {
      const instant = kind === "walls" ? clock.instantOf(second) : second;
      return Math.floor((clock.wallOf(instant) - startOfDay) / DAY);
    },
    wallDayOf: (instant) => Math.floor(clock.wallOf(Math.floor(instant.getTime() / 1000)) / DAY),
  };
}

function secondsOf(time: string): number {
  const [hours = 0, minutes = 0] = time.split(":").map(Number);
  return (hours * 60 + minutes) * MINUTE;
}

/** Each minute around the start is looked at: where the clock changes, the start comes twice, or never. */
function findThreshold(clock: ZoneClock, date: string, start: number): DateThreshold {
  const from = clock.instantOf(start);
  const instants = changesNear(from, (instant) => clock.wallOf(instant) >= start);
  const walls = changesNear(start, (wall) => clock.wallOf(clock.instantOf(wall)) >= start);
  return { date, instants, walls };
}

function changesNear(start: number, isReached: (second: number) => boolean): number[] {
  const found: number[] = [];
  let before = false;
  for (let second = start - REACH; second <= start + REACH; second += MINUTE) {
    const reached = isReached(second);
    if (reached !== before) found.push(second);
    before = reached;
  }
  return found;
}
