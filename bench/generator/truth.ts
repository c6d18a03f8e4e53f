import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { toDate, toDay } from "../../db/dates.ts";
import { createTotals, type Totals } from "../../etl/testing/models/totals.ts";
import type { Statement } from "./invoice.ts";
import { euros } from "./line.ts";
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

const PAGE_CHARACTERS = 1 << 16;

export const TOTALS_HEADER = "venue_id,created_on,invoices,total\n";

/** Memory: 12 bytes per venue for each date on which anything was created, whatever the number of rows. */
export function createTruth({ venues }: Plan): Truth {
  const totals = createTotals(venues.count);
  return {
    add: ({ venue, day, stated, known }) => {
      if (known === undefined) totals.add(venue, day, 1, stated);
      else if (known !== stated) totals.add(venue, day, 0, stated - known);
    },
    read: async (path) => {
      const lines = createInterface({ input: createReadStream(path), crlfDelay: Infinity });
      let header = true;
      for await (const line of lines) {
        if (!header) {
          const [name = "", date = "", invoices = "", total = ""] = line.split(",");
          const cents = Number(total.replace(".", ""));
          totals.add(venues.indexOf(name), toDay(date), Number(invoices), cents);
        }
        header = false;
      }
    },
    pages: () => totalsPages(totals, venues),
    summary: () => summarize(totals),
  };
}

function* totalsPages(totals: Totals, venues: Venues): Generator<Buffer> {
  let text = TOTALS_HEADER;
  for (const { venue, day, invoices, cents } of totals.groups()) {
    text += `${venues.name(venue)},${toDate(day)},${invoices},${euros(cents)}\n`;
    if (text.length > PAGE_CHARACTERS) {
      yield Buffer.from(text);
      text = "";
    }
  }
  yield Buffer.from(text);
}

function summarize(totals: Totals): TruthSummary {
  let invoices = 0;
  let groups = 0;
  let cents = 0n;
  for (const group of totals.groups()) {
    invoices += group.invoices;
    groups += 1;
    cents += BigInt(group.cents);
  }
  return { invoices, cents, groups };
}
