/** The entry: the only file that reads argv or sets the exit code. */
import { CommanderError } from "commander";
import { type ErrorCode, RollbookError, rootCause } from "../db/errors.ts";
import { type Context, EXIT } from "./commands/context.ts";
import { printable } from "./output.ts";
import { buildProgram } from "./program.ts";

/** Errors that no retry can help: the command or what it is pointed at must change. */
const CONFIGURATION: ReadonlySet<ErrorCode> = new Set([
  "usage",
  "configuration",
  "not_found",
  "unsupported_server",
  "warehouse_missing",
  "warehouse_newer",
  "permission",
]);

/** Exit codes of a process that a signal ended, as shells give them. */
const SIGNAL_EXIT = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
/** After a signal the process ends within this time, whatever hangs; the database rolls back by itself. */
const END_WITHIN_MS = 4500;
const PARENT_CHECK_MS = 500;

/** Aborts the command in progress; the process then ends with this exit code. */
class Interruption extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.name = "Interruption";
    this.exitCode = exitCode;
  }
}

async function main(): Promise<void> {
  const abort = new AbortController();
  const interrupt = (interruption: Interruption) => {
    if (abort.signal.aborted) process.exit(interruption.exitCode);
    abort.abort(interruption);
    setTimeout(() => process.exit(interruption.exitCode), END_WITHIN_MS).unref();
  };
  for (const [signal, exitCode] of Object.entries(SIGNAL_EXIT)) {
    process.on(signal, () => interrupt(new Interruption(`ended by ${signal}`, exitCode)));
  }
  // The reader of the output went away (`| head`): that is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    interrupt(new Interruption("the output was closed", error.code === "EPIPE" ? EXIT.done : EXIT.failed));
  });

  let exitCode: number = EXIT.done;
  const context: Context = {
    stdout: process.stdout,
    stderr: process.stderr,
    environment: process.env,
    folder: workingFolder(),
    signal: abort.signal,
    finish: (code) => {
      exitCode = code;
    },
    endWithParent: () =>
      watchParent(() => interrupt(new Interruption("the parent is gone", SIGNAL_EXIT.SIGTERM))),
  };
  try {
    await buildProgram(context).parseAsync(process.argv);
  } catch (error) {
    exitCode = abort.signal.aborted ? explainInterruption(abort.signal.reason) : explain(error);
  }
  process.exitCode = exitCode;
}

/** npm runs the script in the checkout; the paths a user gives are relative to where the user is. */
function workingFolder(): string {
  const throughNpm = process.env.npm_lifecycle_event === "rollbook";
  return (throughNpm && process.env.INIT_CWD) || process.cwd();
}

function watchParent(onGone: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    onGone();
  }, PARENT_CHECK_MS);
  timer.unref();
}

function explainInterruption(reason: unknown): number {
  if (!(reason instanceof Interruption)) return EXIT.failed;
  if (reason.exitCode !== EXIT.done)
    process.stderr.write(`rollbook: ${reason.message}; what was not committed is rolled back\n`);
  return reason.exitCode;
}

/** Says what went wrong and returns the exit code. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  if (error instanceof RollbookError) {
    process.stderr.write(`rollbook: ${printableLines(error.message)}\n`);
    return CONFIGURATION.has(error.code) ? EXIT.usage : EXIT.failed;
  }
  const cause = rootCause(error);
  const said = cause instanceof Error ? cause.message : String(cause);
  process.stderr.write(`rollbook: ${printableLines(said)}\n`);
  if (process.env.ROLLBOOK_DEBUG && cause instanceof Error) process.stderr.write(`${cause.stack}\n`);
  return EXIT.failed;
}

function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

await main();
