/** The claim of a drop: which of several processes, or attempts, loads it. */
import { and, eq, inArray, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { type Load, loads } from "../../db/schema.ts";
import type { FileSource } from "../sources/source.ts";
import { columnsOfSource, enteredSource } from "./read_by.ts";
import type { Attempt, ReadBy } from "./report.ts";

/** A drop. Its content, its sync date, and the venue that its source gives all of it identify it. */
export interface Drop {
  readonly fileName: string;
  readonly sha256: Buffer;
  readonly bytes: number;
  readonly syncedOn: string;
  readonly source?: FileSource | undefined;
}

export type Claim =
  | {
      readonly kind: "claimed";
      readonly loadId: number;
      /** Tomorrow in the warehouse's time zone, if the sync date is later; else null. */
      readonly tomorrow: string | null;
    }
  | {
      readonly kind: "already_loaded";
      readonly loadId: number;
      /** The source that read it then. */
      readonly source: ReadBy | null;
      readonly partitions: readonly string[];
    };

/** Error code in the ledger entry of a load whose data was lost, and whose drop was loaded again. */
export const LOADED_AGAIN = "loaded_again";

/**
 * Releases the drop, so that it can be claimed again: its data was lost, and the ledger does not know that.
 * The earlier entry stays, as a failed load. Deltas that are left of it keep its number.
 */
export async function releaseClaim(tx: Transaction, { sha256, syncedOn, source }: Drop): Promise<void> {
  await tx.db
    .update(loads)
    .set({
      status: "failed",
      errorCode: LOADED_AGAIN,
      errorMessage: "What it brought was lost, and its drop was loaded again (load --again).",
    })
    .where(
      and(
        eq(loads.sha256, sha256),
        eq(loads.syncedOn, syncedOn),
        isGivenVenue(source),
        eq(loads.status, "loaded"),
      ),
    );
}

/** Whether a load is of this venue: the same bytes of another venue are another drop. */
function isGivenVenue(source: FileSource | undefined) {
  return sql`${loads.venueId} is not distinct from ${columnsOfSource(source).venueId}::text`;
}

/**
 * Takes the drop for this transaction. The unique index on loaded drops decides: of two processes with the
 * same drop the second waits here until the first commits (then the drop is already loaded) or rolls back
 * (then the second loads it).
 *
 * @param tx its time zone is the warehouse's
 */
export async function claimLoad(tx: Transaction, drop: Drop): Promise<Claim> {
  const { fileName, sha256, bytes, syncedOn } = drop;
  const { source, sourceSha256, venueId } = columnsOfSource(drop.source);
  for (;;) {
    // Looked up first, because an insert that meets a conflict uses up a number all the same.
    const { rows } = await tx.db.execute<Claimed>(sql`
      with present as (
        select load_id, partitions, source, source_sha256
        from warehouse.loads
        where sha256 = ${sha256} and synced_on = ${syncedOn} and venue_id is not distinct from ${venueId}::text
          and status = 'loaded'
      ),
      claimed as (
        insert into warehouse.loads (file_name, sha256, bytes, synced_on, status, source, source_sha256, venue_id)
        select ${fileName}, ${sha256}, ${bytes}, ${syncedOn}::date, 'loaded', ${source}::text, ${sourceSha256}::bytea, ${venueId}::text
        where not exists (select from present)
        on conflict (sha256, synced_on, venue_id) where status = 'loaded' do nothing
        returning load_id, partitions, source, source_sha256
      )
      select *, false as claimed, null as tomorrow from present
      union all
      select *, true, case when ${syncedOn}::date > current_date + 1 then (current_date + 1)::text end from claimed`);
    const [row] = rows;
    if (row?.claimed === true) return { kind: "claimed", loadId: row.load_id, tomorrow: row.tomorrow };
    if (row !== undefined) {
      const { load_id: loadId, partitions } = row;
      const entered = enteredSource({ source: row.source, sourceSha256: row.source_sha256 });
      return { kind: "already_loaded", loadId, source: entered, partitions };
    }
    // It was loaded in the meantime. This statement's snapshot does not show it; that of the next one will.
  }
}

/** A row of it. */
interface Claimed {
  readonly [column: string]: unknown;
  readonly load_id: number;
  readonly partitions: readonly string[];
  readonly source: string | null;
  readonly source_sha256: Buffer | null;
  readonly claimed: boolean;
  readonly tomorrow: string | null;
}

/** What the attempts at one load so far leave for the next one. */
export interface PastAttempts {
  content?: { readonly sha256: Buffer; readonly bytes: number };
  /** Whether an attempt failed on the direct way, by a deadlock for example. */
  failedDirectly: boolean;
  /** Numbers of the loads whose commit was sent. Its answer may have been lost on the way. */
  readonly sent: number[];
}

/**
 * The load that an earlier attempt committed although it got no answer, if there is one. It must be of the
 * same drop: after a crash of the server a number that was not committed may be given to another load.
 */
export async function findSent(
  tx: Transaction,
  past: PastAttempts,
  syncedOn: string,
): Promise<Attempt | undefined> {
  if (past.sent.length === 0 || past.content === undefined) return undefined;
  const [load] = await tx.db
    .select()
    .from(loads)
    .where(
      and(
        inArray(loads.loadId, past.sent),
        eq(loads.sha256, past.content.sha256),
        eq(loads.syncedOn, syncedOn),
        // Whoever has undone it meanwhile meant this load.
        inArray(loads.status, ["loaded", "undone", "rejected"]),
      ),
    );
  return load && reportFromLedger(load);
}

/** What an entry says of its load: `partitions` and `touched` are all that were touched, as more is not kept. */
export function reportFromLedger(load: Load): Attempt {
  const {
    loadId,
    syncedOn,
    read,
    inserted,
    corrected,
    unchanged,
    superseded,
    rejected,
    skipped,
    summed,
    voided,
    absent,
    reasons,
    suspicious,
    partitions,
  } = load;
  return {
    outcome: load.status === "rejected" ? "rejected" : "loaded",
    loadId,
    syncedOn,
    source: enteredSource(load),
    rows: { read, inserted, corrected, unchanged, superseded, rejected, skipped, summed, voided, absent },
    reasons,
    suspicious,
    partitions,
    touched: partitions,
    ...(load.errorCode !== null && { error: { code: load.errorCode, message: load.errorMessage ?? "" } }),
  };
}
