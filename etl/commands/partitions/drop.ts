import type { Command } from "commander";
import { dropVerified } from "../../retire.ts";
import { type Context, usageError } from "../context.ts";
import { jsonOption } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { type Change, type ChangeFlags, change } from "./change.ts";

export function defineDrop(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Drop the invoices of partitions for good. Rollup, deltas and corrections stay, and the reports still show them; rows for them are rejected from then on. Refuses a partition that does not verify.",
    )
    .argument("<partition...>", "names, for example 2019-03")
    .option("--yes", "really drop the invoices")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions drop 2019-03 --yes\n")
    .action(async (names: string[], flags: ChangeFlags & { readonly yes?: boolean }) => {
      if (flags.yes !== true) {
        throw usageError(
          `this deletes the invoices of ${names.join(", ")} for good; the totals stay. Say --yes to do it.`,
        );
      }
      context.finish(await change(context, names, flags, drop));
    });
}

const drop: Change = async (context, { database, settings }, partition) => {
  await dropVerified({ database, settings, partition, signal: context.signal });
  return "dropped";
};
