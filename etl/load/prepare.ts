/** What the warehouse needs before rows can go in: their venues, and their partitions, held open. */

import { sql } from "drizzle-orm";
import { type Database, type Transaction, withTransaction } from "../../db/client.ts";
import { holdPartitions } from "../../db/partitions/catalog.ts";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { partitionOf } from "../../db/partitions/ranges.ts";
import type { Settings } from "../../db/schema.ts";

export interface Preparation {
  /** Venues and partitions are made on another connection of it. */
  readonly database: Database;
  readonly settings: Settings;
  readonly signal?: AbortSignal | undefined;
}

/** Venue ids per insert: each batch is a short transaction of its own. */
export const VENUES_PER_INSERT = 10_000;

/**
 * Makes venues on another connection, committed before any invoice. `ids` in the order of their bytes, so that two loads with the same new venues
 * wait for each other and do not deadlock.
 */
export async function addVenues(options: Preparation, ids: readonly string[]): Promise<void> {
  for (let from = 0; from < ids.length; from += VENUES_PER_INSERT) {
    const batch = ids.slice(from, from + VENUES_PER_INSERT);
    await withTransaction(options, (short) =>
      short.db.execute(sql`
        insert into warehouse.venues (venue_id)
        select venue_id from unnest(${sql.param(batch)}::text[]) with ordinality as ids (venue_id, position)
        order by position
        on conflict (venue_id) do nothing`),
    );
  }
}

/** Makes the partitions of these dates where they are missing; then none of them can be closed until the transaction ends. */
export async function openPartitions(
  tx: Transaction,
  options: Preparation,
  dates: readonly string[],
): Promise<void> {
  const { database, settings, signal } = options;
  const names = new Set(dates.map((date) => partitionOf(settings.granularity, date).partition));
  let held = await holdPartitions(tx, [...names]);
  if (held.length < names.size) {
    await ensurePartitions({ database, granularity: settings.granularity, dates, signal });
    held = await holdPartitions(tx, [...names]);
  }
  if (held.length === names.size && held.every((p) => p.state === "open" || p.state === "stale")) return;
  // A partition was closed after its lines were read: the next attempt rejects them.
  throw Object.assign(new Error("a partition was closed meanwhile"), { code: "partitions_changed" });
}
