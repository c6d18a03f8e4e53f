/** The processes of a simulation: some that wait for a job, and the command line. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildPrograms } from "../../../build.ts";
import type { Job, JobResult } from "./worker.ts";

const WORKER = fileURLToPath(new URL("./worker.ts", import.meta.url));
const CLI = fileURLToPath(new URL("../../../etl/cli.ts", import.meta.url));
const PACKAGE = fileURLToPath(new URL("../../../package.json", import.meta.url));

/** How a job ended: with a result, or by the end of its process. */
export type JobEnd =
  | JobResult
  | { readonly kind: "ended"; readonly code: number | null; readonly signal: NodeJS.Signals | null };

export interface RunningJob {
  readonly pid: number;
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly end: Promise<JobEnd>;
}

export interface Workers {
  readonly start: (job: Job) => RunningJob;
  /** Starts the command line. */
  readonly startCommand: (
    args: readonly string[],
    environment: Readonly<Record<string, string>>,
  ) => RunningJob;
  readonly close: () => void;
}

/**
 * Starts the processes that wait: ahead, since a load is over sooner than a process is up; and each program
 * from one file, since so many are killed that their starts would be most of the work.
 *
 * @param options.spare how many wait
 * @param options.folder where the files go
 */
export async function startWorkers(options: {
  readonly spare: number;
  readonly folder: string;
}): Promise<Workers> {
  const { spare, folder } = options;
  const programs = join(folder, "programs");
  await buildPrograms({ entries: { worker: WORKER, cli: CLI }, folder: programs });
  // The command line reads its version there, and Node that these are ES modules.
  copyFileSync(PACKAGE, join(folder, "package.json"));
  const free: ChildProcess[] = [];
  const all = new Set<ChildProcess>();
  let busy = 0;
  let closed = false;
  const add = () => {
    const child = fork(join(programs, "worker.js"), {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      execArgv: [],
    });
    all.add(child);
    child.once("exit", () => {
      all.delete(child);
      const index = free.indexOf(child);
      if (index >= 0) free.splice(index, 1);
    });
    free.push(child);
  };
  const fill = () => {
    while (!closed && free.length + busy < spare) add();
  };
  fill();
  return {
    start(job) {
      if (free.length === 0) add();
      const child = free.shift();
      if (child?.pid === undefined) throw new Error("a worker process could not be started");
      busy += 1;
      return run(child, job, (usable) => {
        busy -= 1;
        if (usable && free.length < spare) free.push(child);
        else child.kill();
        fill();
      });
    },
    startCommand: (args, environment) => startCommand(join(programs, "cli.js"), args, environment),
    close() {
      closed = true;
      for (const child of all) child.kill("SIGKILL");
    },
  };
}

function run(child: ChildProcess, job: Job, giveBack: (usable: boolean) => void): RunningJob {
  const ended = new Promise<JobEnd>((resolve) => {
    const onMessage = (message: JobResult) => {
      child.off("message", onMessage);
      child.off("exit", onExit);
      giveBack(true);
      resolve(message);
    };
    const onExit = (code: number | null, signal: NodeJS.Signals | null) => {
      child.off("message", onMessage);
      giveBack(false);
      resolve({ kind: "ended", code, signal });
    };
    child.on("message", onMessage);
    child.once("exit", onExit);
  });
  child.send(job);
  return { pid: child.pid ?? 0, kill: (signal) => child.kill(signal), end: ended };
}

function startCommand(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): RunningJob {
  const { PATH = "" } = process.env;
  const child = spawn(process.execPath, [program, ...args], {
    env: { PATH, ...environment },
    stdio: "ignore",
  });
  const end = new Promise<JobEnd>((resolve) => {
    child.once("exit", (code, signal) => resolve({ kind: "ended", code, signal }));
  });
  return { pid: child.pid ?? 0, kill: (signal) => child.kill(signal), end };
}
