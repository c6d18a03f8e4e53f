/** What an arm is: one way to have totals after a batch. */
import type { RefreshReport } from "../../etl/refresh/report.ts";
import type { BenchServer } from "../program/server.ts";
import type { ArmResult, Cell } from "../results.ts";
import type { Run } from "./sample.ts";
import type { Site } from "./site.ts";

export interface Arm {
  /** For example `materialized_view`; unique. */
  readonly name: string;
  readonly title: string;
  readonly group: ArmResult["group"];
  /**
   * - `own`: on a clone of its own, from the files of the batch on.
   * - `batch`: the product itself, whose load brings the batch into the shared clone; the first one there.
   * - `shared`: on the clone that holds the batch already, with the totals of before.
   */
  readonly site: "own" | "batch" | "shared";
  /**
   * Whose load precedes this refresh: phases and counts of that load, in the same repetition, are added to
   * its own. `ours`: the product's. `floor`: bare COPY, or COPY and upsert where the batch corrects. Left
   * out: the arm loads the batch itself.
   */
  readonly loadedBy?: "ours" | "floor";
  /** Whether the cell has what the arm needs, such as a history. Default: all cells have. */
  readonly appliesTo?: (cell: Cell) => boolean;
  /** Why it cannot run here, or undefined. */
  readonly unavailable?: (server: BenchServer, cell: Cell) => Promise<string | undefined>;
  /** Connects and puts everything in place that is not measured. */
  readonly open: (site: Site) => Promise<Run>;
  /** SQL for its totals: created_on, venue_key, invoices, total. Left out: it keeps none. */
  readonly totals?: (site: Site) => string | Promise<string>;
  /** Brings the shared clone back to the totals of before. */
  readonly restore?: (site: Site) => Promise<void>;
}

export const totalsOf = (table: string) => `select created_on, venue_key, invoices, total from ${table}`;

/** Rows of the rollup that refreshes wrote. */
export function countGroups(reports: readonly RefreshReport[]): number {
  return reports.reduce((sum, { groups }) => sum + groups.inserted + groups.updated + groups.deleted, 0);
}
