/**
 * The warehouse model: what must be in the tables and reports once some drops were loaded, worked out invoice
 * by invoice. It is told which loads are in and in which order they became known, and takes their lines as
 * the format model reads them. Shares nothing with the product.
 */
import { dateOf, dayOfDate } from "./clocks.ts";
import type { ReadLine } from "./format.ts";
import { type Counts, createStanding, isNewer, type Statement } from "./standing.ts";
import { createTotals } from "./totals.ts";

/** The net sums of one venue on one date. */
export interface GroupTotal {
  readonly venue: string;
  readonly createdOn: string;
  readonly invoices: number;
  readonly cents: number;
}

interface InvoiceKey {
  readonly venue: string;
  readonly uuid: string;
  readonly createdOn: string;
}

export interface InvoiceRow extends InvoiceKey {
  /** Microseconds since 1970-01-01. */
  readonly createdAt: number;
  readonly cents: number;
  readonly loadId: number;
  readonly syncedOn: string;
}

export interface RejectedLine {
  readonly line: number;
  readonly reason: string;
}

/** What one load must have done. */
export interface Applied {
  readonly loadId: number;
  readonly counts: Counts & {
    readonly read: number;
    readonly rejected: number;
    /** 0, as the next: no source reads what the model takes. */
    readonly skipped: number;
    readonly summed: number;
  };
  readonly rejects: readonly RejectedLine[];
  readonly deltas: readonly GroupTotal[];
  /** The rows that it overwrote, as they were. */
  readonly corrections: readonly InvoiceRow[];
}

export interface WarehouseModel {
  /** Takes in a load, after all that became known before it. */
  readonly apply: (
    load: { readonly loadId: number; readonly syncedOn: string },
    lines: readonly ReadLine[],
  ) => Applied;
  /**
   * The invoices for which there is a newer statement under another key, of the ids that stand under several
   * in the dates that count.
   */
  readonly older: (counts: (createdOn: string) => boolean) => readonly InvoiceRow[];
  /** Takes out those of them that go, whichever dates they have. */
  readonly takeOutOlder: (loadId: number, goes: (older: InvoiceRow) => boolean) => Applied;
  /** All loads, in the order in which they were taken in. */
  readonly applied: () => readonly Applied[];
  readonly invoices: () => readonly InvoiceRow[];
  /** The totals after the first so many loads; left out, after all. */
  readonly totals: (loads?: number) => readonly GroupTotal[];
  /** Invoice ids that stand under several keys, in the dates that count. */
  readonly split: (counts: (createdOn: string) => boolean) => readonly string[];
}

/** What changed for an invoice; without `after` it was taken out. */
interface Change {
  readonly invoice: number;
  readonly before: Statement | undefined;
  readonly after: Statement | undefined;
}

