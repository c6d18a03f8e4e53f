/**
 * Which creation dates a partition holds, and its name. PostgreSQL has the same calendar in
 * `warehouse.partition_range`, because a loader may have partitions made for dates, and must not choose their
 * names and bounds. A test compares the two for every date of thirty years.
 */
import { addDays, firstOfMonth, toDate, toDay } from "../dates.ts";
import type { Granularity } from "../schema.ts";

/**
 * The name of a partition (`2026-10-05`, `2026-W41`, `2026-10`, `2026-Q4`, `2026`), its first date, and the
 * first date after it.
 */
export interface PartitionRange {
  readonly partition: string;
  readonly lower: string;
  readonly upper: string;
}

/** The partition that holds a date. Weeks are ISO weeks: Monday to Sunday, numbered by their Thursday. */
export function partitionOf(granularity: Granularity, date: string): PartitionRange {
  const [year = 0, month = 0] = date.split("-").map(Number);
  const two = (value: number) => String(value).padStart(2, "0");
  const four = (value: number) => String(value).padStart(4, "0");
  switch (granularity) {
    case "day":
      return { partition: date, lower: date, upper: addDays(date, 1) };
    case "week": {
      const day = toDay(date);
      // Day 0 was a Thursday.
      const monday = day - ((((day + 3) % 7) + 7) % 7);
      const isoYear = toDate(monday + 3).slice(0, 4);
      const week = Math.floor((monday + 3 - toDay(`${isoYear}-01-01`)) / 7) + 1;
      return { partition: `${isoYear}-W${two(week)}`, lower: toDate(monday), upper: toDate(monday + 7) };
    }
    case "month":
      return {
        partition: `${four(year)}-${two(month)}`,
        lower: firstOfMonth(year, month),
        upper: firstOfMonth(year, month + 1),
      };
    case "quarter": {
      const quarter = Math.ceil(month / 3);
      return {
        partition: `${four(year)}-Q${quarter}`,
        lower: firstOfMonth(year, quarter * 3 - 2),
        upper: firstOfMonth(year, quarter * 3 + 1),
      };
    }
    case "year":
      return { partition: four(year), lower: firstOfMonth(year, 1), upper: firstOfMonth(year + 1, 1) };
  }
}

/** Creation dates from `from` (inclusive) to `to` (exclusive); open where one is left out. */
export interface DateRange {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

/** Whether a partition holds a date of the range. */
export function intersects(
  { lower, upper }: Pick<PartitionRange, "lower" | "upper">,
  { from, to }: DateRange = {},
): boolean {
  return (from === undefined || upper > from) && (to === undefined || lower < to);
}
