/** For tests of lines: the rules that a load reads from PostgreSQL, made with Node's own time-zone data. */
import { addDays } from "../../db/dates.ts";
import type { DateThreshold } from "../drop/calendar.ts";
import type { LineRules } from "../drop/rules.ts";

const DAY = 86_400;

/**
 * The first second whose date is `date` or later, where days start at `dayStarts` on the zone's clock. For
 * zones whose days do not run backwards.
 */
export function thresholdOf(options: {
  readonly date: string;
  readonly timeZone: string;
  readonly dayStarts?: string;
}): DateThreshold {
  const { date, timeZone, dayStarts = "00:00" } = options;
  const start = `${date} ${dayStarts}:00`;
  const wall = Date.parse(`${date}T${dayStarts}:00Z`) / 1000;
  // sv-SE writes YYYY-MM-DD HH:MM:SS.
  const zone = new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "medium" });
  let before = wall - 2 * DAY;
  let after = wall + 2 * DAY;
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (zone.format(middle * 1000) >= start) after = middle;
    else before = middle;
  }
  return { date, instants: [after], walls: [wall] };
}

/** The rules for a drop. `closed`, `closedPeriods`: ranges of dates, the second not included. */
export function rulesOf(options: {
  readonly syncedOn: string;
  readonly timeZone?: string;
  readonly earliest?: string;
  readonly dayStarts?: string;
  readonly syncSlack?: number;
  readonly closed?: readonly (readonly [string, string])[];
  readonly closedPeriods?: readonly (readonly [string, string])[];
  readonly decimalComma?: boolean;
}): LineRules {
  const {
    syncedOn,
    timeZone = "Europe/Berlin",
    earliest = "2000-01-01",
    dayStarts = "00:00",
    syncSlack = 0,
    closed = [],
    closedPeriods,
    decimalComma = false,
  } = options;
  const at = (date: string) => thresholdOf({ date, timeZone, dayStarts });
  const range = ([from, to]: readonly [string, string]) => ({ from: at(from), to: at(to) });
  return {
    earliest: at(earliest),
    afterSync: at(addDays(syncedOn, 1 + syncSlack)),
    closed: closed.map(range),
    closedPeriods: closedPeriods?.map(range) ?? null,
    decimalComma,
    dayStarts,
  };
}
