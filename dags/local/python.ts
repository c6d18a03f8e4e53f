/** A Python for Airflow: found on this machine, with a virtual environment that holds exactly what the lock says. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { AirflowError, aborted } from "./errors.ts";

export interface Python {
  /** Folder of the virtual environment. */
  readonly venv: string;
  /** Its programs. */
  readonly bin: string;
  readonly python: string;
  /** For example `3.13.0`. */
  readonly version: string;
}

export interface EnsureOptions {
  /** The folder that holds the virtual environment, for example `.airflow`. */
  readonly home: string;
  /** The folder with requirements.txt and requirements-dev.txt: `dags`. */
  readonly requirements: string;
  /** With what checks the DAGs (ruff, mypy, pytest and so on), too. Default: no. */
  readonly dev?: boolean;
  /** `PATH`, and `ROLLBOOK_PYTHON` for a Python of the user's choice. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((message: string) => void) | undefined;
}

/** As the lock has it: Airflow's providers need 3.11, Airflow is not made for 3.15. */
const OLDEST = 11;
const NEWEST = 14;
const CANDIDATES = ["python3.13", "python3.12", "python3.11", "python3.14", "python3", "python"];

const LOCKS = { plain: "requirements.txt", dev: "requirements-dev.txt" } as const;

/** What the virtual environment was made with. Written last: without it, the environment is half made. */
interface Stamp {
  readonly plain: string;
  /** Missing: without what checks the DAGs. */
  readonly dev?: string;
  readonly version: string;
}

/**
 * Finds a Python and makes the virtual environment, or brings it up to date; with nothing to do it only reads a stamp. Two at
 * once: the second waits for the first.
 *
 * @throws AirflowError `python_missing`, naming what was tried; `install_failed` with what pip said; `aborted`
 */
export async function ensurePython(options: EnsureOptions): Promise<Python> {
  const { home, requirements, dev = false, environment, signal } = options;
  const venv = join(resolve(home), "venv");
  const wanted = {
    plain: hashOf(join(requirements, LOCKS.plain)),
    dev: hashOf(join(requirements, LOCKS.dev)),
  };
  const ready = (): Python | undefined => {
    const stamp = readStamp(venv);
    const good = stamp?.plain === wanted.plain && (!dev || stamp.dev === wanted.dev);
    return good ? describe(venv, stamp.version) : undefined;
  };
  const there = ready();
  // The Python that it was made with may have been removed since.
  if (there !== undefined && (await probe(there.python, signal)).kind === "python") return there;

  const found = await findPython({ environment, signal });
  mkdirSync(home, { recursive: true });
  const lock = await takeLock({ python: found.path, file: join(home, "venv.lock"), options });
  try {
    const made = ready();
    if (made !== undefined && (await probe(made.python, signal)).kind === "python") return made;
    const stamp = readStamp(venv);
    // To one that only lacks what checks the DAGs, that is added; any other is made anew.
    const add = dev && stamp?.plain === wanted.plain && stamp.dev === undefined;
    const began = performance.now();
    if (!add || (await probe(describe(venv, "").python, signal)).kind !== "python") {
      await makeVenv(found, venv, { ...options, lock });
    }
    rmSync(stampOf(venv), { force: true });
    await install(venv, join(requirements, dev ? LOCKS.dev : LOCKS.plain), { ...options, lock });
    const made2: Stamp = { plain: wanted.plain, ...(dev && { dev: wanted.dev }), version: found.version };
    writeFileSync(stampOf(venv), `${JSON.stringify(made2)}\n`);
    options.onProgress?.(`installed Airflow in ${Math.round((performance.now() - began) / 1000)} s`);
    return describe(venv, found.version);
  } finally {
    closeSync(lock);
  }
}

function describe(venv: string, version: string): Python {
  const bin = join(venv, "bin");
  return { venv, bin, python: join(bin, "python"), version };
}

const stampOf = (venv: string) => join(venv, "rollbook.json");

function readStamp(venv: string): Stamp | undefined {
  try {
    return JSON.parse(readFileSync(stampOf(venv), "utf8")) as Stamp;
  } catch {
    return undefined;
  }
}

function hashOf(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

export interface FoundPython {
  readonly path: string;
  readonly version: string;
}

/**
 * The first Python that is new enough and can make virtual environments: `ROLLBOOK_PYTHON`, or the usual names on the `PATH`. Each is really
 * run, for what stands on the `PATH` may be the shim of a version manager that has none behind it.
 *
 * @throws AirflowError `python_missing`, naming what was tried
 */
export async function findPython(options: {
  readonly environment: EnsureOptions["environment"];
  readonly signal?: AbortSignal | undefined;
}): Promise<FoundPython> {
  const { environment, signal } = options;
  const given = environment.ROLLBOOK_PYTHON;
  const names = given ? [given] : CANDIDATES;
  const tried: string[] = [];
  for (const name of names) {
    for (const path of pathsOf(name, environment.PATH ?? "")) {
      const found = await probe(path, signal);
      if (found.kind === "python") return { path, version: found.version };
      if (found.kind !== "absent") tried.push(`  ${path}: ${found.complaint}`);
    }
  }
  throw new AirflowError({
    code: "python_missing",
    message: [
      `Airflow needs Python 3.${OLDEST} to 3.${NEWEST} with the modules venv and ensurepip, and there is none here.`,
      tried.length > 0
        ? `Tried:\n${tried.join("\n")}`
        : `Looked for ${names.join(", ")}${given ? " (ROLLBOOK_PYTHON)" : " on the PATH"}.`,
      "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13), or name one in ROLLBOOK_PYTHON.",
    ].join("\n"),
  });
}

function pathsOf(name: string, path: string): readonly string[] {
  if (name.includes("/")) return [isAbsolute(name) ? name : resolve(name)];
  return path
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => resolve(folder, name));
}

const PROBE = `
import sys
print("%d.%d.%d" % sys.version_info[:3])
missing = []
for name in ("venv", "ensurepip", "ssl", "sqlite3", "fcntl"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
print(" ".join(missing))
`;
const PROBE_WITHIN_MS = 20_000;

type Probe =
  | { readonly kind: "python"; readonly version: string }
  | { readonly kind: "absent" }
  | { readonly kind: "unfit"; readonly complaint: string };

async function probe(path: string, signal: AbortSignal | undefined): Promise<Probe> {
  const child = spawn(path, ["-I", "-c", PROBE], { stdio: ["ignore", "pipe", "pipe"] });
  // Not spawn's own timeout, which goes on where there is no such program.
  const timer = setTimeout(() => child.kill("SIGKILL"), PROBE_WITHIN_MS);
  const { code, output, errors } = await outputOf(child).finally(() => clearTimeout(timer));
  if (signal?.aborted) throw aborted(signal.reason);
  if (code === "ENOENT" || code === "ENOTDIR") return { kind: "absent" };
  const [version = "", missing = ""] = output.split("\n");
  const [, major, minor] = /^(\d+)\.(\d+)\.\d+$/.exec(version) ?? [];
  if (code !== 0 || minor === undefined) {
    const said = errors.trim().split("\n").at(-1);
    return { kind: "unfit", complaint: `does not run (${said || `exit code ${code}`})` };
  }
  if (Number(major) !== 3 || Number(minor) < OLDEST)
    return { kind: "unfit", complaint: `${version} is too old` };
  if (Number(minor) > NEWEST) return { kind: "unfit", complaint: `${version} is too new` };
  if (missing !== "") return { kind: "unfit", complaint: `${version} lacks ${missing}` };
  return { kind: "python", version };
}

interface Output {
  /** The exit code, or the name of what kept the program from running. */
  readonly code: number | string;
  readonly output: string;
  readonly errors: string;
}

async function outputOf(child: ChildProcess): Promise<Output> {
  let output = "";
  let errors = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const code = await new Promise<number | string>((done) => {
    child.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? "failed"));
    child.once("close", (status, signal) => done(status ?? signal ?? "failed"));
  });
  return { code, output, errors };
}

