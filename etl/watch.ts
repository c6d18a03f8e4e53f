/** Takes in the drops of an inbox as they appear: round after round, as `inbox/round.ts` says. */
import { relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Database } from "../db/client.ts";
import type { Settings } from "../db/schema.ts";
import { isSameFile } from "./drop/file.ts";
import { checkFiles, type Finding } from "./inbox/check.ts";
import { type Teller, tellOnce } from "./inbox/left.ts";
import { type InboxFile, type LeftFile, listDrops, lookAt } from "./inbox/list.ts";
import { leaveOpen } from "./inbox/ready.ts";
import { goRound, isAway, type Place, type Taken } from "./inbox/round.ts";
import { followSettling } from "./inbox/settle.ts";
import type { LoadReport } from "./load/report.ts";
import type { Source } from "./sources/source.ts";

/** After a failure a file's next try waits twice as long, up to this. */
const LONGEST_WAIT_MS = 300_000;
/** While the database is away, all files wait at most this long. */
const LONGEST_OUTAGE_WAIT_MS = 30_000;

/** What the watch archived is looked at again for so long, and so many files of it, the newest. */
const LOOK_BACK_MS = 86_400_000;
const LOOK_BACK_FILES = 2000;

/** Files of one round, the oldest: they leave the inbox when all of them are loaded and refreshed. */
const FILES_OF_A_ROUND = 2000;

/** Something that did not go as it should, and that does not end the watch. */
export type WatchEvent =
  /** Reported once for each name, until it is gone. */
  | { readonly kind: "left"; readonly left: LeftFile }
  /** A file that this watch archived was written to afterwards. */
  | { readonly kind: "not_as_loaded"; readonly finding: Finding }
  /** The file is loaded or rejected, and stays in the inbox. Moving it is tried again. */
  | {
      readonly kind: "not_moved";
      readonly file: InboxFile;
      readonly outcome: LoadReport["outcome"];
      /** Where it belongs: archive or rejected. */
      readonly folder: string;
      readonly error: unknown;
    }
  /** The database is away: the refresh is tried again after the next look. */
  | { readonly kind: "refresh_waits"; readonly error: unknown };

export interface WatchOptions {
  readonly database: Database;
  readonly settings: Settings;
  /** Path of the folder. */
  readonly inbox: string;
  /** Also the folders below; default false. */
  readonly recursive?: boolean | undefined;
  /** Which read its files; default none. */
  readonly sources?: readonly Source[] | undefined;
  /** The longest time between two looks. */
  readonly intervalMs: number;
  /** How long a file must stand still before it is taken. */
  readonly settleMs: number;
  /**
   * End when everything that is in the inbox was tried, but for files that are open for writing; default: go
   * on until `signal` aborts.
   */
  readonly once?: boolean | undefined;
  readonly signal: AbortSignal;
  /**
   * Loads a drop as it was listed, and no other file. A drop that fails or is rejected is a report, no error.
   */
  readonly load: (file: InboxFile, place: Place) => Promise<LoadReport>;
  /** Refreshes the partitions of these names. */
  readonly refresh: (partitions: ReadonlySet<string>) => Promise<unknown>;
  readonly onEvent?: ((event: WatchEvent) => void) | undefined;
}

/**
 * `failed`: the database is away, or a file could not be loaded or moved. `rejected`: at least one drop was
 * rejected.
 */
export type WatchOutcome = "done" | "rejected" | "failed";

/**
 * Watches an inbox. A file is loaded when it has stood still for the settle time and no process has it open
 * for writing, the oldest sync date first. A file that fails is tried again, ever more rarely, and does not
 * hold up the others.
 *
 * @returns with `once`, what became of the files; without it, the watch never ends by itself
 * @throws RollbookError `file_unreadable` when the inbox cannot be read; the signal's reason when it aborts
 */
export async function watchInbox(options: WatchOptions): Promise<WatchOutcome> {
  const { intervalMs, settleMs, signal } = options;
  const teller = tellOnce((left) => options.onEvent?.({ kind: "left", left }));
  const watch: Watch = { ...options, stuck: new Map(), unrefreshed: new Set(), archived: new Map(), teller };
  const settling = followSettling(settleMs);
  let rejected = false;
  let waitMs = intervalMs;
  let heldSince: number | undefined;
  for (;;) {
    await lookBack(watch);
    const lookedAt = performance.now();
    const now = await look(watch);
    forgetGone(watch, now);
    const settled = settling.observe(now, lookedAt);
    const ready = await leaveOpen(
      watch.inbox,
      settled.filter((file) => isDue(watch, file)),
      teller.tell,
    );
    // What came together is taken together, in its order; but a file that still grows holds up the others only so long.
    heldSince = ready.length > 0 && settled.length < now.length ? (heldSince ?? lookedAt) : undefined;
    const due = heldSince !== undefined && lookedAt - heldSince < settleMs ? [] : ready;
    const taken = await takeIn(watch, due);
    rejected ||= taken.rejected;
    if (due.length > FILES_OF_A_ROUND && !taken.databaseAway) continue;
    if (options.once && settled.length === now.length) {
      if (taken.databaseAway || watch.stuck.size > 0) return "failed";
      return rejected ? "rejected" : "done";
    }
    // While the database is away each look costs a try. A file that fails alone waits alone.
    waitMs = taken.databaseAway ? Math.min(waitMs * 2, LONGEST_OUTAGE_WAIT_MS) : intervalMs;
    await sleep(taken.databaseAway ? waitMs : Math.min(waitMs, settling.nextMs()), undefined, { signal });
  }
}

