/** The claim of a drop: which of several processes, or attempts, loads it. */
import { and, eq, inArray, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { type Load, loads } from "../../db/schema.ts";
import type { Attempt } from "./report.ts";

/** A drop by what identifies it, its content and its sync date. */
export interface Drop {
  readonly fileName: string;
  readonly sha256: Buffer;
  readonly bytes: number;
  readonly syncedOn: string;
}

export type Claim =
  | { readonly kind: "claimed"; readonly loadId: number }
  | { readonly kind: "already_loaded"; readonly loadId: number; readonly partitions: readonly string[] };

/** Error code of a load that was lost, and whose drop was loaded again: its ledger entry is history. */
export const LOADED_AGAIN = "loaded_again";

/**
 * Gives the drop free, so that it can be claimed again: what it brought was lost, and the ledger does not know. The entry of before stays, as a
 * failed one; deltas that are left of it stay its own.
 */
export async function releaseClaim(tx: Transaction, { sha256, syncedOn }: Drop): Promise<void> {
  await tx.db
    .update(loads)
    .set({
      status: "failed",
      errorCode: LOADED_AGAIN,
      errorMessage: "What it brought was lost, and its drop was loaded again (load --again).",
    })
    .where(and(eq(loads.sha256, sha256), eq(loads.syncedOn, syncedOn), eq(loads.status, "loaded")));
}

/**
 * Takes the drop for this transaction. The unique index on loaded drops decides: of two processes with the same drop the second waits here
 * until the first commits (already loaded) or rolls back (the second loads it).
 */
export async function claimLoad(tx: Transaction, drop: Drop): Promise<Claim> {
  const { fileName, sha256, bytes, syncedOn } = drop;
  for (;;) {
    // Numbers are given to loads only: what is found present takes none.
    const { rows } = await tx.db.execute<{ load_id: number; partitions: string[]; claimed: boolean }>(sql`
      with present as (
        select load_id, partitions
        from warehouse.loads
        where sha256 = ${sha256} and synced_on = ${syncedOn} and status = 'loaded'
      ),
      claimed as (
        insert into warehouse.loads (file_name, sha256, bytes, synced_on, status)
        select ${fileName}, ${sha256}, ${bytes}, ${syncedOn}::date, 'loaded'
        where not exists (select from present)
        on conflict (sha256, synced_on) where status = 'loaded' do nothing
        returning load_id, partitions
      )
      select load_id, partitions, false as claimed from present
      union all
      select load_id, partitions, true from claimed`);
    const [row] = rows;
    if (row?.claimed === true) return { kind: "claimed", loadId: row.load_id };
    if (row !== undefined) return { kind: "already_loaded", loadId: row.load_id, partitions: row.partitions };
    // It was loaded meanwhile: this statement's snapshot cannot show it, the next one's does.
  }
}

/** What the attempts at one load leave for the next ones. */
export interface Course {
  content?: { readonly sha256: Buffer; readonly bytes: number };
  /** Whether the direct way is left out. */
  careful: boolean;
  /** Numbers of the loads whose commit was sent: its answer may have been lost on the way. */
  readonly sent: number[];
}

/**
 * The load that an attempt before this one committed without hearing of it, if there is one. After a crash of the server a number that
 * was not committed may be given again, so it must be the same drop, too.
 */
export async function findSent(
  tx: Transaction,
  course: Course,
  syncedOn: string,
): Promise<Attempt | undefined> {
  if (course.sent.length === 0 || course.content === undefined) return undefined;
  const [load] = await tx.db
    .select()
    .from(loads)
    .where(
      and(
        inArray(loads.loadId, course.sent),
        eq(loads.sha256, course.content.sha256),
        eq(loads.syncedOn, syncedOn),
        inArray(loads.status, ["loaded", "rejected"]),
      ),
    );
  return load && reportFromLedger(load);
}

function reportFromLedger(load: Load): Attempt {
  const { loadId, syncedOn, read, inserted, corrected, unchanged, superseded, rejected, partitions } = load;
  return {
    outcome: load.status === "loaded" ? "loaded" : "rejected",
    loadId,
    syncedOn,
    rows: { read, inserted, corrected, unchanged, superseded, rejected },
    partitions,
    touched: partitions,
    ...(load.errorCode !== null && { error: { code: load.errorCode, message: load.errorMessage ?? "" } }),
  };
}
