import { basename } from "node:path";
import { type Command, Option } from "commander";
import { RollbookError } from "../../db/errors.ts";
import { requireOwner } from "../../db/roles/owner.ts";
import { FILE_DATE, readDropName } from "../drop/name.ts";
import { readBy } from "../load/read_by.ts";
import { NO_LINES } from "../load/report.ts";
import { startTally, type Tally } from "../load/tally.ts";
import { note, writeJson, writeLine } from "../output.ts";
import { countOf } from "../terminal/format.ts";
import { type LoadReplacement, replaceLoad, requireReplaceable } from "../undo/replace.ts";
import type { Warehouse } from "../warehouse.ts";
import { type Context, EXIT, resolvePath, usageError } from "./context.ts";
import { parseWhole, requireBecause, syncedOnOption } from "./flags.ts";
import { isGone, noteMissing, presentFiles } from "./given_files.ts";
import { declareKind } from "./kind.ts";
import { addLoadOptions, type LoadFlags } from "./load_flags.ts";
import { withLineage } from "./open.ts";
import { loadAndShow } from "./show_load.ts";
import { refreshAndShow } from "./show_refresh.ts";
import { type ChosenSources, chooseSources, inboxOption } from "./sources.ts";

export function defineLoad(verb: Command, context: Context): void {
  const command = declareKind(verb, "works")
    .description(
      "Load CSV files of invoices (called drops), each in one transaction, then refresh the partitions they touched. A file that is in already changes nothing.",
    )
    .argument("<file...>", ".csv or .csv.gz, with the sync date in the name; with a source as it says")
    .option("--no-refresh", "leave the refresh to a later `rollbook refresh`; totals are exact all the same")
    .addOption(syncedOnOption())
    .option("--ignore-missing", "skip files that are not there")
    .option(
      "--no-follow",
      "refuse symbolic links, for files in a folder that others may write to; with --ignore-missing, links and whatever else is no file are skipped",
    )
    .option(
      "--again",
      "load files that the ledger says are in, because their invoices were lost (docs/recovery.md), or their source was mended and they are too old for --replace (docs/sources.md); invoices that are there and read the same do not change",
    )
    .addOption(
      new Option(
        "--replace <load>",
        "undo this load in the same transaction (see `undo`): one file takes the place of another. If the file is refused, the load stays as it is",
      )
        .argParser(parseWhole(1))
        .conflicts("again"),
    )
    .option("--because <text>", "with --replace: why; the ledger keeps it")
    .option(
      "--replace-venue-days",
      "each file is all there is for the venues and creation dates that it holds: all other invoices of these are taken out, as of the file's sync date. A file is loaded only if all of its lines can be read; one without records changes nothing. A source can say so (replace_venue_days)",
    );
  addLoadOptions(command)
    .addOption(inboxOption())
    .addHelpText(
      "after",
      "\nExample:\n  rollbook load invoices_2026-10-05.csv invoices_2026-10-06.csv.gz\n  rollbook load corrected_2026-10-05.csv --replace 42 --because doubled\n",
    )
    .action(async (files: string[], flags: LoadFlags) => context.finish(await load(context, files, flags)));
}

async function load(context: Context, files: readonly string[], flags: LoadFlags): Promise<number> {
  const wanted = readReplace(files, flags);
  const present = await presentFiles(context, files, flags);
  if (present.length === 0) return EXIT.done;
  const chosen = await chooseSources(context, present, flags);
  const tally = startTally();
  try {
    return await withLineage(context, { create: true }, async (warehouse) => {
      if (flags.again === true) await requireOwner({ ...warehouse, action: "load drops again" });
      const replacement = wanted && (await prepareReplacement(context, warehouse, wanted));
      for (const [index, file] of present.entries()) {
        if (flags.ignoreMissing && (await isGone(resolvePath(context, file), flags.follow))) {
          noteMissing(context, file);
          tally.passOver();
          continue;
        }
        const report = await loadAndShow(
          context,
          warehouse,
          file,
          { ...flags, source: chosen.get(file), replacement },
          { number: index + 1, of: present.length },
        );
        tally.add(report);
        if (report.error?.code === "connection") break;
      }
      await showUntried(context, present.slice(tally.tried), flags, chosen);
      if (flags.refresh) await refreshAndShow(context, warehouse, tally.touched, flags.json ?? false);
      if (!flags.json) await showRejects(context, tally);
      return EXIT[tally.outcome()];
    });
  } catch (error) {
    // The warehouse could not even be opened: programs still get an object per drop.
    if (tally.tried === 0 && error instanceof RollbookError && error.code === "connection") {
      await showUntried(context, present, flags, chosen);
    }
    throw error;
  }
}

interface Replace {
  readonly loadId: number;
  readonly because: string;
}

function readReplace(
  files: readonly string[],
  { replace, because }: Pick<LoadFlags, "replace" | "because">,
): Replace | undefined {
  if (replace === undefined) {
    if (because !== undefined)
      throw usageError("--because goes with --replace: it says why a load is undone.");
    return undefined;
  }
  if (files.length > 1) throw usageError("--replace takes one file. Nothing was loaded.");
  return { loadId: replace, because: requireBecause(because) };
}

async function prepareReplacement(
  { signal }: Context,
  { database, settings }: Warehouse,
  wanted: Replace,
): Promise<LoadReplacement & Replace> {
  const replacement = replaceLoad({ settings, ...wanted });
  await requireReplaceable({ database, replacement, signal });
  return { ...replacement, ...wanted };
}

/** Drops that were not tried failed, too, for a program that waits for an object per drop. */
async function showUntried(
  context: Context,
  files: readonly string[],
  flags: LoadFlags,
  chosen: ChosenSources,
): Promise<void> {
  if (files.length === 0) return;
  const message = "not tried: the database is out of reach. Load it again.";
  if (flags.json) {
    for (const file of files) {
      const source = chosen.get(file);
      const given = flags.syncedOn ?? source?.syncedOn;
      const name = readDropName({
        fileName: basename(file),
        syncedOn: given === FILE_DATE ? undefined : given,
        anyEnding: source !== undefined,
      });
      const syncedOn = name.kind === "named" ? name.syncedOn : null;
      await writeJson(context, {
        file,
        outcome: "failed",
        loadId: null,
        syncedOn,
        source: readBy(source),
        rows: NO_LINES,
        reasons: [],
        suspicious: [],
        partitions: [],
        durationMs: 0,
        error: { code: "connection", message },
      });
    }
  }
  note(context, `${countOf(files.length, "file")} not tried: the database is out of reach`);
}

async function showRejects(context: Context, { rejectedLines, withRejects }: Tally): Promise<void> {
  if (withRejects === null) return;
  const lines = `${countOf(rejectedLines, "line")} rejected`;
  await writeLine(context, `${lines}; see why: rollbook rejects --load ${withRejects}`);
}