interface Watch extends WatchOptions {
  /** Files that failed to load or to move, by path. */
  readonly stuck: Map<string, Stuck>;
  /** Partitions that were touched and are not refreshed yet. */
  readonly unrefreshed: Set<string>;
  readonly teller: Teller;
  /** What this watch archived, by path. */
  readonly archived: Map<string, Archived>;
}

interface Archived {
  /** As it was when it was loaded. */
  readonly file: InboxFile;
  /** In milliseconds since 1970. */
  readonly at: number;
}

interface Stuck {
  readonly file: InboxFile;
  /** What became of the load, where the file only has to be moved. */
  readonly report: LoadReport | undefined;
  readonly waitMs: number;
  /** Not to be tried before this time, in milliseconds since 1970. */
  readonly until: number;
}

async function look({ inbox, recursive, sources, teller }: Watch): Promise<readonly InboxFile[]> {
  const { files, left } = await listDrops(inbox, { recursive, sources });
  teller.forgetGone([...files.map(({ path }) => ({ name: relative(inbox, path) })), ...left]);
  for (const one of left) teller.tell(one);
  return files;
}

/**
 * Looks again at what was archived: a sender may have gone on writing. What is not as it was loaded goes back
 * to the inbox.
 */
async function lookBack(watch: Watch): Promise<void> {
  const { archived, database, inbox, sources, signal, onEvent } = watch;
  const changed: InboxFile[] = [];
  for (const [path, { file, at }] of archived) {
    const now = await lookAt(path);
    if (now !== undefined && !isSameFile(file, now)) changed.push(now);
    else if (now === undefined || Date.now() - at > LOOK_BACK_MS) archived.delete(path);
  }
  if (changed.length === 0) return;
  const failed = new Set<string>();
  const onFinding = async (finding: Finding) => {
    if (finding.outcome === "failed") failed.add(finding.file);
    onEvent?.({ kind: "not_as_loaded", finding });
  };
  try {
    await checkFiles({ database, inbox, sources, signal, onFinding }, changed, () => true);
  } catch (error) {
    // They are looked at again when the database is back.
    if (signal.aborted || !isAway(error)) throw error;
    return;
  }
  for (const file of changed) {
    // It has its old bytes, or is one that stays.
    if (!failed.has(file.path)) archived.set(file.path, { file, at: Date.now() });
  }
}

function rememberArchived({ archived }: Watch, file: InboxFile): void {
  archived.set(file.path, { file, at: Date.now() });
  const [oldest] = archived.keys();
  if (archived.size > LOOK_BACK_FILES && oldest !== undefined) archived.delete(oldest);
}

function forgetGone({ stuck }: Watch, now: readonly InboxFile[]): void {
  const paths = new Set(now.map(({ path }) => path));
  for (const path of stuck.keys()) if (!paths.has(path)) stuck.delete(path);
}

/** A file that failed waits; one that was written anew does not. */
function isDue({ stuck }: Watch, file: InboxFile): boolean {
  const earlier = stuck.get(file.path);
  if (earlier === undefined) return true;
  if (isSameFile(earlier.file, file)) return Date.now() >= earlier.until;
  stuck.delete(file.path);
  return true;
}

interface TakenIn {
  readonly rejected: boolean;
  readonly databaseAway: boolean;
}

/** Loads complete drops, refreshes what they touched, and moves them out of the inbox. */
async function takeIn(watch: Watch, files: readonly InboxFile[]): Promise<TakenIn> {
  const { stuck, unrefreshed, onEvent } = watch;
  const { taken, away } = await goRound({
    ...watch,
    files: files.slice(0, FILES_OF_A_ROUND),
    findKnown: (file) => stuck.get(file.path)?.report,
    refresh: async (touched) => {
      // Also what a file touched that somebody took away before its refresh.
      for (const partition of touched) unrefreshed.add(partition);
      await watch.refresh(unrefreshed);
      unrefreshed.clear();
    },
  });
  for (const one of taken) noteTaken(watch, one);
  if (away?.step === "refresh") onEvent?.({ kind: "refresh_waits", error: away.error });
  return {
    rejected: taken.some(({ report }) => report.outcome === "rejected"),
    databaseAway: away !== undefined,
  };
}

/** What is still to be done about a file that a round took, and what is to be remembered of it. */
function noteTaken(watch: Watch, { file, report, move }: Taken): void {
  const { stuck, intervalMs, onEvent } = watch;
  if (move.kind === "stays" && report.outcome !== "failed") {
    // Only the database is in the way: it goes on as soon as that is back.
    stuck.set(file.path, { file, report, waitMs: intervalMs, until: 0 });
  } else if (move.kind === "stays") {
    if (report.error?.code !== "connection") postpone(watch, file, report);
  } else if (move.kind === "not_moved") {
    onEvent?.({ ...move, file, outcome: report.outcome });
    postpone(watch, file, report);
  } else {
    stuck.delete(file.path);
    // As it was loaded: what has come since is seen at the next look, and so is a copy to another file system, whose
    // bytes are compared then.
    if (move.kind === "moved" && report.outcome !== "rejected")
      rememberArchived(watch, { ...file, path: move.to });
  }
}

/** The file is tried again later; where it was loaded or rejected, only the move is. */
function postpone({ stuck, intervalMs }: Watch, file: InboxFile, report: LoadReport): void {
  const waitMs = Math.min((stuck.get(file.path)?.waitMs ?? intervalMs) * 2, LONGEST_WAIT_MS);
  const done = report.outcome === "failed" ? undefined : report;
  stuck.set(file.path, { file, report: done, waitMs, until: Date.now() + waitMs });
}
