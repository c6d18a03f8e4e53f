/**
 * A drop from the outside: what its name says, the bytes of its file, and their hash.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import { errorState, RollbookError } from "../../db/errors.ts";
import { dayNumber, secondOfDay } from "./validate.ts";

export type DropName =
  | { readonly kind: "named"; readonly gzip: boolean /** `YYYY-MM-DD`. */; readonly syncedOn: string }
  | { readonly kind: "refused"; readonly code: "not_csv" | "no_sync_date"; readonly message: string };

/**
 * Reads the form and the sync date of a drop from its name (DESIGN.md section 8).
 *
 * `fileName`: with or without folders, which say nothing. `syncedOn`: a valid `YYYY-MM-DD` that overrides the name's.
 */
export function readDropName(options: {
  readonly fileName: string;
  readonly syncedOn?: string | undefined;
}): DropName {
  const name = basename(options.fileName);
  const suffix = /\.csv(\.gz)?$/i.exec(name);
  if (suffix === null) {
    const message = `${name}: not a drop: its name must end in .csv or .csv.gz`;
    return { kind: "refused", code: "not_csv", message };
  }
  const dates = options.syncedOn === undefined ? datesIn(name) : [options.syncedOn];
  const [syncedOn] = dates;
  if (syncedOn === undefined || dates.length > 1) {
    return { kind: "refused", code: "no_sync_date", message: explainDates(name, dates) };
  }
  return { kind: "named", gzip: suffix[1] !== undefined, syncedOn };
}

function explainDates(name: string, dates: readonly string[]): string {
  const fault =
    dates.length === 0
      ? "its name holds no sync date"
      : `its name holds ${dates.length} dates, ${dates.join(" and ")}`;
  return `${name}: ${fault}: name the sync date once, as YYYY-MM-DD or YYYYMMDD, or give it with --synced-on`;
}

/** `YYYY-MM-DD` between other characters than digits, or a run of 8 digits, or one of 14 that ends in a time of day. */
const DATE_IN_NAME = /(?<!\d)(?:(\d{4})-(\d\d)-(\d\d)|(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d))?)(?!\d)/g;

/** The sync dates that a name may mean, each once. Digits that are no date of the years 1900 to 2099 are none. */
function datesIn(name: string): string[] {
  const dates = new Set<string>();
  for (const match of name.matchAll(DATE_IN_NAME)) {
    const year = match[1] ?? match[4] ?? "";
    const month = match[2] ?? match[5] ?? "";
    const date = match[3] ?? match[6] ?? "";
    const [hours = "0", minutes = "0", seconds = "0"] = match.slice(7);
    const isTime = secondOfDay(Number(hours), Number(minutes), Number(seconds)) !== undefined;
    if (isTime && isSyncDate(Number(year), Number(month), Number(date)))
      dates.add(`${year}-${month}-${date}`);
  }
  return [...dates];
}

function isSyncDate(year: number, month: number, date: number): boolean {
  return year >= 1900 && year <= 2099 && dayNumber(year, month, date) !== undefined;
}

/** The most bytes read at once: large enough that the calls do not count, small enough that memory stays small. */
export const READ_BYTES = 128 * 1024;

/** What tells a file from another one that has taken its name. */
export interface FileState {
  readonly bytes: bigint;
  readonly modifiedNs: bigint;
  readonly inode: bigint;
}

export function isSameFile(one: FileState, other: FileState): boolean {
  return one.bytes === other.bytes && one.modifiedNs === other.modifiedNs && one.inode === other.inode;
}

/** Which file may be read at a path. */
export interface FileGuard {
  /** Whether a symbolic link is followed; default true. Not where others may write: it would lead to a file that only this user may read. */
  readonly follow?: boolean | undefined;
  /** The file as it was listed: no other one that has its name by now. */
  readonly listed?: FileState | undefined;
}

