import { access, constants, lstat, stat } from "node:fs/promises";
import { basename } from "node:path";
import { type Command, Option } from "commander";
import { errorState, RollbookError } from "../../db/errors.ts";
import { requireOwner } from "../../db/roles/owner.ts";
import type { FileGuard } from "../drop/file.ts";
import { readDropName } from "../drop/name.ts";
import { printable } from "../escape.ts";
import { loadDrop } from "../load/load.ts";
import type { LineCounts, LoadReport } from "../load/report.ts";
import type { LoadProgress } from "../load/steps.ts";
import { note, writeJson, writeLine } from "../output.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import type { RefreshReport } from "../refresh/report.ts";
import { countOf, formatBytes, formatCount, formatDuration, shorten } from "../terminal/format.ts";
import { openProgress } from "../terminal/progress.ts";
import type { Warehouse } from "../warehouse.ts";
import {
  type Context,
  EXIT,
  jsonOption,
  parseDate,
  parseShare,
  resolvePath,
  usageError,
  withWarehouse,
} from "./context.ts";
import { declareKind } from "./kind.ts";

export interface LoadFlags {
  readonly refresh: boolean;
  readonly maxRejects: number;
  readonly syncedOn?: string;
  readonly decimalComma?: boolean;
  readonly ignoreMissing?: boolean;
  readonly follow: boolean;
  readonly again?: boolean;
  readonly json?: boolean;
}

/** Flags that `load` and `watch` share. */
export function addLoadOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--max-rejects <share>",
        "greatest share of rejected lines, 0 to 1; above it the drop is rejected",
      )
        .argParser(parseShare)
        .default(0.01),
    )
    .option("--decimal-comma", "totals may have a decimal comma (12,50); points are taken, too")
    .addOption(jsonOption());
}

export function addLoad(program: Command, context: Context): void {
  const command = declareKind(program.command("load"), "works")
    .summary("load drops, then refresh what they touched")
    .description(
      "Load drops (CSV files of invoices), each in one transaction, then refresh the partitions they touched. A drop that is in already changes nothing.",
    )
    .argument("<file...>", "drops: .csv or .csv.gz, with the sync date in the name")
    .option(
      "--no-refresh",
      "leave the refresh to a later `rollbook refresh`; the views are exact all the same",
    )
    .option("--synced-on <date>", "sync date of these drops, whatever their names say", parseDate)
    .option("--ignore-missing", "pass over files that are not there")
    .option(
      "--no-follow",
      "refuse symbolic links, for files in a folder that others may write to; with --ignore-missing they, and all else that is no file, are passed over",
    )
    .option(
      "--again",
      "load drops that the ledger says are in: what they brought was lost (docs/recovery.md). What is there still does not change",
    );
  addLoadOptions(command)
    .addHelpText(
      "after",
      "\nExample:\n  rollbook load inbox/invoices_2026-10-05.csv inbox/invoices_2026-10-06.csv.gz\n",
    )
    .action(async (files: string[], flags: LoadFlags) => context.finish(await load(context, files, flags)));
}

async function load(context: Context, files: readonly string[], flags: LoadFlags): Promise<number> {
  const present = await presentFiles(context, files, flags);
  if (present.length === 0) return EXIT.done;
  const tally = startTally();
  try {
    return await withWarehouse(context, { create: true }, async (warehouse) => {
      if (flags.again === true) await requireOwner({ ...warehouse, action: "load drops again" });
      for (const [index, file] of present.entries()) {
        if (flags.ignoreMissing && (await isGone(resolvePath(context, file), flags.follow))) {
          noteMissing(context, file);
          tally.passOver();
          continue;
        }
        const report = await loadAndTell(context, warehouse, file, flags, {
          number: index + 1,
          of: present.length,
        });
        tally.add(report);
        if (report.error?.code === "connection") break;
      }
      await tellUntried(context, present.slice(tally.tried), flags);
      if (flags.refresh) await refreshTouched(context, warehouse, tally.touched, flags.json ?? false);
      if (!flags.json) await tellRejects(context, tally);
      return tally.exitCode();
    });
  } catch (error) {
    // The warehouse could not even be opened: programs still get an object per drop.
    if (tally.tried === 0 && error instanceof RollbookError && error.code === "connection") {
      await tellUntried(context, present, flags);
    }
    throw error;
  }
}

