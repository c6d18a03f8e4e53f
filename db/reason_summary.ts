/** What the ledger keeps of the rejected lines of a load. */

/** The rejected lines of one reason, as the ledger keeps them. */
export interface ReasonSummary {
  /** A code: docs/design.md, "The drop format". */
  readonly reason: string;
  /** The column at fault; null when the lines as a whole are. */
  readonly column: string | null;
  /** How many lines. */
  readonly count: number;
  /** The first of them, from 1. */
  readonly line: number;
  /**
   * What stands in the column there, or in the line where none is at fault: as it stands, at most 200 characters. Null
   * for loads of earlier versions.
   */
  readonly cell: string | null;
  /** Sum of the totals that could be read, in euros; null where none could. */
  readonly total: string | null;
  /** How many totals could be read. */
  readonly totals: number;
  /** The first and the last creation date of lines that are `created_after_sync`; else null. */
  readonly createdOn: readonly [string, string] | null;
  /** What to do, by what the cells look like; null where nothing can be said. */
  readonly remedy: string | null;
}

/** Why the rejects of a load may be more than single bad lines. */
export type Suspicion = "one_reason" | "much_money" | "one_day_after_sync";
