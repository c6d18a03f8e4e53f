/**
 * vitest's globalSetup: one embedded server for all tests, in a fresh temporary folder. Tests make databases of their
 * own in it. Neither DATABASE_URL nor any PG* variable has a say.
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { type EmbeddedServer, openEmbeddedServer } from "../embedded/server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The server of the tests: everything that a connection needs but the database. */
    readonly postgres: { readonly host: string; readonly port: number; readonly user: string };
  }
}

let home: string | undefined;
let server: EmbeddedServer | undefined;

export async function setup(project: TestProject): Promise<void> {
  home = mkdtempSync(join(tmpdir(), "rollbook-tests-"));
  // So that root can hand the server over to an ordinary user without further ado; the data stays private.
  chmodSync(home, 0o711);
  try {
    // Not durable, for speed: these databases need not outlive a power cut. A killed server still recovers.
    server = await openEmbeddedServer({ home, settings: { fsync: "off" } });
  } catch (error) {
    rmSync(home, { recursive: true, force: true });
    throw error;
  }
  const { host, port, user } = server;
  project.provide("postgres", { host, port, user });
}

export async function teardown(): Promise<void> {
  await server?.release({ withinMs: 5_000 });
  if (home !== undefined) rmSync(home, { recursive: true, force: true });
}
