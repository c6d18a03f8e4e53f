/**
 * Errors by their codes. A bad line or a refused drop is data and no error. Only the unexpected is thrown, as
 * a `RollbookError` whose message names the file, the line and the remedy.
 */

/**
 * Why a command could not do its work. The exit code is 2 for `usage` and `configuration`, and 1 for all
 * others.
 */
export type ErrorCode =
  | "usage"
  | "configuration"
  | "not_found"
  | "unsupported_server"
  | "warehouse_missing"
  | "warehouse_newer"
  | "connection"
  | "permission"
  | "disk_full"
  | "out_of_locks"
  | "file_changed"
  | "file_unreadable"
  | "partition_busy"
  | "table_missing"
  | "corrupted"
  | "partitions_changed"
  | "partition_closed"
  | "period_closed"
  | "statements_pruned"
  | "aborted"
  | "embedded_server"
  | "database";

export class RollbookError extends Error {
  readonly code: ErrorCode;

  constructor(options: { readonly code: ErrorCode; readonly message: string; readonly cause?: unknown }) {
    super(options.message, { cause: options.cause });
    this.name = "RollbookError";
    this.code = options.code;
  }
}

/** SQLSTATE codes that Rollbook acts on. Source: PostgreSQL 18 documentation, appendix A. */
export const SQLSTATE = {
  numericValueOutOfRange: "22003",
  invalidDatetime: "22007",
  datetimeOverflow: "22008",
  uniqueViolation: "23505",
  checkViolation: "23514",
  readOnlyTransaction: "25006",
  insufficientPrivilege: "42501",
  undefinedTable: "42P01",
  undefinedObject: "42704",
  duplicateObject: "42710",
  duplicateDatabase: "42P04",
  invalidCatalogName: "3D000",
  invalidPassword: "28P01",
  invalidAuthorization: "28000",
  serializationFailure: "40001",
  deadlockDetected: "40P01",
  lockNotAvailable: "55P03",
  diskFull: "53100",
  outOfMemory: "53200",
  tooManyConnections: "53300",
  configurationLimit: "53400",
  queryCanceled: "57014",
  adminShutdown: "57P01",
  crashShutdown: "57P02",
  cannotConnectNow: "57P03",
  invalidParameterValue: "22023",
  lockFileExists: "F0001",
  internalError: "XX000",
  dataCorrupted: "XX001",
  indexCorrupted: "XX002",
} as const;

/** The message of pg for a connection that broke; it has no code. */
export const LOST_CONNECTION = "Connection terminated unexpectedly";

/** Codes of a socket that has no server at its other end, or lost it. */
const LOST_SOCKET: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ENOENT",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);

/**
 * The innermost cause. Drizzle wraps the driver's error, and the message of the wrapper prints every bound
 * value.
 */
export function rootCause(error: unknown): unknown {
  let current = error;
  while (current instanceof Error && current.cause !== undefined) current = current.cause;
  return current;
}

/**
 * The SQLSTATE of a database error, or the `code` of a socket or file error, wherever it is in the chain of
 * causes.
 */
export function errorState(error: unknown): string | undefined {
  const cause = rootCause(error);
  if (typeof cause !== "object" || cause === null || !("code" in cause)) return undefined;
  return typeof cause.code === "string" ? cause.code : undefined;
}

/**
 * True where PostgreSQL read a page or an index that is not as it was written: its checksum is wrong, for
 * example.
 */
export function isCorrupted(error: unknown): boolean {
  const state = errorState(error);
  return state === SQLSTATE.dataCorrupted || state === SQLSTATE.indexCorrupted;
}

/** What to do then. */
export const CORRUPTED_REMEDY =
  "The disk, or something between it and the server, has changed what was written. Write to this server as little as possible; docs/recovery.md says how to restore a partition, or all of it, from a backup.";

/** True when the connection, or the server behind it, went away. */
export function isConnectionLost(error: unknown): boolean {
  // Its own code decides: its cause may be a file that is not there, with the same code as a socket (ENOENT).
  if (error instanceof RollbookError) return error.code === "connection";
  const state = errorState(error);
  if (state !== undefined) {
    return (
      LOST_SOCKET.has(state) ||
      state.startsWith("08") ||
      state === SQLSTATE.adminShutdown ||
      state === SQLSTATE.crashShutdown ||
      state === SQLSTATE.cannotConnectNow
    );
  }
  const cause = rootCause(error);
  return cause instanceof Error && LOST_CLIENT.has(cause.message);
}

/**
 * pg gives these errors no code (pg 8, client.js). The third means that the connection broke while no
 * statement ran.
 */
const LOST_CLIENT: ReadonlySet<string> = new Set([
  LOST_CONNECTION,
  "Connection terminated",
  "Client has encountered a connection error and is not queryable",
]);

/** What a load meets that reads its lines by rules which have changed since. */
export const OVERTAKEN: ReadonlySet<string> = new Set(["partitions_changed", "period_closed"]);

/** True for an error after which the same load or refresh may succeed when it is run again as a whole. */
export function isRetryable(error: unknown): boolean {
  const state = errorState(error);
  return (
    (error instanceof RollbookError && OVERTAKEN.has(error.code)) ||
    state === SQLSTATE.serializationFailure ||
    state === SQLSTATE.deadlockDetected ||
    state === SQLSTATE.tooManyConnections ||
    isConnectionLost(error)
  );
}
