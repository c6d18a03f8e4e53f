/** The strategies of a refresh, and which method each chooses for a partition. A new strategy starts here. */
import type { PartitionState } from "../../db/schema.ts";
import type { RefreshReport } from "./report.ts";

export const STRATEGIES = ["auto", "delta", "partition", "full"] as const;
/**
 * `delta`: apply what is pending; `partition`: rebuild what it touches; `full`: rebuild all; `auto`: choose
 * the cheaper method for each partition. A stale partition is rebuilt under each of them.
 */
export type Strategy = (typeof STRATEGIES)[number];

/** What a method is chosen by. */
export interface Counted {
  readonly state: PartitionState;
  /** Pending changes. */
  readonly changes: number;
  /** Invoices of the rollup and of what is pending. */
  readonly invoices: number;
}

export interface Choice {
  readonly strategy: Strategy;
  /** The partition was asked for, by its name or by a range of dates. */
  readonly explicit: boolean;
}

export type Plan = Pick<RefreshReport, "method" | "reason" | "predictedMs">;

/** Chooses the method for a partition. */
export function planRefresh({ state, changes, invoices }: Counted, { strategy, explicit }: Choice): Plan {
  if (state === "detached") return { method: "none", reason: "detached", predictedMs: null };
  const rebuild = (reason: string): Plan => ({ method: "rebuild", reason, predictedMs: null });
  if (state === "stale") return rebuild("the partition is stale");
  if (strategy === "full") return rebuild("all partitions are rebuilt");
  if (strategy === "partition" && (explicit || changes > 0)) return rebuild("touched partitions are rebuilt");
  if (changes === 0) return { method: "none", reason: "nothing is pending", predictedMs: null };
  if (strategy === "delta") {
    return { method: "delta", reason: "pending changes are applied", predictedMs: null };
  }
  return planCheaper(changes, invoices, state === "dropped");
}

/** Whether the strategy also takes partitions in which nothing is pending, when no partition is named. */
export function takesUntouched(strategy: Strategy, hasRange: boolean): boolean {
  return strategy === "full" || (strategy === "partition" && hasRange);
}

/**
 * What a change costs, in milliseconds: applying one pending change against scanning one invoice in a
 * rebuild. Measured once on two busy cores (3,600 changes in 45 ms; 900,000 to 2,700,000 invoices at 0.7 to
 * 1.1 µs each). Only the ratio decides.
 */
const DELTA_MS_PER_CHANGE = 0.012;
const REBUILD_MS_PER_INVOICE = 0.0011;

/**
 * The cheaper method for so many changes in a partition of so many invoices. Where the invoices were dropped
 * it is always the delta.
 */
function planCheaper(changes: number, invoices: number, dropped: boolean): Plan {
  const deltaMs = Math.ceil(changes * DELTA_MS_PER_CHANGE);
  const rebuildMs = Math.ceil(invoices * REBUILD_MS_PER_INVOICE);
  const reason = `${changes} changes against ${invoices} invoices`;
  if (dropped || deltaMs <= rebuildMs) return { method: "delta", reason, predictedMs: deltaMs };
  return { method: "rebuild", reason, predictedMs: rebuildMs };
}
