/** Decides that rejected lines stay out. Who, when and why is kept for good. */
import { and, eq, sql } from "drizzle-orm";
import { type Database, withTransaction } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { dismissals, type OpenRejects, openRejects } from "../../db/schema.ts";
import { lockFamily } from "./retry_rejects.ts";

/**
 * Dismisses the open lines of a load, or those of one reason.
 *
 * @returns what was dismissed
 * @throws RollbookError `not_found` when there is no such load, or nothing of that is open; `usage` when the
 *   load was not loaded
 */
export async function dismissRejects(options: {
  readonly database: Database;
  readonly loadId: number;
  readonly reason?: string | undefined;
  /** Why they stay out. */
  readonly because: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly OpenRejects[]> {
  const { loadId, reason, because } = options;
  return withTransaction(options, async (tx) => {
    const { newest } = await lockFamily(tx, loadId);
    const open = await tx.db
      .select()
      .from(openRejects)
      .where(
        and(
          eq(openRejects.loadId, loadId),
          reason === undefined ? undefined : eq(openRejects.reason, reason),
        ),
      );
    if (open.length === 0) throw nothingOpen(loadId, newest, reason);
    const reasons = sql.param(open.map((one) => one.reason));
    // Who and when are the database's to say, and the loader has no right to them.
    await tx.db.execute(sql`
      insert into ${dismissals} (load_id, reason, because)
      select ${loadId}::integer, reason, ${because} from unnest(${reasons}::text[]) as open (reason)`);
    return open;
  });
}

function nothingOpen(loadId: number, newest: number, reason: string | undefined): RollbookError {
  const what = reason === undefined ? "nothing" : `no line that is ${reason}`;
  const retried = newest === loadId ? "" : ` Its lines were read again by load ${newest}.`;
  return new RollbookError({
    code: "not_found",
    message: `${what} of load ${loadId} is open.${retried} List what is open with: rollbook rejects`,
  });
}
