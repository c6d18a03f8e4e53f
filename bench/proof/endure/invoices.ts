/**
 * The invoices of a run, and what the warehouse must show of them. Each is a pure function of the seed and of
 * its number, so that any drop can say something about any of them.
 */

import { toDay } from "../../../db/dates.ts";
import { createStanding, type LoadOrder, type Statements } from "../../../etl/testing/models/standing.ts";
import { createTotals, type Group } from "../../../etl/testing/models/totals.ts";
import { type Invoice, word } from "../../generator/invoice.ts";
import { createLineStyle, type LineStyle } from "../../generator/line.ts";
import { deriveKey, mix32 } from "../../generator/random.ts";
import { createVenues, type Venues } from "../../generator/venues.ts";
import { createInvoice } from "../../run/scale.ts";

/** The first sync date; the run's calendar goes on from there. */
export const FIRST_SYNC_DAY = toDay("2025-01-01");
/** No calendar gets that far. */
const LAST_SYNC_DAY = FIRST_SYNC_DAY + 3650;
export const LATEST_DAYS = 1095;
const VENUES = 500;
const LATE_SHARE = 0.1;
const ROLE = 40;

export interface InvoiceBook {
  readonly venues: Venues;
  readonly style: LineStyle;
  /** Takes the next number for an invoice that a drop of this sync day brings first. */
  readonly begin: (syncDay: number) => number;
  readonly count: () => number;
  /** Fills in an invoice, its total as first stated. */
  readonly fill: (number: number, into: Invoice) => void;
}

/** Memory: 2 bytes for each invoice, the sync day of the drop that brought it first. */
export function openInvoiceBook(seed: number): InvoiceBook {
  const key = deriveKey(seed, ROLE);
  const venues = createVenues({
    seed,
    venues: VENUES,
    newVenues: 0.2,
    firstDay: FIRST_SYNC_DAY,
    lastDay: FIRST_SYNC_DAY + 365,
  });
  const style = createLineStyle(venues, FIRST_SYNC_DAY - LATEST_DAYS - 2, LAST_SYNC_DAY + 30);
  let bornOn = new Uint16Array(1 << 20);
  let count = 0;
  return {
    venues,
    style,
    begin: (syncDay) => {
      if (count === bornOn.length) {
        const larger = new Uint16Array(2 * bornOn.length);
        larger.set(bornOn);
        bornOn = larger;
      }
      bornOn[count] = syncDay;
      count += 1;
      return count - 1;
    },
    count: () => count,
    fill: (number, into) => {
      // Distinct for each number, so no two invoices have one id.
      into.high = mix32(key + number);
      into.low = mix32(Math.imul(number, 0x9e3779b1) ^ key);
      into.day = (bornOn[number] as number) - latenessOf(into);
      into.second = word(into, 3) % 86_400;
      into.venue = venues.pick(word(into, 2), into.day);
      into.cents = 100 + (word(into, 4) % (2 * (venues.price[into.venue] as number)));
      if ((word(into, 8) & 127) === 0) into.cents = -into.cents;
    },
  };
}

/** In days: nine in ten of the late ones are within two months, the others anywhere within three years. */
function latenessOf(invoice: Invoice): number {
  if (word(invoice, 10) / 2 ** 32 >= LATE_SHARE) return word(invoice, 1) & 1;
  const share = word(invoice, 1) / 2 ** 32;
  if (word(invoice, 11) % 10 === 0) return 2 + Math.floor(share * (LATEST_DAYS - 2));
  return 2 + Math.floor(share * share * 58);
}

/**
 * What the warehouse must show once some drops were loaded, whatever the order in which they are reported.
 */
export interface Truth {
  readonly take: (load: LoadOrder, said: Statements) => void;
  /** Number of invoices that are in. */
  readonly invoices: () => number;
  readonly groups: () => Iterable<Group>;
}

export function openTruth(book: InvoiceBook): Truth {
  const standing = createStanding();
  const totals = createTotals(book.venues.count);
  const place = createInvoice();
  return {
    take: (load, said) =>
      standing.take(load, said, ({ invoice, before, after }) => {
        book.fill(invoice, place);
        totals.add(place.venue, place.day, before ? 0 : 1, after.cents - (before?.cents ?? 0));
      }),
    invoices: standing.count,
    groups: totals.groups,
  };
}
