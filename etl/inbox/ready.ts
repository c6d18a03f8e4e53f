/** Finds the drops of an inbox that are ready to be loaded. */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Source } from "../sources/source.ts";
import { tellOnce } from "./left.ts";
import { type InboxFile, isUntouched, type LeftFile, listDrops } from "./list.ts";
import { followSettling } from "./settle.ts";
import { findWriters } from "./writers.ts";

/**
 * Finds the drops that are ready: they stand still, are named as drops are or read by a source, are readable,
 * and no process that can be seen has them open for writing. Files that do not stand still yet get the settle time for it, from
 * when the first file was seen: they may have come together with those that are ready. It goes on for `waitMs` while nothing is
 * ready. A file that still grows does not hold up the others for longer than that.
 *
 * @param options.intervalMs the longest time between two looks
 * @param options.settleMs how long a file must stand still
 * @param options.onLeft called once for each name that stays
 * @throws RollbookError `file_unreadable` when the folder cannot be read; the signal's reason when it aborts
 */
export async function findReadyDrops(options: {
  readonly folder: string;
  /** Also the folders below; default false. */
  readonly recursive?: boolean | undefined;
  readonly sources?: readonly Source[] | undefined;
  readonly waitMs: number;
  readonly intervalMs: number;
  readonly settleMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onLeft?: ((left: LeftFile) => void) | undefined;
}): Promise<readonly InboxFile[]> {
  const { folder, waitMs, intervalMs, settleMs, signal } = options;
  const settling = followSettling(settleMs);
  const { tell } = tellOnce((left) => options.onLeft?.(left));
  let firstLook: number | undefined;
  let firstSeen: number | undefined;
  for (;;) {
    const lookedAt = performance.now();
    const { files, left } = await listDrops(folder, options);
    for (const one of left) tell(one);
    const readable: InboxFile[] = [];
    for (const file of settling.observe(files, lookedAt)) {
      if (await isReadable(file)) readable.push(file);
      else if (await isUntouched(file)) tell({ name: relative(folder, file.path), reason: "unreadable" });
    }
    const ready = await leaveOpen(folder, readable, tell);
    firstLook ??= performance.now();
    if (files.length > 0) firstSeen ??= lookedAt;
    const isWhole =
      settling.nextMs() === Number.POSITIVE_INFINITY || lookedAt - (firstSeen ?? lookedAt) >= settleMs;
    // What is there at the first look gets the time to settle, however short the wait is.
    const atMost = files.length > 0 ? Math.max(waitMs, settleMs) : waitMs;
    if ((ready.length > 0 && isWhole) || lookedAt - firstLook >= atMost || atMost === 0) return ready;
    await sleep(Math.min(intervalMs, settling.nextMs()), undefined, { signal });
  }
}

/** The files that no process has open for writing. */
export async function leaveOpen(
  folder: string,
  files: readonly InboxFile[],
  tell: (left: LeftFile) => void,
): Promise<readonly InboxFile[]> {
  const writers = await findWriters(files);
  for (const { path } of files) {
    const writer = writers.get(path);
    if (writer !== undefined) tell({ name: relative(folder, path), reason: "open", writer });
  }
  return files.filter(({ path }) => !writers.has(path));
}

function isReadable({ path }: InboxFile): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
}
