/** Forgets statements that do not stand, once they are older than the warehouse keeps them. */
import { sql } from "drizzle-orm";
import { type Database, withTransaction } from "../../db/client.ts";

export interface Pruned {
  /** Rows of `warehouse.statements` that were deleted. */
  readonly rows: number;
  /** Loads that became known later can be undone. An instant, as PostgreSQL prints it. */
  readonly keptSince: string;
}

/**
 * Deletes the statements that were kept more than `keep_statements_days` ago. Loads of that time cannot be
 * undone from then on.
 */
export async function pruneStatements(options: {
  readonly database: Database;
  readonly signal?: AbortSignal | undefined;
}): Promise<Pruned> {
  return withTransaction(options, async (tx) => {
    const { rows } = await tx.db.execute<{ pruned_rows: string; kept_since: string }>(
      sql`select pruned_rows, kept_since::text from warehouse.prune_statements()`,
    );
    const [row] = rows;
    if (row === undefined) throw new Error("a function returned no row");
    return { rows: Number(row.pruned_rows), keptSince: row.kept_since };
  });
}
