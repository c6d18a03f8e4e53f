/**
 * Part of the warehouse model: everything that was said of the invoices, and which statement stands for each.
 * It keeps every statement and looks at all of them, so that the rule can be read here as it is. `standing.ts`
 * has the same rule for millions of invoices, without undo and without absences.
 *
 * That an invoice is absent is a statement, too. A load says it of an invoice (a void line), or of a whole group
 * (a snapshot): of all its invoices that the load does not name.
 */
import { isNewer, type LoadOrder, type Statement } from "./standing.ts";

interface Said {
  readonly by: LoadOrder;
  /** Undefined: the invoice is absent. */
  readonly statement: Statement | undefined;
  /** Its place among all that was said and taken out. */
  readonly place: number;
}

export interface KeptStatements {
  /** Adds what a load says of an invoice, instead of what the same load has said of it before. */
  readonly say: (invoice: number, statement: Statement) => void;
  /** The same, where it says that the invoice is absent. */
  readonly sayAbsent: (invoice: number, by: LoadOrder) => void;
  /** Adds that all invoices of a group are absent, but those of which the load says something itself. */
  readonly saySnapshot: (group: number, by: LoadOrder) => void;
  /**
   * Takes out all that has been said of an invoice so far, that it is absent as well: what a take-out decides
   * about an invoice, no earlier statement decides any more.
   */
  readonly takeOut: (invoice: number, takeOut: number) => void;
  /** From now on no statement of this load counts, or nothing that this take-out took out stays out. */
  readonly undo: (entry: number) => void;
  /** As if it had not been undone. */
  readonly redo: (entry: number) => void;
  /** Of the statements that count the newest; undefined where it says that the invoice is absent, or none counts. */
  readonly standing: (invoice: number) => Statement | undefined;
  /** All of an invoice, whether they count or not, without those that it is absent. */
  readonly all: (invoice: number) => readonly Statement[];
}

/** @param groupOf the group of an invoice */
export function createStatements(groupOf: (invoice: number) => number = () => 0): KeptStatements {
  const ofInvoice = new Map<number, readonly Said[]>();
  const ofGroup = new Map<number, readonly Said[]>();
  const takeOuts = new Map<number, readonly { readonly takeOut: number; readonly place: number }[]>();
  const undone = new Set<number>();
  let places = 0;
  const add = (invoice: number, by: LoadOrder, statement: Statement | undefined) => {
    const others = (ofInvoice.get(invoice) ?? []).filter((said) => said.by.loadId !== by.loadId);
    ofInvoice.set(invoice, [...others, { by, statement, place: places++ }]);
  };
  /** What counts of all that was said of an invoice. */
  const counting = (invoice: number) => {
    const named = ofInvoice.get(invoice) ?? [];
    const snapshots = (ofGroup.get(groupOf(invoice)) ?? []).filter(
      ({ by }) => !named.some((said) => said.by.loadId === by.loadId),
    );
    const counted = (takeOuts.get(invoice) ?? []).filter(({ takeOut }) => !undone.has(takeOut));
    return [...named, ...snapshots].filter(
      ({ by, place }) => !undone.has(by.loadId) && counted.every((takeOut) => takeOut.place < place),
    );
  };
  return {
    say: (invoice, statement) => add(invoice, statement, statement),
    sayAbsent: (invoice, by) => add(invoice, by, undefined),
    saySnapshot: (group, by) => {
      ofGroup.set(group, [...(ofGroup.get(group) ?? []), { by, statement: undefined, place: places++ }]);
    },
    takeOut: (invoice, takeOut) => {
      takeOuts.set(invoice, [...(takeOuts.get(invoice) ?? []), { takeOut, place: places++ }]);
    },
    undo: (entry) => undone.add(entry),
    redo: (entry) => undone.delete(entry),
    standing: (invoice) => {
      let newest: Said | undefined;
      for (const said of counting(invoice)) {
        if (newest === undefined || isNewer(said.by, newest.by)) newest = said;
      }
      return newest?.statement;
    },
    all: (invoice) => (ofInvoice.get(invoice) ?? []).flatMap(({ statement }) => statement ?? []),
  };
}
