/** The command line: all verbs, for the CLI and for the usage text of the README. */
import { Command, CommanderError } from "commander";
import {
  CORRUPTED_REMEDY,
  type ErrorCode,
  errorState,
  isCorrupted,
  RollbookError,
  rootCause,
  SQLSTATE,
} from "../db/errors.ts";
import { type Context, EXIT } from "./commands/context.ts";
import { kindOf } from "./commands/kind.ts";
import { VERBS, type Verb } from "./commands/verbs.ts";
import { printable, printableLines } from "./escape.ts";
import { note, type Streams } from "./output.ts";
import { USUAL_WIDTH, widthOf } from "./terminal/width.ts";
import { readRelease } from "./version.ts";

/**
 * Builds the command line. Usage errors are thrown as CommanderError, after the message was printed.
 *
 * @param words the arguments that are to be parsed: verbs that are not among them get no flags and do nothing
 */
export async function buildProgram(context: Context, words: readonly string[]): Promise<Command> {
  const program = new Command("rollbook")
    .description(
      "Keeps venue turnover exact: loads invoice files into PostgreSQL and refreshes only the totals they touch.",
    )
    .version(readRelease())
    .exitOverride()
    .configureHelp({ subcommandTerm: (verb) => verb.name() })
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(printableLines(text)),
      getOutHelpWidth: () => widthOf(context.stdout) ?? USUAL_WIDTH,
      getErrHelpWidth: () => widthOf(context.stderr) ?? USUAL_WIDTH,
      outputError: (text, write) => write(sayMisuse(text)),
    })
    .showSuggestionAfterError(true)
    .showHelpAfterError("(rollbook --help lists the commands, rollbook <command> --help the flags)")
    .addHelpText(
      "after",
      `
rollbook <command> --help shows the flags of a command.

Where the warehouse is: DATABASE_URL; or PGHOST or PGSERVICE, with the other PG*
variables; else an embedded PostgreSQL with its data in ROLLBOOK_HOME (default:
.rollbook).

For schedulers: ROLLBOOK_EXIT_WITH_PARENT=1 is --exit-with-parent for every
command.

Exit codes: 0 done, 1 failed and worth a retry, 2 usage or configuration,
3 a file was rejected.
`,
    );
  for (const verb of VERBS) {
    const command = program.command(verb.name).summary(verb.summary);
    if (words.includes(verb.name)) await defineVerb(command, verb, context);
  }
  return program;
}

async function defineVerb(command: Command, { read }: Verb, context: Context): Promise<void> {
  (await read())(command, context);
  for (const verb of runnableVerbs(command)) {
    const kind = kindOf(verb);
    verb.hook("preAction", () => context.begin(kind));
    offerExitWithParent(verb, context);
  }
}

/** What commander says of a wrong command line, in our form: one line, whatever the arguments hold, and perhaps its suggestion. */
function sayMisuse(text: string): string {
  const [, said = text, suggestion = ""] =
    /^(?:error: )?(.*?)(\n\(Did you mean [^\n]*\?\))?\n$/s.exec(text) ?? [];
  return `rollbook: ${printable(said)}${suggestion}\n`;
}

/** The verbs that do something: not those that only have verbs below them. */
export function runnableVerbs(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(runnableVerbs);
}

/** Every verb may be a scheduler's, and none may outlive it: its next attempt would work beside this one. */
function offerExitWithParent(verb: Command, context: Context): void {
  verb
    .option("--exit-with-parent", "end, rolled back, when the parent process is gone (for schedulers)")
    .hook("preAction", () => {
      const { ROLLBOOK_EXIT_WITH_PARENT: wanted = "" } = context.environment;
      if (verb.getOptionValue("exitWithParent") === true || wanted === "1") context.endWithParent();
    });
}

/** Errors that no retry can help: the command or what it is pointed at must change. */
const CONFIGURATION: ReadonlySet<ErrorCode> = new Set([
  "usage",
  "configuration",
  "not_found",
  "unsupported_server",
  "warehouse_missing",
  "warehouse_newer",
  "permission",
  "table_missing",
  "partition_closed",
  "statements_pruned",
]);

/** Every problem of a configuration, or the end of the server's log. All else is one line, whatever the names in it hold. */
const OF_SEVERAL_LINES: ReadonlySet<ErrorCode> = new Set(["configuration", "embedded_server"]);

/** What to do where the server's own words do not say it. */
const REMEDIES: Readonly<Record<string, string>> = {
  [SQLSTATE.diskFull]: "The database has no space left on its disk. Make room and run it again.",
  [SQLSTATE.queryCanceled]:
    "Somebody has cancelled it (pg_cancel_backend), and what was not committed is rolled back. Run it again.",
};

/** Says what went wrong, in words, and returns the exit code. */
export function explainError(context: Streams & Pick<Context, "environment">, error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  if (error instanceof RollbookError) {
    const said = OF_SEVERAL_LINES.has(error.code) ? printableLines(error.message) : printable(error.message);
    note(context, `rollbook: ${said}`);
    return CONFIGURATION.has(error.code) ? EXIT.usage : EXIT.failed;
  }
  const cause = rootCause(error);
  const said = printable(cause instanceof Error ? cause.message : String(cause));
  if (errorState(error) === SQLSTATE.insufficientPrivilege) {
    note(
      context,
      `rollbook: ${said}. Connect as the owner of the warehouse, or let the owner grant the right.`,
    );
    return EXIT.usage;
  }
  const remedy = isCorrupted(error) ? CORRUPTED_REMEDY : REMEDIES[errorState(error) ?? ""];
  note(context, `rollbook: ${said}${remedy === undefined ? "" : `. ${remedy}`}`);
  if (context.environment.ROLLBOOK_DEBUG && cause instanceof Error)
    note(context, printableLines(cause.stack ?? ""));
  return EXIT.failed;
}
