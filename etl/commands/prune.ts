import type { Command } from "commander";
import { writeJson, writeLine } from "../output.ts";
import { countOf, formatInstant } from "../terminal/format.ts";
import { type Pruned, pruneStatements } from "../undo/prune.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";

export function definePrune(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Forget statements that do not stand and are older than `init --keep-statements` says. They are kept for `undo` alone: loads that are older cannot be undone any more. No total and no report changes. Meant to run once a day.",
    )
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook prune\n")
    .action(async (flags: { readonly json?: boolean }) => context.finish(await prune(context, flags)));
}

async function prune(context: Context, { json = false }: { readonly json?: boolean }): Promise<number> {
  return withWarehouse(context, {}, async ({ database, settings }) => {
    const report = await pruneStatements({ database, settings, signal: context.signal });
    if (json) await writeJson(context, report);
    else await writeLine(context, describe(report));
    return EXIT.done;
  });
}

function describe({ rows, keptSince }: Pruned): string {
  return `${countOf(rows, "row")} of old statements forgotten; loads that became known after ${formatInstant(keptSince)} can be undone.`;
}
