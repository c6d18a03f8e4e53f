/**
 * Part of the warehouse model: how many invoices each venue has on each date, and how many cents they come
 * to.
 */

/** The net sums of one venue on one date. */
export interface Group {
  /** Number of the venue. */
  readonly venue: number;
  /** Days since 1970-01-01. */
  readonly day: number;
  readonly invoices: number;
  readonly cents: number;
}

export interface Totals {
  readonly add: (venue: number, day: number, invoices: number, cents: number) => void;
  /** Those that are not zero, by venue, then by day. */
  readonly groups: () => Generator<Group>;
}

interface Day {
  invoices: Int32Array;
  /** Sums are exact below 2^53: 90 invoices of the greatest total, or 10^9 ordinary bills. */
  cents: Float64Array;
}

/** Memory: 12 bytes per venue for each date that has an invoice, however many there are. */
export function createTotals(venueCount = 8): Totals {
  const days = new Map<number, Day>();
  let venues = 0;
  const dayOf = (number: number, venue: number): Day => {
    let day = days.get(number);
    if (day === undefined) {
      day = { invoices: new Int32Array(venueCount), cents: new Float64Array(venueCount) };
      days.set(number, day);
    }
    while (venue >= day.cents.length) {
      day.invoices = withRoom(day.invoices, new Int32Array(2 * day.invoices.length));
      day.cents = withRoom(day.cents, new Float64Array(2 * day.cents.length));
    }
    return day;
  };
  return {
    add: (venue, number, invoices, cents) => {
      const day = dayOf(number, venue);
      day.invoices[venue] = (day.invoices[venue] ?? 0) + invoices;
      day.cents[venue] = (day.cents[venue] ?? 0) + cents;
      if (venue >= venues) venues = venue + 1;
    },
    groups: function* () {
      const sorted = [...days].sort(([one], [other]) => one - other);
      for (let venue = 0; venue < venues; venue++) {
        for (const [day, sums] of sorted) {
          const [invoices, cents] = [sums.invoices[venue] ?? 0, sums.cents[venue] ?? 0];
          if (invoices !== 0 || cents !== 0) yield { venue, day, invoices, cents };
        }
      }
    },
  };
}

function withRoom<A extends Int32Array | Float64Array>(old: A, larger: A): A {
  larger.set(old);
  return larger;
}
