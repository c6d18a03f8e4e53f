/** `npm run report -- FOLDER`: writes the report of a run again. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { RollbookError } from "../../db/errors.ts";
import { parseArguments, runProgram } from "../program/terminal.ts";
import { readResults } from "../results.ts";
import { writeReport } from "./report.ts";

/** Writes what the command line asks for; returns the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  const command = new Command("npm run report --")
    .description("Write report.html, summary.md and history.svg from the results.json of a benchmark run.")
    .argument("<folder>", "folder that holds results.json; the report is written there, too")
    .exitOverride();
  const done = parseArguments(command, argv);
  if (done !== undefined) return done;
  const [folder = ""] = command.args;
  const path = join(folder, "results.json");
  if (!existsSync(path)) {
    throw new RollbookError({ code: "not_found", message: `${path} is missing; npm run bench writes it` });
  }
  const { files } = await writeReport({ results: readResults(path), folder });
  process.stdout.write(`${files.join("\n")}\n`);
  return 0;
}

await runProgram(import.meta.url, run);
