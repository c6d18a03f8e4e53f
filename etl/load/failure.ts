/**
 * What is reported of a load that failed, and entered in the ledger where the database can still be reached.
 */
import { basename } from "node:path";
import { sql } from "drizzle-orm";
import { type Database, withTransaction } from "../../db/client.ts";
import {
  CORRUPTED_REMEDY,
  errorState,
  isConnectionLost,
  OVERTAKEN,
  RollbookError,
  rootCause,
  SQLSTATE,
} from "../../db/errors.ts";
import { explainMissing } from "../../db/partitions/missing.ts";
import { FILE_DATE, readDropName } from "../drop/name.ts";
import type { FileSource } from "../sources/source.ts";
import { findSent, type PastAttempts } from "./claim.ts";
import { beginEntry } from "./ledger.ts";
import { columnsOfSource, readBy } from "./read_by.ts";
import { type Attempt, NO_LINES, type Refusal } from "./report.ts";

/** Describes the failure, and enters it in the ledger. */
export async function recordFailure(
  options: {
    readonly database: Database;
    readonly path: string;
    readonly syncedOn?: string | undefined;
    readonly source?: FileSource | undefined;
  },
  past: PastAttempts,
  failure: { readonly error: unknown; readonly durationMs: number },
): Promise<Attempt> {
  const explained = await explainMissing(failure.error, options.database);
  const error = describeFailure(explained, options.path, past);
  const fileName = basename(options.path);
  const { source } = options;
  const given = options.syncedOn ?? source?.syncedOn;
  const name = readDropName({
    fileName,
    syncedOn: given === FILE_DATE ? undefined : given,
    anyEnding: source !== undefined,
  });
  const syncedOn = name.kind === "named" ? name.syncedOn : null;
  const nothing = { rows: NO_LINES, reasons: [], suspicious: [], partitions: [], touched: [] };
  const failed = { outcome: "failed", syncedOn, source: readBy(source), ...nothing, error } as const;
  return withTransaction({ database: options.database }, async (tx): Promise<Attempt> => {
    const sent = syncedOn === null ? undefined : await findSent(tx, past, syncedOn);
    if (sent !== undefined) return sent;
    const loadId = await beginEntry(tx, {
      fileName,
      sha256: past.content?.sha256,
      bytes: past.content?.bytes,
      syncedOn,
      ...columnsOfSource(source),
      status: "failed",
      startedAt: sql`clock_timestamp() - ${failure.durationMs} * interval '1 millisecond'`,
      finishedAt: sql`clock_timestamp()`,
      errorCode: error.code,
      errorMessage: error.message,
    });
    return { ...failed, loadId };
    // Where the database cannot be reached there is no ledger to write to. The failure is reported all the
    // same.
  }).catch(() => ({ ...failed, loadId: null }));
}

/** What db/connection/refusal.ts explains. */
const OF_SERVER: ReadonlySet<string> = new Set([
  SQLSTATE.readOnlyTransaction,
  SQLSTATE.outOfMemory,
  SQLSTATE.configurationLimit,
]);

function describeFailure(error: unknown, path: string, past: PastAttempts): Refusal {
  const lost = isConnectionLost(error);
  if (lost && past.sent.length > 0) {
    return {
      code: "connection",
      message: `${path}: the connection was lost at the commit, so it is not known whether the drop is in (${sayCause(error)}). Load it again: if it is in, nothing changes.`,
    };
  }
  if (error instanceof RollbookError) {
    const { code, message } = error;
    // Errors of the end of a load, and of the server, name no file.
    const namesFile = !OVERTAKEN.has(code) && !OF_SERVER.has(errorState(error) ?? "");
    return { code, message: namesFile ? message : `${path}: ${message}` };
  }
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
