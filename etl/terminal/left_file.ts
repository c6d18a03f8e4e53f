/** Files that stay in an inbox, for people. */
import { printable } from "../escape.ts";
import type { LeftFile } from "../inbox/list.ts";

/** Why something stays in the inbox, and what to do about it. */
export function describeLeft({ name: given, reason, writer = "", message = "" }: LeftFile): string {
  const name = printable(given);
  switch (reason) {
    case "link":
      return `${name}: a symbolic link, so it stays where it is: links are not followed. Put the file itself here.`;
    case "folder":
      return `${name}: a folder, so it stays where it is: only files directly in the inbox are loaded, unless --recursive is set.`;
    case "pipe":
    case "socket":
    case "device":
      return `${name}: a ${reason} and no file, so it stays where it is, unopened. Remove it.`;
    case "not_utf8":
      return `${name}: its name is not UTF-8, so it stays where it is. Rename it.`;
    case "not_csv":
      return `${name}: no CSV file, so it stays where it is: its name does not end in .csv or .csv.gz.`;
    case "no_source":
      return `${name}: no source reads it, so it stays where it is: files in folders are loaded when a source reads them, or with --recursive.`;
    case "refused":
      return `${printable(message)}; it stays where it is.`;
    case "open":
      return `${name}: ${printable(writer)} has it open for writing, so it stays until that is over.`;
    case "unreadable":
      return `${name}: this user may not read it, so it stays where it is. Let this user read it (chmod, chown).`;
  }
}
