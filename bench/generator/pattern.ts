/** When people eat: how busy a date and its hours are. Days are whole days since 1970-01-01. */
import { toDate } from "../../db/dates.ts";

/** Sunday 0 … Saturday 6. */
export function weekday(day: number): number {
  return (((day + 4) % 7) + 7) % 7;
}

/** Sunday … Saturday, per cent of a Thursday. */
const WEEK = [110, 70, 75, 85, 100, 140, 165];

/** At the middle of January … December: a quiet January, terraces in summer, parties in December. */
const YEAR = [80, 82, 92, 98, 108, 115, 112, 105, 104, 100, 96, 128];

/** Month and day on which most venues are closed. */
const CLOSED = new Set(["12-24", "12-25", "01-01"]);

export interface DayPattern {
  readonly weekly: boolean;
  readonly season: boolean;
}

/** How busy a date is, relative to others: a positive whole number. */
export function dayWeight(day: number, pattern: DayPattern): number {
  const week = pattern.weekly ? (WEEK[weekday(day)] as number) : 100;
  return week * (pattern.season ? seasonWeight(day) : 100);
}

function seasonWeight(day: number): number {
  const date = toDate(day);
  if (CLOSED.has(date.slice(5))) return 40;
  const month = Number(date.slice(5, 7)) - 1;
  const fromMiddle = Math.max(-15, Math.min(15, Number(date.slice(8)) - 15));
  const here = YEAR[month] as number;
  const there = YEAR[(month + (fromMiddle < 0 ? 11 : 1)) % 12] as number;
  return Math.round((here * (30 - Math.abs(fromMiddle)) + there * Math.abs(fromMiddle)) / 30);
}

/** Invoices per half hour from 00:00 on, Monday to Thursday. */
const WORKDAY_HOURS = [
  9, 7, 5, 3, 2, 1, 1, 1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 18, 16, 15, 15, 18, 26, 48, 78, 92, 84, 62, 40, 26, 20,
  18, 18, 22, 30, 44, 62, 82, 96, 98, 90, 76, 58, 42, 30, 22, 16, 12,
];

/** The same, Friday to Sunday: brunch, a later dinner, a longer night. */
const WEEKEND_HOURS = [
  26, 22, 18, 14, 9, 6, 4, 2, 2, 1, 1, 1, 1, 2, 4, 8, 12, 18, 26, 34, 42, 46, 50, 58, 68, 74, 72, 62, 50, 42,
  36, 32, 30, 32, 40, 52, 70, 88, 102, 110, 108, 98, 84, 68, 56, 46, 38, 32,
];

/** POS systems send in the small hours: the first four hours of a date come with its own file. */
const SYNC_HOUR = 4;

const STEPS = 4096;

export interface Hours {
  /** Share of a day's invoices that are created before the nightly sync. */
  readonly nightShare: number;
  /** The second of the day before which the share `q` (from 0, below 1) of its invoices is created. */
  secondAt(q: number): number;
}

function createHours(weights: readonly number[]): Hours {
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  const night = weights.slice(0, SYNC_HOUR * 2).reduce((sum, weight) => sum + weight, 0);
  const seconds = new Float64Array(STEPS + 1);
  let slot = 0;
  let before = 0;
  for (let step = 0; step < STEPS; step += 1) {
    const target = (step * whole) / STEPS;
    while (before + (weights[slot] as number) <= target) {
      before += weights[slot] as number;
      slot += 1;
    }
    seconds[step] = 1800 * (slot + (target - before) / (weights[slot] as number));
  }
  seconds[STEPS] = 86_400;
  return {
    nightShare: night / whole,
    secondAt: (q) => {
      const step = Math.floor(q * STEPS);
      const from = seconds[step] as number;
      return Math.floor(from + (q * STEPS - step) * ((seconds[step + 1] as number) - from));
    },
  };
}

const FLAT = createHours(new Array<number>(48).fill(1));
const WORKDAY = createHours(WORKDAY_HOURS);
const WEEKEND = createHours(WEEKEND_HOURS);

/** The hours of a date; without the pattern all are equally busy. */
export function hoursOf(day: number, hours: boolean): Hours {
  if (!hours) return FLAT;
  const inWeek = weekday(day);
  return inWeek === 0 || inWeek >= 5 ? WEEKEND : WORKDAY;
}
