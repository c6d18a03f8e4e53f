import type { Command } from "commander";
import type { Load } from "../../../db/schema.ts";
import { givenVenue } from "../../drop/form.ts";
import { printable } from "../../escape.ts";
import { findDropFile } from "../../inbox/find.ts";
import { ofRetry } from "../../lineage/outcome.ts";
import { describeReason } from "../../load/reasons.ts";
import { type RetryReport, retryRejects } from "../../load/retry_rejects.ts";
import { writeJson, writeLine } from "../../output.ts";
import { chooseSource } from "../../sources/choose.ts";
import type { FileSource, Source } from "../../sources/source.ts";
import { describeRestated } from "../../terminal/closings.ts";
import { countOf, formatCount } from "../../terminal/format.ts";
import { describeCounts } from "../../terminal/load_report.ts";
import { describePartitions } from "../../terminal/partitions.ts";
import { type Context, EXIT, resolvePath, usageError } from "../context.ts";
import { jsonOption, parseWhole } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { addFormatOptions, type FormatFlags } from "../load_flags.ts";
import { withLineage } from "../open.ts";
import { refreshAndShow } from "../show_refresh.ts";
import { type FoundSources, openSources, type SourceFlags, sourcesOption } from "../sources.ts";

interface Flags extends FormatFlags, SourceFlags {
  readonly load: number;
  readonly refresh: boolean;
  readonly json?: boolean;
}

export function defineRetry(verb: Command, context: Context): void {
  const command = declareKind(verb, "works")
    .description(
      "Read the open lines of a load again, from its file, with the rules, sources and flags of today, and take in what can be read now. Lines that were taken before, and what later files said, do not change. What is still refused stays open.",
    )
    .argument("[place]", "the file, or the inbox in whose archive/ it lies", "inbox")
    .requiredOption("--load <id>", "the load that refused them", parseWhole(1))
    .option("--no-refresh", "leave the refresh to a later `rollbook refresh`; totals are exact all the same");
  addFormatOptions(command)
    .addOption(sourcesOption())
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook rejects retry --load 42 --decimal-comma inbox\n")
    .action(async (place: string, flags: Flags) => context.finish(await retry(context, place, flags)));
}

async function retry(context: Context, place: string, flags: Flags): Promise<number> {
  const { load, decimalComma, syncSlack, json = false } = flags;
  const { signal } = context;
  const where = resolvePath(context, place);
  const { sources, inbox } = await openSources(context, flags)(where);
  return withLineage(context, {}, async (warehouse) => {
    const work = () =>
      retryRejects({
        ...warehouse,
        loadId: load,
        decimalComma,
        syncSlack,
        findFile: async (drop) => {
          const choose = (path: string) => chooseAgain({ sources, inbox, path }, drop);
          const isOfVenue = (path: string) => {
            const choice = choose(path);
            return typeof choice !== "string" && givenVenue(choice?.form) === drop.venueId;
          };
          const file = await findDropFile({ drop, place: where, isOfVenue, signal });
          const source = choose(file.path);
          if (typeof source === "string") throw usageError(source);
          return { ...file, source };
        },
        signal,
      });
    const report = await warehouse.lineage.follow("load", work, ofRetry);
    if (json) await writeJson(context, report);
    else await writeLine(context, describeRetry(report));
    if (flags.refresh) await refreshAndShow(context, warehouse, new Set(report.partitions), json);
    return EXIT.done;
  });
}

/**
 * The source that reads a drop today: chosen by the name under which it was loaded, where its file lies; else
 * the one of the name that read it then. A text says why there is none: the choice is refused, or that source is
 * gone.
 */
function chooseAgain(
  { sources, inbox, path }: FoundSources & { readonly path: string },
  { loadId, fileName, source: name }: Load,
): FileSource | string | undefined {
  const choose = (among: readonly Source[]) => {
    const choice = chooseSource({ sources: among, path, name: fileName, inbox });
    if (choice.kind === "refused") return choice.message;
    return choice.kind === "source" ? choice.source : undefined;
  };
  const chosen = choose(sources);
  if (chosen !== undefined || name === null) return chosen;
  const known = sources.find((source) => source.name === name);
  if (known === undefined) {
    return `load ${loadId} was read by source ${printable(name)}, and there is no such source now. Name the folder in which it is: --sources`;
  }
  return choose([{ ...known, files: ["**"] }]);
}

function describeRetry(report: RetryReport): string {
  const { outcome, fileName, retryOf, loadId, rows, partitions } = report;
  const drop = `${printable(fileName)} (load ${retryOf})`;
  if (outcome === "nothing_open") return `${drop}: nothing is open`;
  const more = [...report.reasons.map(describeReason), ...describeRestated(report.restated)];
  const below = more.map((line) => `  ${line}`);
  if (outcome === "nothing_taken") {
    return [
      `${drop}: nothing can be taken in, open as before: ${countOf(rows.rejected, "line")}`,
      ...below,
    ].join("\n");
  }
  const skipped = rows.skipped === 0 ? "" : `, ${formatCount(rows.skipped)} left out by its source`;
  const where = describePartitions(partitions);
  const taken = `${drop}: read again (load ${loadId}), ${describeCounts(rows)}${skipped}; ${where}`;
  return [taken, ...below].join("\n");
}
