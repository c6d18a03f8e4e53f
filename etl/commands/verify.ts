import { type Command, Option } from "commander";
import { describeMissing } from "../../db/partitions/missing.ts";
import { PROOF_SUBJECTS } from "../../db/schema.ts";
import { printable } from "../escape.ts";
import { ofVerify, startFinding } from "../lineage/outcome.ts";
import { note, writeJson, writeLine } from "../output.ts";
import { countOf, formatCount, formatDuration, formatEuros } from "../terminal/format.ts";
import { openProgress } from "../terminal/progress.ts";
import type { Divergence, Statement, Sums } from "../verify/divergence.ts";
import { type VerifyReport, verifyWarehouse } from "../verify/verify.ts";
import { type Context, EXIT, usageError } from "./context.ts";
import { jsonOption, parseWhole } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { type FollowedWarehouse, withLineage } from "./open.ts";

interface VerifyFlags {
  readonly partition?: string;
  readonly identity?: boolean;
  readonly closings?: boolean;
  readonly slice?: number;
  readonly repair?: true | "newest";
  readonly json?: boolean;
}

/** Divergences written out on a terminal; all of them come with --json. */
const SHOWN = 1000;

export function defineVerify(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Recompute every group from the invoices and compare it with rollup + pending and with the sum of the deltas; check control totals, checkpoints and the ledger. Exit code 1 when anything diverges.",
    )
    .option("--partition <name>", "only this partition, for example 2026-10")
    .option(
      "--identity",
      "look for invoice ids that stand under several keys, too: sent again with another venue or creation date (reads all invoices, twice)",
    )
    .option(
      "--closings",
      "recompute the digest of each closing from the deltas that were known then, too: nobody has changed what was closed",
    )
    .addOption(
      new Option(
        "--slice <seconds>",
        "only what was not proved for longest: begin nothing after so many seconds. When each partition was proved last: status",
      ).argParser(parseWhole(1)),
    )
    .addOption(
      new Option(
        "--repair [what]",
        "rebuild what diverges; what the deltas lack is entered as an adjustment of its own. With --identity and `newest`: of an invoice under several keys, also take out all but its newest statement",
      ).choices(["newest"]),
    )
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  rollbook verify --partition 2026-10\n  rollbook verify --slice 600\n  rollbook verify --identity --repair newest\n",
    )
    .action(async (flags: VerifyFlags) => context.finish(await verify(context, flags)));
}

async function verify(context: Context, { json = false, ...flags }: VerifyFlags): Promise<number> {
  if (flags.slice !== undefined) refuseBeside(flags);
  if (flags.repair === "newest" && flags.identity !== true) {
    throw usageError("--repair newest is about invoice ids under several keys: add --identity.");
  }
  if (flags.closings === true && flags.partition !== undefined) {
    throw usageError("--closings looks at all closings: leave out --partition.");
  }
  return withLineage(context, {}, async (warehouse) => {
    const first = await verifyAndShow(context, warehouse, flags, json);
    if (first.divergences === 0) return EXIT.done;
    if (flags.repair === undefined) return EXIT.failed;
    if (!json) {
      const did = [describeTakenOut(first), first.repaired.join(", ")].filter(Boolean).join(", ");
      await writeLine(context, `Repaired: ${did || "nothing"}. Verifying again.`);
    }
    const { repair, ...again } = flags;
    const second = await verifyAndShow(context, warehouse, again, json);
    return second.divergences === 0 ? EXIT.done : EXIT.failed;
  });
}

/** What looks at all, or at something else than what has its turn. */
function refuseBeside({ partition, identity, repair }: VerifyFlags): void {
  const beside = [partition && "--partition", identity && "--identity", repair && "--repair"].filter(Boolean);
  if (beside.length === 0) return;
  throw usageError(`--slice proves what has its turn: leave it out, or ${beside.join(" and ")}.`);
}

