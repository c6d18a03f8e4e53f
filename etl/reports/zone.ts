/** Instants in the warehouse's own time zone. */
import { sql } from "drizzle-orm";
import { type Database, type Session, withTransaction } from "../../db/client.ts";
import type { Settings } from "../../db/schema.ts";

/** Runs `work` in a transaction in which PostgreSQL reads and prints instants in the warehouse's zone. */
export async function inWarehouseZone<T>(
  options: {
    readonly database: Database;
    readonly settings: Settings;
    readonly signal?: AbortSignal | undefined;
  },
  work: (session: Session) => Promise<T>,
): Promise<T> {
  return withTransaction(options, async (tx) => {
    await tx.db.execute(sql`select set_config('TimeZone', ${options.settings.timeZone}, true)`);
    return work(tx);
  });
}

/** Reads today's date in the warehouse's zone, by the server's clock. */
export async function readToday(options: {
  readonly database: Database;
  readonly settings: Settings;
  readonly signal?: AbortSignal | undefined;
}): Promise<string> {
  const result = await inWarehouseZone(options, ({ db }) =>
    db.execute<{ today: string }>(sql`select current_date::text as today`),
  );
  const [row] = result.rows;
  if (row === undefined) throw new Error("a query without a table returned no row");
  return row.today;
}

/**
 * Turns what PostgreSQL prints (`2026-10-05 18:00:00.5+02`) into ISO 8601 (`2026-10-05T18:00:00.5+02:00`).
 */
export function isoInstant(text: string): string;
export function isoInstant(text: string | null): string | null;
export function isoInstant(text: string | null): string | null {
  if (text === null) return null;
  return text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
}
