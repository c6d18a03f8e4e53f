/** For tests that need a server of their own: one that is made and kept at a fifth of what it costs users. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";
import type { EmbeddedServer, OpenOptions } from "../embedded/server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** A data folder as initdb makes it, in which no server has run. */
    readonly cluster: string;
  }
}

/**
 * Opens an embedded server. Where the home has no data folder it gets a copy of the one that was made for all tests;
 * and the keeper is the built one.
 */
export async function openTestServer(options: OpenOptions): Promise<EmbeddedServer> {
  fillHome(options.home);
  const built = (await import(inject("embedded"))) as typeof import("./embedded.ts");
  return built.openEmbeddedServer(options);
}

/** Gives a home a data folder if it has none. How one is made is tried by db/embedded/server.test.ts. */
export function fillHome(home: string, cluster: string = inject("cluster")): void {
  if (existsSync(join(home, "data"))) return;
  const { status, stderr } = spawnSync("cp", ["-a", cluster, join(home, "data")], { encoding: "utf8" });
  if (status !== 0) throw new Error(`no data folder: ${stderr}`);
}
