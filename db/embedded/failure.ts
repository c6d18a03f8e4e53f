/** The errors of the embedded server, and what to do about them. */
import { RollbookError } from "../errors.ts";

export const REMEDY = "To use a PostgreSQL server of your own instead, set DATABASE_URL.";

export function failure(message: string, cause?: unknown): RollbookError {
  return new RollbookError({ code: "embedded_server", message, cause });
}

export function aborted(cause: unknown): RollbookError {
  return new RollbookError({ code: "aborted", message: "Stopped while opening the embedded server.", cause });
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
