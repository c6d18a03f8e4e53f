/** Periods that can be closed: which creation dates each holds, and what it is called. */
import { addDays, firstOfMonth, toDate } from "../../db/dates.ts";
import { partitionOf } from "../../db/partitions/ranges.ts";
import type { Granularity } from "../../db/schema.ts";

/** Creation dates from `from` (inclusive) to `to` (exclusive). */
export interface Period {
  /** `2026`, `2026-Q4`, `2026-10`, `2026-W41`, `2026-10-05`; `from 2026-10-01 to 2026-10-15` for any other range. */
  readonly name: string;
  readonly from: string;
  readonly to: string;
}

/** What a load has changed in a closed period. */
export interface RestatedPeriod {
  /** Number of the closing, the newest one of these dates. */
  readonly closing: number;
  readonly period: string;
  /** Groups whose count or total it changed. */
  readonly groups: number;
  readonly invoices: number;
  /** In euros. */
  readonly total: string;
}

/** The form of a name, with its number in the year, and a date of the period. */
const FORMS: Readonly<
  Record<Granularity, readonly [form: RegExp, dateIn: (year: string, number: number) => string]>
> = {
  year: [/^(\d{4})$/, (year) => `${year}-01-01`],
  quarter: [/^(\d{4})-Q(\d)$/, (year, number) => firstOfMonth(Number(year), number * 3 - 2)],
  month: [/^(\d{4})-(\d\d)$/, (year, number) => firstOfMonth(Number(year), number)],
  // 4 January is always in the first week.
  week: [/^(\d{4})-W(\d\d)$/, (year, number) => addDays(`${year}-01-04`, (number - 1) * 7)],
  day: [/^(\d{4}-\d\d-\d\d)$/, (date) => date],
};

/** @returns undefined for a text that names no period of the years 1 to 9998 */
export function parsePeriod(text: string): Period | undefined {
  if (/^(0000|9999)/.test(text)) return undefined;
  for (const [granularity, [form, dateIn]] of Object.entries(FORMS)) {
    const [, first, number] = form.exec(text) ?? [];
    if (first === undefined) continue;
    const date = dateIn(first, Number(number));
    if (!isDate(date)) return undefined;
    const { partition, lower, upper } = partitionOf(granularity as Granularity, date);
    // There is no month 13, and a year has 52 weeks or 53.
    return partition === text ? { name: text, from: lower, to: upper } : undefined;
  }
  return undefined;
}

function isDate(text: string): boolean {
  const time = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(time) && toDate(time / 86_400_000) === text;
}

/** The period of a range of dates: it has the name of the year, quarter, month, week or day that it is. */
export function periodOf({ from, to }: Omit<Period, "name">): Period {
  const whole = (["year", "quarter", "month", "week", "day"] as const)
    .map((granularity) => partitionOf(granularity, from))
    .find(({ lower, upper }) => lower === from && upper === to);
  return { name: whole?.partition ?? `from ${from} to ${to}`, from, to };
}
