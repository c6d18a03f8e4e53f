/** Lists an inbox: what may be a drop, and what stays there. */
import { isUtf8 } from "node:buffer";
import type { Dirent } from "node:fs";
import { lstat, readdir, realpath } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { errorState, RollbookError } from "../../db/errors.ts";
import { type FileState, isSameFile } from "../drop/file.ts";
import { FILE_DATE, readDropName } from "../drop/name.ts";
import { ARCHIVE, REJECTED } from "../drop/place.ts";
import { chooseSource } from "../sources/choose.ts";
import { mayReadIn } from "../sources/glob.ts";
import type { FileSource, Source } from "../sources/source.ts";
import { keepsLocalTime } from "./local_time.ts";

export { ARCHIVE, REJECTED };

export interface InboxFile extends FileState {
  readonly name: string;
  readonly path: string;
  /**
   * When anything about it last changed, in nanoseconds since 1970 by this machine's clock; undefined where the file
   * system goes by another one.
   */
  readonly changedNs?: bigint | undefined;
  /** What says how it is read; undefined: it is a file of the drop format, or nobody has asked yet. */
  readonly source?: FileSource | undefined;
}

/** Names of hidden files, and of files that are still being written. */
const UNFINISHED = /^\.|\.(part|partial|tmp|crdownload)$|~$/i;

export interface Inbox {
  /** Regular files that may be drops, by sync date and name, so that older statements come first. */
  readonly files: readonly InboxFile[];
  /**
   * What cannot be a drop: folders, links, pipes and the like (they are not followed or opened), and names
   * that are not UTF-8.
   */
  readonly left: readonly LeftFile[];
}

/** A file, or something else, that stays in the inbox until somebody does something about it. */
export interface LeftFile {
  /** Its name, behind those of the folders below the inbox, with any characters; a name that is not UTF-8 is read as Latin-1. */
  readonly name: string;
  readonly reason:
    | "link"
    | "folder"
    | "pipe"
    | "socket"
    | "device"
    | "not_utf8"
    | "not_csv"
    /** It lies in a folder, and no source reads it. */
    | "no_source"
    /** Several sources fit it, or a pattern of its source does not. */
    | "refused"
    | "unreadable"
    /** A process is writing to it, or may go on to. */
    | "open";
  /** Who has it open, for people. */
  readonly writer?: string | undefined;
  /** Why it is refused, with the remedy. */
  readonly message?: string | undefined;
}

export interface ListOptions {
  /** Lists the folders below, too, but for hidden ones; default false. Links to folders are not followed. */
  readonly recursive?: boolean | undefined;
  /** Folders in which a file of these may lie are listed, too; default none. */
  readonly sources?: readonly Source[] | undefined;
}

/**
 * Lists a folder. Its archive/ and rejected/, hidden files and unfinished files are left out.
 *
 * @throws RollbookError `file_unreadable` when the folder cannot be read
 */
export async function listInbox(folder: string, options: ListOptions = {}): Promise<Inbox> {
  const files: InboxFile[] = [];
  const left: LeftFile[] = [];
  const folders = [""];
  for (let below = folders.pop(); below !== undefined; below = folders.pop()) {
    const entries = below === "" ? await readFolder(folder) : await readSubfolder(folder, below);
    const isLocal = await keepsLocalTime(join(folder, below));
    if (entries === undefined) left.push({ name: below, reason: "unreadable" });
    for (const entry of entries ?? []) {
      const name = entry.name.toString("utf8");
      const isPlace = below === "" && entry.isDirectory() && (name === ARCHIVE || name === REJECTED);
      if (UNFINISHED.test(name) || isPlace) continue;
      const isNamable = isUtf8(entry.name);
      if (isNamable && entry.isDirectory() && isListed(join(below, name), options)) {
        folders.push(join(below, name));
        continue;
      }
      const reason = entry.isFile() ? (isNamable ? undefined : "not_utf8") : kindOf(entry);
      if (reason !== undefined) {
        left.push({ name: join(below, isNamable ? name : entry.name.toString("latin1")), reason });
        continue;
      }
      const found = await lookAt(join(folder, below, name));
      if (found !== undefined) files.push(isLocal ? found : { ...found, changedNs: undefined });
    }
  }
  return { files: sortByDate(files), left };
}

function isListed(folder: string, { recursive = false, sources = [] }: ListOptions): boolean {
  return recursive || mayReadIn(sources, folder);
}

function sortByDate(files: readonly InboxFile[]): readonly InboxFile[] {
  const keyed = files.map((file) => ({ file, key: `${orderDateOf(file)} ${file.name} ${file.path}` }));
  keyed.sort((one, other) => (one.key < other.key ? -1 : 1));
  return keyed.map(({ file }) => file);
}

