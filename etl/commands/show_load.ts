/** Loads a drop, and shows how far it is and what became of it. */
import { basename } from "node:path";
import type { FileGuard } from "../drop/file.ts";
import { printable } from "../escape.ts";
import { findLoadOfUndated } from "../inbox/archive.ts";
import type { InboxFile } from "../inbox/list.ts";
import type { Place } from "../inbox/round.ts";
import { ofLoad } from "../lineage/outcome.ts";
import { loadDrop } from "../load/load.ts";
import { readBy } from "../load/read_by.ts";
import type { LoadReport, ReadBy } from "../load/report.ts";
import { describeSuspicions } from "../load/suspicion.ts";
import type { RejectLimit } from "../load/task.ts";
import { note, writeJson, writeLine } from "../output.ts";
import type { FileSource } from "../sources/source.ts";
import { shorten } from "../terminal/format.ts";
import { loadShare, startDescription } from "../terminal/load_progress.ts";
import { describeReport, jsonReport } from "../terminal/load_report.ts";
import { openProgress } from "../terminal/progress.ts";
import { describeNotReplaced, describeUndone } from "../terminal/undo.ts";
import type { LoadReplacement } from "../undo/replace.ts";
import { type Context, resolvePath } from "./context.ts";
import type { LoadFlags } from "./load_flags.ts";
import type { FollowedWarehouse } from "./open.ts";

/** Loads one drop with progress on the terminal, and prints its report. */
export async function loadAndShow(
  context: Context,
  warehouse: Pick<FollowedWarehouse, "database" | "settings" | "lineage">,
  file: string,
  flags: Omit<LoadFlags, "refresh" | "sources" | "inbox"> &
    FileGuard & {
      readonly source?: FileSource | undefined;
      readonly replacement?: Replacing | undefined;
      /** Stands first in the JSON, where a command prints objects of several kinds. */
      readonly kind?: string;
    },
  place: Place,
): Promise<LoadReport> {
  const report = { ...(await loadWithProgress(context, warehouse, file, flags, place)), file };
  const { replacement } = flags;
  if (replacement === undefined) return showLoad(context, report, flags, readBy(flags.source));
  const undo = report.outcome === "loaded" ? (replacement.report() ?? null) : null;
  if (flags.json) {
    await writeJson(context, { ...jsonReport(report), replaced: undo });
    warnOf(context, report);
  } else {
    if (undo !== null) await writeLine(context, describeUndone(undo));
    await showLoad(context, report, flags, readBy(flags.source));
    if (undo === null) await writeLine(context, describeNotReplaced(replacement.loadId));
  }
  const touched = new Set([...report.touched, ...(undo?.partitions ?? [])]);
  return { ...report, touched: [...touched] };
}

/**
 * Loads a drop of an inbox as it was listed, likewise. One without a sync date that is in already was given its date
 * then, and needs none now.
 */
export async function loadListed(
  context: Context,
  warehouse: Pick<FollowedWarehouse, "database" | "settings" | "lineage">,
  file: InboxFile,
  flags: Omit<LoadFlags, "refresh" | "follow" | "inbox"> & { readonly kind?: string },
  place: Place,
): Promise<LoadReport> {
  const isGiven = flags.syncedOn !== undefined;
  const known = isGiven ? undefined : await findLoadOfUndated({ ...warehouse, signal: context.signal }, file);
  if (known !== undefined) return showLoad(context, known, flags);
  const { path, source } = file;
  return loadAndShow(context, warehouse, path, { ...flags, follow: false, listed: file, source }, place);
}

/** A load that the drop takes the place of. */
type Replacing = LoadReplacement & { readonly loadId: number };

/**
 * Prints the report of a load.
 *
 * @param flags.kind stands first in the JSON, where a command prints objects of several kinds
 * @param today the source that reads the drop today; left out: nobody asks for it to be read anew
 */
export async function showLoad(
  context: Context,
  report: LoadReport,
  flags: Pick<LoadFlags, "json"> & { readonly kind?: string },
  today?: ReadBy | null,
): Promise<LoadReport> {
  const { kind } = flags;
  if (flags.json) await writeJson(context, { ...(kind !== undefined && { kind }), ...jsonReport(report) });
  else await writeLine(context, describeReport(report, today));
  warnOf(context, report);
  return report;
}

function warnOf(context: Context, report: LoadReport): void {
  if (report.outcome === "loaded" && report.rows.read === 0) {
    const remedy = "If there should be some, its export may have failed.";
    note(context, `warning: ${printable(report.file)} holds no invoices. ${remedy}`);
  }
  if (report.outcome === "loaded" && report.suspicious.length > 0) {
    const why = describeSuspicions(report.suspicious);
    note(context, `warning: ${printable(report.file)} (load ${report.loadId}) is suspicious: ${why}`);
  }
}

/** Loads one drop with progress on the terminal. */
export async function loadWithProgress(
  context: Context,
  warehouse: Pick<FollowedWarehouse, "database" | "settings" | "lineage">,
  file: string,
  flags: FileGuard & {
    readonly maxRejects: RejectLimit;
    readonly refuseSuspicious?: boolean | undefined;
    readonly replaceVenueDays?: boolean | undefined;
    readonly syncedOn?: string | undefined;
    readonly decimalComma?: boolean | undefined;
    readonly syncSlack?: number | undefined;
    readonly again?: boolean | undefined;
    readonly source?: FileSource | undefined;
    readonly replacement?: Replacing | undefined;
  },
  place: Place = { number: 1, of: 1 },
): Promise<LoadReport> {
  const bar = openProgress(context);
  const title = `${place.of > 1 ? `${place.number} of ${place.of}: ` : ""}${shorten(printable(basename(file)), 24)}`;
  const describe = startDescription(title);
  const path = resolvePath(context, file);
  const load = () =>
    loadDrop({
      database: warehouse.database,
      settings: warehouse.settings,
      path,
      follow: flags.follow,
      listed: flags.listed,
      syncedOn: flags.syncedOn,
      source: flags.source,
      maxRejects: flags.maxRejects.share,
      maxRejectedLines: flags.maxRejects.lines,
      refuseSuspicious: flags.refuseSuspicious,
      replaceVenueDays: flags.replaceVenueDays,
      decimalComma: flags.decimalComma,
      syncSlack: flags.syncSlack,
      again: flags.again,
      replace: flags.replacement,
      signal: context.signal,
      onProgress: (progress) =>
        bar.update((place.number - 1 + loadShare(progress)) / place.of, describe(progress)),
      onRetry: (attempt, error) =>
        note(
          context,
          `${printable(file)}: attempt ${attempt} failed, trying again: ${printable(String(error))}`,
        ),
    });
  return warehouse.lineage
    .follow("load", load, (where, report) =>
      ofLoad(where, report, { path, replaced: flags.replacement?.report() }),
    )
    .finally(() => bar.stop());
}
