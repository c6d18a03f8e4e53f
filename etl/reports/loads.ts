/** Reports the loads: their entries in the ledger, and their lines in quarantine. */
import { and, asc, desc, eq, inArray, sql } from "drizzle-orm";
import { type Database, type Session, withSession } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { RollbookError } from "../../db/errors.ts";
import {
  type LoadStatus,
  loadHistory,
  loads,
  type ReportedLoad,
  rejects,
  type Settings,
} from "../../db/schema.ts";
import { inWarehouseZone, isoInstant } from "./zone.ts";

/** A load as the reports show it, and what took it back. */
export interface ListedLoad extends ReportedLoad {
  /** Of an entry that is undone: the undo, why, and who decided it; of a retry that of its load. */
  readonly undoneBy: UndoneBy | null;
}

export interface UndoneBy {
  readonly loadId: number;
  readonly because: string;
  readonly decidedBy: string;
}

/** Reads the newest loads, newest first. */
export async function readLoads(options: {
  readonly database: Database;
  readonly settings: Settings;
  readonly limit: number;
  readonly status?: LoadStatus | undefined;
  readonly loadId?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly ListedLoad[]> {
  const { status, loadId } = options;
  const { rows, undone } = await inWarehouseZone(options, async (session) => {
    const rows = await session.db
      .select()
      .from(loadHistory)
      .where(
        and(
          status === undefined ? undefined : eq(loadHistory.status, status),
          loadId === undefined ? undefined : eq(loadHistory.loadId, loadId),
        ),
      )
      .orderBy(desc(loadHistory.loadId))
      .limit(options.limit);
    return { rows, undone: await findUndos(session, rows) };
  });
  return rows.map((row) => ({
    ...row,
    undoneBy: row.status === "undone" ? (undone.get(row.retryOf ?? row.loadId) ?? null) : null,
    startedAt: isoInstant(row.startedAt),
    finishedAt: isoInstant(row.finishedAt),
    knownAt: isoInstant(row.knownAt),
  }));
}

/** The newest undo of each of these entries that is undone, by the entry's number. */
async function findUndos(
  { db }: Session,
  entries: readonly ReportedLoad[],
): Promise<ReadonlyMap<number, UndoneBy>> {
  const undone = entries.filter(({ status }) => status === "undone");
  if (undone.length === 0) return new Map();
  const found = await db
    .select()
    .from(loadHistory)
    .where(
      inArray(
        loadHistory.undoOf,
        undone.map(({ loadId, retryOf }) => retryOf ?? loadId),
      ),
    )
    .orderBy(asc(loadHistory.loadId));
  return new Map(
    found.map(({ undoOf, loadId, because, decidedBy }) => [
      undoOf ?? 0,
      { loadId, because: because ?? "", decidedBy: decidedBy ?? "" },
    ]),
  );
}

/** A line in quarantine; `raw` is what the line held, without its end. */
export interface QuarantinedLine {
  readonly loadId: number;
  readonly line: number;
  readonly reason: string;
  readonly column: string | null;
  readonly raw: Buffer;
}

/**
 * Reads the rejects of a load, by line. Without `loadId`, those of the newest load that has any.
 *
 * @throws RollbookError `not_found` when there is no such load
 */
export async function readRejects(
  options: {
    readonly database: Database;
    readonly loadId?: number | undefined;
    readonly signal?: AbortSignal | undefined;
  },
  onReject: (reject: QuarantinedLine) => Promise<void>,
): Promise<void> {
  await withSession(options, async (session) => {
    if (options.loadId !== undefined) {
      const [load] = await session.db
        .select({ loadId: loads.loadId })
        .from(loads)
        .where(eq(loads.loadId, options.loadId));
      if (load === undefined) {
        throw new RollbookError({
          code: "not_found",
          message: `there is no load ${options.loadId}. List them with: rollbook loads`,
        });
      }
    }
    const which =
      options.loadId === undefined
        ? sql`(select max(load_id) from ${rejects})`
        : sql`${options.loadId}::integer`;
    const rows = streamRows<Omit<QuarantinedLine, "line"> & { line: string }>(
      session,
      sql`
        select load_id as "loadId", line, reason, column_name as "column", raw
        from ${rejects}
        where load_id = ${which}
        order by line`,
    );
    for await (const row of rows) await onReject({ ...row, line: Number(row.line) });
  });
}
