/** Where the warehouse is: a server that the user names, or the embedded one. */
import type pg from "pg";
import { readConfig } from "../../db/connection/config.ts";
import type { Encryption } from "../../db/connection/encryption.ts";
import { openEmbeddedServer } from "../../db/embedded/server.ts";
import type { Variables } from "./compose.ts";
import type { Database } from "./places.ts";

export interface OpenWarehouse {
  readonly database: Database;
  readonly close: () => Promise<void>;
}

/**
 * Finds the warehouse as the rollbook command does; an embedded one is held open, so that commands need not start it each time.
 *
 * @throws RollbookError `configuration`, `embedded_server`
 */
export async function openWarehouse(options: {
  readonly environment: Variables;
  /** What a relative `ROLLBOOK_HOME` is relative to. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly onProgress: (message: string) => void;
}): Promise<OpenWarehouse> {
  const { environment, folder, signal, onProgress } = options;
  const config = readConfig({ environment, folder });
  if (config.kind === "server") {
    return { database: readConnection(config.connection, config.encryption), close: async () => {} };
  }
  const server = await openEmbeddedServer({ home: config.home, signal, onProgress });
  const { host, port, user, database } = server;
  return {
    database: { host, port, user, database, encryption: { mode: "disable", negotiation: "postgres" } },
    close: () => server.release({ withinMs: 3_000 }),
  };
}

/** The connection as libpq's settings, which the tasks get. */
function readConnection(connection: pg.ClientConfig, encryption: Encryption): Database {
  const { host, port, user, database, password } = connection;
  if (typeof password === "function") throw new Error("a password is a text");
  return {
    host: host ?? "localhost",
    port: Number(port ?? 5432),
    user: user ?? "",
    database: database ?? user ?? "",
    password: password ?? undefined,
    encryption,
  };
}
