/**
 * Part of the warehouse model: which statement stands for each invoice. That is the one of the newest sync
 * date, of these the one of the latest load, of these the last line. Invoices are numbers from 0 on.
 */

export interface LoadOrder {
  readonly loadId: number;
  /** Days since 1970-01-01. */
  readonly syncDay: number;
}

/** What a drop says, line by line. Refused lines are left out. */
export interface Statements {
  readonly invoices: ArrayLike<number>;
  readonly cents: ArrayLike<number>;
  /** Microseconds since 1970-01-01; left out where an invoice always has the same. */
  readonly createdAt?: ArrayLike<number>;
}

export interface Statement extends LoadOrder {
  readonly cents: number;
  readonly createdAt: number;
}

/** An invoice that a load brought in or corrected. */
export interface Change {
  readonly invoice: number;
  readonly before: Statement | undefined;
  readonly after: Statement;
}

/**
 * What a load did with the lines that it took, provided that all loads known before it were taken in before.
 */
export interface Counts {
  readonly inserted: number;
  readonly corrected: number;
  readonly unchanged: number;
  readonly superseded: number;
}

export interface Standing {
  /** Takes in a load. What stands in the end does not depend on the order in which loads are taken in. */
  readonly take: (load: LoadOrder, said: Statements, onChange: (change: Change) => void) => Counts;
  /** Takes out what stands for an invoice. */
  readonly takeOut: (invoice: number) => void;
  readonly of: (invoice: number) => Statement | undefined;
  /** Number of invoices for which a statement stands. */
  readonly count: () => number;
}

interface Columns {
  readonly syncDay: Int32Array;
  readonly loadId: Uint32Array;
  readonly cents: Float64Array;
  readonly createdAt: Float64Array;
}

/** Memory: 24 bytes for each invoice. */
export function createStanding(): Standing {
  let columns = makeColumns(1024);
  let present = 0;
  const of = (invoice: number): Statement | undefined => {
    const { syncDay, loadId, cents, createdAt } = columns;
    // No load has the number 0.
    if ((loadId[invoice] ?? 0) === 0) return undefined;
    return {
      syncDay: syncDay[invoice] ?? 0,
      loadId: loadId[invoice] ?? 0,
      cents: cents[invoice] ?? 0,
      createdAt: createdAt[invoice] ?? 0,
    };
  };
  const put = (invoice: number, said: Statement) => {
    while (invoice >= columns.loadId.length) {
      const larger = makeColumns(2 * columns.loadId.length);
      for (const name of ["syncDay", "loadId", "cents", "createdAt"] as const)
        larger[name].set(columns[name]);
      columns = larger;
    }
    columns.syncDay[invoice] = said.syncDay;
    columns.loadId[invoice] = said.loadId;
    columns.cents[invoice] = said.cents;
    columns.createdAt[invoice] = said.createdAt;
  };
  return {
    take: (load, { invoices, cents, createdAt }, onChange) => {
      const lastLines = new Map<number, number>();
      for (let line = 0; line < invoices.length; line++) lastLines.set(invoices[line] ?? 0, line);
      const counts = {
        inserted: 0,
        corrected: 0,
        unchanged: 0,
        superseded: invoices.length - lastLines.size,
      };
      for (const [invoice, line] of lastLines) {
        const after = { ...load, cents: cents[line] ?? 0, createdAt: createdAt?.[line] ?? 0 };
        const before = of(invoice);
        if (before !== undefined && isNewer(before, load)) {
          counts.superseded++;
          continue;
        }
        put(invoice, after);
        if (before === undefined) {
          present++;
          counts.inserted++;
        } else if (before.cents === after.cents && before.createdAt === after.createdAt) {
          counts.unchanged++;
          continue;
        } else counts.corrected++;
        onChange({ invoice, before, after });
      }
      return counts;
    },
    takeOut: (invoice) => {
      if (of(invoice) === undefined) throw new Error("nothing stands for this invoice");
      put(invoice, { syncDay: 0, loadId: 0, cents: 0, createdAt: 0 });
      present--;
    },
    of,
    count: () => present,
  };
}

/** Whether a statement of one load wins over one of the other. */
export function isNewer(one: LoadOrder, other: LoadOrder): boolean {
  return one.syncDay === other.syncDay ? one.loadId > other.loadId : one.syncDay > other.syncDay;
}

function makeColumns(length: number): Columns {
  return {
    syncDay: new Int32Array(length),
    loadId: new Uint32Array(length),
    cents: new Float64Array(length),
    createdAt: new Float64Array(length),
  };
}