async function verifyAndShow(
  context: Context,
  { database, settings, lineage }: FollowedWarehouse,
  { slice, ...flags }: Omit<VerifyFlags, "json">,
  json: boolean,
): Promise<VerifyReport> {
  const bar = openProgress(context);
  bar.update(0, "verifying");
  const divergences: Divergence[] = [];
  const advice = new Set<string>();
  let writing = Promise.resolve();
  const found = startFinding();
  const work = () =>
    verifyWarehouse({
      database,
      settings,
      ...flags,
      ...(slice !== undefined && { sliceMs: slice * 1000 }),
      signal: context.signal,
      onProgress: (done, of, name) => {
        if (!OTHERS.has(name)) found.prove(name);
        bar.update(done / of, `verified ${name}, ${done} of ${of}`);
      },
      onDivergence: (divergence) => {
        found.note(divergence);
        for (const piece of adviceOn(divergence)) advice.add(piece);
        if (json) writing = writing.then(() => writeJson(context, divergence));
        else if (divergences.length < SHOWN) divergences.push(divergence);
      },
    });
  const report = await lineage
    .follow("verify", work, (place, done) => ofVerify(place, done, found))
    .finally(() => bar.stop());
  await writing;
  if (json) await writeJson(context, { kind: "summary", ...report });
  else await show(context, report, { divergences, advice: flags.repair === undefined ? [...advice] : [] });
  return report;
}

async function show(
  context: Context,
  report: VerifyReport,
  {
    divergences,
    advice,
  }: { readonly divergences: readonly Divergence[]; readonly advice: readonly string[] },
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
      : `${countOf(report.divergences, "divergence")} in ${size} (${took}).`,
  );
  if (report.slice !== undefined) await writeLine(context, describeSlice(report.slice));
  if (report.closings !== undefined) await showClosings(context, report.closings);
  for (const piece of advice) await writeLine(context, piece);
  if (report.withoutIdentity.length > 0) {
    const names = report.withoutIdentity.map(({ partition, state }) => `${partition} (${state})`);
    note(context, `not looked at for ids under several keys: ${names.join(", ")}`);
  }
  if (report.recorded !== "recorded") {
    const again = report.slice === undefined ? "" : ", so the next slice begins where this one did";
    note(context, `it was not recorded that this was proved${again}: ${NOT_RECORDED[report.recorded]}`);
  }
}

const NOT_RECORDED = {
  no_right: "this login has no right to. Connect as a member of rollbook_loader, or as the owner",
  read_only: "nothing can be written here, as the server or a setting of the login says",
};

function describeSlice({ proved, left, roundMs }: NonNullable<VerifyReport["slice"]>): string {
  const others = proved.filter((name) => OTHERS.has(name));
  const also = others.length === 0 ? "" : `, with the ${others.join(" and the ")}`;
  if (left === 0) return `That was all of it${also}.`;
  return `A slice${also}: ${formatCount(left)} of ${formatCount(proved.length + left)} parts are left.${roundMs === null ? "" : ` All took ${formatDuration(roundMs)} when they were proved last.`}`;
}

/** What is proved by itself and is no partition. */
const OTHERS: ReadonlySet<string> = new Set(PROOF_SUBJECTS);

async function showClosings(
  context: Context,
  { recomputed, unprovable }: NonNullable<VerifyReport["closings"]>,
): Promise<void> {
  await writeLine(context, `Recomputed ${countOf(recomputed, "closing")} from the deltas known then.`);
  for (const { closing, period, partitions } of unprovable) {
    const names = partitions.join(", ");
    note(
      context,
      `closing ${closing} (${period}) is not proved: the deltas of ${names} are not in the database. Restore their tables, and run it again.`,
    );
  }
}

const CLOSED =
  "Deltas, or the closings, were changed after a period was closed, and a repair does not bring them back. Which groups: docs/closing.md";
const REMAKE =
  "Checkpoints, or deltas and loads of before, were changed by other means. If the deltas are right, make the checkpoints anew: rollbook verify --repair";
const MEND =
  "The loads behind a group: rollbook explain-total; to mend: rollbook verify --repair (after a loss of data first read docs/recovery.md)";
const STANDS =
  "No repair takes an invoice out that stands although it is absent. Send a newer file that holds all invoices of its venue and date: rollbook load --replace-venue-days";
