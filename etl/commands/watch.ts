import type { Command } from "commander";
import { printable } from "../escape.ts";
import { note } from "../output.ts";
import { describeFinding } from "../terminal/finding.ts";
import { describeLeft } from "../terminal/left_file.ts";
import { type WatchEvent, watchInbox } from "../watch.ts";
import { type Context, EXIT } from "./context.ts";
import { parseWhole, recursiveOption, settleOption, settleTimeMs, syncedOnOption } from "./flags.ts";
import { requireInbox } from "./inbox/folder.ts";
import { declareKind } from "./kind.ts";
import { addLoadOptions, type LoadFlags } from "./load_flags.ts";
import { withLineage } from "./open.ts";
import { loadListed } from "./show_load.ts";
import { refreshAndShow } from "./show_refresh.ts";
import { readInboxSources } from "./sources.ts";

interface WatchFlags extends Omit<LoadFlags, "refresh" | "ignoreMissing" | "follow" | "inbox"> {
  readonly interval: number;
  readonly settle?: number;
  readonly once?: boolean;
  readonly recursive?: boolean;
}

export function defineWatch(verb: Command, context: Context): void {
  const command = declareKind(verb, "works")
    .description(
      "Load files as they appear in a folder, oldest sync date first, and move them to its archive/, or to its rejected/ with a file NAME.reason.json beside them. A file counts as complete when its size and time stand still for --settle seconds; one named *.part waits until it is renamed, and one that a process has open for writing waits for its end, where that can be seen. What is no CSV file, and read by no source, stays. Sources are read when it begins. A file that is written to after it was archived goes back to the folder, and is loaded again.",
    )
    .argument("<folder>", "the inbox")
    .option("--interval <seconds>", "longest time between two looks", parseWhole(1), 2)
    .addOption(settleOption())
    .addOption(syncedOnOption())
    .addOption(recursiveOption())
    .option("--once", "load what is there, then end");
  addLoadOptions(command)
    .addHelpText("after", "\nExample:\n  rollbook watch inbox --interval 5\n")
    .action(async (folder: string, flags: WatchFlags) => context.finish(await watch(context, folder, flags)));
}

async function watch(context: Context, folder: string, flags: WatchFlags): Promise<number> {
  const settleMs = settleTimeMs(context, flags.settle);
  const inbox = await requireInbox(context, folder);
  const sources = await readInboxSources(context, inbox, flags);
  return withLineage(context, { create: true }, async (warehouse) => {
    if (!flags.once) note(context, `watching ${printable(folder)}; Ctrl-C ends it`);
    const outcome = await watchInbox({
      ...warehouse,
      inbox,
      intervalMs: flags.interval * 1000,
      settleMs,
      once: flags.once,
      recursive: flags.recursive,
      sources,
      signal: context.signal,
      load: (file, place) => loadListed(context, warehouse, file, flags, place),
      refresh: (partitions) => refreshAndShow(context, warehouse, partitions, flags.json ?? false),
      onEvent: (event) => note(context, describeEvent(event)),
    });
    return EXIT[outcome];
  });
}

function describeEvent(event: WatchEvent): string {
  switch (event.kind) {
    case "left":
      return describeLeft(event.left);
    case "not_as_loaded":
      return describeFinding(event.finding);
    case "not_moved": {
      const { file, outcome, folder, error } = event;
      const name = printable(file.name);
      return `${name} is ${outcome.replace("_", " ")}, but cannot be moved to ${folder}/: ${causeOf(error)}`;
    }
    case "refresh_waits":
      return `the refresh waits: ${causeOf(event.error)}`;
  }
}

function causeOf(error: unknown): string {
  return printable(error instanceof Error ? error.message : String(error));
}
