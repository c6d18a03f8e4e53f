/** Which creation dates a page is about, where the address says none or one of its ends. */
import { max, ne, or, sql } from "drizzle-orm";
import * as v from "valibot";
import type { Session } from "../db/client.ts";
import { addDays, addMonths } from "../db/dates.ts";
import { RollbookError } from "../db/errors.ts";
import { partitionFreshness } from "../db/schema.ts";
import { date, givenDate } from "./schemas.ts";

/** Months that are shown where nothing else is asked for. */
const MONTHS = 12;

/** What an address may say of it. */
export const rangeQuery = {
  from: v.optional(v.pipe(givenDate(), v.description("First creation date."))),
  to: v.optional(v.pipe(givenDate(), v.description("First creation date that no longer counts."))),
};

export const rangeAnswer = {
  from: date(),
  to: v.pipe(date(), v.description("First creation date that no longer counts.")),
};

/** `to` is not included. */
export interface Range {
  readonly from: string;
  readonly to: string;
}

/**
 * The range that is shown: what the address says, else the twelve months up to the last month that has invoices.
 *
 * @throws RollbookError `usage` for a range that ends before it begins
 */
export async function chooseRange(
  db: Session["db"],
  { from, to }: { readonly from?: string | undefined; readonly to?: string | undefined },
): Promise<Range> {
  if (from !== undefined && to !== undefined) {
    if (from < to) return { from, to };
    throw new RollbookError({
      code: "usage",
      message: `to: give a date after ${from}; it is the first that no longer counts`,
    });
  }
  if (to !== undefined) return { from: addMonths(addDays(to, -1), 1 - MONTHS), to };
  const end = addMonths(await readLastDate(db), 1);
  if (from === undefined) return { from: addMonths(end, -MONTHS), to: end };
  return { from, to: from < end ? end : addMonths(from, MONTHS) };
}

/** A date in the last month with invoices, as far as the partitions say: today, or before. */
async function readLastDate(db: Session["db"]): Promise<string> {
  const [row] = await db
    .select({
      last: sql<string>`least(${max(partitionFreshness.upper)} - 1, current_date)::text`,
    })
    .from(partitionFreshness)
    .where(or(ne(partitionFreshness.rollupInvoices, 0), ne(partitionFreshness.pendingChanges, 0)));
  if (row === undefined) throw new Error("an aggregate has a row");
  return row.last;
}

/** The part of a range that is in another. */
export function within(one: Range, other: Range): Range {
  return { from: one.from < other.from ? other.from : one.from, to: one.to < other.to ? one.to : other.to };
}

/** `2026-10-05`, or `2026-10-01 to 2026-10-31`: with the last date in it. */
export function sayRange({ from, to }: Range): string {
  const last = addDays(to, -1);
  return from === last ? from : `${from} to ${last}`;
}
