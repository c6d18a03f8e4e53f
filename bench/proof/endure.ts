/**
 * `npm run endure`: loads and reads with many processes for a while, and checks all that must hold. As a
 * function: `endure`.
 */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError } from "commander";
import { writeBlock } from "../program/block.ts";
import { listenForStop, parseArguments, runProgram } from "../program/terminal.ts";
import { endure } from "./endure/endurance.ts";
import { type EndureResults, isSound } from "./endure/results.ts";
import { type WearResults, wear } from "./endure/wear.ts";
import { formatLoad, formatWear, LOAD_BLOCK, WEAR_BLOCK } from "./reliability_page.ts";

const HOME = fileURLToPath(new URL("../../.bench/endure", import.meta.url));

interface Flags {
  readonly minutes: number;
  readonly loaders: number;
  readonly readers: number;
  readonly seed: number;
  readonly largest: number;
  readonly home: string;
  readonly out?: string;
  readonly page?: string;
  readonly note?: string;
  readonly json?: boolean;
  readonly wear?: number;
}

/** The command, without its action. */
function createCommand(): Command {
  return new Command("npm run endure --")
    .description(
      "Load drops and read the reports with many processes for a while, on an embedded PostgreSQL of its own, " +
        "and check that nothing is lost, leaked or grows: every read in its snapshot, all totals in the end " +
        "against a model.",
    )
    .option("--minutes <n>", "how long", parseMinutes, 15)
    .option("--loaders <n>", "processes that load, each drop with its refresh", parseCount(1, 16), 8)
    .option("--readers <n>", "processes that read and check", parseCount(0, 32), 4)
    .option("--seed <n>", "same seed, same drops", parseCount(0, Number.MAX_SAFE_INTEGER), 1)
    .option("--largest <n>", "lines of the largest drops", parseCount(1000, 5_000_000), 200_000)
    .option(
      "--wear <loads>",
      "something else: so many small loads on one set of groups, each with its refresh and a report, first alone, then " +
        "beside a transaction that is held open; do the last ones take as long as the first?",
      parseCount(10, 1_000_000),
    )
    .option("--home <dir>", "folder of the embedded PostgreSQL and the drops", HOME)
    .option("--out <file>", "write the results as JSON")
    .option("--page <file>", "put the figures into this Markdown page, between its markers")
    .option("--note <text>", "what else the machine does, for the results")
    .option("--json", "print the results as JSON instead of Markdown tables")
    .addHelpText(
      "after",
      `
Exit code 1 when anything differs, leaks or fails; each is named. An interrupted run is checked and reported
like a whole one.

Examples:
  npm run endure -- --minutes 1 --out load.json
  npm run endure -- --wear 10000`,
    )
    .allowExcessArguments(false)
    .exitOverride();
}

function parseMinutes(text: string): number {
  const minutes = Number(text);
  if (!(minutes > 0 && minutes <= 10_080)) throw new InvalidArgumentError("Give minutes, like 15 or 0.5.");
  return minutes;
}

function parseCount(least: number, most: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!/^\d+$/.test(text) || count < least || count > most)
      throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`);
    return count;
  };
}

async function run(argv: readonly string[]): Promise<number> {
  const command = createCommand();
  const done = parseArguments(command, argv);
  if (done !== undefined) return done;
  const flags = command.opts<Flags>();
  const stop = listenForStop();
  const options = {
    home: resolve(flags.home),
    command: ["npm run endure --", ...argv.map(quote)].join(" "),
    signal: stop.signal,
    onNote: (note: string) => process.stderr.write(`${note}\n`),
  };
  try {
    if (flags.wear !== undefined) {
      const worn = await wear({ ...options, loads: flags.wear });
      await concludeWear(worn, flags);
      if (worn.parts.some(({ differences }) => differences.length > 0)) return 1;
      return stop.signal.aborted ? stop.exitCode() : 0;
    }
    const results = await endure({ ...flags, ...options });
    await conclude(results, flags);
    if (!isSound(results)) return 1;
    return results.interrupted ? stop.exitCode() : 0;
  } catch (error) {
    if (stop.signal.aborted) return stop.exitCode();
    throw error;
  }
}

/** As a shell takes it. */
function quote(argument: string): string {
  return /^[\w./=:-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

async function conclude(results: EndureResults, { out, page, json }: Flags): Promise<void> {
  const text = `${JSON.stringify(results, null, 2)}\n`;
  if (out !== undefined) await writeFile(out, text);
  if (page !== undefined) await writeBlock(page, LOAD_BLOCK, results);
  process.stdout.write(
    json === true ? text : `${[formatLoad(results), ...listFound(results)].join("\n\n")}\n`,
  );
}

async function concludeWear(results: WearResults, { out, page, json }: Flags): Promise<void> {
  const text = `${JSON.stringify(results, null, 2)}\n`;
  if (out !== undefined) await writeFile(out, text);
  if (page !== undefined) await writeBlock(page, WEAR_BLOCK, results);
  process.stdout.write(json === true ? text : `${formatWear(results)}\n`);
}

/** What is wrong, item by item. */
function listFound({ differences, leaks, failures }: EndureResults): readonly string[] {
  return Object.entries({ differences, leaks, failures }).map(([what, found]) =>
    [`${what}: ${found.length}`, ...found].join("\n  "),
  );
}

await runProgram(import.meta.url, run);
