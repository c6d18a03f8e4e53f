/** `npm run bench`: measures incremental refresh against every other way. As a function: `runBench`. */
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, Option } from "commander";
import { ARMS } from "./arms/arms.ts";
import { createProgress, listenForStop, parseArguments, runProgram } from "./program/terminal.ts";
import { writeReport } from "./report/report.ts";
import { formatSummary } from "./report/table.ts";
import { PROFILES, type Profile } from "./results.ts";
import { type BenchOutcome, runBench } from "./run/runner.ts";

const HOME = fileURLToPath(new URL("../.bench", import.meta.url));

interface Flags {
  readonly profile: Profile;
  readonly out?: string;
  readonly home: string;
  readonly server?: string;
  readonly only?: string;
  readonly fresh?: boolean;
}

/** The command, without its action. */
export function createCommand(): Command {
  return new Command("npm run bench --")
    .description(
      "Measure incremental refresh against a full rebuild and against what others use. " +
        "Every way must end with the same totals; one that does not is reported as wrong.",
    )
    .addOption(
      new Option(
        "--profile <name>",
        "smoke: 100k invoices, some minutes; standard: 10M, up to half an hour; " +
          "huge: 100M, up to two hours and 35 GB of disk",
      )
        .choices([...PROFILES])
        .makeOptionMandatory(),
    )
    .option("--out <dir>", "folder for results.json and the report (default: HOME/results/PROFILE)")
    .option("--home <dir>", "folder of the embedded PostgreSQL and the histories, which are kept", HOME)
    .option("--server <url>", "a PostgreSQL server of yours, on which databases rollbook_bench_* are made")
    .option("--only <text>", "only cells whose name contains this text")
    .option("--fresh", "measure all cells anew; histories are kept")
    .addHelpText(
      "after",
      `
An interrupted run goes on where it stopped: run the same command again.

Example: the cells with a batch of 1M rows
  npm run bench -- --profile standard --only batch=1M`,
    )
    .allowExcessArguments(false)
    .exitOverride();
}

async function run(argv: readonly string[]): Promise<number> {
  const command = createCommand();
  const done = parseArguments(command, argv);
  if (done !== undefined) return done;
  const flags = command.opts<Flags>();
  const home = resolve(flags.home);
  const out = resolve(flags.out ?? join(home, "results", flags.profile));
  const stop = listenForStop();
  const progress = createProgress();
  try {
    const outcome = await runBench({
      ...flags,
      arms: ARMS,
      home,
      out,
      signal: stop.signal,
      onProgress: progress.show,
      onNote: (note) => process.stderr.write(`${note}\n`),
    });
    progress.stop();
    await conclude(outcome);
    if (!outcome.interrupted) return 0;
    process.stderr.write("\nInterrupted. To go on from here, run the same command again, without --fresh.\n");
    return stop.exitCode();
  } catch (error) {
    if (stop.signal.aborted) return stop.exitCode();
    throw error;
  } finally {
    progress.stop();
  }
}

/** What was measured: a table, the report, and where they lie. */
async function conclude({ results, path }: BenchOutcome): Promise<void> {
  if (results.cells.length === 0) return;
  process.stdout.write(`${formatSummary(results)}\n\nResults: ${path}\n`);
  const { files } = await writeReport({ results, folder: dirname(path) });
  for (const file of files) process.stdout.write(`Report: ${file}\n`);
}

await runProgram(import.meta.url, run);
