/** What is ready in an inbox, for the verbs that list it or take it: flags, the search, and batches for programs. */
import type { Command } from "commander";
import { printable } from "../../escape.ts";
import type { Batch } from "../../inbox/batch.ts";
import type { InboxFile } from "../../inbox/list.ts";
import { findReadyDrops } from "../../inbox/ready.ts";
import { note } from "../../output.ts";
import type { Source } from "../../sources/source.ts";
import { countOf, shorten } from "../../terminal/format.ts";
import { describeLeft } from "../../terminal/left_file.ts";
import type { Context } from "../context.ts";
import { parseWhole, recursiveOption, settleOption, settleTimeMs } from "../flags.ts";

export interface ReadyFlags {
  readonly wait: number;
  readonly interval: number;
  readonly settle?: number;
  readonly recursive?: boolean;
  readonly batches: number;
  readonly limit: number;
}

export function addReadyOptions(command: Command): Command {
  return command
    .option("--wait <seconds>", "while nothing is ready, keep looking for this long", parseWhole(0), 0)
    .option("--interval <seconds>", "longest time between two looks", parseWhole(1), 2)
    .addOption(settleOption())
    .addOption(recursiveOption())
    .option("--batches <n>", "at most so many batches", parseWhole(1), 8)
    .option("--limit <n>", "at most so many files, the oldest", parseWhole(1), 2000);
}

/** Waits for files that are ready; at most as many as the flags say. Tells what stays in the inbox, and why. */
export async function findReady(
  context: Context,
  inbox: string,
  sources: readonly Source[],
  flags: ReadyFlags,
): Promise<readonly InboxFile[]> {
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
  return taken;
}

export function jsonBatch(batch: Batch): object {
  const { files, bytes, syncedFrom, syncedTo } = batch;
  return { files: files.map(({ path }) => path), bytes, syncedFrom, syncedTo, label: labelOf(batch) };
}

/** For people: the drop's name, or how many there are, of which dates. */
export function labelOf({ files, syncedFrom, syncedTo }: Batch): string {
  const [first, ...more] = files;
  if (first !== undefined && more.length === 0) return shorten(printable(first.name));
  const drops = countOf(files.length, "drop");
  if (syncedFrom === null) return `${drops} without a sync date`;
  return `${drops} of ${syncedFrom}${syncedTo === syncedFrom ? "" : ` to ${syncedTo}`}`;
}
