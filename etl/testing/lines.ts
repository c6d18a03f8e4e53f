/** For tests: drops whose lines are written out in the test. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The nth invoice id of a test. */
export function invoiceId(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

/** Writes a drop of these lines, `venue,invoice,created,total` each, and returns its path. */
export function writeDrop(folder: string, name: string, lines: readonly string[]): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, lines.map((line) => `${line}\n`).join(""));
  return path;
}
