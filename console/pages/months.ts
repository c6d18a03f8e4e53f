/** Months, by name. */
import { firstOfMonth } from "../../db/dates.ts";

/** `2026-01`, 2 months before: `2025-11`. */
export function monthsBefore(month: string, months: number): string {
  const index = Number(month.slice(0, 4)) * 12 + Number(month.slice(5)) - 1 - months;
  return firstOfMonth(Math.floor(index / 12), (index % 12) + 1).slice(0, 7);
}
