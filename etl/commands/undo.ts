import { join } from "node:path";
import type { Command } from "commander";
import { ofUndo } from "../lineage/outcome.ts";
import { writeJson, writeLine } from "../output.ts";
import { openProgress } from "../terminal/progress.ts";
import { describeUndo, UNDO_STEPS } from "../terminal/undo.ts";
import type { Archive } from "../undo/archive.ts";
import { undo } from "../undo/undo.ts";
import { type Context, EXIT, resolvePath, usageError } from "./context.ts";
import { jsonOption, parseWhole, requireBecause } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withLineage } from "./open.ts";
import { refreshAndShow } from "./show_refresh.ts";
import { openSources, type SourceFlags, sourcesOption } from "./sources.ts";

interface Flags extends SourceFlags {
  readonly fromArchive?: string;
  readonly because?: string;
  readonly dryRun?: boolean;
  readonly refresh: boolean;
  readonly json?: boolean;
}

export function defineUndo(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Take a load back, as if its file had never been loaded, then refresh the partitions it touched. What other loads say of its invoices stands again. The ledger keeps both entries, with who did it and why, and reports as known on a moment before show what they showed. The file may be loaded again. An undo can be undone by its own number.",
    )
    .argument("<load>", "number of the load, of an undo, or of a repair by verify --identity", parseWhole(1))
    .option("--because <text>", "why; the ledger keeps it (needed unless --dry-run)")
    .option("--dry-run", "change nothing, and say what would change")
    .option(
      "--from-archive <folder>",
      "where the warehouse has forgotten what other loads said (statements_pruned): read it from their files, which lie in this folder or below it, under any names",
    )
    .addOption(sourcesOption())
    .option("--no-refresh", "leave the refresh to a later `rollbook refresh`; totals are exact all the same")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      '\nExample:\n  rollbook undo 42 --dry-run\n  rollbook undo 42 --because "test system\'s file"\n',
    )
    .action(async (load: number, flags: Flags) => context.finish(await takeBack(context, load, flags)));
}

async function takeBack(context: Context, loadId: number, flags: Flags): Promise<number> {
  const { dryRun = false, json = false } = flags;
  const isAsked = dryRun && flags.because === undefined;
  const because = isAsked ? "" : requireBecause(flags.because);
  const archive = await openArchive(context, flags);
  return withLineage(context, {}, async (warehouse) => {
    const bar = openProgress(context);
    const work = () =>
      undo({
        ...warehouse,
        loadId,
        because,
        archive,
        dryRun,
        signal: context.signal,
        onStep: (step) => bar.update(...UNDO_STEPS[step]),
      });
    const report = await warehouse.lineage.follow("undo", work, ofUndo).finally(() => bar.stop());
    if (json) await writeJson(context, report);
    else await writeLine(context, describeUndo(report));
    if (flags.refresh && !dryRun) await refreshAndShow(context, warehouse, new Set(report.partitions), json);
    return EXIT.done;
  });
}

/** Its sources are those of the inbox that it is in, unless they are named. */
async function openArchive(context: Context, flags: Flags): Promise<Archive | undefined> {
  if (flags.fromArchive === undefined) {
    if (flags.sources !== undefined) throw usageError("--sources belongs to --from-archive");
    return undefined;
  }
  const folder = resolvePath(context, flags.fromArchive);
  const { sources } = await openSources(context, flags)(join(folder, "a file"));
  return { folder, sources };
}
