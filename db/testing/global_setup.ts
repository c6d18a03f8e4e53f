/**
 * vitest's globalSetup: one embedded server for all tests, in a fresh temporary folder. Tests make databases
 * of their own in it. For tests that need a server of their own there is a data folder to copy. Neither
 * DATABASE_URL nor any PG* variable has a say.
 */
import { rmSync } from "node:fs";
import type { TestProject } from "vitest/node";
import { chooseAccount } from "../embedded/account.ts";
import { ensureCluster } from "../embedded/cluster.ts";
import { makeHome, placeOf } from "../embedded/place.ts";
import { loadBinaries } from "../embedded/programs.ts";
import { type EmbeddedServer, openEmbeddedServer } from "../embedded/server.ts";
import { makeServerHome } from "./home.ts";
import { fillHome } from "./server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The server of the tests: everything that a connection needs but the database. */
    readonly postgres: { readonly host: string; readonly port: number; readonly user: string };
  }
}

const homes: string[] = [];
let server: EmbeddedServer | undefined;

export async function setup(project: TestProject): Promise<void> {
  const [home, made] = [makeServerHome(), makeServerHome()];
  homes.push(home, made);
  try {
    const cluster = await makeCluster(made);
    project.provide("cluster", cluster);
    fillHome(home, cluster);
    // Not durable, for speed: these databases need not outlive a power cut. A killed server still recovers.
    server = await openEmbeddedServer({ home, settings: { fsync: "off", max_wal_size: "256MB" } });
  } catch (error) {
    removeHomes();
    throw error;
  }
  const { host, port, user } = server;
  project.provide("postgres", { host, port, user });
}

export async function teardown(): Promise<void> {
  await server?.release({ withinMs: 5_000 });
  removeHomes();
}

function removeHomes(): void {
  for (const home of homes.splice(0)) rmSync(home, { recursive: true, force: true });
}

/** Makes a data folder in a home, and starts nothing in it. Returns the folder. */
async function makeCluster(home: string): Promise<string> {
  const place = makeHome(home);
  const binaries = await loadBinaries();
  const account = chooseAccount(place, binaries);
  await ensureCluster({
    place,
    binaries,
    account,
    durable: false,
    onProgress: undefined,
    signal: undefined,
  });
  return placeOf(home).data;
}
