/** Breaks a copy of the checkout in one way, and sees whether the simulation or the tests notice. */
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { RollbookError } from "../../../db/errors.ts";
import type { Mutation } from "./mutation.ts";

const CHECKOUT = fileURLToPath(new URL("../../..", import.meta.url));

export interface Tried {
  readonly name: string;
  /** Who noticed: the simulation, the tests; null: nobody. */
  readonly noticedBy: "simulation" | "tests" | null;
  /** Histories that were lived through until then. */
  readonly histories: number;
  /** What was noticed, in a line. */
  readonly said: string;
}

/** What `--out` writes. */
export interface MutationRecord {
  /** Histories that the simulation had for each. */
  readonly seeds: number;
  /** Each with the commit of the code that was broken. */
  readonly mutations: readonly (Tried & { readonly commit: string })[];
}

export interface TryOptions {
  readonly mutation: Mutation;
  /** Histories of the simulation before the tests have a go. */
  readonly seeds: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Tries one mutation.
 *
 * @throws RollbookError `usage` when its text is not in the file, or more than once
 */
export async function tryMutation({ mutation, seeds, signal }: TryOptions): Promise<Tried> {
  const { name } = mutation;
  const copy = copyCheckout();
  try {
    breakFile(copy, mutation);
    let histories = 0;
    if (mutation.simulate !== false) {
      const simulated = await run(copy, simulation(seeds), signal);
      const { histories: lived = 0, failed = [] } = readSimulation(simulated.output);
      histories = lived;
      if (simulated.code !== 0) {
        const said = failed[0]?.outcome.message ?? simulated.output;
        return { name, noticedBy: "simulation", histories, said: firstLine(said) };
      }
    }
    const tested = await run(
      copy,
      ["node_modules/vitest/vitest.mjs", "run", "--bail=1", ...mutation.tests],
      signal,
    );
    if (tested.code === 0) return { name, noticedBy: null, histories, said: "" };
    const said = failedTest(tested.output);
    if (said === undefined)
      throw new Error(`the tests of "${name}" did not run:\n${tested.output.slice(-2000)}`);
    return { name, noticedBy: "tests", histories, said: firstLine(said) };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** The tracked files but the docs and the DAGs, as they are in the checkout now; node_modules is shared. */
function copyCheckout(): string {
  const copy = mkdtempSync(join(tmpdir(), "rollbook-mutation-"));
  const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: CHECKOUT,
    encoding: "utf8",
  });
  for (const file of files.split("\0").filter((name) => name !== "" && !/^(docs|dags)\//.test(name))) {
    mkdirSync(join(copy, dirname(file)), { recursive: true });
    cpSync(join(CHECKOUT, file), join(copy, file));
  }
  symlinkSync(join(CHECKOUT, "node_modules"), join(copy, "node_modules"));
  return copy;
}

function breakFile(copy: string, { name, file, find, replace }: Mutation): void {
  const path = join(copy, file);
  const text = readFileSync(path, "utf8");
  if (text.split(find).length !== 2) {
    throw new RollbookError({
      code: "usage",
      message: `"${name}": its text is not once in ${file}. Bring bench/proof/mutate/mutations/ up to date.`,
    });
  }
  writeFileSync(
    path,
    text.replace(find, () => replace),
  );
}

/** Whether each mutation's text is once in its file; the names of those that it is not. */
export function findOutdated(mutations: readonly Mutation[]): readonly string[] {
  return mutations
    .filter(({ file, find }) => readFileSync(join(CHECKOUT, file), "utf8").split(find).length !== 2)
    .map(({ name }) => name);
}

function simulation(seeds: number): readonly string[] {
  const flags = ["--seeds", String(seeds), "--bail", "--shrink-minutes", "0", "--json"];
  return ["--import", "tsx", "bench/proof/simulate.ts", "--sites", "2", ...flags];
}

interface Simulated {
  readonly histories?: number;
  readonly failed?: readonly { readonly outcome: { readonly message: string } }[];
}

function readSimulation(output: string): Simulated {
  const line = output.split("\n").find((text) => text.startsWith("{"));
  return line === undefined ? {} : JSON.parse(line);
}

/** vitest's line of the first test that failed; undefined where none was run. */
function failedTest(output: string): string | undefined {
  const lines = output.split("\n").map((line) => line.trim());
  return lines.find((line) => line.startsWith("FAIL "));
}

function firstLine(text: string): string {
  return text.trim().split("\n").slice(0, 3).join(" ").replace(/\s+/g, " ").slice(0, 200);
}

async function run(
  copy: string,
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<{ readonly code: number; readonly output: string }> {
  const child = spawn(process.execPath, args, {
    cwd: copy,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
  });
  const stop = () => child.kill("SIGTERM");
  signal?.addEventListener("abort", stop, { once: true });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve(status ?? 1));
  });
  signal?.removeEventListener("abort", stop);
  signal?.throwIfAborted();
  return { code, output };
}
