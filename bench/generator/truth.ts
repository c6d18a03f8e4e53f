import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Statement } from "./invoice.ts";
import { euros } from "./line.ts";
import { dayNumber, isoDate } from "./pattern.ts";
import type { Plan } from "./plan.ts";
import type { Venues } from "./venues.ts";

/** The totals that a warehouse must show: invoices and cents per venue and date of creation. */
export interface Truth {
  /** Takes a statement in, in the order of sync dates. */
  add(statement: Statement): void;
  /** Starts from the totals of drops that exist already. */
  read(path: string): Promise<void>;
  /** `totals.csv` in pieces, sorted by venue, then date. */
  pages(): Generator<Buffer>;
  summary(): TruthSummary;
}

export interface TruthSummary {
  readonly invoices: number;
  readonly cents: bigint;
  /** (venue, date) groups. */
  readonly groups: number;
}

interface DayTotals {
  readonly invoices: Uint32Array;
  /**
   * Whole cents. A bill is some thousand euros at most and there are at most 10^9 lines, so every sum stays below 2^53 and is
   * exact in a double; the grand total is made as BigInt.
   */
  readonly cents: Float64Array;
}

const PAGE_CHARACTERS = 1 << 16;

export const TOTALS_HEADER = "venue_id,created_on,invoices,total\n";

/** Memory: 12 bytes per venue for each date on which anything was created, whatever the number of rows. */
export function createTruth(plan: Plan): Truth {
  const { venues, firstCreated, endCreated } = plan;
  const days = new Array<DayTotals | undefined>(endCreated - firstCreated);
  const dayTotals = (day: number): DayTotals => {
    let totals = days[day - firstCreated];
    if (totals === undefined) {
      totals = { invoices: new Uint32Array(venues.count), cents: new Float64Array(venues.count) };
      days[day - firstCreated] = totals;
    }
    return totals;
  };
  const put = (venue: number, day: number, invoices: number, cents: number) => {
    const totals = dayTotals(day);
    totals.invoices[venue] = (totals.invoices[venue] as number) + invoices;
    totals.cents[venue] = (totals.cents[venue] as number) + cents;
  };
  return {
    add: ({ venue, day, stated, known }) => {
      if (known === undefined) put(venue, day, 1, stated);
      else if (known !== stated) put(venue, day, 0, stated - known);
    },
    read: async (path) => {
      const lines = createInterface({ input: createReadStream(path), crlfDelay: Infinity });
      let header = true;
      for await (const line of lines) {
        if (!header) {
          const [name = "", date = "", invoices = "", total = ""] = line.split(",");
          put(venues.indexOf(name), dayNumber(date), Number(invoices), Number(total.replace(".", "")));
        }
        header = false;
      }
    },
    pages: () => totalsPages(days, firstCreated, venues),
    summary: () => summarize(days),
  };
}

function* totalsPages(
  days: readonly (DayTotals | undefined)[],
  firstCreated: number,
  venues: Venues,
): Generator<Buffer> {
  const touched = [...days.keys()].filter((k) => days[k] !== undefined);
  const dates = touched.map((k) => isoDate(firstCreated + k));
  let text = TOTALS_HEADER;
  for (let venue = 0; venue < venues.count; venue += 1) {
    const name = venues.name(venue);
    for (let k = 0; k < touched.length; k += 1) {
      const totals = days[touched[k] as number] as DayTotals;
      const invoices = totals.invoices[venue] as number;
      if (invoices > 0) text += `${name},${dates[k]},${invoices},${euros(totals.cents[venue] as number)}\n`;
    }
    if (text.length > PAGE_CHARACTERS) {
      yield Buffer.from(text);
      text = "";
    }
  }
  yield Buffer.from(text);
}

function summarize(days: readonly (DayTotals | undefined)[]): TruthSummary {
  let invoices = 0;
  let groups = 0;
  let cents = 0n;
  for (const totals of days) {
    if (totals === undefined) continue;
    invoices += totals.invoices.reduce((sum, count) => sum + count, 0);
    groups += totals.invoices.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);
    cents += BigInt(totals.cents.reduce((sum, value) => sum + value, 0));
  }
  return { invoices, cents, groups };
}
