import { constants } from "node:fs";
import { access, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Command, Option } from "commander";
import { printable } from "../escape.ts";
import { type ArchiveReport, archiveDrops } from "../inbox/archive.ts";
import { type Batch, cutBatches } from "../inbox/batch.ts";
import { ARCHIVE, findReadyDrops, type LeftFile, REJECTED, refuseLinkedFolder } from "../inbox/list.ts";
import {
  DECISIONS,
  type Decision,
  type DecisionReport,
  keepRejected,
  listRejected,
  loadRejected,
  type RejectedFile,
  returnRejected,
} from "../inbox/review.ts";
import { note, writeJson, writeLine } from "../output.ts";
import { countOf, formatBytes, formatCount, shorten } from "../terminal/format.ts";
import { openProgress } from "../terminal/progress.ts";
import { formatTable } from "../terminal/table.ts";
import {
  type Context,
  EXIT,
  jsonOption,
  parseWhole,
  resolvePath,
  usageError,
  withWarehouse,
} from "./context.ts";
import { declareKind } from "./kind.ts";
import { loadWithProgress } from "./load.ts";

export function addInbox(program: Command, context: Context): void {
  const inbox = program
    .command("inbox")
    .summary("list, archive and review the drops of a folder, step by step")
    .description(
      "The steps of `watch` one by one, for schedulers: which drops are ready, where they go when they are done, and what becomes of the rejected ones.",
    );
  declareKind(inbox.command("list"), "reads")
    .description(
      "The drops that are ready to be loaded, oldest sync date first, in batches of similar size. A file is ready when its size and time stand still between two looks, or when it was renamed from *.part.",
    )
    .argument("<folder>", "the inbox")
    .option("--wait <seconds>", "while nothing is ready, look again for so long", parseWhole(0), 0)
    .option("--interval <seconds>", "time between two looks", parseWhole(1), 2)
    .option("--batches <n>", "so many batches at most", parseWhole(1), 8)
    .option("--limit <n>", "so many drops at most, the oldest", parseWhole(1), 2000)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook inbox list inbox --wait 600 --json\n")
    .action(async (folder: string, flags: ListFlags) => context.finish(await list(context, folder, flags)));
  declareKind(inbox.command("archive"), "works")
    .description(
      "Move drops that are done out of the inbox, by what the ledger says: loaded ones to archive/, rejected ones to rejected/ with a file NAME.reason.json beside them. What the ledger does not know stays. Nothing is overwritten; run it again after a crash.",
    )
    .argument("<folder>", "the inbox")
    .argument("<file...>", "drops in the inbox or in its rejected/; those that are gone are passed over")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook inbox archive inbox inbox/invoices_2026-10-05.csv\n")
    .action(async (folder: string, files: string[], flags: Flags) =>
      context.finish(await archive(context, folder, files, flags)),
    );
  declareKind(inbox.command("rejected"), "reads")
    .description(
      "The drops in rejected/ that nobody has decided on yet, each with the reason and its first rejected lines.",
    )
    .argument("<folder>", "the inbox")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook inbox rejected inbox\n")
    .action(async (folder: string, flags: Flags) => context.finish(await rejected(context, folder, flags)));
  declareKind(inbox.command("decide"), "works")
    .description(
      "Decide on a rejected drop. Run again after a crash it finishes what it began. Exit code 3 when the drop is rejected for another reason than its lines.",
    )
    .argument("<folder>", "the inbox")
    .argument("<file>", "a drop in its rejected/")
    .addOption(
      new Option(
        "--as <decision>",
        "load: load it, its bad lines stay in quarantine, and archive it; retry: back to the inbox, to be loaded by the next run; keep: it stays rejected and is not asked about again",
      )
        .choices(DECISIONS)
        .makeOptionMandatory(),
    )
    .option("--decimal-comma", "with load: totals may have a decimal comma (12,50); points are taken, too")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExample:\n  rollbook inbox decide inbox inbox/rejected/invoices_2026-10-05.csv --as load\n",
    )
    .action(async (folder: string, file: string, flags: DecideFlags) =>
      context.finish(await decide(context, folder, file, flags)),
    );
}

interface Flags {
  readonly json?: boolean;
}

interface ListFlags extends Flags {
  readonly wait: number;
  readonly interval: number;
  readonly batches: number;
  readonly limit: number;
}

interface DecideFlags extends Flags {
  readonly as: Decision;
  readonly decimalComma?: boolean;
}