/** What is kept of the reports of any number of drops. */
export interface Tally {
  readonly tried: number;
  readonly touched: ReadonlySet<string>;
  readonly rejectedLines: number;
  /** A load that has rejects, the newest one. */
  readonly withRejects: number | null;
  readonly add: (report: LoadReport) => void;
  /** A drop that is not there any more counts as tried. */
  readonly passOver: () => void;
  /** Of several files: 1 if any failed, else 3 if any was rejected, else 0. */
  readonly exitCode: () => number;
}

export function startTally(): Tally {
  const outcomes = new Set<LoadReport["outcome"]>();
  const touched = new Set<string>();
  let tried = 0;
  let rejectedLines = 0;
  let withRejects: number | null = null;
  return {
    touched,
    get tried() {
      return tried;
    },
    get rejectedLines() {
      return rejectedLines;
    },
    get withRejects() {
      return withRejects;
    },
    add(report) {
      tried += 1;
      outcomes.add(report.outcome);
      for (const partition of report.touched) touched.add(partition);
      rejectedLines += report.rows.rejected;
      if (report.rows.rejected > 0) withRejects = report.loadId;
    },
    passOver() {
      tried += 1;
    },
    exitCode() {
      if (outcomes.has("failed")) return EXIT.failed;
      return outcomes.has("rejected") ? EXIT.rejected : EXIT.done;
    },
  };
}

const NO_LINES: LineCounts = { read: 0, inserted: 0, corrected: 0, unchanged: 0, superseded: 0, rejected: 0 };

/** Drops that were not tried failed, too, for a program that waits for an object per drop. */
async function tellUntried(context: Context, files: readonly string[], flags: LoadFlags): Promise<void> {
  if (files.length === 0) return;
  const message = "not tried: the database is out of reach. Load it again.";
  if (flags.json) {
    for (const file of files) {
      const name = readDropName({ fileName: basename(file), syncedOn: flags.syncedOn });
      const syncedOn = name.kind === "named" ? name.syncedOn : null;
      await writeJson(context, {
        file,
        outcome: "failed",
        loadId: null,
        syncedOn,
        rows: NO_LINES,
        partitions: [],
        durationMs: 0,
        error: { code: "connection", message },
      });
    }
  }
  note(context, `${countOf(files.length, "drop")} not tried: the database is out of reach`);
}

async function tellRejects(context: Context, { rejectedLines, withRejects }: Tally): Promise<void> {
  if (withRejects === null) return;
  const lines = `${countOf(rejectedLines, "line")} rejected`;
  await writeLine(context, `${lines}; see why: rollbook rejects --load ${withRejects}`);
}

async function isGone(path: string, follow: boolean): Promise<boolean> {
  return (follow ? stat(path) : lstat(path)).then(
    (found) => !follow && !found.isFile(),
    (error: unknown) => isMissing(error),
  );
}

function isMissing(error: unknown): boolean {
  const state = errorState(error);
  return state === "ENOENT" || state === "ENOTDIR";
}

function noteMissing(context: Context, file: string): void {
  note(context, `${printable(file)}: not there, passed over`);
}

