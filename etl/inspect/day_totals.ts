/** Adds up the rows of a file by `created_on`: memory for each day, not for each row. */
import { toDate } from "../../db/dates.ts";
import { centsOf, writeEuros } from "../drop/value/total.ts";

export interface DayTotal {
  /** `YYYY-MM-DD`. */
  readonly created_on: string;
  readonly lines: number;
  /** In euros: `-12.50`. */
  readonly total: string;
}

export interface DayTotals {
  /**
   * @param day in days since 1970-01-01
   * @param total in euros, canonical: `-12.50`
   */
  readonly add: (day: number, total: string) => void;
  /** The oldest first. */
  readonly list: () => readonly DayTotal[];
  /** Of all days, in euros. */
  readonly total: () => string;
  /** Sum of the sizes of the totals, in cents: a refund is money as well. */
  readonly money: () => bigint;
}

export function startDayTotals(): DayTotals {
  const days = new Map<number, { lines: number; cents: bigint }>();
  let sum = 0n;
  let money = 0n;
  return {
    add(day, total) {
      const cents = centsOf(total);
      sum += cents;
      money += cents < 0n ? -cents : cents;
      const known = days.get(day);
      if (known === undefined) days.set(day, { lines: 1, cents });
      else {
        known.lines++;
        known.cents += cents;
      }
    },
    list: () =>
      [...days]
        .toSorted(([one], [other]) => one - other)
        .map(([day, { lines, cents }]) => ({ created_on: toDate(day), lines, total: writeEuros(cents) })),
    total: () => writeEuros(sum),
    money: () => money,
  };
}
