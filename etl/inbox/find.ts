/** Finds the file of a drop that is loaded: the one with the bytes that the ledger has, whatever its name is now. */
import { readdir, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { RollbookError } from "../../db/errors.ts";
import type { Load } from "../../db/schema.ts";
import { hashDrop, throwIfAborted } from "../drop/file.ts";
import { withoutLoadNumber } from "../drop/place.ts";
import { ARCHIVE } from "./list.ts";

/** A file, and whether a symbolic link may lead to it. */
export interface FoundFile {
  readonly path: string;
  readonly follow: boolean;
}

/**
 * Finds it in an inbox, at any depth, in its archive/ first; or at a path.
 *
 * @param options.place path of a file or a folder
 * @param options.isOfVenue whether a file is of the venue of the drop: others may have the same bytes
 * @throws RollbookError `not_found`, or `file_unreadable` for a file that is given and cannot be read
 */
export async function findDropFile(options: {
  readonly drop: Load;
  readonly place: string;
  readonly isOfVenue: (path: string) => boolean;
  readonly signal?: AbortSignal | undefined;
}): Promise<FoundFile> {
  const { drop, place } = options;
  const found = await stat(place).catch(() => undefined);
  if (found === undefined) throw notFound(drop, `there is no ${place}`);
  if (!found.isDirectory()) {
    if (await holds(options, { path: place, follow: true })) return { path: place, follow: true };
    throw notFound(drop, `${place} holds other bytes`);
  }
  for (const path of await listCandidates(options)) {
    const file = { path, follow: false };
    if (await holds(options, file)) return file;
  }
  throw notFound(drop, `neither ${place} nor its ${ARCHIVE}/ has it`);
}

/** A file of an archive. */
export interface ArchivedFile extends FoundFile {
  readonly gzip: boolean;
}

type ArchivedDrop = Pick<Load, "loadId" | "fileName" | "bytes" | "sha256">;

/**
 * Finds the files of drops in a folder, at any depth, by their bytes. Those with the drop's name are looked at first,
 * and each is read at most once.
 *
 * @returns by the number of the load, without those that are not there
 * @throws RollbookError `not_found` where there is no such folder
 */
export async function findArchivedFiles(options: {
  readonly drops: readonly ArchivedDrop[];
  readonly folder: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<ReadonlyMap<number, ArchivedFile>> {
  const { drops, folder, signal } = options;
  const there = await stat(folder).catch(() => undefined);
  if (there?.isDirectory() !== true) {
    throw new RollbookError({ code: "not_found", message: `there is no folder ${folder}` });
  }
  const files = await listFiles(folder);
  const hashed = new Map<string, Awaited<ReturnType<typeof hashDrop>>>();
  const found = new Map<number, ArchivedFile>();
  const isFound = async ({ loadId, sha256 }: ArchivedDrop, path: string): Promise<boolean> => {
    const content = hashed.get(path) ?? (await hashDrop({ path, follow: false, signal }));
    hashed.set(path, content);
    if (sha256?.equals(content.sha256) !== true) return false;
    found.set(loadId, { path, follow: false, gzip: content.gzip });
    return true;
  };
  const sizeOf = async (path: string) => (await stat(path).catch(() => undefined))?.size ?? -1;
  // A file is mostly under its name; only for the others each file is looked at.
  const others: ArchivedDrop[] = [];
  for (const drop of drops) {
    const named = files.filter((path) => withoutLoadNumber(basename(path)) === drop.fileName);
    let isThere = false;
    for (const path of named) isThere ||= (await sizeOf(path)) === drop.bytes && (await isFound(drop, path));
    if (!isThere) others.push(drop);
  }
  if (others.length === 0) return found;
  const ofSize = new Map<number, string[]>();
  for (const path of files) {
    throwIfAborted(path, signal);
    const size = await sizeOf(path);
    ofSize.set(size, [...(ofSize.get(size) ?? []), path]);
  }
  for (const drop of others)
    for (const path of ofSize.get(drop.bytes ?? -1) ?? []) if (await isFound(drop, path)) break;
  return found;
}

/** Files of that size: those of its venue first, then those in archive/, and that of the drop's name before others. */
async function listCandidates({
  place: inbox,
  drop: { fileName, bytes },
  isOfVenue,
}: {
  readonly place: string;
  readonly drop: Load;
  readonly isOfVenue: (path: string) => boolean;
}): Promise<readonly string[]> {
  const found: string[] = [];
  for (const path of await listFiles(inbox)) {
    if ((await stat(path).catch(() => undefined))?.size === bytes) found.push(path);
  }
  const isArchived = (path: string) => relative(inbox, path).startsWith(ARCHIVE + sep);
  const rank = (path: string) =>
    (isOfVenue(path) ? 4 : 0) + (isArchived(path) ? 2 : 0) + (basename(path) === fileName ? 1 : 0);
  const ranks = new Map(found.map((path) => [path, rank(path)]));
  return found.toSorted((a, b) => (ranks.get(b) ?? 0) - (ranks.get(a) ?? 0));
}

/** All files below a folder. Links are not followed, and what cannot be read is left out. */
async function listFiles(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const files: string[] = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) files.push(...(await listFiles(path)));
    else if (entry.isFile()) files.push(path);
  }
  return files;
}

async function holds(
  { drop, signal }: { readonly drop: Load; readonly signal?: AbortSignal | undefined },
  file: FoundFile,
): Promise<boolean> {
  const { sha256 } = await hashDrop({ ...file, signal });
  return drop.sha256?.equals(sha256) === true;
}

function notFound({ loadId, fileName }: Load, where: string): RollbookError {
  return new RollbookError({
    code: "not_found",
    message: `the file of load ${loadId}, ${fileName}, is needed to read its lines again, but ${where}. Name it: rollbook rejects retry --load ${loadId} FILE`,
  });
}
