/**
 * Processes that we started and all that came of them: LocalExecutor's workers outlive a killed scheduler and ignore SIGTERM, so each
 * service gets a session of its own and a mark in its environment, by which what is left of it is found again.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync, realpathSync, renameSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { errorState } from "../../db/errors.ts";

/** The variable that marks our processes: `<home>:<run>:<service>`. */
export const MARK = "ROLLBOOK_AIRFLOW_PROCESS";

export interface Mark {
  /** Names the home, whatever run of it. */
  readonly home: string;
  readonly run: string;
  readonly service: string;
}

export function markOf({ home, run, service }: Mark): string {
  return `${home}:${run}:${service}`;
}

/** What marks the processes of a home, whatever run of it they are from. */
export function homeMark(home: string): string {
  return createHash("sha256").update(realpathSync(home)).digest("hex").slice(0, 16);
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly mark: string | undefined;
}

/** Processes that now run with a mark that begins so, and all that they started, marked or not. */
export function findMarked(beginning: string): readonly number[] {
  const processes = listProcesses();
  const found = new Set(processes.filter(({ mark }) => mark?.startsWith(beginning)).map(({ pid }) => pid));
  // Tasks start commands with an environment of their own.
  for (let before = -1; before < found.size; ) {
    before = found.size;
    for (const { pid, parent } of processes) if (found.has(parent)) found.add(pid);
  }
  found.delete(process.pid);
  return [...found];
}

function listProcesses(): readonly Process[] {
  if (process.platform !== "linux") return listWithPs();
  const found: Process[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (state === "Z" || state === "X") continue;
      found.push({ pid: Number(name), parent: Number(parent), mark: readMark(name) });
    } catch {
      // Gone meanwhile.
    }
  }
  return found;
}

function readMark(pid: string): string | undefined {
  try {
    const environment = `\0${readFileSync(`/proc/${pid}/environ`, "latin1")}`;
    return new RegExp(`\\0${MARK}=([^\\0]*)`).exec(environment)?.[1];
  } catch {
    // Another user's.
    return undefined;
  }
}

function listWithPs(): readonly Process[] {
  const ps = spawnSync("ps", ["-A", "-E", "-ww", "-o", "pid=,ppid=,state=,command="], {
    encoding: "latin1",
    maxBuffer: 64 * 2 ** 20,
  });
  return ps.stdout.split("\n").flatMap((line) => {
    const [, pid, parent, state, command = ""] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (pid === undefined || state?.startsWith("Z")) return [];
    const mark = new RegExp(` ${MARK}=(\\S*)`).exec(command)?.[1];
    return [{ pid: Number(pid), parent: Number(parent), mark }];
  });
}

export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errorState(error) !== "ESRCH") throw error;
  }
}

/** How long each step of an end may take: SIGTERM to those that lead, SIGTERM to all, SIGKILL to all. */
export interface Patience {
  readonly leadersMs: number;
  readonly allMs: number;
}

const GONE_WITHIN_MS = 5_000;

/**
 * Ends all marked processes: first those that lead get SIGTERM, then all of them, then all are killed. Returns when none is left.
 */
export async function endMarked(options: {
  readonly beginning: string;
  readonly leaders: readonly number[];
  readonly patience: Patience;
}): Promise<void> {
  const { beginning, leaders, patience } = options;
  for (const pid of leaders) sendSignal(pid, "SIGTERM");
  if (await untilGone(beginning, patience.leadersMs)) return;
  for (const pid of findMarked(beginning)) sendSignal(pid, "SIGTERM");
  if (await untilGone(beginning, patience.allMs)) return;
  await killMarked(beginning);
}

/** Kills all marked processes, and returns when none is left. */
export async function killMarked(beginning: string): Promise<void> {
  const deadline = Date.now() + GONE_WITHIN_MS;
  // Again and again: a process may be starting another one just now.
  for (;;) {
    const left = findMarked(beginning);
    if (left.length === 0) return;
    if (Date.now() > deadline) throw new Error(`processes that cannot be killed: ${left.join(", ")}`);
    for (const pid of left) sendSignal(pid, "SIGKILL");
    await pause(20);
  }
}

async function untilGone(beginning: string, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  while (findMarked(beginning).length > 0) {
    if (Date.now() > deadline) return false;
    await pause(100);
  }
  return true;
}

/** Starts a program in a session of its own; what it prints goes to a file, the one before is kept as `.old`. */
export function startProcess(options: {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly folder: string;
  readonly log: string;
  /** Goes on in the file that is there. Default: begins a new one. */
  readonly append?: boolean;
}): ChildProcess {
  const { command, environment, folder, log, append = false } = options;
  const [file = "", ...args] = command;
  if (!append) {
    try {
      renameSync(log, `${log}.old`);
    } catch (error) {
      if (errorState(error) !== "ENOENT") throw error;
    }
  }
  const fd = openSync(log, "a", 0o600);
  try {
    return spawn(file, args, { cwd: folder, env: environment, detached: true, stdio: ["ignore", fd, fd] });
  } finally {
    closeSync(fd);
  }
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}

/** The exit code, or the signal's or error's name. Returns early when the signal aborts. */
export function ended(child: ChildProcess, signal?: AbortSignal): Promise<number | string | undefined> {
  return new Promise((done) => {
    if (hasEnded(child) && child.pid !== undefined) done(child.exitCode ?? child.signalCode ?? undefined);
    child.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    child.once("exit", (code, name) => done(code ?? name ?? undefined));
    signal?.addEventListener("abort", () => done(undefined), { once: true });
  });
}

/** The last lines of a log. */
export function tailOf(log: string, lines = 15): string {
  try {
    return readFileSync(log, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  } catch {
    return "(no log)";
  }
}
