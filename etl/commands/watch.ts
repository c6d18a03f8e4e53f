import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { isRetryable, RollbookError } from "../../db/errors.ts";
import { ARCHIVE, type InboxFile, isUntouched, listInbox, REJECTED, settledFiles } from "../inbox/list.ts";
import { clearAway } from "../inbox/move.ts";
import { readReasons } from "../inbox/rejection.ts";
import type { LoadReport } from "../load/report.ts";
import { note, printable } from "../output.ts";
import type { Warehouse } from "../warehouse.ts";
import { type Context, EXIT, parseWhole, withWarehouse } from "./context.ts";
import { requireInbox, sayLeft } from "./inbox.ts";
import { addLoadOptions, type LoadFlags, loadAndTell, refreshTouched } from "./load.ts";

interface WatchFlags extends Omit<LoadFlags, "refresh" | "syncedOn" | "ignoreMissing" | "follow"> {
  readonly interval: number;
  readonly once?: boolean;
}

/** After a failure a file's next try waits twice as long, up to this. */
const LONGEST_WAIT_MS = 300_000;
/** And while the database is away, all of them wait at most this long. */
const LONGEST_OUTAGE_WAIT_MS = 30_000;

export function addWatch(program: Command, context: Context): void {
  const command = program
    .command("watch")
    .summary("load drops as they appear in a folder")
    .description(
      "Load drops as they appear in a folder, oldest sync date first, and move them to its archive/, or to its rejected/ with a file NAME.reason.json beside them. A file counts as complete when its size and time stand still between two looks, or when it is renamed from *.part.",
    )
    .argument("<folder>", "the inbox")
    .option("--interval <seconds>", "time between two looks", parseWhole(1), 2)
    .option("--once", "load what is there, then end");
  addLoadOptions(command)
    .addHelpText("after", "\nExample:\n  rollbook watch inbox --interval 5\n")
    .action(async (folder: string, flags: WatchFlags) => context.finish(await watch(context, folder, flags)));
}

async function watch(context: Context, folder: string, flags: WatchFlags): Promise<number> {
  const inbox = await requireInbox(context, folder);
  return withWarehouse(context, { create: true }, async (warehouse) => {
    if (!flags.once) note(context, `watching ${printable(folder)}; Ctrl-C ends it`);
    return keepTakingIn({
      context,
      warehouse,
      inbox,
      flags,
      stuck: new Map(),
      owed: new Set(),
      told: new Set(),
    });
  });
}

interface Watching {
  readonly context: Context;
  readonly warehouse: Warehouse;
  readonly inbox: string;
  readonly flags: WatchFlags;
  /** Files that failed to load or to move, by name. */
  readonly stuck: Map<string, Stuck>;
  /** Partitions that were touched and are not refreshed yet. */
  readonly owed: Set<string>;
  /** Names that were complained about. */
  readonly told: Set<string>;
}

interface Stuck {
  readonly file: InboxFile;
  /** What became of it, where all that is left is to move it. */
  readonly report: LoadReport | undefined;
  readonly waitMs: number;
  readonly until: number;
}

async function keepTakingIn(watching: Watching): Promise<number> {
  const { context, flags, stuck } = watching;
  let rejected = false;
  let seen = await look(watching);
  let wait = flags.interval * 1000;
  for (;;) {
    await pause(wait, context.signal);
    const now = await look(watching);
    for (const name of stuck.keys()) if (!now.some((file) => file.name === name)) stuck.delete(name);
    const settled = settledFiles(seen, now);
    const outcome = await takeIn(
      watching,
      settled.filter((file) => isDue(watching, file)),
    );
    rejected ||= outcome.rejected;
    if (flags.once && settled.length === now.length) {
      if (outcome.databaseAway || stuck.size > 0) return EXIT.failed;
      return rejected ? EXIT.rejected : EXIT.done;
    }
    // While the database is away each look costs a try; a file that fails alone waits alone.
    wait = outcome.databaseAway ? Math.min(wait * 2, LONGEST_OUTAGE_WAIT_MS) : flags.interval * 1000;
    seen = settled.length > 0 ? await look(watching) : now;
  }
}

