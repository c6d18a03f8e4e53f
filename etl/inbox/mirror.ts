/** Where a file of an inbox belongs: archive/ and rejected/ have the folders that the inbox has. */
import { dirname, join, relative, sep } from "node:path";
import { ARCHIVE, REJECTED, refuseLinkedFolder } from "./list.ts";

/** Of an inbox: itself, or one of its two folders for files that are done. */
export type Place = "" | typeof ARCHIVE | typeof REJECTED;

/** Where a file lies: the place, and the folders below that. Its path begins with the inbox's. */
export function placeOf(inbox: string, path: string): { readonly place: Place; readonly folders: string[] } {
  const folders = relative(inbox, dirname(path)).split(sep).filter(Boolean);
  const [first] = folders;
  if (first !== ARCHIVE && first !== REJECTED) return { place: "", folders };
  return { place: first, folders: folders.slice(1) };
}

/** The folder that has in one place what the file's folder is in another. It need not be there. */
export function mirrorFolder(inbox: string, path: string, place: Place): string {
  return join(inbox, place, ...placeOf(inbox, path).folders);
}

/**
 * The same for a file that is about to be moved there.
 *
 * @throws RollbookError `configuration` when a folder on the way is a symbolic link
 */
export async function safeMirrorFolder(inbox: string, path: string, place: Place): Promise<string> {
  const { folders } = placeOf(inbox, path);
  for (let depth = 1; depth < folders.length; depth += 1) {
    await refuseLinkedFolder(join(inbox, place, ...folders.slice(0, depth)));
  }
  if (folders.length > 0 && place !== "") await refuseLinkedFolder(join(inbox, place));
  return join(inbox, place, ...folders);
}
