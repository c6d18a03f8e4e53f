/** The server of a run: the embedded one under the bench's home, or the one of `--server`. */
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { parseIntoClientConfig } from "pg-connection-string";
import { openEmbeddedServer } from "../../db/embedded/server.ts";
import { errorState, RollbookError } from "../../db/errors.ts";

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
 * @throws RollbookError `usage` when another run of the benchmark uses it, `connection` when it cannot be
 *   reached, `permission` when the user may not make databases there
 */
export async function openBenchServer(options: {
  readonly home: string;
  readonly url?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<BenchServer> {
  const place = options.url === undefined ? await openEmbedded(options) : openGiven(options.url);
  const admin = new pg.Client(place.connectionTo(place.database));
  // When the connection breaks, its statements reject; that is enough.
  admin.on("error", () => {});
  try {
    await connect(admin, place.label);
    await requireDatabases(admin);
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
  const given = parseUrl(url);
  return {
    label: given.host ?? "localhost",
    database: given.database ?? "postgres",
    connectionTo: (name) => ({ ...given, database: name }),
    release: async () => {},
  };
}

function parseUrl(url: string): pg.ClientConfig {
  try {
    return parseIntoClientConfig(url);
  } catch (cause) {
    const message = "--server is no connection string; give one like postgres://me@localhost:5432/postgres";
    throw new RollbookError({ code: "usage", message, cause });
  }
}

async function connect(admin: pg.Client, label: string): Promise<void> {
  try {
    await admin.connect();
  } catch (cause) {
    const why = cause instanceof Error && cause.message !== "" ? cause.message : errorState(cause);
    throw new RollbookError({
      code: "connection",
      message:
        `The benchmark cannot begin: no connection to its server (${label}): ${why}. ` +
        "Start that server, name another with --server, or leave --server out for the embedded one.",
      cause,
    });
  }
}

async function requireDatabases(admin: pg.Client): Promise<void> {
  const { rows } = await admin.query(
    `select rolname as name, rolcreatedb or rolsuper as may, pg_has_role(oid, 'pg_checkpoint', 'usage') as checkpoint
     from pg_roles
     where rolname = current_user`,
  );
  const [{ name, may, checkpoint }] = rows;
  if (may && checkpoint) return;
  const message =
    `The benchmark cannot begin: user ${name} of its server may not make databases and checkpoints. ` +
    `Let it, by "alter role ${name} createdb" and "grant pg_checkpoint to ${name}", or name another user.`;
  throw new RollbookError({ code: "permission", message });
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
