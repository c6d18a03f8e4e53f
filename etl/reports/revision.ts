/** Whether anything has happened in the warehouse since somebody looked. */
import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import type { Session } from "../../db/client.ts";

/** A load commits beside others: its entry is among so many of the newest. */
const NEWEST = 100;
const DIGITS = 16;

/**
 * Reads a text that is another one after each entry of the ledger (loads, undos, retries, repairs), each refresh, proof, closing and
 * dismissal. It reads the newest entries by key, and a row for each partition, but no invoices, totals or pending changes.
 */
export async function readRevision({ db }: Pick<Session, "db">): Promise<string> {
  const { rows } = await db.execute(sql`
    select l.entry, l.finished_at, r.refreshes, p.proved_at, p.diverged_at, c.closing, d.dismissed_at
    from (
      select max(load_id) as entry, max(finished_at) as finished_at
      from (select load_id, finished_at from reports.load_history order by load_id desc limit ${NEWEST}) newest
    ) l
    cross join (select sum(refreshes) as refreshes from reports.refresh_times) r
    cross join (select max(proved_at) as proved_at, max(diverged_at) as diverged_at from reports.proofs) p
    cross join (select max(closing) as closing from reports.closings) c
    cross join (select max(dismissed_at) as dismissed_at from reports.dismissed_rejects) d`);
  return createHash("sha256").update(JSON.stringify(rows)).digest("hex").slice(0, DIGITS);
}
