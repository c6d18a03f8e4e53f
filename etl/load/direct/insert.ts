/** Copies sorted lines into `invoices`, and what they change into the ledger and the queue of the refresh. */
import { sql } from "drizzle-orm";
import type { Transaction } from "../../../db/client.ts";
import { toDate, toDay } from "../../../db/dates.ts";
import { byKey, LEAVE_UNMATCHED } from "../../../db/plans.ts";
import type { Reject } from "../../drop/reject.ts";
import { copyAll } from "../copy.ts";
import { copyRejects } from "../quarantine.ts";
import { openQueue } from "../queue.ts";
import {
  COPY_DELTAS,
  COPY_INVOICES,
  COPY_PENDING,
  encodeDeltas,
  encodeInvoices,
  encodePending,
  type InvoiceRows,
} from "./binary.ts";
import { UUID_BYTES } from "./chunk.ts";
import { changedGroups, type Groups, takeFromGroup } from "./groups.ts";

/** Where a drop is written to. */
export interface Target {
  readonly tx: Transaction;
  readonly loadId: number;
  /** What the chunks so far add to each group and was not entered yet. */
  readonly groups: Groups;
  /** Ends what is being written. */
  readonly stop: AbortSignal;
}

/**
 * The changes of so many groups are held back, to be entered together, beside those of one chunk. Some 100 bytes
 * of memory each.
 */
export const MOST_GROUPS = 200_000;

/**
 * Inserts the lines of a chunk. The target has their groups already.
 *
 * @param more.repeated lines that may replace others of the drop
 */
export async function insertInvoices(
  target: Target,
  rows: InvoiceRows,
  more: { readonly rejects: readonly Reject[]; readonly repeated: readonly number[] },
): Promise<Repeated> {
  await copyRejects(target.tx, target.loadId, more.rejects);
  if (rows.lines.length === 0) return NONE_REPEATED;
  const repeated = await removeReplaced(target, rows, more.repeated);
  await copyAll(target.tx, COPY_INVOICES, untilStopped(target, encodeInvoices(rows)));
  return repeated;
}

/** What lines were that may replace others of the drop. */
export interface Repeated {
  /** How many of them did. */
  readonly replaced: number;
  /** Ids of the others, in hexadecimal: an earlier chunk has them under another key. */
  readonly moved: readonly string[];
}

const NONE_REPEATED: Repeated = { replaced: 0, moved: [] };

/** Enters what the chunks so far changed, sorted by group, in the ledger and in the queue of the refresh. */
export async function enterGroups(target: Target): Promise<void> {
  const { tx, loadId, groups } = target;
  const changed = changedGroups(groups);
  groups.clear();
  if (changed.length === 0) return;
  await copyAll(tx, COPY_DELTAS, untilStopped(target, encodeDeltas(changed, loadId)));
  const epoch = await openQueue(tx);
  await copyAll(tx, COPY_PENDING, untilStopped(target, encodePending(changed, epoch)));
}

/**
 * Of two lines with one key the later counts: deletes those of earlier chunks that are about to be written
 * again.
 */
async function removeReplaced(
  { tx, loadId, groups }: Target,
  { chunk }: InvoiceRows,
  repeated: readonly number[],
): Promise<Repeated> {
  if (repeated.length === 0) return NONE_REPEATED;
  const dates = repeated.map((line) => toDate(chunk.day[line] ?? 0));
  const venueKeys = repeated.map((line) => chunk.venueKey[line]);
  const ids = repeated.map((line) =>
    chunk.invoice.toString("hex", line * UUID_BYTES, (line + 1) * UUID_BYTES),
  );
  // The dates are given, so that other partitions are neither planned nor locked.
  const query = sql`
    merge into warehouse.invoices i
    using unnest(${sql.param(dates)}::date[], ${sql.param(venueKeys)}::integer[], ${sql.param(ids)}::uuid[])
      as again (created_on, venue_key, invoice_id)
    on i.created_on = again.created_on
      and i.venue_key = again.venue_key
      and i.invoice_id = again.invoice_id
      and i.load_id = ${loadId}
      and i.created_on = any (${sql.param([...new Set(dates)])}::date[])
    when matched then delete
    ${LEAVE_UNMATCHED}
    returning i.created_on::text as date, i.venue_key, replace(i.invoice_id::text, '-', '') as id,
              (i.total * 100)::bigint as cents`;
  const { rows } = await byKey(tx, () =>
    tx.db.execute<{ date: string; venue_key: number; id: string; cents: string }>(query),
  );
  for (const { date, venue_key, cents } of rows) {
    takeFromGroup(groups, { day: toDay(date), venueKey: venue_key, cents: Number(cents) });
  }
  const keyOf = (date: unknown, venueKey: unknown, id: unknown) => `${date} ${venueKey} ${id}`;
  const replaced = new Set(rows.map(({ date, venue_key, id }) => keyOf(date, venue_key, id)));
  const moved = ids.filter((id, at) => !replaced.has(keyOf(dates[at], venueKeys[at], id)));
  return { replaced: rows.length, moved };
}

function* untilStopped<Piece>({ stop }: Target, pieces: Iterable<Piece>): Generator<Piece> {
  for (const piece of pieces) {
    stop.throwIfAborted();
    yield piece;
  }
}
