/** What was loaded or rejected since a moment, as the ledger has it: for a caller that does not know what its earlier attempt did. */
import { and, asc, desc, gte, inArray, isNull } from "drizzle-orm";
import { type Database, withSession } from "../../db/client.ts";
import { loads } from "../../db/schema.ts";
import { reportFromLedger } from "../load/claim.ts";
import type { LoadReport } from "../load/report.ts";

/** Told at most, the newest. */
const MOST = 2000;

/**
 * Reads the reports of drops whose loads ended at that instant or later, whoever loaded them, oldest first. `file` is the name alone,
 * and `partitions` are all that were touched: more is not kept.
 */
export async function readEarlierLoads(options: {
  readonly database: Database;
  readonly since: Date;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly LoadReport[]> {
  const found = await withSession(options, ({ db }) => {
    const newest = db
      .select()
      .from(loads)
      .where(
        and(
          inArray(loads.status, ["loaded", "rejected"]),
          isNull(loads.retryOf),
          isNull(loads.undoOf),
          gte(loads.finishedAt, options.since.toISOString()),
        ),
      )
      .orderBy(desc(loads.loadId))
      .limit(MOST)
      .as("newest");
    return db.select().from(newest).orderBy(asc(newest.loadId));
  });
  return found.map((load) => ({
    file: load.fileName,
    ...reportFromLedger(load),
    durationMs: Date.parse(load.finishedAt ?? load.startedAt) - Date.parse(load.startedAt),
    timings: load.timings,
  }));
}
