/** What went wrong, as a page: in words, with what to do. */
import {
  CORRUPTED_REMEDY,
  errorState,
  isConnectionLost,
  isCorrupted,
  RollbookError,
  rootCause,
  SQLSTATE,
} from "../db/errors.ts";

export interface Failure {
  readonly status: 400 | 403 | 404 | 405 | 421 | 429 | 500 | 503 | 504;
  readonly code: string;
  readonly title: string;
  readonly message: string;
  /** Seconds after which it is worth another try; a browser then tries by itself. */
  readonly retryAfter?: number;
  /** Whether an operator should know of it. */
  readonly unexpected?: boolean;
}

const RETRY_SECONDS = 5;

export const STARTING: Failure = {
  status: 503,
  code: "starting",
  title: "The warehouse is being opened",
  message: "This page tries again by itself.",
  retryAfter: 1,
};

export const NO_PAGE: Failure = {
  status: 404,
  code: "not_found",
  title: "There is no such page",
  message: "The address may be cut off, or from another version.",
};

/**
 * @param place for messages: where the database is
 * @param timeoutMs after how long a query is cut off
 */
export function explainFailure(error: unknown, place: string, timeoutMs: number): Failure {
  if (isConnectionLost(error)) {
    return {
      status: 503,
      code: "server_away",
      title: "The server is away",
      message: `The ${place} does not answer. This page tries again by itself.`,
      retryAfter: RETRY_SECONDS,
    };
  }
  if (error instanceof RollbookError) return explainRefused(error);
  return explainState(error, timeoutMs);
}

function explainRefused({ code, message }: RollbookError): Failure {
  switch (code) {
    case "usage":
      return { status: 400, code, title: "The address asks for something else", message };
    case "not_found":
      return { status: 404, code, title: "Not found", message };
    case "permission":
      return { status: 403, code, title: "The console lacks a right", message };
    default:
      return { status: 503, code, title: "The warehouse cannot be read", message };
  }
}

function explainState(error: unknown, timeoutMs: number): Failure {
  const cause = rootCause(error);
  const said = cause instanceof Error ? cause.message : String(cause);
  switch (errorState(error)) {
    case SQLSTATE.insufficientPrivilege:
      return {
        status: 403,
        code: "permission",
        title: "The console lacks a right",
        message: `PostgreSQL says: ${said}. The console reads as a member of rollbook_reader. Let the owner of the warehouse run rollbook init --roles, which grants that role all it needs, and make the console's login a member of it.`,
      };
    case SQLSTATE.undefinedTable:
    case UNDEFINED_COLUMN:
      return {
        status: 503,
        code: "warehouse_older",
        title: "The warehouse is of another version",
        message: `PostgreSQL says: ${said}. Run rollbook init with this version, then start the console again.`,
      };
    case SQLSTATE.queryCanceled:
      return {
        status: 504,
        code: "too_slow",
        title: "That took too long",
        message: `The warehouse did not answer within ${timeoutMs / 1000} seconds, and the query was cut off. Ask for less, for example for a shorter range of dates.`,
      };
    case SQLSTATE.tooManyConnections:
      return {
        status: 503,
        code: "too_many_connections",
        title: "The server is busy",
        message: "It takes no more connections at the moment. This page tries again by itself.",
        retryAfter: RETRY_SECONDS,
      };
    default:
      return {
        status: 500,
        code: "unexpected",
        title: "Something went wrong",
        message: isCorrupted(error)
          ? CORRUPTED_REMEDY
          : "What exactly is written where the console was started. Reload the page; if it comes again, tell whoever operates Rollbook.",
        unexpected: true,
      };
  }
}

/** SQLSTATE undefined_column. */
const UNDEFINED_COLUMN = "42703";
