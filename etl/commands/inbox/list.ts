import type { Command } from "commander";
import { printable } from "../../escape.ts";
import { type Batch, cutBatches } from "../../inbox/batch.ts";
import { findReadyDrops } from "../../inbox/ready.ts";
import { note, writeJson, writeLine } from "../../output.ts";
import { countOf, formatBytes, shorten } from "../../terminal/format.ts";
import { describeLeft } from "../../terminal/left_file.ts";
import { formatTable } from "../../terminal/table.ts";
import { widthOf } from "../../terminal/width.ts";
import { type Context, EXIT } from "../context.ts";
import { jsonOption, parseDate, parseWhole, recursiveOption, settleOption, settleTimeMs } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { readInboxSources, type SourceFlags, sourcesOption } from "../sources.ts";
import { requireInbox } from "./folder.ts";

interface ListFlags extends SourceFlags {
  readonly json?: boolean;
  readonly wait: number;
  readonly interval: number;
  readonly settle?: number;
  readonly syncedOn?: string;
  readonly recursive?: boolean;
  readonly batches: number;
  readonly limit: number;
}

export function defineList(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description(
      "The files that are ready to be loaded, oldest sync date first, in batches of similar size. A file is ready when its size and time stood still for --settle seconds; one named *.part waits until it is renamed, and one that a process has open for writing waits for its end, where that can be seen.",
    )
    .argument("<folder>", "the inbox")
    .option("--wait <seconds>", "while nothing is ready, keep looking for this long", parseWhole(0), 0)
    .option("--interval <seconds>", "longest time between two looks", parseWhole(1), 2)
    .addOption(settleOption())
    .option("--synced-on <date>", "sync date of these files, whatever their names say", parseDate)
    .addOption(recursiveOption())
    .addOption(sourcesOption())
    .option("--batches <n>", "at most so many batches", parseWhole(1), 8)
    .option("--limit <n>", "at most so many files, the oldest", parseWhole(1), 2000)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook inbox list inbox --wait 600 --json\n")
    .action(async (folder: string, flags: ListFlags) => context.finish(await list(context, folder, flags)));
}

async function list(context: Context, folder: string, flags: ListFlags): Promise<number> {
  const inbox = await requireInbox(context, folder);
  const sources = await readInboxSources(context, inbox, flags);
  const ready = await findReadyDrops({
    folder: inbox,
    recursive: flags.recursive,
    sources,
    waitMs: flags.wait * 1000,
    intervalMs: flags.interval * 1000,
    settleMs: settleTimeMs(context, flags.settle),
    signal: context.signal,
    onLeft: (left) => note(context, describeLeft(left)),
  });
  const taken = ready.slice(0, flags.limit);
  if (taken.length < ready.length) {
    note(context, `${countOf(ready.length - taken.length, "more file")} ready; the oldest come first`);
  }
  const batches = cutBatches(taken, flags.batches, flags.syncedOn);
  if (flags.json) {
    for (const batch of batches) await writeJson(context, jsonBatch(batch));
  } else {
    await writeLine(
      context,
      batches.length === 0 ? "No file is ready." : formatBatches(batches, widthOf(context.stdout)),
    );
  }
  return EXIT.done;
}

function jsonBatch(batch: Batch): unknown {
  const { files, bytes, syncedFrom, syncedTo } = batch;
  return { files: files.map(({ path }) => path), bytes, syncedFrom, syncedTo, label: labelOf(batch) };
}

/** For people: the drop's name, or how many there are, of which dates. */
function labelOf({ files, syncedFrom, syncedTo }: Batch): string {
  const [first, ...more] = files;
  if (first !== undefined && more.length === 0) return shorten(printable(first.name));
  const drops = countOf(files.length, "drop");
  if (syncedFrom === null) return `${drops} without a sync date`;
  return `${drops} of ${syncedFrom}${syncedTo === syncedFrom ? "" : ` to ${syncedTo}`}`;
}

function formatBatches(batches: readonly Batch[], width: number | undefined): string {
  return formatTable(
    [{ title: "batch" }, { title: "drops", align: "right" }, { title: "size", align: "right" }],
    batches.map((batch) => [labelOf(batch), String(batch.files.length), formatBytes(batch.bytes)]),
    width,
  );
}
