import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Variables } from "./compose.ts";
import { ended } from "./processes.ts";

export interface Guardian {
  /** Lets it end what is left, and waits for it. */
  readonly end: () => Promise<void>;
}

/** Starts guardian.ts, which ends what has the mark when this process ends, however that ends. */
export function spawnGuardian(mark: string, environment: Variables): Guardian {
  const tsx = createRequire(import.meta.url).resolve("tsx");
  const script = fileURLToPath(new URL("./guardian.ts", import.meta.url));
  const { NODE_OPTIONS, NODE_V8_COVERAGE, ...env } = environment;
  const child = spawn(process.execPath, ["--import", pathToFileURL(tsx).href, script, mark], {
    cwd: "/",
    env,
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  // A process that forgets to stop Airflow must still be able to end; the guardian sees to the rest.
  child.unref();
  return {
    end: async () => {
      child.ref();
      const gone = ended(child);
      child.stdin.end();
      await Promise.race([gone, pause(10_000, undefined, { ref: false })]);
    },
  };
}
