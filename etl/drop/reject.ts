/** Why single lines are not taken. Each goes to the quarantine with its reason. */
import type { Column } from "./row.ts";

/** Why a line is rejected; of several reasons that apply, the first in this order. */
export const REJECT_REASONS = [
  "bad_encoding",
  "broken_quotes",
  "wrong_column_count",
  "missing_venue",
  "venue_too_long",
  "bad_uuid",
  "bad_timestamp",
  "bad_total",
  "sub_cent_total",
  "created_before_earliest",
  "created_after_sync",
  "partition_closed",
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

/** A rejected line, as it goes to the quarantine. */
export interface Reject {
  /** As an editor numbers it, from 1. */
  readonly line: number;
  readonly reason: RejectReason;
  /** The column at fault; null when the line as a whole is. */
  readonly column: Column | null;
  /** The line's bytes without its terminator: a copy of their own. */
  readonly raw: Buffer;
}
