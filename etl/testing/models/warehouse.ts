/**
 * The warehouse model: what must be in the tables and reports once some drops were loaded, and some loads
 * undone, worked out invoice by invoice. It is told which loads are in and in which order they became known,
 * and takes their lines as the format model reads them. Shares nothing with the product.
 */
import { dateOf, dayOfDate } from "./clocks.ts";
import type { ReadLine } from "./format.ts";
import { type Counts, isNewer, type Statement } from "./standing.ts";
import { createStatements } from "./statements.ts";
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

/** A line as it is read. */
export type SaidLine = ReadLine & {
  /** It says that its invoice is absent. */
  readonly isVoid?: boolean;
  /** Of a retry: a later line of the drop, which is in already, says something of its invoice. */
  readonly isOverridden?: boolean;
};

/** That an invoice is absent, or that all invoices of a group are which the load does not name: then without `uuid`. */
export interface Absence extends Pick<InvoiceKey, "venue" | "createdOn"> {
  readonly uuid: string | undefined;
  /** The entry that brought it, and the load whose statement it is. */
  readonly loadId: number;
  readonly statedBy: number;
  readonly syncedOn: string;
}

/** What one load, take-out or undo must have done. */
export interface Applied {
  readonly loadId: number;
  readonly counts: Counts & {
    /** Invoices that left with an undo. */
    readonly removed: number;
    /** Invoices that left with a load, because as of it they are absent. */
    readonly absent: number;
    /** Lines that say that their invoice is absent. */
    readonly voided: number;
    readonly read: number;
    readonly rejected: number;
    /** 0, as the next: no source reads what the model takes. */
    readonly skipped: number;
    readonly summed: number;
  };
  readonly rejects: readonly RejectedLine[];
  readonly deltas: readonly GroupTotal[];
  /** The rows that a load overwrote, or a take-out took out, as they were. */
  readonly corrections: readonly InvoiceRow[];
}

export interface WarehouseModel {
  /**
   * Takes in a load, after all that became known before it.
   *
   * @param load.retryOf of a retry: the load whose statements the lines are
   * @param load.isSnapshot all other invoices of the groups that it has lines of are absent
   */
  readonly apply: (
    load: {
      readonly loadId: number;
      readonly syncedOn: string;
      readonly retryOf?: number;
      readonly isSnapshot?: boolean;
    },
    lines: readonly SaidLine[],
  ) => Applied;
  /**
   * The invoices for which there is a newer statement under another key, of the ids that stand under several
   * in the dates that count.
   */
  readonly older: (counts: (createdOn: string) => boolean) => readonly InvoiceRow[];
  /** Takes out those of them that go, whichever dates they have. */
  readonly takeOutOlder: (loadId: number, goes: (older: InvoiceRow) => boolean) => Applied;
  /** Undoes a load or a take-out, or takes the undo of a load back. */
  readonly undo: (undoId: number, undoOf: number) => Applied;
  /** Whether an entry is undone. */
  readonly isUndone: (loadId: number) => boolean;
  /** All loads, take-outs and undos, in the order in which they were taken in. */
  readonly applied: () => readonly Applied[];
  readonly invoices: () => readonly InvoiceRow[];
  /** Every statement that does not stand, whether it counts or not. */
  readonly kept: () => readonly InvoiceRow[];
  /** All that was said of absent invoices, whether it counts or not. */
  readonly absences: () => readonly Absence[];
  /** The totals after the first so many entries; left out, after all. */
  readonly totals: (entries?: number) => readonly GroupTotal[];
  /** Invoice ids that stand under several keys, in the dates that count. */
  readonly split: (counts: (createdOn: string) => boolean) => readonly string[];
}

/** Another statement stands for an invoice: none before it came in, none after it went. */
interface Change {
  readonly invoice: number;
  readonly before: Statement | undefined;
  readonly after: Statement | undefined;
}

