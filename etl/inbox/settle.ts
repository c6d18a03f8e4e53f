/** Which files of an inbox stand still: nobody has written to them for a while, as far as this process saw. */
import { isSameFile } from "../drop/file.ts";
import type { InboxFile } from "./list.ts";

/** Follows the looks at an inbox. */
export interface Settling {
  /**
   * Takes one look.
   *
   * @param lookedAt when the look began, by `performance.now()`
   * @returns the files that have been the same for the settle time
   */
  readonly observe: (files: readonly InboxFile[], lookedAt: number) => readonly InboxFile[];
  /** Milliseconds until the next file can be settled; Infinity when none can. */
  readonly nextMs: () => number;
}

/**
 * Begins to follow an inbox. A file's own time does not count: a copy may keep that of its original, and the
 * clock of a network share may differ.
 *
 * @param settleMs how long a file must stand still; with 0 it is settled as soon as it is seen
 */
export function followSettling(settleMs: number): Settling {
  let standing = new Map<string, { readonly file: InboxFile; readonly since: number; settled: boolean }>();
  return {
    observe: (files, lookedAt) => {
      const seenAt = performance.now();
      const now: typeof standing = new Map();
      for (const file of files) {
        const earlier = standing.get(file.path);
        const stands = earlier !== undefined && isSameFile(earlier.file, file);
        const since = stands ? earlier.since : seenAt;
        now.set(file.path, {
          file,
          since,
          settled: settleMs === 0 || (stands && lookedAt - since >= settleMs),
        });
      }
      standing = now;
      return files.filter(({ path }) => standing.get(path)?.settled);
    },
    nextMs: () => {
      let first = Number.POSITIVE_INFINITY;
      for (const { since, settled } of standing.values()) if (!settled) first = Math.min(first, since);
      return Math.max(1, first + settleMs - performance.now());
    },
  };
}