/**
 * Opens a regular file to read it. Never waits for the other end of a pipe, and never opens a device or a socket, whatever has come to the path
 * since it was looked at.
 *
 * Throws a `RollbookError`: `file_unreadable`, or `file_changed` when it is not the file that was listed.
 */
export async function openRegularFile(path: string, guard: FileGuard = {}): Promise<FileHandle> {
  const { follow = true, listed } = guard;
  const { O_RDONLY, O_NONBLOCK, O_NOCTTY, O_NOFOLLOW } = constants;
  const flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW);
  const file = await open(path, flags).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    const found = await file.stat({ bigint: true });
    if (found.isDirectory()) throw unreadable(path, undefined, "EISDIR");
    if (!found.isFile()) throw unreadable(path, undefined, NO_FILE);
    const state = { bytes: found.size, modifiedNs: found.mtimeNs, inode: found.ino };
    if (listed !== undefined && !isSameFile(listed, state)) throw anotherFile(path);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * The bytes of a file, in buffers that are not used again.
 *
 * Throws a `RollbookError`: `file_unreadable`, `file_changed` when it is not the file that was listed, or `aborted` once the signal says so. The
 * file is closed in any case.
 */
export async function* readFileBytes(
  options: FileGuard & {
    readonly path: string;
    readonly signal?: AbortSignal | undefined;
  },
): AsyncGenerator<Buffer, void, undefined> {
  const { path, signal } = options;
  throwIfAborted(path, signal);
  const file = await openRegularFile(path, options);
  try {
    const bytes: AsyncIterable<Buffer> = file.createReadStream({
      highWaterMark: READ_BYTES,
      ...(signal && { signal }),
    });
    yield* bytes;
  } catch (error) {
    throw signal?.aborted === true ? abortedError(path, signal) : unreadable(path, error);
  } finally {
    // It is closed with its stream; not when that never began.
    await file.close();
  }
}

/** Throws what an aborted read throws, if the signal says so: for readers that have bytes left in hand. */
export function throwIfAborted(path: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortedError(path, signal);
}

function abortedError(path: string, signal: AbortSignal): RollbookError {
  return new RollbookError({
    code: "aborted",
    message: `${path}: reading was stopped: run the command again to load it`,
    cause: signal.reason,
  });
}

function anotherFile(path: string): RollbookError {
  return new RollbookError({
    code: "file_changed",
    message: `${path} is not the file that was listed: another one has taken its name. The next look finds it.`,
  });
}

const NO_FILE = "no regular file";

function unreadable(
  path: string,
  error: unknown,
  state: string | undefined = errorState(error),
): RollbookError {
  return new RollbookError({
    code: "file_unreadable",
    message: `${path}: cannot be read (${state ?? String(error)}): ${remedyFor(state)}`,
    cause: error,
  });
}

function remedyFor(state: string | undefined): string {
  // Too many links in a row, too, but hardly ever. A socket cannot be opened at all.
  if (state === "ELOOP") return "it is a symbolic link, and those are not followed here";
  if (state === NO_FILE || state === "ENXIO" || state === "EOPNOTSUPP") {
    return "pipes, devices and sockets are no drops: write it to a file";
  }
  if (state === "ENOENT") return "check the path; another process may have moved the file";
  if (state === "EACCES" || state === "EPERM") return "give this user the right to read it";
  if (state === "EISDIR") return "name a file, not a folder";
  return "check the disk or the network share, then run the command again";
}

/**
 * Hashes a drop's bytes as they are in the file, compressed or not.
 *
 * `onBytes` is told how many bytes have been read so far. Throws like `readFileBytes`.
 */
export async function hashDrop(
  options: FileGuard & {
    readonly path: string;
    readonly signal?: AbortSignal | undefined;
    readonly onBytes?: ((bytes: number) => void) | undefined;
  },
): Promise<{ sha256: Buffer; bytes: number }> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of readFileBytes(options)) {
    hash.update(chunk);
    bytes += chunk.length;
    options.onBytes?.(bytes);
  }
  return { sha256: hash.digest(), bytes };
}