/** The files that are there. One that is not, or is no readable file, ends the command before anything is loaded. */
async function presentFiles(
  context: Context,
  files: readonly string[],
  { ignoreMissing = false, follow }: Pick<LoadFlags, "ignoreMissing" | "follow">,
): Promise<readonly string[]> {
  const present: string[] = [];
  for (const file of files) {
    const path = resolvePath(context, file);
    const name = printable(file);
    const found = await (follow ? stat(path) : lstat(path)).catch((error: NodeJS.ErrnoException) => error);
    if (found instanceof Error) {
      if (!isMissing(found)) {
        throw usageError(`${name} cannot be looked at (${found.code}). Nothing was loaded.`);
      }
      if (!ignoreMissing)
        throw usageError(`${name}: there is no such file.${hintOf(file)} Nothing was loaded.`);
      noteMissing(context, file);
      continue;
    }
    // What takes a drop's name after it was listed must not hold up the others.
    if (!follow && ignoreMissing && !found.isFile()) {
      note(context, `${name}: no regular file, passed over`);
      continue;
    }
    if (found.isDirectory()) {
      throw usageError(
        `${name} is a folder. Nothing was loaded. Name the files in it, or take it as an inbox: rollbook watch ${name}`,
      );
    }
    if (found.isSymbolicLink()) {
      throw usageError(`${name} is a symbolic link, and --no-follow refuses those. Nothing was loaded.`);
    }
    if (!found.isFile()) throw usageError(`${name} is no regular file. Nothing was loaded.`);
    const readable = await access(path, constants.R_OK).then(
      () => true,
      () => false,
    );
    if (!readable) throw usageError(`${name} may not be read by this user. Nothing was loaded.`);
    present.push(file);
  }
  return present;
}

/** Arguments are text: of bytes that are not UTF-8 something else has come in. */
function hintOf(file: string): string {
  return file.includes("\ufffd") ? " If its name is not UTF-8, rename it." : "";
}

/** Loads one drop with progress on the terminal, and prints its report. */
export async function loadAndTell(
  context: Context,
  warehouse: Warehouse,
  file: string,
  flags: Omit<LoadFlags, "refresh"> & FileGuard,
  place: { readonly number: number; readonly of: number },
): Promise<LoadReport> {
  const report = { ...(await loadWithProgress(context, warehouse, file, flags, place)), file };
  if (flags.json) await writeJson(context, jsonReport(report));
  else await writeLine(context, describeReport(report));
  return report;
}

/** Loads one drop with progress on the terminal. */
export async function loadWithProgress(
  context: Context,
  warehouse: Warehouse,
  file: string,
  flags: FileGuard & {
    readonly maxRejects: number;
    readonly syncedOn?: string | undefined;
    readonly decimalComma?: boolean | undefined;
    readonly again?: boolean | undefined;
  },
  place: { readonly number: number; readonly of: number } = { number: 1, of: 1 },
): Promise<LoadReport> {
  const bar = openProgress(context);
  const title = `${place.of > 1 ? `${place.number} of ${place.of}: ` : ""}${shorten(printable(basename(file)), 40)}`;
  const describe = startDescription();
  return loadDrop({
    database: warehouse.database,
    settings: warehouse.settings,
    path: resolvePath(context, file),
    follow: flags.follow,
    listed: flags.listed,
    syncedOn: flags.syncedOn,
    maxRejects: flags.maxRejects,
    decimalComma: flags.decimalComma,
    again: flags.again,
    signal: context.signal,
    onProgress: (progress) =>
      bar.update((place.number - 1 + share(progress)) / place.of, `${title}: ${describe(progress)}`),
    onRetry: (attempt, error) =>
      note(
        context,
        `${printable(file)}: attempt ${attempt} failed, trying again: ${printable(String(error))}`,
      ),
  }).finally(() => bar.stop());
}

/** How far a load is, by the time that its steps usually take. The database's share of the work tells nothing on its way. */
function share({ step, bytes, totalBytes }: LoadProgress): number {
  switch (step) {
    case "hash":
    case "claim":
      return 0;
    case "insert":
      return totalBytes === 0 ? 0 : (bytes / totalBytes) * 0.9;
    case "stage":
      return totalBytes === 0 ? 0 : (bytes / totalBytes) * 0.4;
    case "prepare":
      return 0.4;
    case "merge":
      return 0.5;
    case "commit":
    case "committed":
      return 1;
  }
}

