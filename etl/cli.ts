#!/usr/bin/env node
/** The entry: the only file that reads argv or sets the exit code. */
import { isOlderThanSources } from "./checkout.ts";
import { type Context, EXIT } from "./commands/context.ts";
import type { VerbKind } from "./commands/kind.ts";
import { catchInterrupts, Interruption, SIGNAL_EXIT } from "./interrupts.ts";
import { buildProgram, explainError } from "./program.ts";

/** After a signal the process ends within this time, even if something hangs; the database rolls back by itself. */
const END_WITHIN_MS = 4500;
/** But a slow reader gets the line that is being written whole, if it takes it within this time. */
const OUTPUT_WITHIN_MS = 25_000;
const PARENT_CHECK_MS = 500;
const PARENT = process.ppid;

async function main(): Promise<void> {
  const { signal, interrupt, lendTerminal } = catchInterrupts({
    onFirst: ({ exitCode }) => {
      // Also should the event loop run dry: an unsettled top-level await would end with a code of Node's own.
      process.exitCode = exitCode;
      setTimeout(() => exitAfterOutput(exitCode), END_WITHIN_MS).unref();
    },
    onSecond: ({ exitCode }) => process.exit(exitCode),
  });
  let kind: VerbKind = "reads";
  let outputIsLost = false;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // Each further write fails, too.
    if (outputIsLost || signal.aborted) return;
    outputIsLost = true;
    if (kind === "works") return noteLostOutput(error);
    interrupt(
      new Interruption(
        `the output cannot be written (${error.code})`,
        error.code === "EPIPE" ? EXIT.done : EXIT.failed,
      ),
    );
  });
  // Nobody reads it; the exit code says how it went.
  process.stderr.on("error", () => {});

  if (isOlderThanSources()) {
    process.stderr.write("rollbook: dist/ is older than the sources of this checkout. Run: npm run build\n");
  }
  let exitCode: number = EXIT.done;
  const context: Context = {
    stdout: process.stdout,
    stderr: process.stderr,
    environment: process.env,
    folder: workingFolder(),
    stdin: () => process.stdin,
    lendTerminal,
    signal,
    worksUnseen: () => kind === "works",
    begin: (begun) => {
      kind = begun;
    },
    finish: (code) => {
      exitCode = code;
    },
    endWithParent: () =>
      watchParent(() => interrupt(new Interruption("the parent is gone", SIGNAL_EXIT.SIGTERM))),
  };
  try {
    const program = await buildProgram(context, process.argv.slice(2));
    await program.parseAsync(process.argv);
  } catch (error) {
    if (signal.reason instanceof Interruption) noteInterruption(signal.reason);
    else exitCode = explainError(context, error);
  }
  const { reason } = signal;
  process.exitCode = reason instanceof Interruption ? reason.exitCode : exitCode;
}

/** Nothing new is written after a signal, so what is under way is one line. */
function exitAfterOutput(exitCode: number): void {
  if (process.stdout.writableLength === 0) process.exit(exitCode);
  setTimeout(() => process.exit(exitCode), OUTPUT_WITHIN_MS);
  process.stdout.write("", () => process.exit(exitCode));
}

/** npm runs the script in the checkout; the paths a user gives are relative to where the user is. */
function workingFolder(): string {
  const throughNpm = process.env.npm_lifecycle_event === "rollbook";
  return (throughNpm && process.env.INIT_CWD) || process.cwd();
}

function watchParent(onGone: () => void): void {
  const timer = setInterval(() => {
    if (process.ppid === PARENT) return;
    clearInterval(timer);
    onGone();
  }, PARENT_CHECK_MS);
  timer.unref();
}

function noteLostOutput({ code }: NodeJS.ErrnoException): void {
  const why = code === "EPIPE" ? "its reader is gone" : code;
  process.stderr.write(`rollbook: the output cannot be written (${why}); the work goes on without it\n`);
}

function noteInterruption({ message, exitCode }: Interruption): void {
  if (exitCode === EXIT.done) return;
  process.stderr.write(`rollbook: ${message}; what was not committed is rolled back\n`);
}

await main();
