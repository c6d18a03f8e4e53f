/**
 * vitest's globalSetup: builds what tests start as processes, once a run, so that it is what the sources are
 * now and starts in a quarter of the time: dist/, the worker of etl/testing/worker.ts, and the embedded server with
 * its keeper.
 */
import { copyFileSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import { buildCommand, buildPrograms } from "../../build.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The built etl/testing/worker.ts. */
    readonly worker: string;
    /** The built db/testing/embedded.ts, in a folder with its keeper.js and nothing else that it needs but PostgreSQL. */
    readonly embedded: string;
  }
}

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const WORKER = join(CHECKOUT, "etl/testing/worker.ts");
const EMBEDDED = {
  embedded: join(CHECKOUT, "db/testing/embedded.ts"),
  keeper: join(CHECKOUT, "db/embedded/keeper.ts"),
};

let folder: string | undefined;

export async function setup(project: TestProject): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), "rollbook-programs-"));
  // Node reads there that the program is an ES module.
  copyFileSync(join(CHECKOUT, "package.json"), join(folder, "package.json"));
  // Where the embedded server finds PostgreSQL's programs.
  symlinkSync(join(CHECKOUT, "node_modules"), join(folder, "node_modules"));
  const programs = join(folder, "programs");
  const embedded = join(folder, "embedded");
  await Promise.all([
    buildCommand(),
    buildPrograms({ entries: { worker: WORKER }, folder: programs }),
    buildPrograms({ entries: EMBEDDED, folder: embedded }),
  ]);
  project.provide("worker", join(programs, "worker.js"));
  project.provide("embedded", join(embedded, "embedded.js"));
}

export function teardown(): void {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}
