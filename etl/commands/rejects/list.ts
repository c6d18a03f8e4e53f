import type { Command } from "commander";
import { printable } from "../../escape.ts";
import { writeJson, writeLine } from "../../output.ts";
import { readOpenRejects } from "../../reports/open_rejects.ts";
import { formatOpenRejects } from "../../terminal/open_rejects.ts";
import { widthOf } from "../../terminal/width.ts";
import { type Context, EXIT } from "../context.ts";
import { jsonOption, parseWhole } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { withWarehouse } from "../open.ts";
import { listLines } from "./lines.ts";

interface Flags {
  readonly open?: boolean;
  readonly load?: number;
  readonly json?: boolean;
}

export function defineList(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description(
      "Refused lines that are open, by load and reason, with the money at stake as far as it can be read; with --load every line that this load refused, with line number, reason and raw text.",
    )
    .option("--open", "what is open (the default), with --load of that load")
    .option("--load <id>", "every line that this load refused", parseWhole(1))
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook rejects list --load 42 --json\n")
    .action(async (flags: Flags) =>
      context.finish(
        flags.load === undefined || flags.open === true
          ? await listOpen(context, flags)
          : await listLines(context, { load: flags.load, json: flags.json }),
      ),
    );
}

async function listOpen(context: Context, { load, json = false }: Flags): Promise<number> {
  return withWarehouse(context, { reportsOnly: true }, async ({ database, settings }) => {
    const open = await readOpenRejects({ database, settings, loadId: load, signal: context.signal });
    if (json) for (const one of open) await writeJson(context, one);
    else if (open.length === 0) await writeLine(context, "No rejects are open.");
    else {
      await writeLine(context, formatOpenRejects(open, widthOf(context.stdout)));
      for (const { loadId, reason, remedy } of open) {
        if (remedy !== null) await writeLine(context, `load ${loadId}, ${reason}: ${printable(remedy)}`);
      }
      await writeLine(context, "Decide with: rollbook rejects retry, or rollbook rejects dismiss");
    }
    return EXIT.done;
  });
}
