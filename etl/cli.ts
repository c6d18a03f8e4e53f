#!/usr/bin/env node
/** The entry: the only file that reads argv or sets the exit code. */
import { isOlderThanSources } from "./checkout.ts";
import { type Context, EXIT } from "./commands/context.ts";
import type { VerbKind } from "./commands/kind.ts";
import { buildProgram, explainError } from "./program.ts";

/** Exit codes of a process that a signal ended, as shells give them. */
const SIGNAL_EXIT = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
/** After a signal the process ends within this time, whatever hangs; the database rolls back by itself. */
const END_WITHIN_MS = 4500;
/** Unless a line of its output is under way to a slow reader: that gets it whole, if it takes it within this time. */
const OUTPUT_WITHIN_MS = 25_000;
/** A second signal ends the process at once, but not within this time: npm passes on a Ctrl-C that the terminal gave to all. */
const INSIST_AFTER_MS = 500;
const PARENT_CHECK_MS = 500;
const PARENT = process.ppid;

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
  let interruptedAt = 0;
  const interrupt = (interruption: Interruption) => {
    if (abort.signal.aborted) {
      if (performance.now() - interruptedAt > INSIST_AFTER_MS) process.exit(interruption.exitCode);
      return;
    }
    interruptedAt = performance.now();
    // Also should the event loop run dry: an unsettled top-level await would end with a code of Node's own.
    process.exitCode = interruption.exitCode;
    abort.abort(interruption);
    setTimeout(() => exitAfterOutput(interruption.exitCode), END_WITHIN_MS).unref();
  };
  for (const [signal, exitCode] of Object.entries(SIGNAL_EXIT)) {
    process.on(signal, () => interrupt(new Interruption(`ended by ${signal}`, exitCode)));
  }
  let kind: VerbKind = "reads";
  let outputIsLost = false;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // Each further write fails, too.
    if (outputIsLost || abort.signal.aborted) return;
    outputIsLost = true;
    if (kind === "works") return noteLostOutput(error);
    interrupt(
      new Interruption(
        `the output cannot be written (${error.code})`,
        error.code === "EPIPE" ? EXIT.done : EXIT.failed,
      ),
    );
  });
  // Nobody is left to tell; the exit code says it.
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
    signal: abort.signal,
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
    await buildProgram(context).parseAsync(process.argv);
  } catch (error) {
    if (abort.signal.reason instanceof Interruption) tellInterruption(abort.signal.reason);
    else exitCode = explainError(context, error);
  }
  const { reason } = abort.signal;
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

function tellInterruption({ message, exitCode }: Interruption): void {
  if (exitCode === EXIT.done) return;
  process.stderr.write(`rollbook: ${message}; what was not committed is rolled back\n`);
}

await main();
