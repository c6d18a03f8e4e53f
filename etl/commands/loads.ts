import { type Command, Option } from "commander";
import { LOAD_STATUSES, type LoadStatus } from "../../db/schema.ts";
import { writeJson, writeLine } from "../output.ts";
import { readLoads } from "../reports/loads.ts";
import { describeEntry, formatLoads } from "../terminal/loads.ts";
import { widthOf } from "../terminal/width.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption, parseWhole } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";

interface LoadsFlags {
  readonly limit: number;
  readonly load?: number;
  readonly status?: LoadStatus;
  readonly json?: boolean;
}

export function defineLoads(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description("The ledger, newest first: every load, what it read, and what became of the lines.")
    .option("--load <id>", "only this load", parseWhole(1))
    .addOption(new Option("--status <status>", "only loads of this status").choices(LOAD_STATUSES))
    .option("--limit <n>", "so many at most", parseWhole(1), 50)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook loads --status rejected --limit 10\n")
    .action(async (flags: LoadsFlags) => context.finish(await listLoads(context, flags)));
}

async function listLoads(
  context: Context,
  { limit, load, status, json = false }: LoadsFlags,
): Promise<number> {
  return withWarehouse(context, { reportsOnly: true }, async ({ database, settings }) => {
    const found = await readLoads({
      database,
      settings,
      limit,
      loadId: load,
      status,
      signal: context.signal,
    });
    if (json) {
      for (const entry of found) await writeJson(context, entry);
    } else {
      await writeLine(
        context,
        found.length === 0 ? "No loads." : formatLoads(found, widthOf(context.stdout)),
      );
      for (const load of found) {
        for (const line of describeEntry(load)) await writeLine(context, line);
      }
    }
    return EXIT.done;
  });
}
