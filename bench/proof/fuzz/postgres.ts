/** A PostgreSQL for a run: the embedded one in a temporary folder, which goes with it. */

import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Database, openDatabase } from "../../../db/client.ts";
import { openEmbeddedServer } from "../../../db/embedded/server.ts";
import { initWarehouse } from "../../../db/migrate.ts";
import { environmentOf } from "../../../db/testing/environment.ts";

export interface FuzzServer {
  readonly database: Database;
  /** Environment that makes a rollbook process use its warehouse. */
  readonly environment: Readonly<Record<string, string>>;
  readonly close: () => Promise<void>;
}

/** Starts the server and makes an empty warehouse in it. */
export async function openFuzzServer(signal?: AbortSignal): Promise<FuzzServer> {
  const home = mkdtempSync(join(tmpdir(), "rollbook-fuzz-"));
  // So that root can hand the server over to an ordinary user; the data stays private.
  chmodSync(home, 0o711);
  const remove = () => rmSync(home, { recursive: true, force: true });
  try {
    // Nothing here need outlive a power cut.
    const server = await openEmbeddedServer({ home, settings: { fsync: "off" }, ...(signal && { signal }) });
    const { host, port, user, database: name } = server;
    const database = openDatabase({ connection: { host, port, user, ssl: false, database: name }, max: 4 });
    const close = async () => {
      await database.pool.end();
      await server.release({ withinMs: 5000 });
      remove();
    };
    try {
      await initWarehouse({ database });
    } catch (error) {
      await close();
      throw error;
    }
    const environment = environmentOf({ host, port, user, database: name });
    return { database, environment, close };
  } catch (error) {
    remove();
    throw error;
  }
}
