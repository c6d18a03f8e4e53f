/** Dates as the direct way counts them: days since 1970-01-01. */
import { dayNumber } from "../../drop/validate.ts";

const DAY_MS = 86_400_000;

export function toDate(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

export function toDay(date: string): number {
  const [year, month, day] = date.split("-").map(Number);
  return dayNumber(year ?? 0, month ?? 0, day ?? 0) ?? 0;
}
