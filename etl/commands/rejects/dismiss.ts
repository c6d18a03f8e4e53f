import type { Command } from "commander";
import { dismissRejects } from "../../load/dismiss.ts";
import { writeJson, writeLine } from "../../output.ts";
import { countOf, formatEuros } from "../../terminal/format.ts";
import { type Context, EXIT, usageError } from "../context.ts";
import { jsonOption, parseWhole } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { withWarehouse } from "../open.ts";

interface Flags {
  readonly load: number;
  readonly reason?: string;
  readonly because: string;
  readonly json?: boolean;
}

export function defineDismiss(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Decide that refused lines stay out: they are no longer open. Who decided, when and why is kept in warehouse.dismissals.",
    )
    .requiredOption("--load <id>", "the lines that this load refused", parseWhole(1))
    .option("--reason <code>", "only those of this reason")
    .requiredOption("--because <text>", "why they stay out")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExample:\n  rollbook rejects dismiss --load 42 --reason bad_uuid --because trailer-lines\n",
    )
    .action(async (flags: Flags) => context.finish(await dismiss(context, flags)));
}

async function dismiss(context: Context, { load, reason, json = false, ...flags }: Flags): Promise<number> {
  const because = flags.because.trim();
  if (because === "") throw usageError("--because is empty. Say why the lines stay out.");
  return withWarehouse(context, {}, async ({ database }) => {
    const { signal } = context;
    const dismissed = await dismissRejects({ database, loadId: load, reason, because, signal });
    for (const { reason, lines, total } of dismissed) {
      if (json) await writeJson(context, { loadId: load, reason, lines, total });
      else {
        const money = total === null ? "" : `, ${formatEuros(total)} in all`;
        await writeLine(context, `load ${load}: ${countOf(lines, "line")} dismissed: ${reason}${money}`);
      }
    }
    return EXIT.done;
  });
}
