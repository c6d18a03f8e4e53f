/** What the ledger keeps of a load: that it is in, that it was refused, or that it failed. */
import { basename } from "node:path";
import { eq, sql } from "drizzle-orm";
import { type Database, type Transaction, withTransaction } from "../../db/client.ts";
import {
  CORRUPTED_REMEDY,
  errorState,
  isConnectionLost,
  RollbookError,
  rootCause,
  SQLSTATE,
} from "../../db/errors.ts";
import { LOCK, lockUntilEnd } from "../../db/locks.ts";
import { explainMissing } from "../../db/partitions/missing.ts";
import { loads } from "../../db/schema.ts";
import { readDropName } from "../drop/name.ts";
import { type Course, findSent } from "./claim.ts";
import { type Attempt, NO_LINES, type Refusal } from "./report.ts";
import type { Staged } from "./stage.ts";

/**
 * The last statement before COMMIT. The lock makes the order of `known_at` the order of the commits; it is its own statement, so that
 * the next one sees what the one before committed.
 */
export async function enterLedger(
  tx: Transaction,
  loadId: number,
  entry: Partial<typeof loads.$inferInsert>,
): Promise<void> {
  await lockUntilEnd(tx, LOCK.knownAt);
  await tx.db
    .update(loads)
    .set({
      ...entry,
      finishedAt: sql`clock_timestamp()`,
      knownAt: sql`greatest(clock_timestamp(), (select max(known_at) from warehouse.loads) + interval '1 microsecond')`,
    })
    .where(eq(loads.loadId, loadId));
}

/** Nothing of a refused drop is kept but its ledger entry and its quarantine. */
export async function refuseStaged(
  tx: Transaction,
  refused: {
    readonly loadId: number;
    readonly staging: string;
    readonly staged: Staged;
    readonly refusal: Refusal;
    readonly syncedOn: string;
  },
): Promise<Attempt> {
  const { loadId, staging, staged, refusal, syncedOn } = refused;
  await tx.db.execute(sql.raw(`truncate ${staging}`));
  const rows = { ...NO_LINES, read: staged.rows + staged.rejected, rejected: staged.rejected };
  await tx.db
    .update(loads)
    .set({
      status: "rejected",
      ...rows,
      finishedAt: sql`clock_timestamp()`,
      errorCode: refusal.code,
      errorMessage: refusal.message,
    })
    .where(eq(loads.loadId, loadId));
  return { outcome: "rejected", loadId, syncedOn, rows, partitions: [], touched: [], error: refusal };
}

/** The ledger entry of a drop whose name alone says that it cannot be loaded. */
export async function recordRefusal(
  tx: Transaction,
  drop: { readonly fileName: string; readonly sha256: Buffer; readonly bytes: number },
  refusal: Refusal,
): Promise<Attempt> {
  const { code, message } = refusal;
  const [row] = await tx.db
    .insert(loads)
    .values({
      ...drop,
      status: "rejected",
      startedAt: sql`clock_timestamp()`,
      finishedAt: sql`clock_timestamp()`,
      errorCode: code,
      errorMessage: message,
    })
    .returning({ loadId: loads.loadId });
  return {
    outcome: "rejected",
    loadId: row?.loadId ?? null,
    syncedOn: null,
    rows: NO_LINES,
    partitions: [],
    touched: [],
    error: { code, message },
  };
}

/** Names the failure, and enters it in the ledger where the database can still be reached. */
export async function recordFailure(
  options: { readonly database: Database; readonly path: string; readonly syncedOn?: string | undefined },
  course: Course,
  failure: { readonly error: unknown; readonly durationMs: number },
): Promise<Attempt> {
  const explained = await explainMissing(failure.error, options.database);
  const error = describeFailure(explained, options.path, course);
  const fileName = basename(options.path);
  const name = readDropName({ fileName, syncedOn: options.syncedOn });
  const syncedOn = name.kind === "named" ? name.syncedOn : null;
  const failed = { outcome: "failed", syncedOn, rows: NO_LINES, partitions: [], touched: [], error } as const;
  return withTransaction({ database: options.database }, async (tx): Promise<Attempt> => {
    const sent = syncedOn === null ? undefined : await findSent(tx, course, syncedOn);
    if (sent !== undefined) return sent;
    const [row] = await tx.db
      .insert(loads)
      .values({
        fileName,
        ...course.content,
        syncedOn,
        status: "failed",
        startedAt: sql`clock_timestamp() - ${failure.durationMs} * interval '1 millisecond'`,
        finishedAt: sql`clock_timestamp()`,
        errorCode: error.code,
        errorMessage: error.message,
      })
      .returning({ loadId: loads.loadId });
    return { ...failed, loadId: row?.loadId ?? null };
    // The failure itself is reported either way; where the database is away there is no ledger to write to.
  }).catch(() => ({ ...failed, loadId: null }));
}

function describeFailure(error: unknown, path: string, course: Course): Refusal {
  const lost = isConnectionLost(error);
  if (lost && course.sent.length > 0) {
    return {
      code: "connection",
      message: `${path}: the connection was lost at the commit, so it is not known whether the drop is in (${sayCause(error)}). Load it again: if it is in, nothing changes.`,
    };
  }
  if (error instanceof RollbookError) return { code: error.code, message: error.message };
  const said = sayCause(error);
  const state = errorState(error);
  switch (state) {
    case SQLSTATE.diskFull:
      return {
        code: "disk_full",
        message: `${path}: the database has no space left on its disk (${said}). The load was rolled back. Make room and load it again.`,
      };
    case SQLSTATE.insufficientPrivilege:
      return { code: "permission", message: `${path}: ${said}. The load was rolled back.` };
    case SQLSTATE.dataCorrupted:
    case SQLSTATE.indexCorrupted:
      return {
        code: "corrupted",
        message: `${path}: ${said}. The load was rolled back. ${CORRUPTED_REMEDY}`,
      };
    case "partitions_changed":
      return {
        code: state,
        message: `${path}: partitions were detached, attached or dropped all the while. The load was rolled back; load it again.`,
      };
  }
  return {
    code: lost || state === SQLSTATE.tooManyConnections ? "connection" : "database",
    message: `${path}: ${said}${state === undefined ? "" : ` (${state})`}. The load was rolled back; load it again.`,
  };
}

function sayCause(error: unknown): string {
  const cause = rootCause(error);
  return cause instanceof Error ? cause.message : String(cause);
}
