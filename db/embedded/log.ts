/** The server's log, which says why it did not start. */
import {
  closeSync,
  constants,
  existsSync,
  fchownSync,
  openSync,
  readSync,
  renameSync,
  statSync,
} from "node:fs";
import { failure, REMEDY, reason } from "./failure.ts";
import type { Place } from "./place.ts";
import type { Account } from "./programs.ts";

const LIMIT_BYTES = 10 * 1024 * 1024;

/** Opens the log to append to it, after a large one was renamed. New entries begin at `size`. */
export function openLog(
  place: Place,
  account: Account | undefined,
): { readonly fd: number; readonly size: number } {
  try {
    const size = statSync(place.log, { throwIfNoEntry: false })?.size ?? 0;
    if (size > LIMIT_BYTES) renameSync(place.log, `${place.log}.old`);
    const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW } = constants;
    const fd = openSync(place.log, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
    if (account !== undefined) fchownSync(fd, account.uid, account.gid);
    return { fd, size: size > LIMIT_BYTES ? 0 : size };
  } catch (error) {
    throw failure(`Cannot write ${place.log}: ${reason(error)}. ${REMEDY}`, error);
  }
}

/** The entries since the file had `from` bytes, at most the last 16 KiB. */
export function readLog(place: Place, from: number): string {
  if (!existsSync(place.log)) return "";
  const fd = openSync(place.log, "r");
  try {
    const size = statSync(place.log).size;
    const begin = Math.max(from, size - 16_384);
    const bytes = Buffer.alloc(Math.max(size - begin, 0));
    return bytes.toString("utf8", 0, readSync(fd, bytes, 0, bytes.length, begin));
  } finally {
    closeSync(fd);
  }
}

export function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
