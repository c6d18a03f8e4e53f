import type { Command } from "commander";
import { printable } from "../../escape.ts";
import { findDropFile } from "../../inbox/find.ts";
import { describeReason } from "../../load/reasons.ts";
import { type RetryReport, retryRejects } from "../../load/retry_rejects.ts";
import { writeJson, writeLine } from "../../output.ts";
import { countOf } from "../../terminal/format.ts";
import { describeCounts } from "../../terminal/load_report.ts";
import { describePartitions } from "../../terminal/partitions.ts";
import { type Context, EXIT, resolvePath } from "../context.ts";
import { jsonOption, parseWhole } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { addFormatOptions, type FormatFlags } from "../load_flags.ts";
import { withWarehouse } from "../open.ts";
import { refreshAndShow } from "../show_refresh.ts";

interface Flags extends FormatFlags {
  readonly load: number;
  readonly refresh: boolean;
  readonly json?: boolean;
}

export function defineRetry(verb: Command, context: Context): void {
  const command = declareKind(verb, "works")
    .description(
      "Read the open lines of a load again, from its file, with the rules and flags of today, and take in what can be read now. Lines that were taken before, and what later files said, do not change. What is still refused stays open.",
    )
    .argument("[place]", "the file, or the inbox in whose archive/ it lies", "inbox")
    .requiredOption("--load <id>", "the load that refused them", parseWhole(1))
    .option("--no-refresh", "leave the refresh to a later `rollbook refresh`; totals are exact all the same");
  addFormatOptions(command)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook rejects retry --load 42 --decimal-comma inbox\n")
    .action(async (place: string, flags: Flags) => context.finish(await retry(context, place, flags)));
}

async function retry(context: Context, place: string, flags: Flags): Promise<number> {
  const { load, decimalComma, syncSlack, json = false } = flags;
  const { signal } = context;
  return withWarehouse(context, {}, async (warehouse) => {
    const report = await retryRejects({
      ...warehouse,
      loadId: load,
      decimalComma,
      syncSlack,
      findFile: (drop) => findDropFile({ drop, place: resolvePath(context, place), signal }),
      signal,
    });
    if (json) await writeJson(context, report);
    else await writeLine(context, describeRetry(report));
    if (flags.refresh) await refreshAndShow(context, warehouse, new Set(report.partitions), json);
    return EXIT.done;
  });
}

function describeRetry(report: RetryReport): string {
  const { outcome, fileName, retryOf, loadId, rows, partitions } = report;
  const drop = `${printable(fileName)} (load ${retryOf})`;
  if (outcome === "nothing_open") return `${drop}: nothing is open`;
  const open = report.reasons.map((reason) => `  ${describeReason(reason)}`);
  if (outcome === "nothing_taken") {
    return [
      `${drop}: nothing can be taken in, open as before: ${countOf(rows.rejected, "line")}`,
      ...open,
    ].join("\n");
  }
  const where = describePartitions(partitions);
  const taken = `${drop}: read again (load ${loadId}), ${describeCounts(rows)}; ${where}`;
  return [taken, ...open].join("\n");
}