const TAKE_OUT =
  "To take out all but the newest statement of each invoice under several keys: rollbook verify --identity --repair newest";
const CANNOT_TELL =
  "Where one load brought an invoice under several keys, nothing tells which is right: send the right one again in a newer file, then take out the others.";

function adviceOn(divergence: Divergence): readonly string[] {
  if (divergence.kind === "closing") return [CLOSED];
  if (divergence.kind === "checkpoint") return [REMAKE];
  if (divergence.kind === "group" && divergence.absent) return [MEND, STANDS];
  if (divergence.kind !== "identity") return [MEND];
  const { statements } = divergence;
  const tied = statements.filter(({ newest }) => newest).length > 1;
  return [...(statements.some(({ newest }) => !newest) ? [TAKE_OUT] : []), ...(tied ? [CANNOT_TELL] : [])];
}

/** Undefined where nothing was to be taken out. */
function describeTakenOut({ takenOut }: VerifyReport): string | undefined {
  if (takenOut === null) return undefined;
  const { loadId, statements, closed } = takenOut;
  const stay = closed.map(
    ({ partition, state }) =>
      `what stands in ${partition} stays, because it is ${state}${state === "detached" ? " (attach it first)" : ""}`,
  );
  if (loadId === null) return stay.join("; ");
  return [`took out ${countOf(statements, "older statement")} (load ${loadId})`, ...stay].join("; ");
}

function describe(divergence: Divergence): string {
  switch (divergence.kind) {
    case "group": {
      const { partition, venueId, createdOn, recomputed, shown, deltas, misdated, misattributed, absent } =
        divergence;
      const date = misdated ? "; an invoice stands under a date that is not its own" : "";
      const load = misattributed
        ? "; an invoice stands for a load that the ledger does not have as loaded, or not with its sync date, or that left nothing else there"
        : "";
      const gone = absent ? "; an invoice stands although a newer statement says that it is absent" : "";
      return `${partition}: ${venueId} on ${createdOn}: invoices say ${format(recomputed)}, rollup + pending ${format(shown)}, deltas ${format(deltas)}${date}${load}${gone}`;
    }
    case "table":
      return describeMissing(divergence);
    case "control":
      return `${divergence.partition}: the rollup holds ${format(divergence.rollup)}, its control totals say ${format(divergence.catalog)}`;
    case "orphan":
      return `pending: ${divergence.venueId} on ${divergence.createdOn}: ${format(divergence.pending)} for a date without a partition`;
    case "load":
      return `load ${divergence.loadId}: ${divergence.message}`;
    case "closing": {
      const { closing, period, certified, recomputed, message } = divergence;
      return `closing ${closing} (${period}): ${message}: certified ${formatGroups(certified)}, deltas ${formatGroups(recomputed)}`;
    }
    case "checkpoint": {
      const { moment, createdOn, venueId, message, lacking } = divergence;
      const where = [venueId, createdOn && `on ${createdOn}`].filter(Boolean).join(" ");
      return `checkpoint ${moment}${where && `: ${where}`}: ${message}${lacking ? `: ${format(lacking)}` : ""}`;
    }
    case "identity": {
      const { invoiceId, statements } = divergence;
      return `invoice ${invoiceId} stands under ${statements.length} keys: ${statements.map(describeStatement).join("; ")}`;
    }
  }
}

function format({ invoices, total }: Sums): string {
  return `${formatCount(invoices)} for ${formatEuros(total)}`;
}

function formatGroups({ groups, ...sums }: Sums & { readonly groups: number }): string {
  return `${format(sums)} in ${countOf(groups, "group")}`;
}

function describeStatement({
  venueId,
  createdOn,
  total,
  loadId,
  fileName,
  syncedOn,
  newest,
}: Statement): string {
  const from = `load ${loadId}, ${fileName ?? "not in the ledger"}, synced on ${syncedOn}`;
  return `${newest ? "newest" : "older"} ${venueId} on ${createdOn} for ${formatEuros(total)} (${from})`;
}
