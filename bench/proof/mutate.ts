/**
 * `npm run mutate`: breaks the product in single ways, and shows that the simulation or the tests notice
 * each.
 */
import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Command } from "commander";
import { parseWhole } from "../../etl/commands/flags.ts";
import { formatTable } from "../../etl/terminal/table.ts";
import { writeBlock } from "../program/block.ts";
import { readCommit } from "../program/environment.ts";
import { createProgress, listenForStop, parseArguments, runProgram } from "../program/terminal.ts";
import { type MutationRecord, type Tried, tryMutation } from "./mutate/attempt.ts";
import { MUTATIONS } from "./mutate/mutations.ts";
import { MUTATIONS_BLOCK } from "./reliability_page.ts";

interface Flags {
  readonly only?: string;
  readonly seeds: number;
  readonly out?: string;
  readonly page?: string;
  readonly list?: boolean;
}

/** The command, without its action. */
export function createCommand(): Command {
  return new Command("npm run mutate --")
    .description(
      "Break a copy of the checkout in one way after the other, and see whether the simulation notices, or else " +
        "the tests. Exit code 1 when nobody notices one of them: a test is missing.",
    )
    .option("--only <text>", "only mutations whose name contains this text")
    .option("--seeds <n>", "histories of the simulation for each, before the tests", parseWhole(1), 60)
    .option(
      "--out <file>",
      "write what came of each to this file, as JSON; a run that was stopped goes on from it",
    )
    .option("--page <file>", "put the same into this Markdown page")
    .option("--list", "list them, and do nothing")
    .allowExcessArguments(false)
    .exitOverride();
}

async function run(argv: readonly string[]): Promise<number> {
  const command = createCommand();
  const done = parseArguments(command, argv);
  if (done !== undefined) return done;
  const { only = "", seeds, out, page, list } = command.opts<Flags>();
  const chosen = MUTATIONS.filter(({ name }) => name.includes(only));
  if (list) {
    for (const { name, file } of chosen) process.stdout.write(`${file}: ${name}\n`);
    return 0;
  }
  const stop = listenForStop();
  const progress = createProgress();
  const path = out === undefined ? undefined : resolve(out);
  const commit = await readCommit([path, page]);
  let record: MutationRecord = path === undefined ? { seeds, mutations: [] } : readTried(path, seeds);
  const has = (name: string) => record.mutations.some((tried) => tried.name === name);
  try {
    for (const [index, mutation] of chosen.entries()) {
      if (has(mutation.name)) continue;
      progress.show({ done: index, total: chosen.length, text: mutation.name });
      const tried = await tryMutation({ mutation, seeds, signal: stop.signal });
      record = { ...record, mutations: [...record.mutations, { ...tried, commit }] };
      if (path !== undefined) await writeFile(path, `${JSON.stringify(record, null, 2)}\n`);
    }
  } catch (error) {
    if (stop.signal.aborted) return stop.exitCode();
    throw error;
  } finally {
    progress.stop();
  }
  if (page !== undefined) await writeBlock(resolve(page), MUTATIONS_BLOCK, record);
  report(record.mutations);
  return record.mutations.every(({ noticedBy }) => noticedBy !== null) ? 0 : 1;
}

/** What a run that was stopped has found so far; what nobody noticed then is tried again. */
function readTried(path: string, seeds: number): MutationRecord {
  if (!existsSync(path)) return { seeds, mutations: [] };
  const record: MutationRecord = JSON.parse(readFileSync(path, "utf8"));
  return {
    seeds: Math.max(record.seeds, seeds),
    mutations: record.mutations.filter(({ noticedBy }) => noticedBy !== null),
  };
}

function report(tried: readonly Tried[]): void {
  const columns = [
    { title: "the product" },
    { title: "noticed by" },
    { title: "after histories", align: "right" },
    { title: "as" },
  ] as const;
  const rows = tried.map(({ name, noticedBy, histories, said }) => [
    name,
    noticedBy ?? "NOBODY",
    String(histories),
    said.slice(0, 90),
  ]);
  process.stdout.write(`${formatTable(columns, rows)}\n`);
}

await runProgram(import.meta.url, run);