async function look({ context, inbox, told }: Watching): Promise<readonly InboxFile[]> {
  const { files, left } = await listInbox(inbox);
  for (const one of left) {
    if (!told.has(one.name)) note(context, sayLeft(one));
    told.add(one.name);
  }
  return files;
}

/** A file that failed waits; one that was written anew does not. */
function isDue({ stuck }: Watching, file: InboxFile): boolean {
  const earlier = stuck.get(file.name);
  if (earlier !== undefined && settledFiles([earlier.file], [file]).length === 0) stuck.delete(file.name);
  const until = stuck.get(file.name)?.until;
  return until === undefined || Date.now() >= until;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal });
}

interface Outcome {
  readonly rejected: boolean;
  readonly databaseAway: boolean;
}

/** Loads complete drops, moves them out of the inbox, and refreshes what they touched. */
async function takeIn(watching: Watching, files: readonly InboxFile[]): Promise<Outcome> {
  const { context, warehouse, flags, stuck, owed } = watching;
  let rejected = false;
  for (const [index, file] of files.entries()) {
    // Another process may have taken it meanwhile.
    if (!(await isUntouched(file))) continue;
    const place = { number: index + 1, of: files.length };
    const report =
      stuck.get(file.name)?.report ??
      (await loadAndTell(context, warehouse, file.path, { ...flags, follow: false, listed: file }, place));
    for (const partition of report.touched) owed.add(partition);
    if (report.error?.code === "connection") return { rejected, databaseAway: true };
    if (report.outcome === "rejected") rejected = true;
    if (report.outcome !== "failed" && (await putAway(watching, file, report))) stuck.delete(file.name);
    else setAside(watching, file, report);
  }
  return { rejected, databaseAway: !(await refreshOwed(watching)) };
}

/** It is tried again, ever more rarely; where it was loaded or rejected only the move is. */
function setAside({ stuck, flags }: Watching, file: InboxFile, report: LoadReport): void {
  const waitMs = Math.min((stuck.get(file.name)?.waitMs ?? flags.interval * 1000) * 2, LONGEST_WAIT_MS);
  const done = report.outcome === "failed" ? undefined : report;
  stuck.set(file.name, { file, report: done, waitMs, until: Date.now() + waitMs });
}

/** False when the database is away: then it is done later. */
async function refreshOwed({ context, warehouse, flags, owed }: Watching): Promise<boolean> {
  try {
    await refreshTouched(context, warehouse, owed, flags.json ?? false);
    owed.clear();
    return true;
  } catch (error) {
    if (context.signal.aborted || !isAway(error)) throw error;
    note(context, `the refresh waits: ${printable(error instanceof Error ? error.message : String(error))}`);
    return false;
  }
}

function isAway(error: unknown): boolean {
  return isRetryable(error) || (error instanceof RollbookError && error.code === "connection");
}

/** To archive/, or with its reason to rejected/. False when it cannot be moved. */
async function putAway(
  { context, warehouse, inbox }: Watching,
  file: InboxFile,
  report: LoadReport,
): Promise<boolean> {
  const { outcome, loadId } = report;
  const folder = outcome === "rejected" ? REJECTED : ARCHIVE;
  try {
    const rejected = outcome === "rejected" && loadId !== null ? [loadId] : [];
    const [reason] = (await readReasons({ ...warehouse, signal: context.signal }, rejected)).values();
    await clearAway({ file, folder: join(inbox, folder), loadId, reason });
    return true;
  } catch (error) {
    if (context.signal.aborted) throw error;
    const cause = printable(error instanceof Error ? error.message : String(error));
    note(
      context,
      `${printable(file.name)} is ${outcome.replace("_", " ")}, but cannot be moved to ${folder}/: ${cause}`,
    );
    return false;
  }
}
