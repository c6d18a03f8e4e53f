/** For tests of lines: the rules that a load reads from PostgreSQL, made with Node's own time-zone data. */
import type { DateThreshold } from "../drop/calendar.ts";
import type { LineRules } from "../drop/rules.ts";

const DAY = 86_400;

/** The first second whose date in the zone is `date` or later. For zones whose days do not run backwards. */
export function thresholdOf(options: { readonly date: string; readonly timeZone: string }): DateThreshold {
  const { date, timeZone } = options;
  const wall = Date.parse(`${date}T00:00:00Z`) / 1000;
  // en-CA writes dates as YYYY-MM-DD.
  const zone = new Intl.DateTimeFormat("en-CA", { timeZone });
  let before = wall - 2 * DAY;
  let after = wall + 2 * DAY;
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (zone.format(middle * 1000) >= date) after = middle;
    else before = middle;
  }
  return { date, instants: [after], walls: [wall] };
}

/** The rules for a drop. `closed`: ranges of dates, the second not included. */
export function rulesOf(options: {
  readonly syncedOn: string;
  readonly timeZone?: string;
  readonly earliest?: string;
  readonly closed?: readonly (readonly [string, string])[];
  readonly decimalComma?: boolean;
}): LineRules {
  const {
    syncedOn,
    timeZone = "Europe/Berlin",
    earliest = "2000-01-01",
    closed = [],
    decimalComma = false,
  } = options;
  const nextDay = new Date(Date.parse(syncedOn) + DAY * 1000).toISOString().slice(0, 10);
  const at = (date: string) => thresholdOf({ date, timeZone });
  return {
    earliest: at(earliest),
    afterSync: at(nextDay),
    closed: closed.map(([from, to]) => ({ from: at(from), to: at(to) })),
    decimalComma,
  };
}
