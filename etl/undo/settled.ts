/** What an undo came to. */
import type { RestatedPeriod } from "../closings/period.ts";

/** What became of the invoices. */
export interface UndoCounts {
  /** No other load states them, so they are gone. */
  readonly removed: number;
  /** What another load says of them stands, and differs. */
  readonly corrected: number;
  /** Another load says the same of them. */
  readonly unchanged: number;
  /** They came back, where an undo or a repair is taken back. */
  readonly inserted: number;
}

export interface Settled {
  readonly rows: UndoCounts;
  /** How many groups have another count or total. */
  readonly groups: number;
  /** By how much the number of all invoices changes. */
  readonly invoices: number;
  /** By how much their total changes, in euros. */
  readonly total: string;
  /** Partitions in which the count or total of a group changed: those to refresh. */
  readonly partitions: readonly string[];
  /** What changed in periods that are closed. Left out where that is nothing. */
  readonly restated?: readonly RestatedPeriod[];
}

export interface SettledRow extends Record<string, unknown> {
  readonly removed: string;
  readonly corrected: string;
  readonly unchanged: string;
  readonly inserted: string;
  readonly groups: string;
  readonly invoices: string;
  readonly total: string;
  readonly partitions: readonly string[];
}

/** Of the one row that the statement returns that changes the invoices. */
export function readSettled(rows: readonly SettledRow[]): Settled {
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate returned no row");
  return {
    rows: {
      removed: Number(row.removed),
      corrected: Number(row.corrected),
      unchanged: Number(row.unchanged),
      inserted: Number(row.inserted),
    },
    groups: Number(row.groups),
    invoices: Number(row.invoices),
    total: row.total,
    partitions: row.partitions,
  };
}
