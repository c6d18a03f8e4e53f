/** Watches a folder: which drops in it are complete, and where they go when they are done. */
import { type FileHandle, mkdir, open, readdir, rename, stat } from "node:fs/promises";
import { join, parse } from "node:path";
import { readDropName } from "./drop.ts";

export interface InboxFile {
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** Names of files that are still being written, or that are nobody's business. */
const UNFINISHED = /^\.|\.(part|partial|tmp|crdownload)$|~$/i;

/** The regular files of a folder that may be drops, by sync date and name, so that older statements come first. */
export async function listInbox(folder: string): Promise<readonly InboxFile[]> {
  const files: InboxFile[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isFile() || UNFINISHED.test(entry.name)) continue;
    const path = join(folder, entry.name);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) continue;
    files.push({ name: entry.name, path, bytes: found.size, modifiedMs: found.mtimeMs });
  }
  const order = ({ name }: InboxFile) => {
    const drop = readDropName({ fileName: name });
    return `${drop.kind === "named" ? drop.syncedOn : "9999"} ${name}`;
  };
  return files.sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** The files that stood still between two looks. */
export function settledFiles(before: readonly InboxFile[], now: readonly InboxFile[]): readonly InboxFile[] {
  const seen = new Map(before.map((file) => [file.name, file]));
  return now.filter((file) => {
    const earlier = seen.get(file.name);
    return earlier !== undefined && earlier.bytes === file.bytes && earlier.modifiedMs === file.modifiedMs;
  });
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
    const again = attempt > 1 ? `.${attempt}` : "";
    const target = join(folder, attempt === 0 ? base : `${name}${number}${again}${ext}`);
    const reserved = await reserve(target);
    if (reserved === undefined) continue;
    await reserved.close();
    await rename(path, target);
    return target;
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
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return undefined;
    throw error;
  }
}
