import { access, constants, stat } from "node:fs/promises";
import { type Command, Option } from "commander";
import { type LoadProgress, type LoadReport, loadDrop } from "../load.ts";
import {
  formatCount,
  formatDuration,
  note,
  openProgress,
  printable,
  writeJson,
  writeLine,
} from "../output.ts";
import { type RefreshReport, refreshPartitions } from "../refresh.ts";
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

export interface LoadFlags {
  readonly refresh: boolean;
  readonly maxRejects: number;
  readonly syncedOn?: string;
  readonly decimalComma?: boolean;
  readonly ignoreMissing?: boolean;
  readonly exitWithParent?: boolean;
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
    .option("--exit-with-parent", "end, rolled back, when the parent process is gone (for schedulers)")
    .addOption(jsonOption());
}

export function addLoad(program: Command, context: Context): void {
  const command = program
    .command("load")
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
    .option("--ignore-missing", "pass over files that are not there");
  addLoadOptions(command)
    .addHelpText(
      "after",
      "\nExample:\n  rollbook load inbox/invoices_2026-10-05.csv inbox/invoices_2026-10-06.csv.gz\n",
    )
    .action(async (files: string[], flags: LoadFlags) => context.finish(await load(context, files, flags)));
}

async function load(context: Context, files: readonly string[], flags: LoadFlags): Promise<number> {
  if (flags.exitWithParent) context.endWithParent();
  const present = await presentFiles(context, files, flags.ignoreMissing ?? false);
  if (present.length === 0) return EXIT.done;
  return withWarehouse(context, { create: true }, async (warehouse) => {
    const reports: LoadReport[] = [];
    for (const file of present) {
      const report = await loadAndTell(context, warehouse, file, flags);
      reports.push(report);
      if (report.error?.code === "connection") break;
    }
    if (reports.length < present.length) {
      note(
        context,
        `${present.length - reports.length} more drops were not tried: the database is out of reach.`,
      );
    }
    if (flags.refresh) await refreshTouched(context, warehouse, reports, flags.json ?? false);
    return exitCode(reports);
  });
}

/** Of several files: 1 if any failed, else 3 if any was rejected, else 0. */
export function exitCode(reports: readonly LoadReport[]): number {
  if (reports.some((report) => report.outcome === "failed")) return EXIT.failed;
  if (reports.some((report) => report.outcome === "rejected")) return EXIT.rejected;
  return EXIT.done;
}

/** The files that are there. One that is not, or is no readable file, ends the command before anything is loaded. */
async function presentFiles(
  context: Context,
  files: readonly string[],
  ignoreMissing: boolean,
): Promise<readonly string[]> {
  const present: string[] = [];
  for (const file of files) {
    const path = resolvePath(context, file);
    const name = printable(file);
    const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
    if (found instanceof Error) {
      if (found.code !== "ENOENT" && found.code !== "ENOTDIR") throw usageError(`${name}: ${found.message}`);
      if (!ignoreMissing) throw usageError(`${name}: there is no such file. Nothing was loaded.`);
      note(context, `${name}: not there, passed over`);
      continue;
    }
    if (found.isDirectory()) {
      throw usageError(`${name} is a folder. Name the files in it, or run: rollbook watch ${name}`);
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

/** Loads one drop with progress on the terminal, and prints its report. */
export async function loadAndTell(
  context: Context,
  warehouse: Warehouse,
  file: string,
  flags: Omit<LoadFlags, "refresh">,
): Promise<LoadReport> {
  const bar = openProgress(context);
  const started = performance.now();
  const report = await loadDrop({
    database: warehouse.database,
    settings: warehouse.settings,
    path: resolvePath(context, file),
    syncedOn: flags.syncedOn,
    maxRejects: flags.maxRejects,
    decimalComma: flags.decimalComma,
    signal: context.signal,
    onProgress: (progress) =>
      bar.update(share(progress), describeProgress(file, progress, performance.now() - started)),
    onRetry: (attempt, error) =>
      note(context, `${printable(file)}: attempt ${attempt} failed, trying again: ${error}`),
  }).finally(() => bar.stop());
  const told = { ...report, file };
  if (flags.json) await writeJson(context, jsonReport(told));
  else await writeLine(context, describeReport(told));
  return told;
}

function share({ step, bytes, totalBytes }: LoadProgress): number {
  if (step === "hash" || step === "claim") return 0;
  if (step === "stage") return totalBytes === 0 ? 0 : (bytes / totalBytes) * 0.5;
  return step === "prepare" ? 0.5 : step === "merge" ? 0.55 : 1;
}

function describeProgress(file: string, { step, bytes, rows }: LoadProgress, ms: number): string {
  const rate = ms > 0 ? Math.round((rows / ms) * 1000) : 0;
  const megabytes = (bytes / 1e6).toFixed(1);
  return `${printable(file)}: ${step}, ${formatCount(rows)} lines, ${megabytes} MB, ${formatCount(rate)} lines/s`;
}

function jsonReport(report: LoadReport): unknown {
  const { file, outcome, loadId, syncedOn, rows, partitions, durationMs, timings, error } = report;
  return { file, outcome, loadId, syncedOn, rows, partitions, durationMs, timings, ...(error && { error }) };
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
      const lines = `${formatCount(rows.read)} lines${counts.length > 0 ? `: ${counts.join(", ")}` : ""}`;
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
  return `${names.length} ${names.length === 1 ? "partition" : "partitions"} (${shown.join(", ")})`;
}

/** Refreshes what these loads made pending; also what an earlier run left, that was cut off between load and refresh. */
export async function refreshTouched(
  context: Context,
  warehouse: Warehouse,
  reports: readonly LoadReport[],
  json: boolean,
): Promise<readonly RefreshReport[]> {
  const partitions = [...new Set(reports.flatMap((report) => report.touched))].sort();
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
  return `refreshed ${describePartitions(reports.map((report) => report.partition))}${how}: ${formatCount(groups)} groups written`;
}
