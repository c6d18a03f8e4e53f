/** Pending changes for dates that no live partition holds: no refresh would ever take them. */
import { sql } from "drizzle-orm";
import type { Session } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { partitions, pending, venues } from "../../db/schema.ts";
import { type OnDivergence, readSums } from "./divergence.ts";
import { venueName } from "./groups.ts";

const IS_ORPHAN = sql`
    not exists (
      select from ${partitions} p
      where d.created_on >= p.lower and d.created_on < p.upper and p.state <> 'detached'
    )`;

interface OrphanRow {
  readonly created_on: string;
  readonly venue_id: string;
  readonly invoices: string;
  readonly total: string;
}

/** Names the pending changes that belong to no partition. */
export async function checkOrphans(session: Session, found: OnDivergence): Promise<void> {
  const rows = streamRows<OrphanRow>(
    session,
    sql`
      select d.created_on::text, ${venueName(sql`d.venue_key`)} as venue_id, d.invoices, d.total::text
      from ${pending} d
      left join ${venues} v on v.venue_key = d.venue_key
      where ${IS_ORPHAN}`,
  );
  for await (const row of rows) {
    const sums = readSums(row.invoices, row.total);
    found({ kind: "orphan", createdOn: row.created_on, venueId: row.venue_id, pending: sums });
  }
}

/** Deletes them. */
export async function deleteOrphans({ db }: Session): Promise<void> {
  await db.execute(sql`delete from ${pending} d where ${IS_ORPHAN}`);
}
