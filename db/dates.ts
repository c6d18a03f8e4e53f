/**
 * Arithmetic with dates. A date is an ISO string (`2026-10-05`), years 1 to 9999. A day is a number: days
 * since 1970-01-01.
 */

const DAY_MS = 86_400_000;

export function toDay(date: string): number {
  return Date.parse(`${date}T00:00:00Z`) / DAY_MS;
}

export function toDate(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** The date so many days later; earlier for a negative number. */
export function addDays(date: string, days: number): string {
  return toDate(toDay(date) + days);
}

/** The first date of the month so many months after that of a date; before it for a negative number. */
export function addMonths(date: string, months: number): string {
  return firstOfMonth(Number(date.slice(0, 4)), Number(date.slice(5, 7)) + months);
}

/** The first date of a month, 1 to 12; 13 is January of the next year. */
export function firstOfMonth(year: number, month: number): string {
  const first = new Date(0);
  first.setUTCFullYear(year, month - 1, 1);
  return first.toISOString().slice(0, 10);
}
