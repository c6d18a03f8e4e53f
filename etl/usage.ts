/** Writes the help of the command line into docs/command-line.md: `npm run usage`. A test fails when it is stale. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { VERBS } from "./commands/verbs.ts";
import { buildProgram } from "./program.ts";
import { USUAL_WIDTH } from "./terminal/width.ts";

const DOCUMENT = fileURLToPath(new URL("../docs/command-line.md", import.meta.url));
const BEGIN = "<!-- usage -->";
const END = "<!-- /usage -->";

/** The document as it is, and as it should be. */
export async function readDocument(): Promise<{ readonly current: string; readonly wanted: string }> {
  const current = readFileSync(DOCUMENT, "utf8");
  const begin = current.indexOf(BEGIN);
  const end = current.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${DOCUMENT} has no lines ${BEGIN} and ${END}`);
  const wanted = `${current.slice(0, begin)}${BEGIN}\n\n${await renderUsage()}\n\n${current.slice(end)}`;
  return { current, wanted };
}

/** The help of the program, of every verb, and of every verb below a verb. */
async function renderUsage(): Promise<string> {
  const program = await describeProgram();
  const sections = [inFence(helpOf(program))];
  const add = (command: Command, name: string, level: number) => {
    sections.push(`${"#".repeat(level)} ${name}`, inFence(helpOf(command)));
    for (const child of verbsOf(command)) add(child, `${name} ${child.name()}`, level + 1);
  };
  for (const verb of verbsOf(program)) add(verb, verb.name(), 3);
  return sections.join("\n\n");
}

function inFence(text: string): string {
  return `\`\`\`text\n${text}\n\`\`\``;
}

/** The verbs of a program, or those below a verb. */
export function verbsOf(command: Command): readonly Command[] {
  return command.commands.filter((child) => child.name() !== "help");
}

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    // The same wherever it is written.
    getOutHelpWidth: () => USUAL_WIDTH,
    writeOut: (more) => {
      text += more;
    },
  });
  command.outputHelp();
  return text.trim();
}

/** The command line, to be described and not run. */
export function describeProgram(): Promise<Command> {
  const context = {
    stdout: process.stdout,
    stderr: process.stderr,
    environment: {},
    folder: ".",
    stdin: () => process.stdin,
    lendTerminal: <T>(work: () => Promise<T>) => work(),
    signal: new AbortController().signal,
    begin: () => {},
    finish: () => {},
    endWithParent: () => {},
  };
  const words = VERBS.map(({ name }) => name);
  return buildProgram(context, words);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { current, wanted } = await readDocument();
  if (wanted !== current) writeFileSync(DOCUMENT, wanted);
  process.stdout.write(`docs/command-line.md ${wanted === current ? "is current" : "updated"}\n`);
}
