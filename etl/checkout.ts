/** Whether the command that runs is the one that the checkout's sources make. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * True when this is dist/rollbook.js of a checkout and a source was changed since it was built. An installed package has no sources,
 * and the sources themselves are never old.
 */
export function isOlderThanSources(): boolean {
  const program = fileURLToPath(import.meta.url);
  if (!program.endsWith(join("dist", "rollbook.js"))) return false;
  const folders = ["etl", "db"].map((name) => join(program, "../..", name));
  if (!folders.every((folder) => existsSync(folder))) return false;
  const built = statSync(program).mtimeMs;
  return folders
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((name) => /\.(ts|sql)$/.test(name) && !/\.test\.ts$|\btesting\b/.test(name))
        .map((name) => join(folder, name)),
    )
    .some((path) => statSync(path).mtimeMs > built);
}
