/** The bytes of a file, and their hash. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { errorState, RollbookError } from "../../db/errors.ts";

/**
 * The most bytes read at once: large enough that the calls do not count, small enough that memory stays
 * small.
 */
export const READ_BYTES = 128 * 1024;

const GZIP = Buffer.from([0x1f, 0x8b]);

/** Whether a file that begins with these bytes is compressed by gzip. */
export function isGzip(bytes: Buffer): boolean {
  return bytes.subarray(0, GZIP.length).equals(GZIP);
}

/** What distinguishes a file from another one that was given its name later. */
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
  /**
   * Whether a symbolic link is followed; default true. Say false where others may write: their link could
   * lead to a file that only this user may read.
   */
  readonly follow?: boolean | undefined;
  /** The file as it was listed. Another one that has its name by now is not read. */
  readonly listed?: FileState | undefined;
}

/**
 * Opens a regular file to read it. It never waits for the other end of a pipe, and never opens a device or a
 * socket, even if one was put in the file's place since it was listed.
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
 * Throws a `RollbookError`: `file_unreadable`, `file_changed` when it is not the file that was listed, or
 * `aborted` when the signal aborts. The file is closed in any case.
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
    // The stream closes the file, but only if it was opened.
    await file.close();
  }
}

/** Throws what an aborted read throws, if the signal has aborted: for readers that still hold bytes. */
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
  // ELOOP may also mean too many links in a row, but hardly ever does.
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
 * Hashes a drop's bytes as they are in the file, compressed or not. `gzip`: whether they are compressed.
 *
 * `onBytes` gets the number of bytes read so far. Throws like `readFileBytes`.
 */
export async function hashDrop(
  options: FileGuard & {
    readonly path: string;
    readonly signal?: AbortSignal | undefined;
    readonly onBytes?: ((bytes: number) => void) | undefined;
  },
): Promise<{ sha256: Buffer; bytes: number; gzip: boolean }> {
  const hash = createHash("sha256");
  let bytes = 0;
  let gzip = false;
  for await (const chunk of readFileBytes(options)) {
    if (bytes === 0) gzip = isGzip(chunk);
    hash.update(chunk);
    bytes += chunk.length;
    options.onBytes?.(bytes);
  }
  return { sha256: hash.digest(), bytes, gzip };
}
