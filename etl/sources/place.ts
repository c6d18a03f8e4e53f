/** Where the sources of an inbox lie, and where a file lies in its inbox. */
import { readdir } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { errorState, RollbookError } from "../../db/errors.ts";
import { ARCHIVE, REJECTED, withoutLoadNumber } from "../drop/place.ts";

const SOURCES = "sources";

/** The folder of the sources of an inbox where none is named. It need not be there. */
export function defaultSources(inbox: string): string {
  return join(dirname(resolve(inbox)), SOURCES);
}

/** The path of a file below a folder, with `/`; undefined for one that is not there. */
function pathBelow(folder: string, file: string): string | undefined {
  const path = relative(resolve(folder), resolve(file));
  const isBelow = path !== "" && path !== ".." && !path.startsWith(`..${sep}`);
  return isBelow ? path.split(sep).join("/") : undefined;
}

/**
 * The paths by which globs and patterns know a file: below its inbox, where the folders of archive/ and rejected/ count as those of
 * the inbox, and the number of a load that it got there does not. Of a file without inbox, the whole path and every part that
 * follows a `/`.
 *
 * @param options.name that it had in the inbox, where somebody knows it
 */
export function pathsOf(options: {
  readonly path: string;
  readonly name?: string | undefined;
  readonly inbox?: string | undefined;
}): readonly string[] {
  const { path, name, inbox } = options;
  const below = inbox === undefined ? undefined : pathBelow(inbox, path);
  const folders = (below ?? resolve(path).split(sep).join("/")).split("/");
  const own = folders.pop() ?? "";
  const isPlace = (folder = "") => folder === ARCHIVE || folder === REJECTED;
  const isDone = below === undefined ? folders.some(isPlace) : isPlace(folders[0]);
  const parts = [...folders, name ?? (isDone ? withoutLoadNumber(own) : own)];
  if (below !== undefined) return [parts.slice(isDone ? 1 : 0).join("/")];
  return parts.map((_, index) => parts.slice(index).join("/"));
}

/**
 * The inbox of a file whose sources lie in a folder: the folder beside that one in which the file lies, at any depth. Undefined where
 * there is none.
 */
export function inboxBeside(options: {
  readonly file: string;
  readonly sources: string;
}): string | undefined {
  const parent = dirname(resolve(options.sources));
  const [first, ...rest] = pathBelow(parent, options.file)?.split("/") ?? [];
  if (first === undefined || rest.length === 0) return undefined;
  const inbox = join(parent, first);
  return inbox === resolve(options.sources) ? undefined : inbox;
}

/** Where to look for the sources of a file, and its inbox, if it has one. */
export interface Places {
  readonly sources?: string | undefined;
  readonly inbox?: string | undefined;
}

/**
 * Finds them for a file that is named by itself, as for `load`. Without `sources` and `inbox`, the inbox is the folder above the file
 * that has a folder `sources` with sources in it beside it.
 *
 * @throws RollbookError `usage` when there are several: a sender could have made the nearest one
 */
export async function findPlaces(options: {
  readonly file: string;
  /** As they were named. */
  readonly sources?: string | undefined;
  readonly inbox?: string | undefined;
}): Promise<Places> {
  const { file, sources, inbox } = options;
  if (sources !== undefined) return { sources, inbox: inbox ?? inboxBeside({ file, sources }) };
  if (inbox !== undefined) return { sources: defaultSources(inbox), inbox };
  const found: Places[] = [];
  for (let folder = dirname(resolve(file)); folder !== dirname(folder); folder = dirname(folder)) {
    const beside = defaultSources(folder);
    if (beside !== folder && (await holdsSources(beside))) found.push({ sources: beside, inbox: folder });
  }
  const [only, second] = found;
  if (only === undefined || second === undefined) return only ?? {};
  throw new RollbookError({
    code: "usage",
    message: `${file}: its sources may lie in ${only.sources} or ${second.sources}: say which with --sources`,
  });
}

/** A folder that cannot be read may hold some: whoever reads it says so. */
async function holdsSources(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).some(isSourceFile);
  } catch (error) {
    return !["ENOENT", "ENOTDIR"].includes(errorState(error) ?? "");
  }
}

/** Whether a file of a folder of sources is one by its name, or means to be one. */
export function isSourceFile(name: string): boolean {
  return !name.startsWith(".") && /\.ya?ml$/i.test(name);
}