/** The path of an inbox that this user may read and move files out of. Those of its folders that are there are folders. */
export async function requireInbox(context: Context, folder: string): Promise<string> {
  const inbox = resolvePath(context, folder);
  const found = await stat(inbox).catch(() => undefined);
  if (found === undefined)
    throw usageError(`${printable(folder)}: there is no such folder. Make it, and try again.`);
  if (!found.isDirectory())
    throw usageError(`${printable(folder)} is no folder. To load a file: rollbook load`);
  for (const place of [ARCHIVE, REJECTED]) await refuseLinkedFolder(join(inbox, place));
  const { R_OK, W_OK, X_OK } = constants;
  await access(inbox, R_OK | W_OK | X_OK).catch(() => {
    throw usageError(`${printable(folder)}: this user may not both read it and move files out of it.`);
  });
  return inbox;
}

async function list(context: Context, folder: string, flags: ListFlags): Promise<number> {
  const inbox = await requireInbox(context, folder);
  const ready = await findReadyDrops({
    folder: inbox,
    waitMs: flags.wait * 1000,
    intervalMs: flags.interval * 1000,
    signal: context.signal,
    onLeft: (left) => note(context, sayLeft(left)),
  });
  const taken = ready.slice(0, flags.limit);
  if (taken.length < ready.length) {
    note(context, `${countOf(ready.length - taken.length, "more drop")} ready; the oldest come first`);
  }
  const batches = cutBatches(taken, flags.batches);
  if (flags.json) {
    for (const batch of batches) await writeJson(context, jsonBatch(batch));
  } else {
    await writeLine(context, batches.length === 0 ? "No drop is ready." : formatBatches(batches));
  }
  return EXIT.done;
}

/** Why something stays in the inbox, and what to do about it. */
export function sayLeft({ name: given, reason }: LeftFile): string {
  const name = printable(given);
  switch (reason) {
    case "link":
      return `${name}: a symbolic link, so it stays where it is: links are not followed. Put the file itself here.`;
    case "folder":
      return `${name}: a folder, so it stays where it is: only files directly in the inbox are loaded.`;
    case "pipe":
    case "socket":
    case "device":
      return `${name}: a ${reason} and no file, so it stays where it is, unopened. Remove it.`;
    case "not_utf8":
      return `${name}: its name is not UTF-8, so it stays where it is. Rename it.`;
    case "not_csv":
      return `${name}: no drop, so it stays where it is: its name does not end in .csv or .csv.gz.`;
    case "unreadable":
      return `${name}: this user may not read it, so it stays where it is. Let this user read it (chmod, chown).`;
  }
}

function jsonBatch(batch: Batch): unknown {
  const { files, bytes, syncedFrom, syncedTo } = batch;
  return { files: files.map(({ path }) => path), bytes, syncedFrom, syncedTo, label: labelOf(batch) };
}

/** For people: the drop's name, or how many there are, of which dates. */
function labelOf({ files, syncedFrom, syncedTo }: Batch): string {
  const [first, ...more] = files;
  if (first !== undefined && more.length === 0) return shorten(printable(first.name));
  const drops = countOf(files.length, "drop");
  if (syncedFrom === null) return `${drops} without a sync date`;
  return `${drops} of ${syncedFrom}${syncedTo === syncedFrom ? "" : ` to ${syncedTo}`}`;
}

function formatBatches(batches: readonly Batch[]): string {
  return formatTable(
    [{ title: "batch" }, { title: "drops", align: "right" }, { title: "size", align: "right" }],
    batches.map((batch) => [labelOf(batch), String(batch.files.length), formatBytes(batch.bytes)]),
  );
}

/** Finds where files lie, directly in the inbox or in its rejected/, and gives their paths as the inbox's begins. */
async function openPlaces(context: Context, inbox: string) {
  const real = (path: string) => realpath(path).catch(() => path);
  const places = new Map<string, "" | typeof REJECTED>([
    [await real(inbox), ""],
    [await real(join(inbox, REJECTED)), REJECTED],
  ]);
  return async (
    file: string,
  ): Promise<{ readonly folder: "" | typeof REJECTED; readonly path: string } | undefined> => {
    const path = resolvePath(context, file);
    const folder = places.get(await real(dirname(path)));
    return folder === undefined ? undefined : { folder, path: join(inbox, folder, basename(path)) };
  };
}

