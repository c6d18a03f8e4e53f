import type { Command } from "commander";
import { describeMissing } from "../../db/partitions/missing.ts";
import { printable } from "../escape.ts";
import { note, writeJson, writeLine } from "../output.ts";
import { countOf, formatCount, formatDuration, formatEuros } from "../terminal/format.ts";
import { openProgress } from "../terminal/progress.ts";
import type { Divergence, Sums } from "../verify/divergence.ts";
import { type VerifyReport, verifyWarehouse } from "../verify/verify.ts";
import type { Warehouse } from "../warehouse.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";

interface VerifyFlags {
  readonly partition?: string;
  readonly identity?: boolean;
  readonly repair?: boolean;
  readonly json?: boolean;
}

/** Divergences written out on a terminal; all of them come with --json. */
const SHOWN = 1000;

export function defineVerify(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Recompute every group from the invoices and compare it with rollup + pending and with the sum of the deltas; check control totals and the ledger. Exit code 1 when anything diverges.",
    )
    .option("--partition <name>", "only this partition, for example 2026-10")
    .option("--identity", "look for invoice ids that stand under two keys, too (reads all invoices)")
    .option("--repair", "rebuild what diverges; what the deltas lack is entered as an adjustment of its own")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook verify --partition 2026-10\n")
    .action(async (flags: VerifyFlags) => context.finish(await verify(context, flags)));
}

async function verify(context: Context, { json = false, ...flags }: VerifyFlags): Promise<number> {
  return withWarehouse(context, {}, async (warehouse) => {
    const first = await verifyAndShow(context, warehouse, flags, json);
    if (first.divergences === 0) return EXIT.done;
    if (flags.repair !== true) return EXIT.failed;
    if (!json)
      await writeLine(context, `Repaired: ${first.repaired.join(", ") || "nothing"}. Verifying again.`);
    const { repair, ...again } = flags;
    const second = await verifyAndShow(context, warehouse, again, json);
    return second.divergences === 0 ? EXIT.done : EXIT.failed;
  });
}

async function verifyAndShow(
  context: Context,
  { database, settings }: Warehouse,
  flags: Omit<VerifyFlags, "json">,
  json: boolean,
): Promise<VerifyReport> {
  const bar = openProgress(context);
  bar.update(0, "verifying");
  const divergences: Divergence[] = [];
  let writing = Promise.resolve();
  const report = await verifyWarehouse({
    database,
    settings,
    ...flags,
    signal: context.signal,
    onProgress: (done, of, partition) => bar.update(done / of, `verified ${partition}, ${done} of ${of}`),
    onDivergence: (divergence) => {
      if (json) writing = writing.then(() => writeJson(context, divergence));
      else if (divergences.length < SHOWN) divergences.push(divergence);
    },
  }).finally(() => bar.stop());
  await writing;
  if (json) await writeJson(context, { kind: "summary", ...report });
  else await show(context, report, divergences);
  return report;
}

async function show(
  context: Context,
  report: VerifyReport,
  divergences: readonly Divergence[],
): Promise<void> {
  for (const divergence of divergences) await writeLine(context, printable(describe(divergence)));
  if (report.divergences > divergences.length) {
    note(context, `... and ${formatCount(report.divergences - divergences.length)} more; --json gives all.`);
  }
  const size = `${countOf(report.partitions, "partition")}, ${countOf(report.groups, "group")}, ${countOf(report.invoices, "invoice")}`;
  const took = formatDuration(report.durationMs);
  await writeLine(
    context,
    report.divergences === 0
      ? `Verified: rollup + pending = recompute = sum of deltas, in ${size} (${took}).`
      : `${countOf(report.divergences, "divergence")} in ${size} (${took}). The loads behind a group: rollbook explain-total; to mend: rollbook verify --repair (after a loss of data first read docs/recovery.md)`,
  );
}

function describe(divergence: Divergence): string {
  switch (divergence.kind) {
    case "group": {
      const { partition, venueId, createdOn, recomputed, shown, deltas, misdated } = divergence;
      const date = misdated ? "; an invoice stands under a date that is not its own" : "";
      return `${partition}: ${venueId} on ${createdOn}: invoices say ${format(recomputed)}, rollup + pending ${format(shown)}, deltas ${format(deltas)}${date}`;
    }
    case "table":
      return describeMissing(divergence);
    case "control":
      return `${divergence.partition}: the rollup holds ${format(divergence.rollup)}, its control totals say ${format(divergence.catalog)}`;
    case "orphan":
      return `pending: ${divergence.venueId} on ${divergence.createdOn}: ${format(divergence.pending)} for a date without a partition`;
    case "load":
      return `load ${divergence.loadId}: ${divergence.message}`;
    case "identity":
      return `invoice ${divergence.invoiceId} stands under ${divergence.keys.length} keys: ${divergence.keys.join("; ")}`;
  }
}

function format({ invoices, total }: Sums): string {
  return `${formatCount(invoices)} for ${formatEuros(total)}`;
}
