/** Opens the warehouse that the configuration names, and closes it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Database, openDatabase, withSession } from "../db/client.ts";
import type { Config } from "../db/connection/config.ts";
import type { Connection } from "../db/connection/libpq.ts";
import { openEmbeddedServer } from "../db/embedded/server.ts";
import { RollbookError } from "../db/errors.ts";
import { initWarehouse } from "../db/migrate.ts";
import type { Settings } from "../db/schema.ts";
import { readSettings } from "../db/settings.ts";
import type { WaitListener } from "../db/waits/watch.ts";

/** Connections of one command: two for a load, two for a refresh, one for the rest. */
const CONNECTIONS = 5;

export interface OpenDatabase {
  readonly database: Database;
  /** The same server, for programs that are not ours. */
  readonly connection: Connection;
  /** Ends the connections; stops the embedded server when nobody else uses it, by force after `withinMs`. */
  readonly close: (options?: { readonly withinMs?: number }) => Promise<void>;
}

export interface OpenOptions {
  readonly config: Config;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((message: string) => void) | undefined;
  /** Takes each wait of more than five seconds for a lock of another session. */
  readonly onWait?: WaitListener | undefined;
}

/** Opens the database, starting the embedded server where it is not up. */
export async function openConfigured(options: OpenOptions): Promise<OpenDatabase> {
  const { config, signal, onProgress, onWait } = options;
  if (config.kind === "server") {
    const database = openDatabase({ connection: config.connection, max: CONNECTIONS, onWait });
    const connection = { login: config.connection, encryption: config.encryption };
    return { database, connection, close: () => database.pool.end() };
  }
  const server = await openEmbeddedServer({
    home: config.home,
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  });
  const { host, port, user, database: name } = server;
  // Everything is set, because the driver would take the rest from PG* variables, which belong to another server.
  const login = { host, port, user, database: name, ssl: false, sslnegotiation: "postgres" as const };
  const database = openDatabase({ connection: login, max: CONNECTIONS, onWait });
  return {
    database,
    connection: { login, encryption: { mode: "disable", negotiation: "postgres" } },
    close: async (closing) => {
      await database.pool.end();
      await server.release(closing);
    },
  };
}

export interface Warehouse extends OpenDatabase {
  readonly settings: Settings;
  /** Whether it was made just now. */
  readonly created: boolean;
}

/**
 * Opens the warehouse.
 *
 * @param options.create makes or migrates the warehouse of the embedded server, with the default settings; on
 *   a server of the user's own only `init` does that
 * @param options.reportsOnly reads nothing but the schema `reports`: the user may have no other right
 *
 * @throws RollbookError `warehouse_missing`, `warehouse_newer`, `unsupported_server`, `connection`,
 *   `permission`
 */
export async function openWarehouse(
  options: OpenOptions & { readonly create?: boolean; readonly reportsOnly?: boolean },
): Promise<Warehouse> {
  const { config, signal, create = false, reportsOnly } = options;
  if (config.kind === "embedded" && !create && !existsSync(join(config.home, "data"))) {
    throw new RollbookError({
      code: "warehouse_missing",
      message:
        `there is no warehouse in ${config.home} yet. ` +
        "Run: rollbook init (or load); or name a server in DATABASE_URL.",
    });
  }
  const open = await openConfigured(options);
  try {
    const { database } = open;
    if (config.kind === "embedded" && create) {
      const { settings, created } = await initWarehouse({ database, signal });
      return { ...open, settings, created };
    }
    const settings = await withSession({ database, signal }, (session) =>
      readSettings(session, { reportsOnly }),
    );
    return { ...open, settings, created: false };
  } catch (error) {
    await open.close();
    throw error;
  }
}
