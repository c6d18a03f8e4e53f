/** The server of a run: the embedded one under the bench's home, or the one of `--server`. */
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { parseIntoClientConfig } from "pg-connection-string";
import { openEmbeddedServer } from "../../db/embedded/server.ts";
import { RollbookError } from "../../db/errors.ts";

export interface BenchServer {
  /** `embedded`, or the host of `--server`. */
  readonly label: string;
  readonly connectionTo: (database: string) => pg.ClientConfig;
  /** A session on the database that was there before; it holds the lock of the run. */
  readonly admin: pg.Client;
  readonly close: () => Promise<void>;
}

/** Key of the advisory lock that a run holds: no two share a server, they would measure each other. */
const RUN_LOCK = 0x526f6c62;
/** How long the end of a killed runner's last statement is waited for. */
const LOCK_ATTEMPTS = 60;

/**
 * Opens the server with the settings that the product gives it, durability included.
 *
 * @throws RollbookError `usage` when another run of the benchmark uses it
 */
export async function openBenchServer(options: {
  readonly home: string;
  readonly url?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<BenchServer> {
  const place = options.url === undefined ? await openEmbedded(options) : openGiven(options.url);
  const admin = new pg.Client(place.connectionTo(place.database));
  // Its statements reject when the connection breaks; that is where it is told.
  admin.on("error", () => {});
  try {
    await admin.connect();
    await lockRun(admin);
  } catch (error) {
    await admin.end().catch(() => {});
    await place.release();
    throw error;
  }
  return {
    label: place.label,
    connectionTo: place.connectionTo,
    admin,
    close: async () => {
      await admin.end().catch(() => {});
      await place.release();
    },
  };
}

interface Place extends Pick<BenchServer, "label" | "connectionTo"> {
  readonly database: string;
  readonly release: () => Promise<void>;
}

async function openEmbedded({
  home,
  signal,
}: {
  home: string;
  signal?: AbortSignal | undefined;
}): Promise<Place> {
  const folder = join(home, "postgres");
  await mkdir(folder, { recursive: true });
  // So that root can hand the server over to an ordinary user; the data stays private.
  await chmod(folder, 0o711);
  const server = await openEmbeddedServer({ home: folder, ...(signal && { signal }) });
  const { host, port, user, database } = server;
  return {
    label: "embedded",
    database,
    connectionTo: (name) => ({ host, port, user, ssl: false, database: name }),
    release: () => server.release(),
  };
}

function openGiven(url: string): Place {
  const given = parseIntoClientConfig(url);
  return {
    label: given.host ?? "localhost",
    database: given.database ?? "postgres",
    connectionTo: (name) => ({ ...given, database: name }),
    release: async () => {},
  };
}

async function lockRun(admin: pg.Client): Promise<void> {
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt += 1) {
    const { rows } = await admin.query("select pg_try_advisory_lock($1, 0) as got", [RUN_LOCK]);
    if (rows[0]?.got === true) return;
    await sleep(500);
  }
  throw new RollbookError({
    code: "usage",
    message:
      "another run of the benchmark uses this server. Wait for its end, or name another with --server.",
  });
}
