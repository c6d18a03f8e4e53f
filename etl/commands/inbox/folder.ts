/** The folder that a command line names as inbox, and the files in it. */
import { constants } from "node:fs";
import { access, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { printable } from "../../escape.ts";
import { ARCHIVE, REJECTED, refuseLinkedFolder } from "../../inbox/list.ts";
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

/** Finds where files lie, directly in the inbox or in its rejected/, and gives their paths as the inbox's begins. */
export async function openPlaces(context: Context, inbox: string) {
  const real = (path: string) => realpath(path).catch(() => path);
  const places = new Map<string, "" | typeof REJECTED>([
    [await real(inbox), ""],
    [await real(join(inbox, REJECTED)), REJECTED],
  ]);
  return async (
    file: string,
  ): Promise<{ readonly folder: "" | typeof REJECTED; readonly path: string } | undefined> => {
    const path = resolvePath(context, file);
    const folder = places.get(await real(dirname(path)));
    return folder === undefined ? undefined : { folder, path: join(inbox, folder, basename(path)) };
  };
}
