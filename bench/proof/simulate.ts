/**
 * `npm run simulate`: lives through random histories full of crashes, races and bad files, and proves every
 * cent after each step.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { RollbookError } from "../../db/errors.ts";
import { parseWhole } from "../../etl/commands/flags.ts";
import { formatCount } from "../../etl/terminal/format.ts";
import { writeBlock } from "../program/block.ts";
import { readCommit } from "../program/environment.ts";
import { createProgress, listenForStop, parseArguments, runProgram } from "../program/terminal.ts";
import { SIMULATION_BLOCK } from "./reliability_page.ts";
import { addFigures, type Figures, NO_FIGURES } from "./simulate/figures.ts";
import { addSeed, countSeeds, isDone, readRecord, writeRecord } from "./simulate/record.ts";
import { historyOf, type Lived, replay, simulate } from "./simulate/seeds.ts";

const FAILURES = fileURLToPath(new URL("../../.simulation", import.meta.url));
const SHRINK_MINUTES = 10;

interface Flags {
  readonly seeds: number;
  readonly from: number;
  readonly sites: number;
  readonly record?: string;
  readonly page?: string;
  readonly failures: string;
  readonly shrinkMinutes: number;
  readonly history?: string;
  readonly bail?: boolean;
  readonly print?: boolean;
  readonly json?: boolean;
}

/** The command, without its action. */
export function createCommand(): Command {
  return new Command("npm run simulate --")
    .description(
      "Live through random histories of drops, loads, undos, refreshes and moved partitions, with processes and " +
        "PostgreSQL killed, connections cut, disks filled and files changed in the middle. After each step every " +
        "table and view is compared with a model in memory. Exit code 1 when anything differs.",
    )
    .option("--seeds <n>", "number of histories", parseWhole(1), 50)
    .option("--from <seed>", "the first seed", parseWhole(0), 1)
    .option(
      "--sites <n>",
      "histories at a time, each with an embedded PostgreSQL of its own",
      parseWhole(1),
      Math.min(4, availableParallelism()),
    )
    .option("--record <file>", "add to this record, and pass over the seeds that are in it")
    .option("--page <file>", "put the figures of the record into this Markdown page")
    .option("--failures <dir>", "where histories that fail are kept", FAILURES)
    .option(
      "--shrink-minutes <n>",
      "how long a history that fails is made smaller; 0: not at all",
      parseWhole(0),
      SHRINK_MINUTES,
    )
    .option("--bail", "stop at the first history that fails")
    .option("--history <file>", "live through the history in this file instead, as --failures keeps it")
    .option("--print", "print the history of --from, and do nothing")
    .option("--json", "the figures as JSON")
    .addHelpText(
      "after",
      `
The same seed makes the same history. What goes on at once in it may meet in another order each time,
so a race may need several runs.

Examples:
  npm run simulate -- --seeds 1000 --record simulation.json    run it again to go on
  npm run simulate -- --from 4711 --seeds 1                    one history
  npm run simulate -- --history .simulation/seed-4711.json     what it was shrunk to`,
    )
    .allowExcessArguments(false)
    .exitOverride();
}

async function run(argv: readonly string[]): Promise<number> {
  const command = createCommand();
  const done = parseArguments(command, argv);
  if (done !== undefined) return done;
  const flags = command.opts<Flags>();
  if (flags.print) {
    process.stdout.write(`${JSON.stringify(historyOf(flags.from), null, 1)}\n`);
    return 0;
  }
  return flags.history === undefined ? runSeeds(flags) : runHistory(flags.history, flags);
}

async function runSeeds(flags: Flags): Promise<number> {
  const stop = listenForStop();
  const progress = createProgress();
  if (flags.page !== undefined && flags.record === undefined)
    throw new RollbookError({ code: "usage", message: "--page shows a record: name it with --record FILE." });
  const path = flags.record === undefined ? undefined : resolve(flags.record);
  const commit = path === undefined ? "" : await readCommit([path, flags.page]);
  let record = path === undefined ? undefined : readRecord(path);
  const all = Array.from({ length: flags.seeds }, (_, index) => flags.from + index);
  const seeds = all.filter((seed) => record === undefined || !isDone(record, seed));
  if (seeds.length < all.length)
    note(`${formatCount(all.length - seeds.length)} seeds are in the record already.`);
  let figures: Figures = NO_FIGURES;
  let lived = 0;
  const failed: Lived[] = [];
  const bail = new AbortController();
  await simulate({
    seeds,
    sites: Math.min(flags.sites, seeds.length),
    failures: resolve(flags.failures),
    shrinkMs: flags.shrinkMinutes * 60_000,
    signal: AbortSignal.any([stop.signal, bail.signal]),
    onNote: note,
    onLived: ({ seed, outcome }) => {
      lived += 1;
      if ("message" in outcome) {
        failed.push({ seed, outcome });
        if (flags.bail) bail.abort();
      } else figures = addFigures(figures, outcome);
      progress.show({ done: lived, total: seeds.length, text: `seed ${seed}, ${failed.length} failed` });
      if (record === undefined || path === undefined) return;
      const kept = "message" in outcome ? { seed, message: outcome.message } : outcome;
      record = addSeed(record, { seed, commit, outcome: kept });
      writeRecord(path, record);
    },
  });
  progress.stop();
  await report({ flags, figures, lived, failed });
  if (record !== undefined && flags.page !== undefined)
    await writeBlock(resolve(flags.page), SIMULATION_BLOCK, record);
  if (record !== undefined) note(`${formatCount(countSeeds(record))} seeds are in ${flags.record}.`);
  if (failed.length > 0) return 1;
  return stop.signal.aborted ? stop.exitCode() : 0;
}

async function runHistory(file: string, flags: Flags): Promise<number> {
  const history = JSON.parse(readFileSync(file, "utf8"));
  try {
    await report({ flags, figures: await replay(history), lived: 1, failed: [] });
    return 0;
  } catch (error) {
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

async function report(end: {
  readonly flags: Flags;
  readonly figures: Figures;
  readonly lived: number;
  readonly failed: readonly Lived[];
}): Promise<void> {
  const { flags, figures, lived, failed } = end;
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ histories: lived, failed, ...figures })}\n`);
    return;
  }
  for (const { seed, outcome } of failed) {
    if (!("message" in outcome)) continue;
    process.stdout.write(
      `\nSeed ${seed}: ${outcome.message}\n` +
        `  Its history, ${outcome.steps} steps: npm run simulate -- --history ${outcome.kept}\n`,
    );
  }
  const sum = (counts: Readonly<Record<string, number>>) =>
    formatCount(Object.values(counts).reduce((total, count) => total + count, 0));
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([name, count]) => `\n  ${name}: ${formatCount(count)}`)
      .join("");
  process.stdout.write(
    `${formatCount(lived)} histories of ${formatCount(figures.steps)} steps, ${failed.length} with a difference.
Acts: ${sum(figures.acts)}${list(figures.acts)}
Faults that struck: ${sum(figures.faults)}${list(figures.faults)}
Loads: ${sum(figures.outcomes)}${list(figures.outcomes)}
Attempts again: ${sum(figures.retries)}${list(figures.retries)}
Reads compared: ${formatCount(figures.reads)}; lines loaded: ${formatCount(figures.lines)}
`,
  );
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

await runProgram(import.meta.url, run);
