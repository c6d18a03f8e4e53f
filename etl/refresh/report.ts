/** What the refresh of a partition did. */

export interface RefreshReport {
  readonly partition: string;
  /**
   * `delta`: pending changes were applied; `rebuild`: the rollup was recomputed; `none`: nothing was pending.
   */
  readonly method: "delta" | "rebuild" | "none";
  /** Why this method, in words. */
  readonly reason: string;
  /** Pending changes that were taken. */
  readonly changes: number;
  /** Rows of the rollup that were written. */
  readonly groups: { readonly inserted: number; readonly updated: number; readonly deleted: number };
  /** What `auto` expected the method to take, in milliseconds; null where it compared nothing. */
  readonly predictedMs: number | null;
  readonly durationMs: number;
}

/** What a statement wrote into the rollup. */
export type Written = Pick<RefreshReport, "changes" | "groups">;

export const NOTHING_WRITTEN: Written = { changes: 0, groups: { inserted: 0, updated: 0, deleted: 0 } };

export interface WrittenRow extends Record<string, unknown> {
  readonly changes: string;
  readonly inserted: string;
  readonly updated: string;
  readonly deleted: string;
}

/** Reads the only row that a statement which wrote into the rollup returns. */
export function readWritten(rows: readonly WrittenRow[]): Written {
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate returned no row");
  const { changes, inserted, updated, deleted } = row;
  return {
    changes: Number(changes),
    groups: { inserted: Number(inserted), updated: Number(updated), deleted: Number(deleted) },
  };
}
