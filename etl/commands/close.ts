import type { Command } from "commander";
import { type CloseReport, closePeriod, findLastMonth } from "../closings/close.ts";
import { writeJson, writeLine } from "../output.ts";
import { describeClosing } from "../terminal/closings.ts";
import { type Context, EXIT, usageError } from "./context.ts";
import { jsonOption } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";
import { addPeriod, type PeriodFlags, readPeriod } from "./period.ts";

interface Flags extends PeriodFlags {
  readonly lastMonth?: boolean;
  readonly once?: boolean;
  readonly json?: boolean;
}

export function defineClose(verb: Command, context: Context): void {
  const command = declareKind(verb, "works").description(
    "Certify what a period is: enters its dates, number of invoices and total, and a digest of all its groups, in the closings. Files that come later still count, and what they change is told as a restatement (rollbook restated); after `init --refuse-closed` their lines for the period are rejected. A period can be closed once its last date has ended in the time zone of the warehouse; there is no flag to close one before, but --from and --to close those of its dates that have ended. It can be closed again: then the newer closing counts, and the older one stays. For stewards of the warehouse, and its owner (docs/security.md).",
  );
  addPeriod(command)
    .option("--last-month", "instead of a name: the month before today's, where the warehouse is")
    .option("--once", "do nothing where the period is closed already")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  rollbook close 2026-10\n  rollbook close --from 2026-10-01 --to 2026-10-16\n  rollbook close --last-month --once\n",
    )
    .action(async (name: string | undefined, flags: Flags) =>
      context.finish(await close(context, name, flags)),
    );
}

async function close(context: Context, name: string | undefined, flags: Flags): Promise<number> {
  const { lastMonth = false, once, json = false, ...dates } = flags;
  if (lastMonth && (name !== undefined || dates.from !== undefined || dates.to !== undefined)) {
    throw usageError("--last-month says which period it is. Leave out its name and dates.");
  }
  const given = lastMonth ? undefined : readPeriod(name, dates);
  return withWarehouse(context, {}, async ({ database, settings }) => {
    const warehouse = { database, settings, signal: context.signal };
    const period = given ?? (await findLastMonth(warehouse));
    const report = await closePeriod({ ...warehouse, period, once });
    if (json) await writeJson(context, { outcome: report.outcome, ...report.closing });
    else await show(context, report);
    return EXIT.done;
  });
}

async function show(context: Context, { outcome, closing }: CloseReport): Promise<void> {
  if (outcome === "already_closed") {
    return writeLine(context, `${closing.period} is closed already (closing ${closing.closing}).`);
  }
  await writeLine(context, describeClosing(closing));
  await writeLine(
    context,
    `SHA-256 ${closing.sha256}. Keep the certificate where nobody can change it: rollbook closings show ${closing.closing} --format json`,
  );
}
