/** Puts a drop that is done where it belongs: nothing is overwritten, and a rejected drop gets its reason beside it. */
import { copyFile, mkdir, open, rename, stat, unlink, utimes } from "node:fs/promises";
import { basename, join } from "node:path";
import { errorState } from "../db/errors.ts";
import { type InboxFile, isUntouched } from "./inbox.ts";
import { type Reason, reasonPath, writeReason } from "./reason.ts";

export interface Destination {
  /** Made when it is missing. */
  readonly folder: string;
  /** Where the name is taken it gets this number, if there is one. */
  readonly loadId: number | null;
  /** The name to have there; default: the one it has. */
  readonly name?: string | undefined;
  /** Written beside it, before it is there. */
  readonly reason?: Reason | undefined;
}

/**
 * Moves a drop, unless another file has taken its name since it was looked at.
 *
 * @returns the new path; undefined when another file stands there, or none: another process has moved it
 */
export async function clearAway(
  options: Destination & { readonly file: InboxFile },
): Promise<string | undefined> {
  const { file, ...destination } = options;
  if (!(await isUntouched(file))) return undefined;
  try {
    return await moveAside({ path: file.path, ...destination });
  } catch (error) {
    if (errorState(error) === "ENOENT" && !(await isUntouched(file))) return undefined;
    throw error;
  }
}

/**
 * Moves a file into a folder. Where the name is taken there it gets the load's number: nothing is overwritten.
 *
 * @returns the new path
 */
export async function moveAside(options: Destination & { readonly path: string }): Promise<string> {
  const { path, folder, reason } = options;
  await mkdir(folder, { recursive: true });
  for (let attempt = 0; ; attempt += 1) {
    const target = join(folder, nameFor(options, attempt));
    const wanted = reason === undefined ? [target] : [target, reasonPath(target)];
    const reserved = await reserve(wanted);
    if (!reserved) continue;
    try {
      if (reason !== undefined) await writeReason(target, reason);
      await moveOver(path, target);
    } catch (error) {
      await remove(wanted);
      throw error;
    }
    return target;
  }
}

/** Longest name of a file, in bytes, on the file systems in use. */
const NAME_BYTES = 255;

/** The name for an attempt: its own, then with the load's number, then with others. Its reason's name must fit as well. */
function nameFor(options: Destination & { readonly path: string }, attempt: number): string {
  const { loadId, reason } = options;
  const base = options.name ?? basename(options.path);
  // `.csv.gz` is one ending.
  const ending = /(\.csv)?(\.[^.]*)?$/i.exec(base)?.[0] ?? "";
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

/** Makes empty files of these names, all or none: what comes goes over them. */
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
