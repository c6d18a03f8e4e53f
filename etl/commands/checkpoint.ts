import type { Command } from "commander";
import { writeJson, writeLine } from "../output.ts";
import { type MadeCheckpoints, makeCheckpoints } from "../reports/checkpoints.ts";
import { countOf, formatCount } from "../terminal/format.ts";
import { openProgress } from "../terminal/progress.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";

export function defineCheckpoint(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Keep what the totals are now, so that a question as known on any later moment adds up what has changed since, and not all loads. No total and no report changes. Meant to run once a day; the first time it goes through the whole ledger.",
    )
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook checkpoint\n")
    .action(async (flags: { readonly json?: boolean }) => context.finish(await checkpoint(context, flags)));
}

async function checkpoint(context: Context, { json = false }: { readonly json?: boolean }): Promise<number> {
  return withWarehouse(context, {}, async ({ database }) => {
    const bar = openProgress(context);
    const report = await makeCheckpoints({
      database,
      signal: context.signal,
      onProgress: (loads, of) =>
        bar.update(of === 0 ? 1 : loads / of, `${formatCount(loads)} of ${countOf(of, "load")}`),
    }).finally(() => bar.stop());
    if (json) await writeJson(context, report);
    else await writeLine(context, describe(report));
    return EXIT.done;
  });
}

function describe({ checkpoints, loads, partitions }: MadeCheckpoints): string {
  const again = partitions.length === 0 ? "" : `; ${partitions.join(", ")} added to all checkpoints`;
  if (checkpoints === 0) return `Nothing was loaded since the last checkpoint${again}.`;
  return `${countOf(checkpoints, "checkpoint")} made, of ${countOf(loads, "load")}${again}.`;
}