/**
 * Locks the file that it is given open. The lock belongs to the open file, not to a process: it lasts until the last one that has it open is gone. So
 * the steps of an installation have it open too, and what goes on after we are killed keeps others waiting until it ends.
 */
const LOCK = `
import fcntl
try:
    fcntl.flock(3, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("busy", flush=True)
    fcntl.flock(3, fcntl.LOCK_EX)
print("locked", flush=True)
`;

/** Returns the descriptor of the locked file: to be handed on to what the lock is for, and to be closed. */
async function takeLock(given: {
  readonly python: string;
  readonly file: string;
  readonly options: EnsureOptions;
}): Promise<number> {
  const { python, file, options } = given;
  const { signal, onProgress } = options;
  const lock = openSync(file, "w");
  const locker = spawn(python, ["-I", "-c", LOCK], { stdio: ["ignore", "pipe", "ignore", lock] });
  // Its end is told by the end of its lines.
  locker.on("error", () => {});
  const stop = () => locker.kill("SIGKILL");
  signal?.addEventListener("abort", stop, { once: true });
  try {
    // Of its four streams the one that is a pipe.
    for await (const line of createInterface({ input: locker.stdout as Readable })) {
      if (line === "locked") return lock;
      onProgress?.("waiting for another command that is installing Airflow");
    }
  } finally {
    signal?.removeEventListener("abort", stop);
  }
  closeSync(lock);
  if (signal?.aborted) throw aborted(signal.reason);
  throw new AirflowError({ code: "install_failed", message: `${file} cannot be locked` });
}

