/** What all programs of bench/ share: how they start and stop, and how they show their progress. */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import cliProgress from "cli-progress";
import { type Command, CommanderError } from "commander";
import { RollbookError } from "../../db/errors.ts";

/** The exit code is 2 for what the user can mend in the command. */
const USER_ERRORS: readonly string[] = ["usage", "configuration", "not_found"];

/** Runs a program if its file (`moduleUrl` is `import.meta.url`) is the one that Node was started with. */
export async function runProgram(
  moduleUrl: string,
  run: (argv: readonly string[]) => Promise<number>,
): Promise<void> {
  const [, started, ...argv] = process.argv;
  if (started === undefined || realpathSync(started) !== fileURLToPath(moduleUrl)) return;
  process.exitCode = await explainErrors(() => run(argv));
}

/** The exit code of `run`. A RollbookError is printed and becomes one; any other error is thrown. */
export async function explainErrors(run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof RollbookError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return USER_ERRORS.includes(error.code) ? 2 : 1;
  }
}

/** The first SIGINT or SIGTERM lets the run clean up; exit codes are those of a shell. */
export function listenForStop(): { readonly signal: AbortSignal; readonly exitCode: () => number } {
  const stopping = new AbortController();
  let code = 130;
  process.once("SIGINT", () => stopping.abort());
  process.once("SIGTERM", () => {
    code = 143;
    stopping.abort();
  });
  return { signal: stopping.signal, exitCode: () => code };
}

export type ProgressListener = (progress: {
  readonly done: number;
  readonly total: number;
  /** What is under way. */
  readonly text: string;
}) => void;

/**
 * A bar on a terminal; elsewhere lines.
 *
 * @param options.everyMs how long at least from one line to the next; default 0, a line each time
 */
export function createProgress({ everyMs = 0 }: { readonly everyMs?: number } = {}): {
  readonly show: ProgressListener;
  readonly stop: () => void;
} {
  if (!process.stderr.isTTY) {
    let shown = performance.now();
    return {
      show: ({ done, total, text }) => {
        if (performance.now() - shown < everyMs) return;
        shown = performance.now();
        process.stderr.write(`${Math.floor((100 * done) / total)} %  ${text}\n`);
      },
      stop: () => {},
    };
  }
  const bar = new cliProgress.SingleBar({
    format: "{bar} {percentage}% | {eta_formatted} to go | {text}",
    stream: process.stderr,
    clearOnComplete: true,
    etaBuffer: 50,
  });
  let started = false;
  return {
    show: ({ done, total, text }) => {
      if (!started) bar.start(total, 0, { text });
      started = true;
      bar.update(done, { text });
    },
    stop: () => {
      if (started) bar.stop();
    },
  };
}

/** Parses the arguments. Returns an exit code if that is all: help or a mistake was printed. */
export function parseArguments(command: Command, argv: readonly string[]): number | undefined {
  try {
    command.parse(argv, { from: "user" });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
}