export function createWarehouseModel(): WarehouseModel {
  const standing = createStanding();
  const invoices = numberTexts<InvoiceKey>();
  const venues = numberTexts<string>();
  const loads: (Applied & { readonly changes: readonly Change[] })[] = [];
  const row = (invoice: number, { createdAt, cents, loadId, syncDay }: Statement): InvoiceRow => ({
    ...invoices.of(invoice),
    createdAt,
    cents,
    loadId,
    syncedOn: dateOf(syncDay),
  });
  const sum = (changes: readonly Change[]): readonly GroupTotal[] => {
    const totals = createTotals();
    for (const { invoice, before, after } of changes) {
      const { venue, createdOn } = invoices.of(invoice);
      const day = dayOfDate(createdOn);
      const invoicesAdded = (after ? 1 : 0) - (before ? 1 : 0);
      const cents = (after?.cents ?? 0) - (before?.cents ?? 0);
      totals.add(venues.numberOf(venue, venue), day, invoicesAdded, cents);
    }
    return Array.from(totals.groups(), ({ venue, day, ...sums }) => ({
      venue: venues.of(venue),
      createdOn: dateOf(day),
      ...sums,
    }));
  };
  const corrected = (changes: readonly Change[]) =>
    changes.flatMap(({ invoice, before }) => (before ? [row(invoice, before)] : []));
  const standingRows = () =>
    Array.from({ length: invoices.count() }, (_, invoice) => {
      const said = standing.of(invoice);
      return said === undefined ? [] : [row(invoice, said)];
    }).flat();
  const older = (counts: (createdOn: string) => boolean) => {
    const keysOf = new Map<string, { readonly invoice: number; readonly before: Statement }[]>();
    for (let invoice = 0; invoice < invoices.count(); invoice++) {
      const { uuid, createdOn } = invoices.of(invoice);
      const before = standing.of(invoice);
      if (before === undefined || !counts(createdOn)) continue;
      keysOf.set(uuid, [...(keysOf.get(uuid) ?? []), { invoice, before }]);
    }
    return [...keysOf.values()].flatMap((keys) => {
      const newest = keys.map(({ before }) => before).reduce((a, b) => (isNewer(b, a) ? b : a));
      return keys
        .filter(({ before }) => isNewer(newest, before))
        .map((said) => ({ ...said, after: undefined }));
    });
  };
  return {
    apply: ({ loadId, syncedOn }, lines) => {
      const said = { invoices: [] as number[], cents: [] as number[], createdAt: [] as number[] };
      for (const { decision } of lines) {
        if (decision.kind === "rejected") continue;
        const { venue, uuid, createdOn, instant, cents } = decision.invoice;
        const key = { venue, uuid, createdOn };
        said.invoices.push(invoices.numberOf(`${createdOn} ${uuid} ${venue}`, key));
        said.cents.push(Number(cents));
        said.createdAt.push(Number(instant));
      }
      const changes: Change[] = [];
      const load = { loadId, syncDay: dayOfDate(syncedOn) };
      const counts = standing.take(load, said, (change) => changes.push(change));
      const rejects = rejectsOf(lines);
      const applied = {
        loadId,
        counts: { read: lines.length, ...counts, rejected: rejects.length, skipped: 0, summed: 0 },
        rejects,
        deltas: sum(changes),
        corrections: corrected(changes),
        changes,
      };
      loads.push(applied);
      return applied;
    },
    older: (counts) => older(counts).map(({ invoice, before }) => row(invoice, before)),
    takeOutOlder: (loadId, goes) => {
      const changes = older(() => true).filter(({ invoice, before }) => goes(row(invoice, before)));
      for (const { invoice } of changes) standing.takeOut(invoice);
      const applied = {
        loadId,
        counts: {
          read: 0,
          inserted: 0,
          corrected: changes.length,
          unchanged: 0,
          superseded: 0,
          rejected: 0,
          skipped: 0,
          summed: 0,
        },
        rejects: [],
        deltas: sum(changes),
        corrections: corrected(changes),
        changes,
      };
      loads.push(applied);
      return applied;
    },
    applied: () => loads,
    invoices: standingRows,
    totals: (count = loads.length) => sum(loads.slice(0, count).flatMap(({ changes }) => changes)),
    split: (counts) => {
      const keys = new Map<string, number>();
      for (const { uuid, createdOn } of standingRows()) {
        if (counts(createdOn)) keys.set(uuid, (keys.get(uuid) ?? 0) + 1);
      }
      return [...keys].filter(([, times]) => times > 1).map(([uuid]) => uuid);
    },
  };
}

/** The lines of a drop that are refused, in their order. */
export function rejectsOf(lines: readonly ReadLine[]): readonly RejectedLine[] {
  return lines.flatMap(({ number, decision }) =>
    decision.kind === "rejected" ? [{ line: number, reason: decision.reason }] : [],
  );
}

/** Numbers things, by their texts, from 0 on. */
function numberTexts<T>() {
  const numbers = new Map<string, number>();
  const things: T[] = [];
  return {
    numberOf: (text: string, thing: T): number => {
      const known = numbers.get(text);
      if (known !== undefined) return known;
      numbers.set(text, things.length);
      return things.push(thing) - 1;
    },
    of: (number: number): T => things[number] as T,
    count: () => things.length,
  };
}
