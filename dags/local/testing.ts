/** For the tests of this folder. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { CHECKOUT } from "./checkout.ts";
import { ensurePython, type Python } from "./python.ts";

/** How long the first test that needs Python may take: it installs Airflow. */
export const INSTALLED_WITHIN_MS = 10 * 60_000;

let python: Promise<Python> | undefined;

/** Airflow with what checks the DAGs, in the checkout's own `.airflow`. Without a Python the test fails, and says what to do. */
export function installPython(): Promise<Python> {
  python ??= ensurePython({
    home: join(CHECKOUT, ".airflow"),
    requirements: join(CHECKOUT, "dags"),
    dev: true,
    environment: process.env,
  });
  return python;
}

/** A temporary folder, with a blank in its name; it is removed when the test has ended. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "rollbook airflow-"));
  // So that root can hand the embedded server in it over to an ordinary user.
  chmodSync(folder, 0o711);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  return folder;
}
