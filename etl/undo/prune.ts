/** Forgets statements that do not stand, once they are older than the warehouse keeps them. */
import { sql } from "drizzle-orm";
import type { Database } from "../../db/client.ts";
import type { Settings } from "../../db/schema.ts";
import { inWarehouseZone, isoInstant } from "../reports/zone.ts";

export interface Pruned {
  /** Rows of `warehouse.statements` and `warehouse.absences` that were deleted. */
  readonly rows: number;
  /** Loads that became known later can be undone. An instant in the zone of the warehouse. */
  readonly keptSince: string;
}

/**
 * Deletes the statements that were kept more than `keep_statements_days` ago. Loads of that time cannot be
 * undone from then on.
 */
export async function pruneStatements(options: {
  readonly database: Database;
  readonly settings: Settings;
  readonly signal?: AbortSignal | undefined;
}): Promise<Pruned> {
  return inWarehouseZone(options, async ({ db }) => {
    const { rows } = await db.execute<{ pruned_rows: string; kept_since: string }>(
      sql`select pruned_rows, kept_since::text from warehouse.prune_statements()`,
    );
    const [row] = rows;
    if (row === undefined) throw new Error("a function returned no row");
    return { rows: Number(row.pruned_rows), keptSince: isoInstant(row.kept_since) };
  });
}
