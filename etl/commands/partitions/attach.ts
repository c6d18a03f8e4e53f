import type { Command } from "commander";
import { attachRebuilt } from "../../retire.ts";
import type { Context } from "../context.ts";
import { jsonOption } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { type Change, type ChangeFlags, change } from "./change.ts";

export function defineAttach(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Put detached partitions back; also tables of a partition that were dropped or detached by hand. A rollup that is gone is made anew and rebuilt; invoices and deltas that are gone must be restored from a backup first.",
    )
    .argument("<partition...>", "names, for example 2019-03")
    .option("--anew", "there is no backup: make invoices and deltas that are gone anew, empty")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions attach 2019-03\n")
    .action(async (names: string[], flags: ChangeFlags & { readonly anew?: boolean }) =>
      context.finish(await change(context, names, flags, attach(flags.anew === true))),
    );
}

const attach =
  (anew: boolean): Change =>
  (context, { database, settings }, partition) =>
    attachRebuilt({ database, settings, partition, anew, signal: context.signal });
