import type { Command } from "commander";
import { readClosings } from "../../closings/read.ts";
import { writeJson, writeLine } from "../../output.ts";
import { formatClosings } from "../../terminal/closings.ts";
import { widthOf } from "../../terminal/width.ts";
import { type Context, EXIT } from "../context.ts";
import { jsonOption } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { withWarehouse } from "../open.ts";

export function defineList(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description(
      "All closings, by number: period, number of invoices and total, who closed it, and its digest.",
    )
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook closings list --json\n")
    .action(async (flags: { readonly json?: boolean }) =>
      context.finish(await listClosings(context, flags.json === true)),
    );
}

async function listClosings(context: Context, json: boolean): Promise<number> {
  return withWarehouse(context, { reportsOnly: true }, async ({ database }) => {
    const closings = await readClosings({ database, signal: context.signal });
    if (json) for (const closing of closings) await writeJson(context, closing);
    else if (closings.length === 0) await writeLine(context, "Nothing is closed.");
    else await writeLine(context, formatClosings(closings, widthOf(context.stdout)));
    return EXIT.done;
  });
}
