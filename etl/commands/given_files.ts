/** The files that a command line names: those that are there and can be read. */
import { access, constants, lstat, stat } from "node:fs/promises";
import { errorState } from "../../db/errors.ts";
import { printable } from "../escape.ts";
import { note } from "../output.ts";
import { type Context, resolvePath, usageError } from "./context.ts";
import type { LoadFlags } from "./load_flags.ts";

/** The files that are there. One that is not, or is no readable file, ends the command before anything is loaded. */
export async function presentFiles(
  context: Context,
  files: readonly string[],
  { ignoreMissing = false, follow }: Pick<LoadFlags, "ignoreMissing" | "follow">,
): Promise<readonly string[]> {
  const present: string[] = [];
  for (const file of files) {
    const path = resolvePath(context, file);
    const name = printable(file);
    const found = await (follow ? stat(path) : lstat(path)).catch((error: NodeJS.ErrnoException) => error);
    if (found instanceof Error) {
      if (!isMissing(found)) {
        throw usageError(`${name} cannot be looked at (${found.code}). Nothing was loaded.`);
      }
      if (!ignoreMissing)
        throw usageError(`${name}: there is no such file.${hintOf(file)} Nothing was loaded.`);
      noteMissing(context, file);
      continue;
    }
    // What takes a drop's name after it was listed must not hold up the others.
    if (!follow && ignoreMissing && !found.isFile()) {
      note(context, `${name}: no regular file, skipped`);
      continue;
    }
    if (found.isDirectory()) {
      throw usageError(
        `${name} is a folder. Nothing was loaded. Name the files in it, or take it as an inbox: rollbook watch ${name}`,
      );
    }
    if (found.isSymbolicLink()) {
      throw usageError(`${name} is a symbolic link, and --no-follow refuses those. Nothing was loaded.`);
    }
    if (!found.isFile()) throw usageError(`${name} is no regular file. Nothing was loaded.`);
    const readable = await access(path, constants.R_OK).then(
      () => true,
      () => false,
    );
    if (!readable) throw usageError(`${name} may not be read by this user. Nothing was loaded.`);
    present.push(file);
  }
  return present;
}

export async function isGone(path: string, follow: boolean): Promise<boolean> {
  return (follow ? stat(path) : lstat(path)).then(
    (found) => !follow && !found.isFile(),
    (error: unknown) => isMissing(error),
  );
}

function isMissing(error: unknown): boolean {
  const state = errorState(error);
  return state === "ENOENT" || state === "ENOTDIR";
}

export function noteMissing(context: Context, file: string): void {
  note(context, `${printable(file)}: not there, skipped`);
}

/** Arguments are text: of bytes that are not UTF-8 something else has come in. */
function hintOf(file: string): string {
  return file.includes("\ufffd") ? " If its name is not UTF-8, rename it." : "";
}
