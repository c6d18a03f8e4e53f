import type { Command } from "commander";
import type { Closing } from "../closings/certificate.ts";
import { closePeriod } from "../closings/close.ts";
import { writeJson, writeLine } from "../output.ts";
import { describeClosing } from "../terminal/closings.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";
import { addPeriod, type PeriodFlags, readPeriod } from "./period.ts";

interface Flags extends PeriodFlags {
  readonly json?: boolean;
}

export function defineClose(verb: Command, context: Context): void {
  const command = declareKind(verb, "works").description(
    "Certify what a period is: enters its dates, number of invoices and total, and a digest of all its groups, in the closings. Nothing is kept out by that: files that come later still count, and what they change is told as a restatement (rollbook restated). A period can be closed once its last date has ended in the time zone of the warehouse; there is no flag to close one before, but --from and --to close those of its dates that have ended. It can be closed again: then the newer closing counts, and the older one stays. For stewards of the warehouse, and its owner (docs/security.md).",
  );
  addPeriod(command)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  rollbook close 2026-10\n  rollbook close --from 2026-10-01 --to 2026-10-16\n",
    )
    .action(async (name: string | undefined, flags: Flags) =>
      context.finish(await close(context, name, flags)),
    );
}

async function close(context: Context, name: string | undefined, flags: Flags): Promise<number> {
  const period = readPeriod(name, flags);
  return withWarehouse(context, {}, async ({ database, settings }) => {
    const closing = await closePeriod({ database, settings, period, signal: context.signal });
    if (flags.json) await writeJson(context, closing);
    else await show(context, closing);
    return EXIT.done;
  });
}

async function show(context: Context, closing: Closing): Promise<void> {
  await writeLine(context, describeClosing(closing));
  await writeLine(
    context,
    `SHA-256 ${closing.sha256}. Keep the certificate where nobody can change it: rollbook closings show ${closing.closing} --format json`,
  );
}
