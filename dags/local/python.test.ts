import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { CHECKOUT } from "./checkout.ts";
import { ensurePython, findPython } from "./python.ts";
import { makeFolder } from "./testing.ts";

/** A folder with programs that answer like Pythons: what they print, or the script they are. */
function makePath(programs: Readonly<Record<string, string>>): string {
  const folder = makeFolder();
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return folder;
}

const python = (version: string, missing = "") => `echo ${version}; echo ${missing}`;
const SHIM = "echo 'pyenv: python3.13: command not found' >&2; exit 127";

test("the first Python that is new enough is taken", async () => {
  const PATH = makePath({ "python3.13": SHIM, "python3.12": python("3.12.1"), python3: python("3.11.2") });
  const found = await findPython({ environment: { PATH } });
  expect(found).toEqual({ path: join(PATH, "python3.12"), version: "3.12.1" });
});

test("a broken one in front on the PATH does not hide a good one of the same name", async () => {
  const good = makePath({ python3: python("3.11.2") });
  const PATH = [makePath({ python3: SHIM }), good].join(delimiter);
  expect(await findPython({ environment: { PATH } })).toEqual({
    path: join(good, "python3"),
    version: "3.11.2",
  });
});

test("without a good one the error names each that was tried, why not, and what to do", async () => {
  const PATH = makePath({
    "python3.14": "exit 3",
    "python3.13": SHIM,
    "python3.12": python("3.12.1", "venv ensurepip"),
    python3: python("3.10.13"),
    python: python("3.15.0"),
  });
  const failure = findPython({ environment: { PATH } });
  await expect(failure).rejects.toMatchObject({ code: "python_missing" });
  for (const part of [
    "python3.13: does not run (pyenv: python3.13: command not found)",
    "python3.14: does not run (exit code 3)",
    "python3.12: 3.12.1 lacks venv ensurepip",
    "python3: 3.10.13 is too old",
    "python: 3.15.0 is too new",
    "apt install python3 python3-venv",
    "ROLLBOOK_PYTHON",
  ]) {
    await expect(failure).rejects.toThrow(part);
  }
});

test("without any the error says what was looked for", async () => {
  await expect(findPython({ environment: { PATH: makeFolder() } })).rejects.toThrow(
    "Looked for python3.13, ",
  );
});

test("ROLLBOOK_PYTHON counts, and nothing else", async () => {
  const PATH = makePath({ mine: python("3.11.9"), old: python("3.9.1"), python3: python("3.12.1") });
  expect(await findPython({ environment: { PATH, ROLLBOOK_PYTHON: "mine" } })).toMatchObject({
    version: "3.11.9",
  });
  const path = join(PATH, "mine");
  expect(await findPython({ environment: { PATH, ROLLBOOK_PYTHON: path } })).toMatchObject({ path });
  await expect(findPython({ environment: { PATH, ROLLBOOK_PYTHON: "old" } })).rejects.toThrow(
    "3.9.1 is too old",
  );
  await expect(findPython({ environment: { PATH, ROLLBOOK_PYTHON: "absent" } })).rejects.toThrow(
    "Looked for absent (ROLLBOOK_PYTHON)",
  );
});

/** Locks that need nothing from any registry. */
function makeLocks(): string {
  const folder = makeFolder();
  writeFileSync(join(folder, "requirements.txt"), "# nothing\n");
  writeFileSync(join(folder, "requirements-dev.txt"), "# nothing either\n");
  return folder;
}

async function ensure(given: {
  readonly home: string;
  readonly requirements: string;
  readonly dev?: boolean;
}) {
  const progress: string[] = [];
  const onProgress = (message: string) => progress.push(message);
  const made = await ensurePython({ ...given, environment: process.env, onProgress });
  return { ...made, progress };
}

test("the virtual environment is made once, and again when it is half made or the lock has changed", async () => {
  const home = join(makeFolder(), "a home");
  const requirements = makeLocks();
  const { venv, python: program, progress } = await ensure({ home, requirements });
  expect(progress).toContain("installing Airflow, about a minute");
  const mark = join(venv, "mark");
  writeFileSync(mark, "");
  expect((await ensure({ home, requirements })).progress).toEqual([]);

  // What checks the DAGs is added to what is there; without it, the fuller one will do.
  expect((await ensure({ home, requirements, dev: true })).progress).not.toEqual([]);
  expect((await ensure({ home, requirements })).progress).toEqual([]);
  expect(existsSync(mark)).toBe(true);

  // Its Python was removed meanwhile, for example by an upgrade.
  rmSync(program);
  expect((await ensure({ home, requirements })).progress).not.toEqual([]);
  expect(existsSync(mark)).toBe(false);

  writeFileSync(mark, "");
  writeFileSync(join(requirements, "requirements.txt"), "# something else\n");
  expect((await ensure({ home, requirements })).progress).not.toEqual([]);
  expect(existsSync(mark)).toBe(false);
});

test("what pip says is told when it fails, and the next try begins anew", async () => {
  const home = makeFolder();
  const requirements = makeLocks();
  const lock = join(requirements, "requirements.txt");
  const good = readFileSync(lock, "utf8");
  writeFileSync(lock, "six==1.17.0\n");
  await expect(ensure({ home, requirements })).rejects.toThrow(/pip install failed[\s\S]*hash/i);
  writeFileSync(lock, good);
  await ensure({ home, requirements });
});

test("one that is killed leaves the lock; of two at once one makes it, and the other waits and takes it", async () => {
  const home = join(makeFolder(), "home");
  const requirements = makeLocks();
  const killed = runWorker(home, requirements);
  await killed.said("making a virtual environment");
  // What it has begun goes on writing without it.
  const lib = join(home, "venv", "lib");
  const versions = () => (existsSync(lib) ? readdirSync(lib) : []);
  while (!versions().some((version) => existsSync(join(lib, version, "site-packages", "pip"))))
    await sleep(10);
  killed.child.kill("SIGKILL");
  await killed.ended;
  const results = await Promise.all([0, 1].map(() => runWorker(home, requirements).ended));
  expect(results.map(({ code }) => code)).toEqual([0, 0]);
  const made = results.filter(({ lines }) => lines.includes("installing Airflow, about a minute"));
  expect(made).toHaveLength(1);
});

function runWorker(home: string, requirements: string) {
  mkdirSync(home, { recursive: true });
  const module = pathToFileURL(join(import.meta.dirname, "python.ts")).href;
  const script = `
    const { ensurePython } = await import(${JSON.stringify(module)});
    const [home, requirements] = process.argv.slice(-2);
    await ensurePython({ home, requirements, environment: process.env, onProgress: (line) => console.log(line) });
  `;
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "--eval", script, home, requirements],
    { cwd: CHECKOUT, stdio: ["ignore", "pipe", "inherit"] },
  );
  const lines: string[] = [];
  const input = createInterface({ input: child.stdout });
  input.on("line", (line) => lines.push(line));
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, lines }));
  const said = async (beginning: string) => {
    while (!lines.some((line) => line.startsWith(beginning))) await once(input, "line");
  };
  return { child, said, ended };
}
