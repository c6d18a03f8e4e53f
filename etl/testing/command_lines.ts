/** For tests: what any user of the machine sees of its processes. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** The arguments of all processes of the machine, as any user sees them. */
export function commandLines(): string {
  if (process.platform !== "linux") {
    return spawnSync("ps", ["-A", "-ww", "-o", "command="], { encoding: "latin1", maxBuffer: 2 ** 26 })
      .stdout;
  }
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1");
      } catch {
        // The process has ended.
        return "";
      }
    })
    .join("\n");
}
