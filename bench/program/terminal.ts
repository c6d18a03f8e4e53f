/** What the commands of the bench have in common: how they show how far they are, and how they are stopped. */
import cliProgress from "cli-progress";
import { type Command, CommanderError } from "commander";
import type { ProgressListener } from "../run/progress.ts";

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
    let told = performance.now();
    return {
      show: ({ done, total, text }) => {
        if (performance.now() - told < everyMs) return;
        told = performance.now();
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

/** Parses the arguments; the exit code where the command is done with that: help was shown, or a mistake was told. */
export function parseArguments(command: Command, argv: readonly string[]): number | undefined {
  try {
    command.parse(argv, { from: "user" });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
}