/** Says what a load is doing: bytes and rate while the file is read, then the lines that the database works on. */
function startDescription(): (progress: LoadProgress) => string {
  let began: number | undefined;
  return ({ step, bytes, totalBytes, rows }) => {
    const lines = `${formatCount(rows)} lines`;
    switch (step) {
      case "hash":
        return `checking, ${formatBytes(bytes)}`;
      case "claim":
        return "waiting for its turn";
      case "insert":
      case "stage": {
        began ??= performance.now();
        const seconds = (performance.now() - began) / 1000;
        const rate = seconds > 0.1 ? `, ${formatCount(Math.round(rows / seconds))} lines/s` : "";
        return `reading, ${lines}, ${formatBytes(bytes)} of ${formatBytes(totalBytes)}${rate}`;
      }
      case "prepare":
        return `preparing ${lines}`;
      case "merge":
        return `merging ${lines}`;
      case "commit":
      case "committed":
        return `committing ${lines}`;
    }
  };
}

function jsonReport(report: LoadReport): unknown {
  const { file, outcome, loadId, syncedOn, rows, partitions, durationMs, error } = report;
  return { file, outcome, loadId, syncedOn, rows, partitions, durationMs, ...(error && { error }) };
}

function describeReport(report: LoadReport): string {
  const { rows } = report;
  const file = printable(report.file);
  const number = report.loadId === null ? "" : ` (load ${report.loadId})`;
  switch (report.outcome) {
    case "loaded": {
      const counts = (["inserted", "corrected", "unchanged", "superseded", "rejected"] as const)
        .filter((name) => rows[name] > 0)
        .map((name) => `${formatCount(rows[name])} ${name}`);
      const lines = `${countOf(rows.read, "line")}${counts.length > 0 ? `: ${counts.join(", ")}` : ""}`;
      const where = describePartitions(report.partitions);
      return `${file}: loaded${number}, ${lines}; ${where}; ${formatDuration(report.durationMs)}`;
    }
    case "already_loaded":
      return `${file}: was loaded already${number}, nothing changed`;
    default:
      return `${file}: ${report.outcome}${number}: ${report.error?.code}: ${printable(report.error?.message ?? "")}`;
  }
}

function describePartitions(names: readonly string[]): string {
  if (names.length === 0) return "no total changed";
  const shown = names.length > 6 ? [...names.slice(0, 3), "...", ...names.slice(-2)] : names;
  return `${countOf(names.length, "partition")} (${shown.join(", ")})`;
}

/** Refreshes what these loads made pending; also what an earlier run left, that was cut off between load and refresh. */
export async function refreshTouched(
  context: Context,
  warehouse: Warehouse,
  touched: ReadonlySet<string>,
  json: boolean,
): Promise<readonly RefreshReport[]> {
  const partitions = [...touched].sort();
  if (partitions.length === 0) return [];
  const bar = openProgress(context);
  const refreshed = await refreshPartitions({
    database: warehouse.database,
    partitions,
    signal: context.signal,
    onProgress: (done, of, { partition }) =>
      bar.update(done / of, `refreshed ${partition}, ${done} of ${of}`),
  }).finally(() => bar.stop());
  const done = refreshed.filter((report) => report.method !== "none");
  if (!json && done.length > 0) await writeLine(context, describeRefresh(done));
  return refreshed;
}

/** What a refresh did, in a line. */
export function describeRefresh(reports: readonly RefreshReport[]): string {
  const groups = reports.reduce((sum, { groups: g }) => sum + g.inserted + g.updated + g.deleted, 0);
  const rebuilt = reports.filter((report) => report.method === "rebuild").map((report) => report.partition);
  const how = rebuilt.length === 0 ? "" : `, ${rebuilt.length} of them rebuilt`;
  return `refreshed ${describePartitions(reports.map((report) => report.partition))}${how}: ${countOf(groups, "group")} written`;
}
