/** Which version this is. */
import { readFileSync } from "node:fs";

/** As package.json has it, which lies above the sources and above dist/. */
export function readRelease(): string {
  const manifest: { version: string } = JSON.parse(
    readFileSync(new URL("../package.json", import.meta.url), "utf8"),
  );
  return manifest.version;
}
