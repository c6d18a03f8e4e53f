import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { LoadReport } from "../load.ts";
import { note, printable } from "../output.ts";
import type { Warehouse } from "../warehouse.ts";
import { type InboxFile, listInbox, moveAside, settledFiles } from "../watch.ts";
import { type Context, EXIT, parseWhole, resolvePath, usageError, withWarehouse } from "./context.ts";
import { addLoadOptions, type LoadFlags, loadAndTell, refreshTouched } from "./load.ts";

interface WatchFlags extends Omit<LoadFlags, "refresh" | "syncedOn" | "ignoreMissing"> {
  readonly interval: number;
  readonly once?: boolean;
}

/** After a failure the next try waits twice as long, up to this. */
const LONGEST_WAIT_MS = 300_000;

export function addWatch(program: Command, context: Context): void {
  const command = program
    .command("watch")
    .summary("load drops as they appear in a folder")
    .description(
      "Load drops as they appear in a folder, oldest sync date first, and move them to its archive/ or rejected/. A file counts as complete when its size and time stand still between two looks, or when it is renamed from *.part.",
    )
    .argument("<folder>", "the inbox")
    .option("--interval <seconds>", "time between two looks", parseWhole(1), 2)
    .option("--once", "load what is there, then end");
  addLoadOptions(command)
    .addHelpText("after", "\nExample:\n  rollbook watch inbox --interval 5\n")
    .action(async (folder: string, flags: WatchFlags) => context.finish(await watch(context, folder, flags)));
}

async function watch(context: Context, folder: string, flags: WatchFlags): Promise<number> {
  if (flags.exitWithParent) context.endWithParent();
  const inbox = resolvePath(context, folder);
  const found = await stat(inbox).catch(() => undefined);
  if (found === undefined)
    throw usageError(`${printable(folder)}: there is no such folder. Make it, and try again.`);
  if (!found.isDirectory())
    throw usageError(`${printable(folder)} is no folder. To load a file: rollbook load`);
  return withWarehouse(context, { create: true }, async (warehouse) => {
    if (!flags.once) note(context, `watching ${printable(folder)}; Ctrl-C ends it`);
    let worst: number = EXIT.done;
    let seen = await listInbox(inbox);
    let wait = flags.interval * 1000;
    for (;;) {
      await pause(wait, context.signal);
      const now = await listInbox(inbox);
      const settled = settledFiles(seen, now);
      const outcome = await takeIn(context, warehouse, inbox, settled, flags);
      worst = Math.max(worst, outcome);
      if (flags.once && settled.length === now.length) return worst;
      // Never a tight loop over a file that cannot be loaded or cannot leave the inbox.
      wait = outcome === EXIT.failed ? Math.min(wait * 2, LONGEST_WAIT_MS) : flags.interval * 1000;
      seen = await listInbox(inbox);
    }
  });
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal });
}

/** Loads complete drops, refreshes what they touched, and moves them out of the inbox. */
async function takeIn(
  context: Context,
  warehouse: Warehouse,
  inbox: string,
  files: readonly InboxFile[],
  flags: WatchFlags,
): Promise<number> {
  const reports: LoadReport[] = [];
  let failed = false;
  for (const file of files) {
    const report = await loadAndTell(context, warehouse, file.path, flags);
    reports.push(report);
    if (report.outcome === "failed") failed = true;
    else if (!(await clearAway(context, inbox, file, report))) failed = true;
    if (report.error?.code === "connection") break;
  }
  await refreshTouched(context, warehouse, reports, flags.json ?? false);
  return failed ? EXIT.failed : EXIT.done;
}

async function clearAway(
  context: Context,
  inbox: string,
  file: InboxFile,
  report: LoadReport,
): Promise<boolean> {
  const folder = join(inbox, report.outcome === "rejected" ? "rejected" : "archive");
  try {
    await mkdir(folder, { recursive: true });
    await moveAside({ path: file.path, folder, loadId: report.loadId });
    return true;
  } catch (error) {
    note(
      context,
      `${printable(file.name)} is ${report.outcome}, but cannot be moved to ${printable(folder)}: ${error}`,
    );
    return false;
  }
}
