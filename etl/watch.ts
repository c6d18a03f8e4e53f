/** Watches a folder: which drops in it are complete, and where they go when they are done. */
import { isUtf8 } from "node:buffer";
import type { Dirent } from "node:fs";
import {
  copyFile,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  stat,
  unlink,
  utimes,
} from "node:fs/promises";
import { join, parse } from "node:path";
import { errorState, RollbookError } from "../db/errors.ts";
import { readDropName } from "./drop.ts";

export interface InboxFile {
  readonly name: string;
  readonly path: string;
  readonly bytes: bigint;
  readonly modifiedNs: bigint;
  readonly inode: bigint;
}

/** Names of files that are still being written, or that are nobody's business. */
const UNFINISHED = /^\.|\.(part|partial|tmp|crdownload)$|~$/i;

export interface Inbox {
  /** Regular files that may be drops, by sync date and name, so that older statements come first. */
  readonly files: readonly InboxFile[];
  /** Names that are not UTF-8, made printable: no drop can be named by them. */
  readonly unnamable: readonly string[];
}

/**
 * Looks into a folder. Subfolders, links, pipes, hidden and unfinished files are left alone.
 *
 * @throws RollbookError `file_unreadable` when the folder cannot be read
 */
export async function listInbox(folder: string): Promise<Inbox> {
  const files: InboxFile[] = [];
  const unnamable: string[] = [];
  for (const entry of await readFolder(folder)) {
    const name = entry.name.toString("utf8");
    if (!entry.isFile() || UNFINISHED.test(name)) continue;
    if (!isUtf8(entry.name)) {
      unnamable.push(entry.name.toString("latin1"));
      continue;
    }
    const path = join(folder, name);
    const found = await lookAt(path);
    if (found !== undefined) files.push({ name, path, ...found });
  }
  const order = ({ name }: InboxFile) => {
    const drop = readDropName({ fileName: name });
    return `${drop.kind === "named" ? drop.syncedOn : "9999"} ${name}`;
  };
  const keyed = files.map((file) => ({ file, key: order(file) }));
  keyed.sort((one, other) => (one.key < other.key ? -1 : 1));
  return { files: keyed.map(({ file }) => file), unnamable };
}

async function readFolder(folder: string): Promise<Dirent<Buffer>[]> {
  try {
    return await readdir(folder, { withFileTypes: true, encoding: "buffer" });
  } catch (error) {
    throw new RollbookError({
      code: "file_unreadable",
      message: `the inbox ${folder} cannot be read (${errorState(error) ?? String(error)}). See that it is there and that this user may read it.`,
      cause: error,
    });
  }
}

async function lookAt(path: string): Promise<Omit<InboxFile, "name" | "path"> | undefined> {
  const found = await lstat(path, { bigint: true }).catch(() => undefined);
  if (found === undefined || !found.isFile()) return undefined;
  return { bytes: found.size, modifiedNs: found.mtimeNs, inode: found.ino };
}

function isSame(one: Omit<InboxFile, "name" | "path">, other: Omit<InboxFile, "name" | "path">): boolean {
  return one.bytes === other.bytes && one.modifiedNs === other.modifiedNs && one.inode === other.inode;
}

/** The files that stood still between two looks. */
export function settledFiles(before: readonly InboxFile[], now: readonly InboxFile[]): readonly InboxFile[] {
  const seen = new Map(before.map((file) => [file.name, file]));
  return now.filter((file) => {
    const earlier = seen.get(file.name);
    return earlier !== undefined && isSame(earlier, file);
  });
}

/** Whether the file is still there, the same as it was listed. */
export async function isUntouched(file: InboxFile): Promise<boolean> {
  const now = await lookAt(file.path);
  return now !== undefined && isSame(file, now);
}

/** Moves a drop out of the inbox, unless another file has taken its name since it was listed. Returns whether it did. */
export async function clearAway(options: {
  readonly file: InboxFile;
  readonly folder: string;
  readonly loadId: number | null;
}): Promise<boolean> {
  const { file, folder, loadId } = options;
  // A new file of that name, which nobody has loaded yet, or none: another process has moved it.
  if (!(await isUntouched(file))) return false;
  await moveAside({ path: file.path, folder, loadId });
  return true;
}

/**
 * Moves a file into a folder, which is made when it is missing. Where the name is taken it gets the load's number: nothing is overwritten.
 *
 * @returns the new path
 */
export async function moveAside(options: {
  readonly path: string;
  readonly folder: string;
  readonly loadId: number | null;
}): Promise<string> {
  const { path, folder, loadId } = options;
  await mkdir(folder, { recursive: true });
  const { base, name, ext } = splitName(path);
  for (let attempt = 0; ; attempt += 1) {
    const number = loadId === null ? "" : `.load-${loadId}`;
    const again = attempt > 1 || (attempt === 1 && loadId === null) ? `.${attempt + 1}` : "";
    const target = join(folder, attempt === 0 ? base : `${name}${number}${again}${ext}`);
    const reserved = await reserve(target);
    if (reserved === undefined) continue;
    await reserved.close();
    try {
      await moveOver(path, target);
    } catch (error) {
      await unlink(target).catch(() => {});
      throw error;
    }
    return target;
  }
}

/** A rename; between two file systems (an archive/ that is mounted) a copy, which has its name only when it is whole. */
async function moveOver(path: string, target: string): Promise<void> {
  try {
    await rename(path, target);
  } catch (error) {
    if (errorState(error) !== "EXDEV") throw error;
    const part = `${target}.part`;
    try {
      await copyFile(path, part);
      const { atime, mtime } = await stat(path);
      await utimes(part, atime, mtime);
      await rename(part, target);
    } catch (failure) {
      await unlink(part).catch(() => {});
      throw failure;
    }
    await unlink(path);
  }
}

/** The name with its whole ending: `.csv.gz` is one. */
function splitName(path: string): { base: string; name: string; ext: string } {
  const { base } = parse(path);
  const ending = /(\.csv)?(\.[^.]*)?$/i.exec(base)?.[0] ?? "";
  return { base, name: base.slice(0, base.length - ending.length), ext: ending };
}

/** Makes an empty file of this name, unless there is one: the rename goes over it. */
async function reserve(target: string): Promise<FileHandle | undefined> {
  try {
    return await open(target, "wx");
  } catch (error) {
    if (errorState(error) === "EEXIST") return undefined;
    throw error;
  }
}
