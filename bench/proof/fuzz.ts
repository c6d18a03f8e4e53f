/**
 * `npm run fuzz`: compares the reader of drops with the format model, on mutated lines and files.
 * docs/reliability.md
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import {
  createProgress,
  listenForStop,
  type ProgressListener,
  parseArguments,
  runProgram,
} from "../program/terminal.ts";
import { hostileDrops, runLimits } from "./fuzz/limits.ts";
import { openFuzzServer } from "./fuzz/postgres.ts";
import { type FoundDifference, type FuzzProgress, type FuzzReport, runFuzz } from "./fuzz/search.ts";

interface Flags {
  readonly lines: number;
  readonly files: number;
  readonly sources: number;
  readonly from: number;
  readonly limits?: boolean;
  readonly json?: boolean;
}

/** The command, without its action. */
export function createCommand(): Command {
  return new Command("npm run fuzz --")
    .description(
      "Decide mutated lines and files by the fast path, the careful path, the direct way and an independent " +
        "model, and stop at the first difference.",
    )
    .option(
      "--lines <n>",
      "mutated lines, rounded up to a batch; 100k and 5M will do, too",
      parseCount,
      200_000,
    )
    .option("--files <n>", "mutated files", parseCount, 300)
    .option("--sources <n>", "files whose form a source gives", parseCount, 300)
    .option("--from <seed>", "the first seed: the same seeds make the same lines and files", parseCount, 1)
    .option("--limits", "load hostile drops of gigabytes instead, and measure the memory that each takes")
    .option("--json", "the result as one JSON object on standard output")
    .addHelpText(
      "after",
      `
Exit codes: 0 all agree, 1 a difference was found (it is printed, made as small as can be), 2 usage.

It starts a PostgreSQL of its own in a temporary folder.

Example: what was found with seed 4711, once more
  npm run fuzz -- --from 4711 --lines 1 --files 0 --sources 0`,
    )
    .allowExcessArguments(false)
    .exitOverride();
}

/** A whole number; `k`, `M` and `G` stand for thousands, millions and thousands of millions. */
function parseCount(text: string): number {
  const [, digits, unit = ""] = /^(\d[\d_]*)([kMG]?)$/.exec(text) ?? [];
  if (digits === undefined) throw new InvalidArgumentError("Give a whole number, like 500 or 100k.");
  const size = unit === "k" ? 1e3 : unit === "M" ? 1e6 : unit === "G" ? 1e9 : 1;
  return Number(digits.replaceAll("_", "")) * size;
}

async function run(argv: readonly string[]): Promise<number> {
  const command = createCommand();
  const done = parseArguments(command, argv);
  if (done !== undefined) return done;
  const flags = command.opts<Flags>();
  const stop = listenForStop();
  const { signal } = stop;
  if (flags.limits) return measureLimits(flags.json ?? false, stop);
  const progress = createProgress({ everyMs: 10_000 });
  try {
    const server = await openFuzzServer(signal);
    let report: FuzzReport;
    const started = performance.now();
    try {
      report = await runFuzz({
        ...flags,
        database: server.database,
        signal,
        onProgress: (done) => progress.show(progressOf(done, flags)),
      });
    } finally {
      progress.stop();
      await server.close();
    }
    const seconds = Math.round((performance.now() - started) / 1000);
    process.stdout.write(
      flags.json ? `${JSON.stringify({ ...report, seconds })}\n` : `${summarize(report, seconds)}\n`,
    );
    if (report.difference !== undefined) return 1;
    return signal.aborted ? stop.exitCode() : 0;
  } catch (error) {
    progress.stop();
    if (signal.aborted) return stop.exitCode();
    throw error;
  }
}

/** Loads each hostile drop in a process of its own; exit code 1 when one does not end as it must. */
async function measureLimits(json: boolean, stop: ReturnType<typeof listenForStop>): Promise<number> {
  const server = await openFuzzServer(stop.signal);
  const folder = mkdtempSync(join(tmpdir(), "rollbook-limits-"));
  let faults = 0;
  try {
    const drops = hostileDrops({ small: false });
    for await (const report of runLimits({ drops, folder, environment: server.environment })) {
      const { name, outcome, code, read, rejected, peakMb, seconds } = report;
      faults += report.faults.length;
      const ended = `${outcome}${code === undefined ? "" : ` (${code})`}`;
      const line = `${name}: ${ended}, ${read} read, ${rejected} rejected, ${peakMb} MB, ${seconds} s`;
      process.stdout.write(`${json ? JSON.stringify(report) : [line, ...report.faults].join("\n  ")}\n`);
      if (stop.signal.aborted) return stop.exitCode();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await server.close();
  }
  return faults > 0 ? 1 : 0;
}

function progressOf(done: FuzzProgress, { lines, files, sources }: Flags): Parameters<ProgressListener>[0] {
  // A file takes about as long as some hundred lines.
  const size = (of: Pick<FuzzProgress, "lines" | "files" | "sources">) =>
    of.lines + 200 * (of.files + of.sources);
  return {
    done: size(done),
    total: size({ lines, files, sources }),
    text:
      `${done.lines} of ${lines} lines, ${done.files} of ${files} files, ` +
      `${done.sources} of ${sources} files with sources, seed ${done.seed}`,
  };
}

function summarize(report: FuzzReport, seconds: number): string {
  const { lines, files, fileLines, names, taken, recognised, keyed, reasons, refusals, difference } = report;
  const counts = (of: Readonly<Record<string, number>>) =>
    Object.entries(of)
      .toSorted(([, a], [, b]) => b - a)
      .map(([name, count]) => `${count} ${name}`)
      .join(", ") || "none";
  const summary = [
    `${lines} lines and ${files} files with ${fileLines} lines, from seed ${report.seed}, in ${seconds} s`,
    `files with sources: ${report.sources} with ${report.sourceLines} lines, of which these leave out ${report.skipped}`,
    `names: ${names}`,
    `taken: ${taken}, of these ${recognised} as they are by the fast path, ${keyed} keyed by the direct way`,
    `rejected: ${counts(reasons)}`,
    `files refused: ${counts(refusals)}`,
    `differences: ${report.differences}`,
  ].join("\n");
  return difference === undefined ? summary : `${summary}\n\n${describe(difference)}`;
}

const AGAIN = {
  lines: "--lines 1 --files 0 --sources 0",
  file: "--lines 0 --files 1 --sources 0",
  names: "--lines 0 --files 1 --sources 0",
  source: "--lines 0 --files 0 --sources 1",
} as const;

function describe(found: FoundDifference): string {
  const again = AGAIN[found.kind];
  return [
    `${found.what} (${found.kind}, seed ${found.seed})`,
    ...(found.line === undefined ? [] : [`line: ${JSON.stringify(found.line)}`]),
    ...Object.entries(found.said).map(
      ([who, said]) => `${who}: ${typeof said === "string" ? said : JSON.stringify(said)}`,
    ),
    ...(found.shrunk === undefined
      ? []
      : [
          `smallest drop: ${JSON.stringify(found.shrunk)}`,
          `as text: ${JSON.stringify(Buffer.from(found.shrunk.base64, "base64").toString("latin1"))}`,
        ]),
    `again: npm run fuzz -- --from ${found.seed} ${again}`,
  ].join("\n");
}

await runProgram(import.meta.url, run);