async function archive(
  context: Context,
  folder: string,
  files: readonly string[],
  { json = false }: Flags,
): Promise<number> {
  const inbox = await requireInbox(context, folder);
  const findPlace = await openPlaces(context, inbox);
  const paths: string[] = [];
  for (const file of files) {
    const place = await findPlace(file);
    if (place === undefined) {
      throw usageError(
        `${printable(file)} lies neither in ${printable(folder)} nor in its ${REJECTED}/. Nothing was moved.`,
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
      signal: context.signal,
      onReport: async (report) => {
        const told = { ...report, file: files[done] ?? report.file };
        done += 1;
        bar.update(done / files.length, `${done} of ${files.length}: ${shorten(printable(report.file), 40)}`);
        if (report.outcome === "failed") failed += 1;
        if (json) await writeJson(context, jsonArchived(told));
        await tellArchived(context, told, json);
      },
    }),
  ).finally(() => bar.stop());
  return failed > 0 ? EXIT.failed : EXIT.done;
}

function jsonArchived({ file, outcome, loadId, movedTo, error }: ArchiveReport): unknown {
  return { file, outcome, loadId, movedTo, ...(error && { error }) };
}

/** Of what was moved only people are told, of what stays everybody is. */
async function tellArchived(context: Context, report: ArchiveReport, json: boolean): Promise<void> {
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
      return note(context, `${file}: not there, passed over`);
    case "unknown":
      return note(
        context,
        why || `${file}: the ledger does not know it, so it stays. Load it: rollbook load`,
      );
    case "failed":
      return note(context, `${file}: not moved${number}: ${why}`);
  }
}

/** Lines of a rejected drop shown to people. */
const SHOWN_LINES = 3;

async function rejected(context: Context, folder: string, { json = false }: Flags): Promise<number> {
  const drops = await listRejected(await requireInbox(context, folder));
  if (!json && drops.length === 0) await writeLine(context, "Nothing waits for a decision.");
  for (const drop of drops) {
    if (json) {
      await writeJson(context, drop);
      continue;
    }
    const { path, bytes, loadId, error, rows, lines } = drop;
    const number = loadId === null ? "" : `, load ${loadId}`;
    const counts =
      rows === null ? "" : `, ${formatCount(rows.rejected)} of ${countOf(rows.read, "line")} rejected`;
    await writeLine(context, `${printable(path)}: ${formatBytes(bytes)}${number}${counts}`);
    await writeLine(
      context,
      `  ${printable(error === null ? "no reason was kept" : `${error.code}: ${error.message}`)}`,
    );
    for (const line of lines.slice(0, SHOWN_LINES)) {
      const raw = "raw" in line ? line.raw : Buffer.from(line.rawBase64, "base64").toString("latin1");
      await writeLine(context, printable(`  line ${line.line}: ${line.reason}: ${shorten(raw, 100)}`));
    }
  }
  if (!json && drops.length > 0) await writeLine(context, "Decide with: rollbook inbox decide");
  return EXIT.done;
}

async function decide(context: Context, folder: string, file: string, flags: DecideFlags): Promise<number> {
  const inbox = await requireInbox(context, folder);
  const place = await (await openPlaces(context, inbox))(file);
  if (place?.folder !== REJECTED) {
    throw usageError(`${printable(file)} does not lie in the ${REJECTED}/ of ${printable(folder)}.`);
  }
  const report = await carryOut(context, { inbox, path: place.path }, flags);
  const told = { ...report, file };
  if (flags.json) await writeJson(context, jsonDecision(told));
  else await writeLine(context, describeDecision(told));
  switch (report.outcome) {
    case "rejected":
      return EXIT.rejected;
    case "failed":
      return EXIT.failed;
    default:
      return EXIT.done;
  }
}

function carryOut(context: Context, file: RejectedFile, flags: DecideFlags): Promise<DecisionReport> {
  const { decimalComma } = flags;
  switch (flags.as) {
    case "keep":
      return keepRejected(file);
    case "retry":
      return returnRejected(file);
    case "load":
      return withWarehouse(context, {}, (warehouse) =>
        loadRejected({
          ...file,
          warehouse,
          signal: context.signal,
          load: (listed, syncedOn) =>
            loadWithProgress(context, warehouse, listed.path, {
              maxRejects: 1,
              syncedOn,
              decimalComma,
              follow: false,
              listed,
            }),
        }),
      );
  }
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
