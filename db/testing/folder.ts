/** Folders for one test. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished, type TestContext } from "vitest";

/** Makes a folder for the test, which is removed when the test has finished. */
export function makeFolder(): string {
  return makeFolderIn(tmpdir());
}

/** The same on another file system. Where none is sure to be there, the test is skipped, and says why. */
export function makeFolderElsewhere({ skip }: TestContext): string {
  skip(process.platform !== "linux", "no second file system is known here: /dev/shm is of Linux");
  return makeFolderIn("/dev/shm");
}

function makeFolderIn(parent: string): string {
  const folder = mkdtempSync(join(parent, "rollbook-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
