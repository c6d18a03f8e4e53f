/**
 * Part of the format model: dates by counting days, and the clocks of some time zones by tables. Shares
 * nothing with the product, with JavaScript's Date or with a time-zone database. clocks.test.ts compares the
 * tables with PostgreSQL's.
 */

const DAY = 86_400;
/** Days from 0001-01-01 to 1970-01-01. */
const EPOCH = 719_162;

export function isLeap(year: number): boolean {
  if (year % 400 === 0) return true;
  if (year % 100 === 0) return false;
  return year % 4 === 0;
}

export function daysOfMonth(year: number, month: number): number {
  if (month === 2) return isLeap(year) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Days from 0001-01-01 to the first day of a year. */
function daysBefore(year: number): number {
  const past = year - 1;
  return past * 365 + Math.floor(past / 4) - Math.floor(past / 100) + Math.floor(past / 400);
}

/** Days since 1970-01-01; undefined when the calendar, years 1 to 9999, has no such date. */
export function dayOf(year: number, month: number, day: number): number | undefined {
  if (year < 1 || year > 9999 || month < 1 || month > 12) return undefined;
  if (day < 1 || day > daysOfMonth(year, month)) return undefined;
  let days = daysBefore(year) - EPOCH;
  for (let before = 1; before < month; before++) days += daysOfMonth(year, before);
  return days + day - 1;
}

/** The date, `YYYY-MM-DD`, of a day counted from 1970-01-01. */
export function dateOf(day: number): string {
  let rest = day + EPOCH;
  let year = Math.floor(rest / 366) + 1;
  while (daysBefore(year + 1) <= rest) year++;
  rest -= daysBefore(year);
  let month = 1;
  for (; rest >= daysOfMonth(year, month); month++) rest -= daysOfMonth(year, month);
  return `${digits(year, 4)}-${digits(month, 2)}-${digits(rest + 1, 2)}`;
}

function digits(value: number, length: number): string {
  return String(value).padStart(length, "0");
}

/** The day, counted from 1970-01-01, of a date `YYYY-MM-DD` that exists. */
export function dayOfDate(date: string): number {
  const day = dayOf(Number(date.slice(0, 4)), Number(date.slice(5, 7)), Number(date.slice(8, 10)));
  if (day === undefined) throw new Error(`no date: ${date}`);
  return day;
}

/** A clock: its offset from UTC in seconds at first, and each change of it. */
export interface Zone {
  readonly first: number;
  /** In order: the second since 1970-01-01 (UTC), and the offset from then on. */
  readonly changes: readonly (readonly [second: number, offset: number])[];
}

/** The offset at an instant, in seconds. */
export function offsetAt(zone: Zone, second: number): number {
  let offset = zone.first;
  for (const [from, next] of zone.changes) {
    if (from > second) break;
    offset = next;
  }
  return offset;
}

/**
 * The offset by which a wall-clock time is read. In a gap or an overlap of the clock it is the smaller of the
 * two. `wall`: seconds since 1970-01-01 on that clock.
 */
export function offsetOfWall(zone: Zone, wall: number): number {
  let offset = zone.first;
  for (const [second, next] of zone.changes) {
    const smaller = Math.min(offset, next);
    const greater = Math.max(offset, next);
    if (wall < second + smaller) return offset;
    if (wall < second + greater) return smaller;
    offset = next;
  }
  return offset;
}

const HOUR = 3600;

/** The day, from 1970-01-01, of the n-th Sunday of a month; n = -1: the last. */
function sunday(year: number, month: number, n: number): number {
  const first = dayOf(year, month, 1) ?? 0;
  // 1970-01-01 was a Thursday.
  const toSunday = (((3 - first) % 7) + 7) % 7;
  if (n > 0) return first + toSunday + 7 * (n - 1);
  let last = first + toSunday;
  while (last + 7 < first + daysOfMonth(year, month)) last += 7;
  return last;
}

/** A change at a wall-clock time of the clock that ends then. */
function change(day: number, wall: number, before: number, after: number): readonly [number, number] {
  return [day * DAY + wall - before, after];
}

function years(
  from: number,
  to: number,
  changesOf: (year: number) => readonly (readonly [number, number])[],
): readonly (readonly [number, number])[] {
  return Array.from({ length: to - from + 1 }, (_, index) => changesOf(from + index)).flat();
}

const on = dayOfDate;

/**
 * Each zone is right within the years named; who uses it must stay within them. Source: the rules of the IANA
 * time-zone database, by hand.
 */
export const ZONES = {
  /** All years. */
  UTC: { first: 0, changes: [] },
  /** 1986 on. */
  "Asia/Kathmandu": { first: 5.75 * HOUR, changes: [] },
  /** 1946 on. */
  "Asia/Kolkata": { first: 5.5 * HOUR, changes: [] },
  /** 1997 to 2037: last Sundays of March and October, 01:00 UTC. */
  "Europe/Berlin": {
    first: HOUR,
    changes: years(1997, 2037, (year) => [
      [sunday(year, 3, -1) * DAY + HOUR, 2 * HOUR],
      [sunday(year, 10, -1) * DAY + HOUR, HOUR],
    ]),
  },
  /** 2007 to 2037: second Sunday of March, first of November, 02:00. */
  "America/New_York": {
    first: -5 * HOUR,
    changes: years(2007, 2037, (year) => [
      change(sunday(year, 3, 2), 2 * HOUR, -5 * HOUR, -4 * HOUR),
      change(sunday(year, 11, 1), 2 * HOUR, -4 * HOUR, -5 * HOUR),
    ]),
  },
  /** 2010 to 2013: the clock lacks 2011-12-30. */
  "Pacific/Apia": {
    first: -11 * HOUR,
    changes: [
      change(on("2010-09-26"), 0, -11 * HOUR, -10 * HOUR),
      change(on("2011-04-02"), 4 * HOUR, -10 * HOUR, -11 * HOUR),
      change(on("2011-09-24"), 3 * HOUR, -11 * HOUR, -10 * HOUR),
      change(on("2011-12-30"), 0, -10 * HOUR, 14 * HOUR),
      change(on("2012-04-01"), 4 * HOUR, 14 * HOUR, 13 * HOUR),
      change(on("2012-09-30"), 3 * HOUR, 13 * HOUR, 14 * HOUR),
      change(on("2013-04-07"), 4 * HOUR, 14 * HOUR, 13 * HOUR),
      change(on("2013-09-29"), 3 * HOUR, 13 * HOUR, 14 * HOUR),
    ],
  },
  /** 2014 to 2019: changes at midnight, so that one never comes and another comes twice. */
  "America/Sao_Paulo": {
    first: -2 * HOUR,
    changes: [
      change(on("2014-02-16"), 0, -2 * HOUR, -3 * HOUR),
      change(on("2014-10-19"), 0, -3 * HOUR, -2 * HOUR),
      change(on("2015-02-22"), 0, -2 * HOUR, -3 * HOUR),
      change(on("2015-10-18"), 0, -3 * HOUR, -2 * HOUR),
      change(on("2016-02-21"), 0, -2 * HOUR, -3 * HOUR),
      change(on("2016-10-16"), 0, -3 * HOUR, -2 * HOUR),
      change(on("2017-02-19"), 0, -2 * HOUR, -3 * HOUR),
      change(on("2017-10-15"), 0, -3 * HOUR, -2 * HOUR),
      change(on("2018-02-18"), 0, -2 * HOUR, -3 * HOUR),
      change(on("2018-11-04"), 0, -3 * HOUR, -2 * HOUR),
      change(on("2019-02-17"), 0, -2 * HOUR, -3 * HOUR),
    ],
  },
  /** 2008 to 2010: changes at 00:01, so that a date comes for a minute and again an hour later. */
  "America/St_Johns": {
    first: -3.5 * HOUR,
    changes: years(2008, 2010, (year) => [
      change(sunday(year, 3, 2), 60, -3.5 * HOUR, -2.5 * HOUR),
      change(sunday(year, 11, 1), 60, -2.5 * HOUR, -3.5 * HOUR),
    ]),
  },
  /** 2009 to 2037: half an hour of summer time, in winter. */
  "Australia/Lord_Howe": {
    first: 11 * HOUR,
    changes: years(2009, 2037, (year) => [
      change(sunday(year, 4, 1), 2 * HOUR, 11 * HOUR, 10.5 * HOUR),
      change(sunday(year, 10, 1), 2 * HOUR, 10.5 * HOUR, 11 * HOUR),
    ]),
  },
  /** 1920 on: an offset with seconds in it, to 1972. */
  "Africa/Monrovia": {
    first: -2670,
    changes: [change(on("1972-01-07"), 0, -2670, 0)],
  },
} as const satisfies Readonly<Record<string, Zone>>;

export type ZoneName = keyof typeof ZONES;
