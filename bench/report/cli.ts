/** `npm run report -- FOLDER`: writes the report of a run again. */
import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { readResults } from "../results.ts";
import { writeReport } from "./report.ts";

/** Writes what the command line asks for, answers the exit code. */
export async function run(args: readonly string[]): Promise<number> {
  let folder = "";
  const command = new Command("npm run report --")
    .description("Write report.html, summary.md and history.svg from the results.json of a benchmark run.")
    .argument("<folder>", "folder that holds results.json; the report is written there, too")
    .exitOverride()
    .action((value: string) => {
      folder = value;
    });
  try {
    command.parse([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
  const path = join(folder, "results.json");
  if (!existsSync(path)) {
    process.stderr.write(`${path} is missing; npm run bench writes it\n`);
    return 2;
  }
  const { files } = await writeReport({ results: readResults(path), folder });
  process.stdout.write(`${files.join("\n")}\n`);
  return 0;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await run(process.argv.slice(2));
}