/** For the order alone: the zone in which a file's date is its sync date is the warehouse's. */
function orderDateOf(file: InboxFile): string {
  const date = syncDateOf(file);
  if (date !== FILE_DATE) return date ?? "9999";
  return new Date(Number(file.modifiedNs / 1_000_000n)).toISOString().slice(0, 10);
}

/** @returns nothing when it is gone or a link by now, undefined when it cannot be read */
async function readSubfolder(folder: string, below: string): Promise<Dirent<Buffer>[] | undefined> {
  const path = join(folder, below);
  // Whoever may write to the inbox could have put a link in its place, or in that of a folder above it.
  const isInPlace = async () =>
    (await realpath(path).catch(() => "")) === join(await realpath(folder), below);
  if (!(await isInPlace())) return [];
  const entries = await readdir(path, { withFileTypes: true, encoding: "buffer" }).catch(() => undefined);
  return entries === undefined && !(await isThere(path)) ? [] : entries;
}

/**
 * The same for drops alone, each with its source. What is left, too: a file that no source reads, where its
 * name is no drop's or it lies in a folder that is only listed for the sources; and one for which the choice of
 * a source is refused.
 */
export async function listDrops(folder: string, options: ListOptions = {}): Promise<Inbox> {
  const { files, left } = await listInbox(folder, options);
  const { sources = [], recursive = false } = options;
  const drops: InboxFile[] = [];
  const others: LeftFile[] = [...left];
  for (const file of files) {
    const name = relative(folder, file.path);
    const choice = chooseSource({ sources, path: file.path, inbox: folder });
    if (choice.kind === "source") drops.push({ ...file, source: choice.source });
    else if (choice.kind === "refused") others.push({ name, reason: "refused", message: choice.message });
    else if (!recursive && name !== file.name) others.push({ name, reason: "no_source" });
    else if (isDropName(file.name)) drops.push(file);
    else others.push({ name, reason: "not_csv" });
  }
  return { files: sortByDate(drops), left: others };
}

function isDropName(fileName: string): boolean {
  const drop = readDropName({ fileName });
  return drop.kind === "named" || drop.code !== "not_csv";
}

function kindOf(entry: Dirent<Buffer>): LeftFile["reason"] {
  if (entry.isSymbolicLink()) return "link";
  if (entry.isDirectory()) return "folder";
  if (entry.isFIFO()) return "pipe";
  return entry.isSocket() ? "socket" : "device";
}

/** The sync date of a drop: as its source says, which may be {@link FILE_DATE}, else as its name does, if it does. */
export function syncDateOf({ name, source }: Pick<InboxFile, "name" | "source">): string | undefined {
  if (source?.syncedOn !== undefined) return source.syncedOn;
  const drop = readDropName({ fileName: name, anyEnding: source !== undefined });
  return drop.kind === "named" ? drop.syncedOn : undefined;
}

/**
 * Refuses a symbolic link in the place of archive/ or rejected/. Anybody who may write to the inbox could
 * have made it, and drops, with names that their senders chose, would be moved wherever it leads.
 *
 * @throws RollbookError `configuration`
 */
export async function refuseLinkedFolder(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSymbolicLink() !== true) return;
  throw new RollbookError({
    code: "configuration",
    message:
      `${path} is a symbolic link, and drops are not moved through one. ` +
      "Make it a folder; to have it on another disk, mount that there.",
  });
}

async function readFolder(folder: string): Promise<Dirent<Buffer>[]> {
  try {
    return await readdir(folder, { withFileTypes: true, encoding: "buffer" });
  } catch (error) {
    throw new RollbookError({
      code: "file_unreadable",
      message:
        `the inbox ${folder} cannot be read (${errorState(error) ?? String(error)}). ` +
        "See that it is there and that this user may read it.",
      cause: error,
    });
  }
}

/** A regular file as it is now; undefined when there is none, or something else. */
export async function lookAt(path: string): Promise<InboxFile | undefined> {
  const found = await lstat(path, { bigint: true }).catch(() => undefined);
  if (found === undefined || !found.isFile()) return undefined;
  const { size: bytes, mtimeNs: modifiedNs, ctimeNs: changedNs, ino: inode } = found;
  return { name: basename(path), path, bytes, modifiedNs, changedNs, inode };
}

/** Whether there is anything at the path. */
export async function isThere(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}

/** Whether the file is still there, the same as it was listed. */
export async function isUntouched(file: InboxFile): Promise<boolean> {
  const now = await lookAt(file.path);
  return now !== undefined && isSameFile(file, now);
}
