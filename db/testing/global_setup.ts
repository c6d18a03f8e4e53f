/**
 * vitest's globalSetup: one embedded server for all tests, in a fresh temporary folder. Tests make databases
 * of their own in it. Neither DATABASE_URL nor any PG* variable has a say.
 */
import { rmSync } from "node:fs";
import type { TestProject } from "vitest/node";
import { type EmbeddedServer, openEmbeddedServer } from "../embedded/server.ts";
import { makeServerHome } from "./home.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The server of the tests: everything that a connection needs but the database. */
    readonly postgres: { readonly host: string; readonly port: number; readonly user: string };
  }
}

let home: string | undefined;
let server: EmbeddedServer | undefined;

export async function setup(project: TestProject): Promise<void> {
  home = makeServerHome();
  try {
    // Not durable, for speed: these databases need not outlive a power cut. A killed server still recovers.
    server = await openEmbeddedServer({ home, settings: { fsync: "off", max_wal_size: "256MB" } });
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
