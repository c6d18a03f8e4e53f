import type { Command } from "commander";
import { printable } from "../escape.ts";
import { note, writeJson, writeLine } from "../output.ts";
import type { ProofSummary } from "../reports/proofs.ts";
import { type Freshness, readStatus } from "../reports/status.ts";
import { countOf, describeDays, formatCount, formatEuros, formatInstant } from "../terminal/format.ts";
import { formatLoads } from "../terminal/loads.ts";
import { formatPartitions } from "../terminal/partitions.ts";
import { widthOf } from "../terminal/width.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";

/** Partitions shown at most; the older ones with nothing to say are left out first. */
const SHOWN_PARTITIONS = 24;

export function defineStatus(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description(
      "What the warehouse holds, how fresh the rollup of each partition is, what is pending, and the last loads.",
    )
    .option("--all", "show every partition")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook status --json\n")
    .action(async (flags: { readonly all?: boolean; readonly json?: boolean }) =>
      context.finish(await status(context, flags)),
    );
}

async function status(
  context: Context,
  { all = false, json = false }: { readonly all?: boolean; readonly json?: boolean },
): Promise<number> {
  return withWarehouse(context, { reportsOnly: true }, async ({ database, settings }) => {
    const found = await readStatus({ database, settings, signal: context.signal });
    if (json) {
      await writeJson(context, found);
      return EXIT.done;
    }
    const width = widthOf(context.stdout);
    const { timeZone, granularity, earliest } = settings;
    const days = describeDays(settings);
    await writeLine(context, printable(database.place));
    await writeLine(
      context,
      `time zone ${timeZone}, ${days}one partition per ${granularity}, invoices from ${earliest} on${found.refuseClosed ? "; lines for closed periods are rejected" : ""}`,
    );
    const pending = found.partitions.reduce((sum, partition) => sum + partition.pendingChanges, 0);
    const live = found.partitions.filter((partition) => partition.state !== "detached");
    const invoices = live.reduce((sum, p) => sum + p.rollupInvoices + p.pendingInvoices, 0);
    const fresh =
      pending === 0 ? "nothing pending" : `${countOf(pending, "change")} pending: rollbook refresh`;
    await writeLine(
      context,
      `${countOf(invoices, "invoice")} in ${countOf(found.partitions.length, "partition")}, ${fresh}\n`,
    );
    const shown = all ? found.partitions : worthShowing(found.partitions);
    if (shown.length > 0) {
      const all = shown.length === found.partitions.length;
      await writeLine(context, `${formatPartitions(shown, width)}${all ? "\n" : ""}`);
    }
    if (shown.length < found.partitions.length) {
      await writeLine(
        context,
        `... and ${countOf(found.partitions.length - shown.length, "more partition")}; --all shows them.\n`,
      );
    }
    await writeLine(
      context,
      found.lastLoads.length > 0
        ? formatLoads(found.lastLoads, width)
        : "No loads yet. Load a file: rollbook load FILE",
    );
    const { files, lines, total } = found.openRejects;
    if (lines > 0) {
      const stake = `${countOf(lines, "line")} of ${countOf(files, "file")} refused and not decided on`;
      await writeLine(
        context,
        `\n${stake}, ${formatEuros(total)} as far as it can be read: rollbook rejects`,
      );
    }
    if (found.lastLoads.length > 0) await writeLine(context, `\n${describeProofs(found.proofs)}`);
    for (const warning of found.warnings) note(context, `warning: ${warning}`);
    return EXIT.done;
  });
}

function describeProofs({ oldest, never }: ProofSummary): string {
  if (oldest?.provedAt != null) return `oldest proof: ${oldest.name}, ${formatInstant(oldest.provedAt)}`;
  const more = never > 1 ? ` and ${formatCount(never - 1)} more` : "";
  return `never proved: ${oldest?.name}${more}: rollbook verify`;
}

function worthShowing(partitions: readonly Freshness[]): readonly Freshness[] {
  if (partitions.length <= SHOWN_PARTITIONS) return partitions;
  const newest = new Set(partitions.slice(-SHOWN_PARTITIONS / 2));
  const waiting = partitions
    .filter((p) => p.pendingChanges > 0 || p.state !== "open")
    .slice(-SHOWN_PARTITIONS / 2);
  return partitions.filter((partition) => newest.has(partition) || waiting.includes(partition));
}
