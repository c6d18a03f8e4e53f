/** Folders of a test's own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished, type TestContext } from "vitest";

/** A folder of the test's own, removed when it has finished. */
export function makeFolder(): string {
  return makeFolderIn(tmpdir());
}

/** The same on another file system. The test is skipped, and tells why, on systems without one that is always there. */
export function makeFolderElsewhere({ skip }: TestContext): string {
  skip(process.platform !== "linux", "no second file system is known here: /dev/shm is of Linux");
  return makeFolderIn("/dev/shm");
}

function makeFolderIn(parent: string): string {
  const folder = mkdtempSync(join(parent, "rollbook-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