const NOTHING: Applied["counts"] = {
  read: 0,
  inserted: 0,
  corrected: 0,
  unchanged: 0,
  superseded: 0,
  removed: 0,
  absent: 0,
  voided: 0,
  rejected: 0,
  skipped: 0,
  summed: 0,
};

export function createWarehouseModel(): WarehouseModel {
  const invoices = numberTexts<InvoiceKey>();
  const venues = numberTexts<string>();
  const groups = numberTexts<Pick<InvoiceKey, "venue" | "createdOn">>();
  const groupOf = (invoice: number) => {
    const { venue, createdOn } = invoices.of(invoice);
    return groups.numberOf(`${createdOn} ${venue}`, { venue, createdOn });
  };
  const statements = createStatements(groupOf);
  const absences: Absence[] = [];
  const entries: (Applied & { readonly changes: readonly Change[] })[] = [];
  /** What the undo of this number undid. */
  const undoOf = new Map<number, number>();
  const undone = new Set<number>();
  const row = (invoice: number, { createdAt, cents, loadId, syncDay }: Statement): InvoiceRow => ({
    ...invoices.of(invoice),
    createdAt,
    cents,
    loadId,
    syncedOn: dateOf(syncDay),
  });
  const everyInvoice = () => Array.from({ length: invoices.count() }, (_, invoice) => invoice);
  /** What changes for these invoices by the work. */
  const changesBy = (touched: Iterable<number>, work: () => void): readonly Change[] => {
    const found = Array.from(touched, (invoice) => ({ invoice, before: statements.standing(invoice) }));
    work();
    return found
      .map(({ invoice, before }) => ({ invoice, before, after: statements.standing(invoice) }))
      .filter(({ before, after }) => before !== after);
  };
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
  const enter = (
    entry: Pick<Applied, "loadId" | "counts"> & Partial<Pick<Applied, "rejects">>,
    changes: readonly Change[],
    overwritten: readonly Change[],
  ): Applied => {
    const corrections = overwritten.flatMap(({ invoice, before }) => (before ? [row(invoice, before)] : []));
    const applied = { rejects: [], ...entry, deltas: sum(changes), corrections, changes };
    entries.push(applied);
    return applied;
  };
  const standingRows = () =>
    everyInvoice().flatMap((invoice) => {
      const standing = statements.standing(invoice);
      return standing === undefined ? [] : [row(invoice, standing)];
    });
  const older = (counts: (createdOn: string) => boolean) => {
    const keysOf = new Map<string, { readonly invoice: number; readonly before: Statement }[]>();
    for (const invoice of everyInvoice()) {
      const { uuid, createdOn } = invoices.of(invoice);
      const before = statements.standing(invoice);
      if (before === undefined || !counts(createdOn)) continue;
      keysOf.set(uuid, [...(keysOf.get(uuid) ?? []), { invoice, before }]);
    }
    return [...keysOf.values()].flatMap((keys) => {
      const newest = keys.map(({ before }) => before).reduce((a, b) => (isNewer(b, a) ? b : a));
      return keys.filter(({ before }) => isNewer(newest, before));
    });
  };
  return {
    apply: ({ loadId, syncedOn, retryOf = loadId, isSnapshot = false }, lines) => {
      const by = { loadId: retryOf, syncDay: dayOfDate(syncedOn) };
      /** What the last line of each invoice says; undefined: it is absent. */
      const lastLines = new Map<number, Statement | undefined>();
      let voided = 0;
      for (const { decision, isVoid = false, isOverridden = false } of lines) {
        if (decision.kind === "rejected") continue;
        if (isVoid) voided += 1;
        if (isOverridden) continue;
        const { venue, uuid, createdOn, instant, cents } = decision.invoice;
        const statement = { ...by, cents: Number(cents), createdAt: Number(instant) };
        const invoice = invoices.numberOf(`${createdOn} ${uuid} ${venue}`, { venue, uuid, createdOn });
        lastLines.set(invoice, isVoid ? undefined : statement);
      }
      const snapshots = new Set(isSnapshot ? Array.from(lastLines.keys(), groupOf) : []);
      const touched = everyInvoice().filter(
        (invoice) => lastLines.has(invoice) || snapshots.has(groupOf(invoice)),
      );
      const changes = changesBy(touched, () => {
        for (const group of snapshots) statements.saySnapshot(group, by);
        for (const [invoice, statement] of lastLines) {
          if (statement === undefined) statements.sayAbsent(invoice, by);
          else statements.say(invoice, statement);
        }
      });
      const stated = { loadId, statedBy: retryOf, syncedOn };
      for (const group of snapshots) absences.push({ ...groups.of(group), ...stated, uuid: undefined });
      for (const [invoice, statement] of lastLines) {
        // What is void in a snapshot is not named by it.
        if (statement !== undefined || snapshots.has(groupOf(invoice))) continue;
        absences.push({ ...invoices.of(invoice), ...stated });
      }
      const rejects = rejectsOf(lines);
      const { removed: absent, ...kinds } = countKinds(changes);
      const came = kinds.inserted + kinds.corrected + kinds.unchanged;
      const superseded = lines.length - rejects.length - voided - came;
      const taken = { ...kinds, absent, voided, superseded, read: lines.length, rejected: rejects.length };
      const overwritten = changes.filter((change) => ["corrected", "removed"].includes(kindOf(change)));
      return enter({ loadId, counts: { ...NOTHING, ...taken }, rejects }, changes, overwritten);
    },
    older: (counts) => older(counts).map(({ invoice, before }) => row(invoice, before)),
    takeOutOlder: (loadId, goes) => {
      const going = older(() => true).filter(({ invoice, before }) => goes(row(invoice, before)));
      const goingInvoices = going.map(({ invoice }) => invoice);
      const changes = changesBy(goingInvoices, () => {
        for (const invoice of goingInvoices) statements.takeOut(invoice, loadId);
      });
      // The ledger counts them so.
      const counts = { ...NOTHING, corrected: changes.length };
      return enter({ loadId, counts }, changes, changes);
    },
    undo: (undoId, entry) => {
      if (undone.has(entry)) throw new Error(`${entry} is undone already`);
      const taken = undoOf.get(entry);
      if (taken !== undefined && undoOf.has(taken)) throw new Error(`${entry} took an undo back`);
      const changes = changesBy(everyInvoice(), () => {
        if (taken === undefined) statements.undo(entry);
        else statements.redo(taken);
      });
      undone.add(entry);
      undoOf.set(undoId, entry);
      if (taken !== undefined) undone.delete(taken);
      return enter({ loadId: undoId, counts: { ...NOTHING, ...countKinds(changes) } }, changes, []);
    },
    isUndone: (loadId) => undone.has(loadId),
    applied: () => entries,
    invoices: standingRows,
    kept: () =>
      everyInvoice().flatMap((invoice) => {
        const standing = statements.standing(invoice);
        const others = statements.all(invoice).filter((statement) => statement !== standing);
        return others.map((statement) => row(invoice, statement));
      }),
    absences: () => absences,
    totals: (count = entries.length) => sum(entries.slice(0, count).flatMap(({ changes }) => changes)),
    split: (counts) => {
      const keys = new Map<string, number>();
      for (const { uuid, createdOn } of standingRows()) {
        if (counts(createdOn)) keys.set(uuid, (keys.get(uuid) ?? 0) + 1);
      }
      return [...keys].filter(([, times]) => times > 1).map(([uuid]) => uuid);
    },
  };
}

/** How the ledger counts a change. */
function kindOf({ before, after }: Change): "inserted" | "corrected" | "unchanged" | "removed" {
  if (before === undefined) return "inserted";
  if (after === undefined) return "removed";
  return before.cents === after.cents && before.createdAt === after.createdAt ? "unchanged" : "corrected";
}

function countKinds(changes: readonly Change[]) {
  const counts = { inserted: 0, corrected: 0, unchanged: 0, removed: 0 };
  for (const change of changes) counts[kindOf(change)] += 1;
  return counts;
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
