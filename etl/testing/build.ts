/**
 * vitest's globalSetup: builds what tests start as processes, once a run, so that it is what the sources are
 * now and starts in a quarter of the time: dist/, and the worker of etl/testing/worker.ts.
 */
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import { buildCommand, buildPrograms } from "../../build.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The built etl/testing/worker.ts. */
    readonly worker: string;
  }
}

const PACKAGE = fileURLToPath(new URL("../../package.json", import.meta.url));
const WORKER = fileURLToPath(new URL("./worker.ts", import.meta.url));

let folder: string | undefined;

export async function setup(project: TestProject): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), "rollbook-programs-"));
  // Node reads there that the program is an ES module.
  copyFileSync(PACKAGE, join(folder, "package.json"));
  const programs = join(folder, "programs");
  await Promise.all([buildCommand(), buildPrograms({ entries: { worker: WORKER }, folder: programs })]);
  project.provide("worker", join(programs, "worker.js"));
}

export function teardown(): void {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}
