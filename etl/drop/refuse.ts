/** Why a file is not taken as a whole. */

export type RefusalCode =
  | "bad_container"
  | "bad_encoding"
  | "bad_header"
  | "truncated"
  | "line_too_long"
  | "inflates_too_far";

export interface RefusedEvent {
  readonly kind: "refused";
  readonly code: RefusalCode;
  /** What is wrong and what to do about it. */
  readonly message: string;
  /** The line at fault, from 1, where there is one. */
  readonly line?: number;
}

/** The longest line that is read, in bytes without its terminator. */
export const MAX_LINE_BYTES = 1024 * 1024;

export function refuseLongLine(line: number): RefusedEvent {
  return {
    kind: "refused",
    code: "line_too_long",
    message: `line ${line} is longer than ${MAX_LINE_BYTES} bytes: end each record with a line feed`,
    line,
  };
}

/** `what`: what the file is instead of a drop. */
export function refuseContainer(what: string, remedy: string): RefusedEvent {
  return { kind: "refused", code: "bad_container", message: `it is ${what}, not a CSV file: ${remedy}` };
}

/** `fault`: what is not in the encoding that the source says, and in which line, where it is in one. */
export function refuseEncoding(fault: string, line?: number): RefusedEvent {
  const message = `${fault}. Mend the source's encoding, or save the file anew`;
  return { kind: "refused", code: "bad_encoding", message, ...(line !== undefined && { line }) };
}

/** `error`: what the inflater says; null when bytes follow the end of the stream. */
export function refuseTruncated(error: Error | null): RefusedEvent {
  const detail = error === null ? "bytes follow the end that belong to no stream" : error.message;
  return {
    kind: "refused",
    code: "truncated",
    message: `not a whole gzip stream (${detail}): hand the drop over again, complete`,
  };
}

/**
 * How far a gzip file may inflate: to so many bytes in any case, and beyond that to so many times its own
 * size. Invoices have random ids, so gzip makes drops some five times smaller; its format allows for a
 * thousand times. The limit does not protect memory, which is constant. It protects the disk, which has to
 * hold what is staged, and the hours that it would take.
 */
export interface InflationLimit {
  readonly bytes: number;
  readonly times: number;
}
export const INFLATION_LIMIT: InflationLimit = { bytes: 1024 ** 3, times: 100 };

export function refuseInflation({ bytes, times }: InflationLimit): RefusedEvent {
  return {
    kind: "refused",
    code: "inflates_too_far",
    message: `inflates to more than ${times} times its size and more than ${bytes} bytes: if it is right, unpack it and hand over the .csv`,
  };
}
