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

/** Compiled once for each source: an inbox of thousands of files is listed every few seconds. */
const compiled = new WeakMap<Source, readonly Fits[]>();

/** Whether one of the globs of a source fits a path. */
export function fitsSource(source: Source, path: string): boolean {
  let globs = compiled.get(source);
  if (globs === undefined) {
    globs = source.files.map(compileGlob);
    compiled.set(source, globs);
  }
  return globs.some((fits) => fits(path));
}

/** Whether a file of these sources may lie in a folder below the inbox, or further below. */
export function mayReadIn(sources: readonly Source[], folder: string): boolean {
  const names = folder.split("/");
  return sources.some(({ files }) => files.some((glob) => leadsInto(glob, names)));
}

function leadsInto(glob: string, folders: readonly string[]): boolean {
  // A `/` in braces or brackets divides nothing.
  if (/[[{][^\]}]*\//.test(glob)) return true;
  const parts = glob.split("/");
  for (const [depth, name] of folders.entries()) {
    const part = parts[depth];
    if (part?.includes("**")) return true;
    // The last part is that of files.
    if (part === undefined || depth === parts.length - 1 || !compileGlob(part)(name)) return false;
  }
  return true;
}