/** With the descriptor of the lock. */
type Locked = EnsureOptions & { readonly lock: number };

async function makeVenv(found: FoundPython, venv: string, options: Locked): Promise<void> {
  options.onProgress?.(`making a virtual environment with Python ${found.version}`);
  rmSync(venv, { recursive: true, force: true });
  await run([found.path, "-I", "-m", "venv", venv], "python -m venv", options);
}

async function install(venv: string, requirements: string, options: Locked): Promise<void> {
  options.onProgress?.("installing Airflow, about a minute");
  const pip = [describe(venv, "").python, "-I", "-m", "pip", "--disable-pip-version-check"];
  await run(
    [
      ...pip,
      "install",
      "--require-hashes",
      "--no-input",
      "--progress-bar=off",
      "--requirement",
      requirements,
    ],
    "pip install",
    options,
  );
}

const TELL_EVERY_MS = 10_000;

/** Runs a step of the installation; tells now and then that it goes on. */
async function run(command: readonly string[], what: string, options: Locked): Promise<void> {
  const { environment, signal, onProgress, lock } = options;
  const [file = "", ...args] = command;
  // Settings of the user's own pip stay (a registry nearby), those of their Python do not.
  const { PYTHONDONTWRITEBYTECODE, PYTHONPATH, PYTHONHOME, PIP_USER, VIRTUAL_ENV, ...env } = environment;
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe", lock], env, detached: true });
  const stop = () => {
    // The whole group: pip runs others.
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      process.kill(-child.pid, "SIGKILL");
    }
  };
  signal?.addEventListener("abort", stop, { once: true });
  const began = performance.now();
  const timer = setInterval(
    () => onProgress?.(`${what}: ${Math.round((performance.now() - began) / 1000)} s`),
    TELL_EVERY_MS,
  );
  try {
    const { code, output, errors } = await outputOf(child);
    if (signal?.aborted) throw aborted(signal.reason);
    if (code === 0) return;
    const said = `${output}\n${errors}`.trim().split("\n").slice(-12).join("\n");
    throw new AirflowError({ code: "install_failed", message: `${what} failed (${code}):\n${said}` });
  } finally {
    clearInterval(timer);
    signal?.removeEventListener("abort", stop);
  }
}
