/**
 * Part of the warehouse model: everything that was said of the invoices, and which statement stands for each.
 * It keeps every statement and looks at all of them, so that the rule can be read here as it is. `standing.ts`
 * has the same rule for millions of invoices, without undo.
 */
import { isNewer, type Statement } from "./standing.ts";

interface Said {
  readonly statement: Statement;
  /** The numbers of the take-outs that found it. */
  readonly takenOutBy: readonly number[];
}

export interface KeptStatements {
  /** Adds what a load says of an invoice, instead of what the same load has said of it before. */
  readonly say: (invoice: number, statement: Statement) => void;
  /** Takes out all that has been said of an invoice so far. */
  readonly takeOut: (invoice: number, takeOut: number) => void;
  /** From now on no statement of this load counts, or nothing that this take-out took out stays out. */
  readonly undo: (entry: number) => void;
  /** As if it had not been undone. */
  readonly redo: (entry: number) => void;
  /** Of the statements that count the newest; undefined where none counts. */
  readonly standing: (invoice: number) => Statement | undefined;
  /** All of an invoice, whether they count or not. */
  readonly all: (invoice: number) => readonly Statement[];
}

export function createStatements(): KeptStatements {
  const saidOf = new Map<number, readonly Said[]>();
  const undone = new Set<number>();
  const of = (invoice: number) => saidOf.get(invoice) ?? [];
  const counts = ({ statement, takenOutBy }: Said) =>
    !undone.has(statement.loadId) && takenOutBy.every((takeOut) => undone.has(takeOut));
  return {
    say: (invoice, statement) => {
      const others = of(invoice).filter((said) => said.statement.loadId !== statement.loadId);
      saidOf.set(invoice, [...others, { statement, takenOutBy: [] }]);
    },
    takeOut: (invoice, takeOut) => {
      const out = of(invoice).map((said) => ({ ...said, takenOutBy: [...said.takenOutBy, takeOut] }));
      saidOf.set(invoice, out);
    },
    undo: (entry) => undone.add(entry),
    redo: (entry) => undone.delete(entry),
    standing: (invoice) => {
      let newest: Statement | undefined;
      for (const said of of(invoice)) {
        if (!counts(said)) continue;
        if (newest === undefined || isNewer(said.statement, newest)) newest = said.statement;
      }
      return newest;
    },
    all: (invoice) => of(invoice).map(({ statement }) => statement),
  };
}
