/** The folder that a command line names as inbox, and the files in it. */
import { constants } from "node:fs";
import { access, realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, sep } from "node:path";
import { printable } from "../../escape.ts";
import { ARCHIVE, type ListOptions, REJECTED, refuseLinkedFolder } from "../../inbox/list.ts";
import { placeOf } from "../../inbox/mirror.ts";
import { chooseSource } from "../../sources/choose.ts";
import { type Context, resolvePath, usageError } from "../context.ts";

/** The path of an inbox that this user may read and move files out of. Those of its folders that are there are folders. */
export async function requireInbox(context: Context, folder: string): Promise<string> {
  const inbox = resolvePath(context, folder);
  const found = await stat(inbox).catch(() => undefined);
  if (found === undefined)
    throw usageError(`${printable(folder)}: there is no such folder. Make it, and try again.`);
  if (!found.isDirectory())
    throw usageError(`${printable(folder)} is no folder. To load a file: rollbook load`);
  for (const place of [ARCHIVE, REJECTED]) await refuseLinkedFolder(join(inbox, place));
  const { R_OK, W_OK, X_OK } = constants;
  await access(inbox, R_OK | W_OK | X_OK).catch(() => {
    throw usageError(`${printable(folder)}: this user may not both read it and move files out of it.`);
  });
  return inbox;
}

/**
 * Finds where files lie: in the inbox itself, with `recursive` or where a source reads them in folders below,
 * too, or anywhere in its rejected/. Gives their paths as the inbox's begins.
 */
export async function openPlaces(
  context: Context,
  inbox: string,
  { recursive = false, sources = [] }: ListOptions = {},
) {
  const real = (path: string) => realpath(path).catch(() => path);
  const realInbox = await real(inbox);
  return async (
    file: string,
  ): Promise<{ readonly folder: "" | typeof REJECTED; readonly path: string } | undefined> => {
    const given = resolvePath(context, file);
    const below = relative(realInbox, await real(dirname(given)));
    if (isAbsolute(below) || below.split(sep)[0] === "..") return undefined;
    const path = join(inbox, below, basename(given));
    const { place, folders } = placeOf(inbox, path);
    if (place === ARCHIVE) return undefined;
    const isFar = place === "" && folders.length > 0 && !recursive;
    if (isFar && chooseSource({ sources, path, inbox }).kind === "none") return undefined;
    return { folder: place, path };
  };
}
