/** The globs of a source: which paths below the inbox they fit. */
import picomatch from "picomatch";
import type { Source } from "./source.ts";

/** The most characters of a glob. */
const MAX_GLOB_LENGTH = 1000;

export type Fits = (path: string) => boolean;

/** Why a text is no glob, with the remedy; undefined for one that is. */
export function checkGlob(glob: string): string | undefined {
  if (glob.trim() === "") return "is blank: write a glob, for example sumup/*.csv";
  if (glob.length > MAX_GLOB_LENGTH) return `is longer than ${MAX_GLOB_LENGTH} characters`;
  if (glob.includes("\\")) return "has a backslash: write folders with / on every system";
  if (glob.split("/").some((part) => part === "" || part === "." || part === "..")) {
    return "is no path below the inbox: write it without a / at its ends, and without . and .. as folders";
  }
  try {
    compileGlob(glob);
    return undefined;
  } catch (error) {
    return `is no glob: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/**
 * `*` and `?` do not cross a `/`, `**` does. Names with a leading dot are fitted only where the glob has the dot. Case
 * matters. Round brackets, `|` and `+` stand for themselves, so that `Export (1).csv` is the file of that name.
 *
 * Throws what picomatch throws.
 */
function compileGlob(glob: string): Fits {
  return picomatch(glob.replace(/[()|+]/g, "\\$&"), {
    windows: false,
    // [!a] is any character but a.
    posix: true,
    noextglob: true,
    nonegate: true,
    // An unclosed bracket is an error, and none is kept back.
    strictBrackets: true,
    debug: true,
    // A name may hold a line break.
    flags: "s",
  });
}

interface Glob {
  readonly fits: Fits;
  /** Whether a folder, by its names from the inbox on, may hold such files, or lead to them. */
  readonly leadsInto: (folders: readonly string[]) => boolean;
}

/** Compiled once for each source: an inbox of thousands of files and folders is listed every few seconds. */
const compiled = new WeakMap<Source, readonly Glob[]>();

function globsOf(source: Source): readonly Glob[] {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  const globs = source.files.map((glob) => ({ fits: compileGlob(glob), leadsInto: compileFolders(glob) }));
  compiled.set(source, globs);
  return globs;
}

/** Whether one of the globs of a source fits a path. */
export function fitsSource(source: Source, path: string): boolean {
  return globsOf(source).some(({ fits }) => fits(path));
}

/** Whether a file of these sources may lie in a folder below the inbox, or further below. */
export function mayReadIn(sources: readonly Source[], folder: string): boolean {
  const names = folder.split("/");
  return sources.some((source) => globsOf(source).some(({ leadsInto }) => leadsInto(names)));
}

function compileFolders(glob: string): Glob["leadsInto"] {
  const parts = glob.split("/");
  // A `/` in braces or brackets divides nothing, and leaves parts in which one is open.
  if (parts.some((part) => checkGlob(part) !== undefined)) return () => true;
  const deep = parts.findIndex((part) => part.includes("**"));
  // The last part is that of files. From `**` on, any folder may do.
  const folders = parts.slice(0, deep < 0 ? -1 : deep).map(compileGlob);
  return (names) =>
    (deep >= 0 || names.length <= folders.length) &&
    folders.every((fits, depth) => {
      const name = names[depth];
      return name === undefined || fits(name);
    });
}
