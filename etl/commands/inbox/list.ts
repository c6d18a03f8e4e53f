import type { Command } from "commander";
import { type Batch, cutBatches } from "../../inbox/batch.ts";
import { writeJson, writeLine } from "../../output.ts";
import { formatBytes } from "../../terminal/format.ts";
import { formatTable } from "../../terminal/table.ts";
import { widthOf } from "../../terminal/width.ts";
import { type Context, EXIT } from "../context.ts";
import { jsonOption, parseDate } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { readInboxSources, type SourceFlags, sourcesOption } from "../sources.ts";
import { requireInbox } from "./folder.ts";
import { addReadyOptions, findReady, jsonBatch, labelOf, type ReadyFlags } from "./ready.ts";

interface ListFlags extends SourceFlags, ReadyFlags {
  readonly json?: boolean;
  readonly syncedOn?: string;
}

export function defineList(verb: Command, context: Context): void {
  const command = declareKind(verb, "reads")
    .description(
      "The files that are ready to be loaded, oldest sync date first, in batches of similar size. A file is ready when its size and time stood still for --settle seconds; one named *.part waits until it is renamed, and one that a process has open for writing waits for its end, where that can be seen.",
    )
    .argument("<folder>", "the inbox");
  addReadyOptions(command)
    .option("--synced-on <date>", "sync date of these files, whatever their names say", parseDate)
    .addOption(sourcesOption())
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook inbox list inbox --wait 600 --json\n")
    .action(async (folder: string, flags: ListFlags) => context.finish(await list(context, folder, flags)));
}

async function list(context: Context, folder: string, flags: ListFlags): Promise<number> {
  const inbox = await requireInbox(context, folder);
  const sources = await readInboxSources(context, inbox, flags);
  const ready = await findReady(context, inbox, sources, flags);
  const batches = cutBatches(ready, flags.batches, flags.syncedOn);
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

function formatBatches(batches: readonly Batch[], width: number | undefined): string {
  return formatTable(
    [{ title: "batch" }, { title: "drops", align: "right" }, { title: "size", align: "right" }],
    batches.map((batch) => [labelOf(batch), String(batch.files.length), formatBytes(batch.bytes)]),
    width,
  );
}
