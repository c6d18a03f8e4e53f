/** Which files of an inbox stand still: nobody has written to them for a while. */
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
  /**
   * Milliseconds until all files that were seen can be settled, so that what came together is taken together; Infinity
   * when they are.
   */
  readonly nextMs: () => number;
}

/**
 * Begins to follow an inbox. A file has stood still since this process saw it so, whatever any clock says of it. Where the
 * file system goes by this machine's clock, it has already since its last change. Elsewhere the time of its last modification
 * does not count: a copy may keep that of its original, and the clock of a network share may differ.
 *
 * @param settleMs how long a file must stand still; with 0 it is settled as soon as it is seen
 */
export function followSettling(settleMs: number): Settling {
  let standing = new Map<string, { readonly file: InboxFile; readonly since: number; settled: boolean }>();
  return {
    observe: (files, lookedAt) => {
      const seenAt = performance.now();
      const clockAtLook = Date.now() - (seenAt - lookedAt);
      const now: typeof standing = new Map();
      for (const file of files) {
        const earlier = standing.get(file.path);
        const stands = earlier !== undefined && isSameFile(earlier.file, file);
        const restMs = restOf(file, clockAtLook);
        // A clock that is set back makes no file younger than it was seen.
        const since = Math.min(
          stands ? earlier.since : seenAt,
          restMs === undefined ? seenAt : lookedAt - restMs,
        );
        const isKnown = restMs !== undefined || stands;
        const settled = settleMs === 0 || (isKnown && lookedAt - since >= settleMs);
        now.set(file.path, { file, since, settled });
      }
      standing = now;
      return files.filter(({ path }) => standing.get(path)?.settled);
    },
    nextMs: () => {
      const open = [...standing.values()].filter(({ settled }) => !settled);
      if (open.length === 0) return Number.POSITIVE_INFINITY;
      const last = open.reduce((latest, { since }) => Math.max(latest, since), Number.NEGATIVE_INFINITY);
      return Math.max(1, last + settleMs - performance.now());
    },
  };
}

/**
 * For how many milliseconds nothing about a file has changed; undefined where that cannot be known, also after the clock
 * was set back.
 */
function restOf({ changedNs }: InboxFile, clockAtLook: number): number | undefined {
  if (changedNs === undefined) return undefined;
  const restMs = clockAtLook - Number(changedNs) / 1e6;
  return restMs < 0 ? undefined : restMs;
}
