/** The sources of a command line: where they lie, and which of them reads a file. */
import { stat } from "node:fs/promises";
import { Option } from "commander";
import { chooseSource } from "../sources/choose.ts";
import { defaultSources, findPlaces, type Places } from "../sources/place.ts";
import { readSources } from "../sources/read.ts";
import type { FileSource, Source } from "../sources/source.ts";
import { type Context, resolvePath, usageError } from "./context.ts";

export interface SourceFlags {
  readonly sources?: string;
  readonly inbox?: string;
}

export const sourcesOption = () =>
  new Option(
    "--sources <folder>",
    "folder of NAME.yaml files that say how the files of other senders are read (docs/sources.md); default: ROLLBOOK_SOURCES, or sources/ beside the inbox, if it is there",
  );

export const inboxOption = () =>
  new Option(
    "--inbox <folder>",
    "the inbox of these files, for the globs and patterns of sources; default: the nearest folder above a file with the sources beside it",
  );

/** The folder that the flag or the environment names. */
function namedFolder(context: Context, { sources }: SourceFlags): string | undefined {
  const named = sources ?? (context.environment.ROLLBOOK_SOURCES || undefined);
  return named === undefined ? undefined : resolvePath(context, named);
}

/**
 * Reads the sources of an inbox.
 *
 * @throws RollbookError `configuration` with all that is wrong with them
 */
export async function readInboxSources(
  context: Context,
  inbox: string,
  flags: SourceFlags,
): Promise<readonly Source[]> {
  const named = namedFolder(context, flags);
  return readSources({ folder: named ?? defaultSources(inbox), named: named !== undefined });
}

/** The source that reads each file; files of the drop format are left out. */
export type ChosenSources = ReadonlyMap<string, FileSource>;

/**
 * Chooses the sources of files that are named one by one.
 *
 * @throws RollbookError `configuration` when a source is wrong, `usage` when the choice is refused for a file
 */
export async function chooseSources(
  context: Context,
  files: readonly string[],
  flags: SourceFlags,
): Promise<ChosenSources> {
  const findSources = openSources(context, flags);
  const chosen = new Map<string, FileSource>();
  const refused: string[] = [];
  for (const file of files) {
    const path = resolvePath(context, file);
    const { sources, inbox } = await findSources(path);
    const choice = chooseSource({ sources, path, inbox });
    if (choice.kind === "source") chosen.set(file, choice.source);
    if (choice.kind === "refused") refused.push(choice.message);
  }
  if (refused.length > 0) throw usageError(`${refused.join(". ")}. Nothing was loaded.`);
  return chosen;
}

/** The inbox of a file, if it has one, without a look at the sources: one of them may be just being written. */
export async function findInbox(
  context: Context,
  path: string,
  flags: SourceFlags,
): Promise<string | undefined> {
  const inbox = flags.inbox === undefined ? undefined : resolvePath(context, flags.inbox);
  const places = await findPlaces({ file: path, sources: namedFolder(context, flags), inbox });
  return places.inbox;
}

/** Sources, and the inbox to which their globs refer, where that is known. */
export interface FoundSources {
  readonly sources: readonly Source[];
  readonly inbox?: string | undefined;
}

/** Finds the sources of a path: a file, or an inbox. Each folder of sources is read once. */
export function openSources(context: Context, flags: SourceFlags): (path: string) => Promise<FoundSources> {
  const named = namedFolder(context, flags);
  const known = new Map<string, Promise<readonly Source[]>>();
  const read = async ({ sources: folder, inbox }: Places): Promise<FoundSources> => {
    if (folder === undefined) return { sources: [], inbox };
    const reading = known.get(folder) ?? readSources({ folder, named: named !== undefined });
    known.set(folder, reading);
    return { sources: await reading, inbox };
  };
  const given = flags.inbox === undefined ? undefined : resolvePath(context, flags.inbox);
  return async (path) => {
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) return read({ sources: named ?? defaultSources(path), inbox: path });
    return read(await findPlaces({ file: path, sources: named, inbox: given }));
  };
}
