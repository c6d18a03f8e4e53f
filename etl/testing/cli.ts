/** For tests of the command line: runs rollbook as a process, or in the process of the test. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { Context } from "../commands/context.ts";
import { buildProgram, explainError } from "../program.ts";

// The driver reads some of these by itself. A test sets everything that it needs.
for (const name of Object.keys(process.env)) if (name.startsWith("PG")) delete process.env[name];

/** What runs rollbook as a process of its own: dist/, which etl/testing/build.ts makes. */
export const COMMAND = [
  process.execPath,
  fileURLToPath(new URL("../../dist/rollbook.js", import.meta.url)),
] as const;

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly environment: Readonly<Record<string, string>>;
  /** Where the command runs. */
  readonly folder: string;
}

/** Starts rollbook as a process of its own. `wrapper`: a command that runs it. */
export function startRollbook(
  args: readonly string[],
  options: RunOptions & { readonly wrapper?: readonly string[] },
) {
  const [file = "", ...rest] = [...(options.wrapper ?? []), ...COMMAND, ...args];
  const { PATH = "" } = process.env;
  const child = spawn(file, rest, {
    cwd: options.folder,
    env: { PATH, HOME: options.folder, ...options.environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]).then(
    ([stdout, stderr, [code]]): Run => ({ code: code ?? -1, stdout, stderr }),
  );
  return { child, ended };
}

/** Runs rollbook as a process of its own. */
export function rollbook(
  args: readonly string[],
  options: RunOptions & { readonly wrapper?: readonly string[] },
): Promise<Run> {
  return startRollbook(args, options).ended;
}

/** Runs a verb in this process: the same but for argv, signals and the exit, and faster. */
export async function rollbookHere(
  args: readonly string[],
  options: RunOptions & { readonly signal?: AbortSignal; readonly stdin?: string },
): Promise<Run> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const output = Promise.all([text(stdout), text(stderr)]);
  let code = 0;
  const context: Context = {
    stdout: stdout as unknown as NodeJS.WriteStream,
    stderr: stderr as unknown as NodeJS.WriteStream,
    environment: options.environment,
    folder: options.folder,
    stdin: () => Readable.from([options.stdin ?? ""]) as unknown as NodeJS.ReadStream,
    lendTerminal: (work) => work(),
    signal: options.signal ?? new AbortController().signal,
    begin: () => {},
    finish: (exitCode) => {
      code = exitCode;
    },
    endWithParent: () => {},
  };
  try {
    const program = await buildProgram(context, args);
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    code = explainError(context, error);
  }
  stdout.end();
  stderr.end();
  const [said, noted] = await output;
  return { code, stdout: said, stderr: noted };
}

/** The objects of an output of one per line; anything else in it is an error. */
export function jsonLines(stdout: string): Record<string, unknown>[] {
  if (stdout === "") return [];
  if (!stdout.endsWith("\n")) throw new Error("the last line has no end");
  return stdout
    .slice(0, -1)
    .split("\n")
    .map((line) => JSON.parse(line));
}
