import type { Command } from "commander";
import { printable } from "../../escape.ts";
import { type ArchiveReport, archiveDrops } from "../../inbox/archive.ts";
import { REJECTED } from "../../inbox/list.ts";
import { note, writeJson, writeLine } from "../../output.ts";
import { shorten } from "../../terminal/format.ts";
import { openProgress } from "../../terminal/progress.ts";
import { type Context, EXIT, usageError } from "../context.ts";
import { jsonOption, recursiveOption, syncedOnOption } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { withWarehouse } from "../open.ts";
import { readInboxSources, type SourceFlags, sourcesOption } from "../sources.ts";
import { openPlaces, requireInbox } from "./folder.ts";

interface Flags extends SourceFlags {
  readonly json?: boolean;
  readonly syncedOn?: string;
  readonly recursive?: boolean;
}

export function defineArchive(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Move files that are done out of the inbox, by what the ledger says: loaded ones to archive/, rejected ones to rejected/ with a file NAME.reason.json beside them. What the ledger does not know stays. A file without a sync date in its name is known by its bytes. Nothing is overwritten; run it again after a crash.",
    )
    .argument("<folder>", "the inbox")
    .argument("<file...>", "files in the inbox or in its rejected/; those that are gone are skipped")
    .addOption(syncedOnOption())
    .addOption(recursiveOption())
    .addOption(sourcesOption())
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook inbox archive inbox inbox/invoices_2026-10-05.csv\n")
    .action(async (folder: string, files: string[], flags: Flags) =>
      context.finish(await archive(context, folder, files, flags)),
    );
}

async function archive(
  context: Context,
  folder: string,
  files: readonly string[],
  { json = false, syncedOn, recursive, ...flags }: Flags,
): Promise<number> {
  const inbox = await requireInbox(context, folder);
  const sources = await readInboxSources(context, inbox, flags);
  const findPlace = await openPlaces(context, inbox, { recursive, sources });
  const paths: string[] = [];
  for (const file of files) {
    const place = await findPlace(file);
    if (place === undefined) {
      throw usageError(
        `${printable(file)} lies neither in ${printable(folder)}${recursive ? " or below" : ""} nor in its ${REJECTED}/. Nothing was moved.`,
      );
    }
    paths.push(place.path);
  }
  const bar = openProgress(context);
  let done = 0;
  let failed = 0;
  await withWarehouse(context, {}, ({ database, settings }) =>
    archiveDrops({
      database,
      settings,
      folder: inbox,
      files: paths,
      syncedOn,
      sources,
      signal: context.signal,
      onReport: async (report) => {
        const named = { ...report, file: files[done] ?? report.file };
        done += 1;
        bar.update(done / files.length, `${done} of ${files.length}: ${shorten(printable(report.file), 40)}`);
        if (report.outcome === "failed") failed += 1;
        if (json) await writeJson(context, jsonArchived(named));
        await showArchived(context, named, json);
      },
    }),
  ).finally(() => bar.stop());
  return failed > 0 ? EXIT.failed : EXIT.done;
}

export function jsonArchived({ file, outcome, loadId, movedTo, error }: ArchiveReport): object {
  return { file, outcome, loadId, movedTo, ...(error && { error }) };
}

/** Programs read of a file that was moved in the JSON; of one that stays everybody reads on stderr, too. */
export async function showArchived(context: Context, report: ArchiveReport, json: boolean): Promise<void> {
  const file = printable(report.file);
  const number = report.loadId === null ? "" : ` (load ${report.loadId})`;
  const why = printable(report.error?.message ?? "");
  switch (report.outcome) {
    case "loaded":
    case "rejected": {
      if (json) return;
      const where = report.movedTo === null ? "stays where it is" : `now ${printable(report.movedTo)}`;
      return writeLine(context, `${file}: ${report.outcome}${number}, ${where}`);
    }
    case "missing":
      return note(context, `${file}: not there, skipped`);
    case "unknown":
      return note(
        context,
        why || `${file}: the ledger does not know it, so it stays. Load it: rollbook load`,
      );
    case "failed":
      return note(context, `${file}: not moved${number}: ${why}`);
  }
}
