/** Moves a drop that is done: nothing is overwritten, and a rejected drop gets its reason beside it. */
import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, rename, unlink, utimes } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { errorState, RollbookError } from "../../db/errors.ts";
import { type FileState, isSameFile, openRegularFile } from "../drop/file.ts";
import { endingOf } from "../drop/place.ts";
import { type InboxFile, isUntouched, lookAt, refuseLinkedFolder } from "./list.ts";
import { type Reason, reasonPath, removeReason, writeReason } from "./rejection.ts";

export interface Destination {
  /** The folder; it is made if it is missing. */
  readonly folder: string;
  /** If the name is taken, the file gets this number. */
  readonly loadId: number | null;
  /** The name to have there; default: its own. */
  readonly name?: string | undefined;
  /**
   * The name under which the ledger has the load. If it is another one, the file gets the load's number in
   * any case, so that its load can be found by its name.
   */
  readonly loadedAs?: string | undefined;
  /** Written beside the file, before the file is there. */
  readonly reason?: Reason | undefined;
}

/**
 * Moves a drop, unless another file has taken its name since it was looked at.
 *
 * @returns the new path; undefined when the file is gone, or another one has its name
 */
export async function moveDrop(
  options: Destination & { readonly file: InboxFile },
): Promise<string | undefined> {
  const { file, ...destination } = options;
  if (!(await isUntouched(file))) return undefined;
  let moved: Moved;
  try {
    moved = await moveInto({ path: file.path, ...destination, listed: file });
  } catch (error) {
    if (isGone(error) && !(await isUntouched(file))) return undefined;
    throw error;
  }
  const { target, how } = moved;
  const there = how === "renamed" ? await lookAt(target) : file;
  if (there !== undefined && isSameFile(file, there)) return target;
  // Another file took the name in the last moment. Nobody has loaded that file, so it is moved back.
  await moveFile({ path: target, folder: dirname(file.path), loadId: null, name: file.name });
  if (destination.reason !== undefined) await removeReason(target);
  return undefined;
}

/** There is no file at the path, or another one. */
function isGone(error: unknown): boolean {
  if (error instanceof RollbookError)
    return error.code === "file_unreadable" || error.code === "file_changed";
  return errorState(error) === "ENOENT";
}

/**
 * Moves a file into a folder. If the name is taken there, the file gets the load's number: nothing is
 * overwritten.
 *
 * @returns the new path
 * @throws RollbookError `configuration` when the folder is a symbolic link
 */
export async function moveFile(options: Destination & { readonly path: string }): Promise<string> {
  const { target } = await moveInto(options);
  return target;
}

interface Moved {
  readonly target: string;
  readonly how: "renamed" | "copied";
}

/** @param options.listed the only file that may be copied to another file system */
async function moveInto(
  options: Destination & { readonly path: string; readonly listed?: FileState },
): Promise<Moved> {
  const { path, folder, reason, listed, loadedAs = basename(path) } = options;
  await refuseLinkedFolder(folder);
  await mkdir(folder, { recursive: true });
  for (let attempt = loadedAs === basename(path) ? 0 : 1; ; attempt += 1) {
    const target = join(folder, nameFor(options, attempt));
    const wanted = reason === undefined ? [target] : [target, reasonPath(target)];
    const reserved = await reserve(wanted);
    if (!reserved) continue;
    try {
      if (reason !== undefined) await writeReason(target, reason);
      return { target, how: await moveOver(path, target, listed) };
    } catch (error) {
      await remove(wanted);
      throw error;
    }
  }
}

/** Longest name of a file, in bytes, on the file systems in use. */
const NAME_BYTES = 255;

/**
 * The name for an attempt: first its own, then with the load's number, then with other numbers. The reason's
 * name must fit, too.
 */
function nameFor(options: Destination & { readonly path: string }, attempt: number): string {
  const { loadId, reason } = options;
  const base = options.name ?? basename(options.path);
  const ending = endingOf(base);
  const stem = base.slice(0, base.length - ending.length);
  const number = attempt === 0 || loadId === null ? "" : `.load-${loadId}`;
  const again = attempt > 1 || (attempt === 1 && loadId === null) ? `.${attempt + 1}` : "";
  const rest = `${number}${again}${ending}`;
  const room = NAME_BYTES - Buffer.byteLength(reason === undefined ? rest : reasonPath(rest));
  return `${cutTo(stem, room)}${rest}`;
}

/** As many whole characters of a text as fit into so many bytes. */
function cutTo(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  const characters = [...text];
  while (characters.length > 0 && Buffer.byteLength(characters.join("")) > bytes) characters.pop();
  return characters.join("");
}

/**
 * Renames the file. Between two file systems (a mounted archive/) it is copied, and the copy gets its name
 * when it is whole.
 */
async function moveOver(path: string, target: string, listed?: FileState): Promise<Moved["how"]> {
  try {
    await rename(path, target);
    return "renamed";
  } catch (error) {
    if (errorState(error) !== "EXDEV") throw error;
  }
  await copyOver(path, target, listed);
  const now = await lookAt(path);
  // A file that has taken the name meanwhile is another drop, and stays.
  if (now !== undefined && (listed === undefined || isSameFile(listed, now))) await unlink(path);
  return "copied";
}

async function copyOver(path: string, target: string, listed?: FileState): Promise<void> {
  // A short name: the drop's may be as long as a name can be.
  const part = join(dirname(target), `.moving-${randomUUID()}.part`);
  const file = await openRegularFile(path, { follow: false, listed });
  try {
    const { atime, mtime, mode } = await file.stat();
    await pipeline(
      file.createReadStream({ autoClose: false }),
      createWriteStream(part, { flags: "wx", mode: mode & 0o777, flush: true }),
    );
    await utimes(part, atime, mtime);
    await rename(part, target);
  } catch (failure) {
    await unlink(part).catch(() => {});
    throw failure;
  } finally {
    await file.close();
  }
}

/** Makes empty files of these names, all or none. The files that are moved replace them. */
async function reserve(paths: readonly string[]): Promise<boolean> {
  const made: string[] = [];
  for (const path of paths) {
    try {
      await (await open(path, "wx")).close();
      made.push(path);
    } catch (error) {
      await remove(made);
      if (errorState(error) === "EEXIST") return false;
      throw error;
    }
  }
  return true;
}

async function remove(paths: readonly string[]): Promise<void> {
  for (const path of paths) await unlink(path).catch(() => {});
}
