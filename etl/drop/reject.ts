/** Why single lines are not taken. Each goes to the quarantine with its reason. */
import type { Column } from "./row.ts";
import type { Timestamp } from "./value/timestamp.ts";

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
  "ambiguous_total",
  "sub_cent_total",
  "created_before_earliest",
  "created_after_sync",
  "partition_closed",
  "period_closed",
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

export const CELL_LENGTH = 200;

/** A rejected record, as it goes to the quarantine. */
export interface Reject {
  /** Its first line, as an editor numbers it, from 1. */
  readonly line: number;
  readonly reason: RejectReason;
  /** The column at fault; null when the line as a whole is. */
  readonly column: Column | null;
  /** What stands in that column, at most {@link CELL_LENGTH} characters of it; null where there is none. */
  readonly cell: string | null;
  /** The line's total, `-12.50`, where it could be read. */
  readonly total: string | null;
  /** When the invoice was created, where that could be read. */
  readonly created: Pick<Timestamp, "kind" | "second"> | null;
  /** The record's bytes without its terminator: a copy of their own. */
  readonly raw: Buffer;
}
