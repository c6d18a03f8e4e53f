/** The record of when each part of the warehouse was proved last. */
import { sql } from "drizzle-orm";
import { type Database, type Session, type Transaction, withSession } from "../../db/client.ts";
import type { PROOF_SUBJECTS } from "../../db/schema.ts";

/** What is proved by itself; a partition by its number in the catalog. */
export type Subject =
  | { readonly subject: "partition"; readonly partitionId: number }
  | { readonly subject: Exclude<(typeof PROOF_SUBJECTS)[number], "partition"> };

/**
 * Whether a verification is recorded: `no_right` to do so, or nothing can be written here, on a standby or because the
 * login's settings say so.
 */
export type Recorded = "recorded" | "no_right" | "read_only";

/** Whether this login can record a proof. */
export async function findRecorder(options: {
  readonly database: Database;
  readonly signal?: AbortSignal | undefined;
}): Promise<Recorded> {
  const { rows } = await withSession(options, ({ db }) =>
    db.execute<{ recorded: Recorded }>(sql`
      select case
               when not has_function_privilege(p.oid, 'execute') then 'no_right'
               when current_setting('transaction_read_only') = 'on' then 'read_only'
               else 'recorded'
             end as recorded
      from pg_proc p
      where p.pronamespace = 'warehouse'::regnamespace and p.proname = 'record_proof'`),
  );
  return rows[0]?.recorded ?? "no_right";
}

/** A proof that has begun. */
export interface Begun {
  /** As PostgreSQL prints it. */
  readonly at: string;
  /** The newest entry that was known. */
  readonly loadId: number | null;
  readonly startedMs: number;
}

/** To be called before anything is read: whatever was known up to now is in the proof. */
export async function beginProof({ db }: Session): Promise<Begun> {
  const { rows } = await db.execute<{ at: string; load_id: number | null }>(sql`
    select clock_timestamp()::text as at, (
      select l.load_id from warehouse.loads l where l.known_at is not null order by l.known_at desc limit 1
    ) as load_id`);
  const [row] = rows;
  if (row === undefined) throw new Error("a query without a table returned no row");
  return { at: row.at, loadId: row.load_id, startedMs: performance.now() };
}

/**
 * Records how a proof ended. Of two at once the second waits here for the first, so the transaction must be one that
 * then sees what the first one wrote.
 */
export async function recordProof(
  { db }: Transaction,
  recorded: Recorded,
  subject: Subject,
  { at, loadId, startedMs, diverged }: Begun & { readonly diverged: boolean },
): Promise<void> {
  if (recorded !== "recorded") return;
  // A record that a crash loses is made again by the next round.
  await db.execute(sql`select set_config('synchronous_commit', 'off', true)`);
  const partitionId = subject.subject === "partition" ? subject.partitionId : 0;
  const took = Math.round(performance.now() - startedMs);
  await db.execute(sql`
    select warehouse.record_proof(${subject.subject}, ${partitionId}::integer, ${at}::timestamptz, ${loadId}::integer, ${took}::bigint, ${diverged})`);
}
