import { type Command, Option } from "commander";
import { printable } from "../../escape.ts";
import { REJECTED } from "../../inbox/list.ts";
import {
  DECISIONS,
  type Decision,
  type DecisionReport,
  keepRejected,
  loadRejected,
  type RejectedFile,
  returnRejected,
} from "../../inbox/review.ts";
import { writeJson, writeLine } from "../../output.ts";
import { chooseSource } from "../../sources/choose.ts";
import type { FileSource, Source } from "../../sources/source.ts";
import { type Context, EXIT, usageError } from "../context.ts";
import { jsonOption, syncedOnOption } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { addFormatOptions, type FormatFlags } from "../load_flags.ts";
import { withLineage } from "../open.ts";
import { loadWithProgress } from "../show_load.ts";
import { readInboxSources, type SourceFlags, sourcesOption } from "../sources.ts";
import { openPlaces, requireInbox } from "./folder.ts";

interface DecideFlags extends FormatFlags, SourceFlags {
  readonly json?: boolean;
  readonly as: Decision;
  readonly syncedOn?: string;
}

export function defineDecide(verb: Command, context: Context): void {
  const command = declareKind(verb, "works")
    .description(
      "Decide on a rejected file. After a crash, run it again: it finishes what it began. Exit code 3 when the file is rejected for another reason than its lines.",
    )
    .argument("<folder>", "the inbox")
    .argument("<file>", "a file in its rejected/")
    .addOption(
      new Option(
        "--as <decision>",
        "load: load it, its bad lines stay in quarantine, and archive it; retry: back to the inbox, to be loaded by the next run; keep: it stays rejected and is not asked about again",
      )
        .choices(DECISIONS)
        .makeOptionMandatory(),
    )
    .addOption(syncedOnOption())
    .addOption(sourcesOption());
  addFormatOptions(command)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExample:\n  rollbook inbox decide inbox inbox/rejected/invoices_2026-10-05.csv --as load\n",
    )
    .action(async (folder: string, file: string, flags: DecideFlags) =>
      context.finish(await decide(context, folder, file, flags)),
    );
}

async function decide(context: Context, folder: string, file: string, flags: DecideFlags): Promise<number> {
  if (flags.syncedOn !== undefined && flags.as !== "load") {
    throw usageError("--synced-on goes with --as load. Nothing was done.");
  }
  const inbox = await requireInbox(context, folder);
  const place = await (await openPlaces(context, inbox))(file);
  if (place?.folder !== REJECTED) {
    throw usageError(`${printable(file)} does not lie in the ${REJECTED}/ of ${printable(folder)}.`);
  }
  const report = await carryOut(context, { inbox, path: place.path }, flags);
  const named = { ...report, file };
  if (flags.json) await writeJson(context, jsonDecision(named));
  else await writeLine(context, describeDecision(named));
  switch (report.outcome) {
    case "rejected":
      return EXIT.rejected;
    case "failed":
      return EXIT.failed;
    default:
      return EXIT.done;
  }
}

async function carryOut(context: Context, file: RejectedFile, flags: DecideFlags): Promise<DecisionReport> {
  const { decimalComma, syncSlack, syncedOn: given } = flags;
  switch (flags.as) {
    case "keep":
      return keepRejected(file);
    case "retry":
      return returnRejected(file);
    case "load": {
      const sources = await readInboxSources(context, file.inbox, flags);
      return withLineage(context, {}, (warehouse) =>
        loadRejected({
          ...file,
          warehouse,
          signal: context.signal,
          load: ({ file: listed, inboxPath, syncedOn }) => {
            const source = chosenSource(sources, inboxPath, file.inbox);
            return loadWithProgress(context, warehouse, listed.path, {
              maxRejects: { share: 1, lines: 0 },
              // A date that was given at the time is known by the reason alone.
              syncedOn: given ?? (source?.syncedOn === undefined ? syncedOn : undefined),
              // A person decides instead of its max_rejects.
              source: source && { ...source, maxRejects: undefined },
              decimalComma,
              syncSlack,
              follow: false,
              listed,
            });
          },
        }),
      );
    }
  }
}

/** @throws RollbookError `usage` when it is refused */
function chosenSource(sources: readonly Source[], path: string, inbox: string): FileSource | undefined {
  const choice = chooseSource({ sources, path, inbox });
  if (choice.kind === "refused") throw usageError(`${choice.message}. Nothing was done.`);
  return choice.kind === "source" ? choice.source : undefined;
}

function jsonDecision({ file, decision, outcome, loadId, movedTo, error }: DecisionReport): unknown {
  return { file, decision, outcome, loadId, movedTo, ...(error && { error }) };
}

function describeDecision({ file, outcome, loadId, movedTo, error }: DecisionReport): string {
  const number = loadId === null ? "" : ` (load ${loadId})`;
  const where = movedTo === null ? "" : `, now ${printable(movedTo)}`;
  const why = error === undefined ? "" : `: ${error.code}: ${printable(error.message)}`;
  return `${printable(file)}: ${SAYING[outcome]}${number}${where}${why}`;
}

const SAYING: Readonly<Record<DecisionReport["outcome"], string>> = {
  loaded: "loaded; rollbook refresh takes it into the rollup",
  already_loaded: "was loaded already",
  rejected: "rejected",
  failed: "failed",
  returned: "back in the inbox",
  already_returned: "was moved back already",
  kept: "stays rejected",
};
