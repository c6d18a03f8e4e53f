import type { Command } from "commander";
import { withSession } from "../../../db/client.ts";
import { listDetachable } from "../../../db/partitions/tables.ts";
import { writeLine } from "../../output.ts";
import { detachRefreshed } from "../../retire.ts";
import { type Context, usageError } from "../context.ts";
import { jsonOption, parseDate } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { withWarehouse } from "../open.ts";
import { type Change, type ChangeFlags, change, changeEach } from "./change.ts";

interface DetachFlags extends ChangeFlags {
  readonly before?: string;
}

export function defineDetach(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Take partitions out of the live tables and the reports, without blocking readers. Rows for them are rejected until they are attached again. After a crash, run it again.",
    )
    .argument("[partition...]", "names, for example 2019-03")
    .option("--before <date>", "instead of names: all that end on or before this date", parseDate)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook partitions detach --before 2019-04-01\n")
    .action(async (names: string[], flags: DetachFlags) =>
      context.finish(await detachNamed(context, names, flags)),
    );
}

async function detachNamed(
  context: Context,
  names: readonly string[],
  { before, ...flags }: DetachFlags,
): Promise<number> {
  if ((before === undefined) === (names.length === 0)) {
    throw usageError("which partitions? Give their names, or --before <date>.");
  }
  if (before === undefined) return change(context, names, flags, detach);
  return withWarehouse(context, {}, async (warehouse) => {
    const old = await withSession({ database: warehouse.database, signal: context.signal }, (session) =>
      listDetachable(session, before),
    );
    if (old.length === 0 && flags.json !== true) {
      await writeLine(context, `No attached partition ends on or before ${before}.`);
    }
    return changeEach(context, warehouse, old, flags, detach);
  });
}

const detach: Change = async (context, { database }, partition) => {
  await detachRefreshed({ database, partition, signal: context.signal });
  return "detached";
};
