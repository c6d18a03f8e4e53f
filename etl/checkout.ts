/** Whether the command that runs is the one that the checkout's sources make. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * True when this is the built command of a checkout and a source of it was changed since. Beside it the build lists the sources; a package has no such list.
 */
export function isOlderThanSources(): boolean {
  const program = fileURLToPath(import.meta.url);
  const folder = dirname(program);
  const list = join(folder, "sources.txt");
  if (!existsSync(list)) return false;
  const built = statSync(program).mtimeMs;
  return readFileSync(list, "utf8")
    .split("\n")
    .some((path) => (statSync(join(folder, "..", path), { throwIfNoEntry: false })?.mtimeMs ?? 0) > built);
}
