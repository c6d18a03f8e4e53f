/**
 * Where histories are lived through: a server of their own that may be killed and filled up, and processes
 * that load.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { type Database, openDatabase } from "../../../db/client.ts";
import { openEmbeddedServer } from "../../../db/embedded/server.ts";
import { initWarehouse } from "../../../db/migrate.ts";
import { ROLES } from "../../../db/roles/rights.ts";
import type { Granularity, Settings } from "../../../db/schema.ts";
import { killServer, until } from "../../../db/testing/own_server.ts";
import { startWorkers, type Workers } from "./workers.ts";

export interface SimulatedWarehouse {
  readonly connection: pg.ClientConfig;
  readonly database: Database;
  readonly settings: Settings;
  /** With the rights of a loader; where it has roles. */
  readonly asLoader: Database;
  readonly query: <Row extends pg.QueryResultRow>(
    text: string,
    values?: readonly unknown[],
  ) => Promise<Row[]>;
  readonly drop: () => Promise<void>;
}

export interface Site {
  readonly workers: Workers;
  /** A folder for drops and sockets. */
  readonly folder: string;
  /**
   * A new warehouse. `small`: on a disk of its own that can be filled up, where the system lets us have one.
   */
  readonly makeWarehouse: (options: {
    readonly timeZone: string;
    readonly granularity: Granularity;
    readonly small: boolean;
    readonly roles: boolean;
  }) => Promise<SimulatedWarehouse>;
  /** Kills PostgreSQL with all its processes; it comes back by itself. */
  readonly crash: () => void;
  readonly untilUp: () => Promise<void>;
  /**
   * Leaves no byte on the small disk; returns what makes room again. Undefined where there is no such disk.
   */
  readonly fillDisk: (() => () => void) | undefined;
  readonly close: () => Promise<void>;
}

const TEMPLATE = "simulation_template";
const LOADER = "simulated_loader";
const SMALL_DISK = "32m";
const SPARE_WORKERS = 4;

/**
 * Opens a site in a folder, which must be empty, and have a short path: sockets are in it.
 *
 * @param options.smallDisk whether to mount a small disk (Linux, root), default true
 */
export async function openSite(options: {
  readonly folder: string;
  readonly smallDisk?: boolean;
}): Promise<Site> {
  const { folder } = options;
  const home = join(folder, "home");
  mkdirSync(home, { recursive: true });
  // So that root can hand the server over to an ordinary user.
  chmodSync(folder, 0o711);
  chmodSync(home, 0o711);
  // Not safe from a power cut, for speed; a killed process loses nothing of what the system has.
  const server = await openEmbeddedServer({ home, settings: { fsync: "off" }, keeper: false });
  const { host, port, user } = server;
  const connectionTo = (database: string) => ({ host, port, user, database, ssl: false }) as const;
  const onServer = (statement: string) => runOnce(connectionTo("postgres"), statement);
  const disk = options.smallDisk === false ? undefined : mountSmallDisk(folder, join(home, "data"));
  if (disk !== undefined) await onServer(`create tablespace small location '${disk}'`);
  await makeTemplate(connectionTo, onServer);
  await onServer(`create role ${ROLES.loader}`);
  await onServer(`create role ${LOADER} login in role ${ROLES.loader}`);
  const workers = await startWorkers({ spare: SPARE_WORKERS, folder });
  let made = 0;
  return {
    workers,
    folder,
    async makeWarehouse({ timeZone, granularity, small, roles }) {
      made += 1;
      const name = `history_${made}`;
      const place = small && disk !== undefined ? "tablespace small" : "";
      await onServer(`create database ${name} template ${TEMPLATE} ${place}`);
      const connection = connectionTo(name);
      const database = openDatabase({ connection: { ...connection, application_name: "driver" }, max: 16 });
      const { settings } = await initWarehouse({ database, timeZone, granularity, roles });
      const asLoader = openDatabase({ connection: { ...connection, user: LOADER }, max: 8 });
      return {
        connection,
        database,
        settings,
        asLoader,
        query: async (text, values) => (await database.pool.query(text, values && [...values])).rows,
        drop: async () => {
          await database.pool.end();
          await asLoader.pool.end();
          await onServer(`drop database ${name} with (force)`);
        },
      };
    },
    crash: () => killServer(home),
    untilUp: () =>
      until("the server is back", () =>
        onServer("select 1").then(
          () => true,
          () => false,
        ),
      ),
    fillDisk: disk === undefined ? undefined : () => fill(disk),
    close: async () => {
      workers.close();
      await server.release({ withinMs: 5000 });
      if (disk !== undefined) execFileSync("umount", [disk]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function runOnce(connection: pg.ClientConfig, statement: string): Promise<void> {
  const client = new pg.Client(connection);
  client.on("error", () => {});
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end().catch(() => {});
  }
}

async function makeTemplate(
  connectionTo: (database: string) => pg.ClientConfig,
  onServer: (statement: string) => Promise<void>,
): Promise<void> {
  await onServer(`create database ${TEMPLATE} template template0`);
  const database = openDatabase({ connection: connectionTo(TEMPLATE), max: 2 });
  await initWarehouse({ database });
  await database.pool.query("delete from warehouse.settings");
  await database.pool.end();
}

/**
 * A disk in memory that belongs to the server's user; undefined where the system does not let us have one.
 */
function mountSmallDisk(folder: string, dataFolder: string): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return undefined;
  const disk = join(folder, "small");
  mkdirSync(disk);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${SMALL_DISK}`, "tmpfs", disk], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  const { uid, gid } = statSync(dataFolder);
  chownSync(disk, uid, gid);
  chmodSync(disk, 0o700);
  return disk;
}

function fill(disk: string): () => void {
  const ballast = join(disk, "ballast");
  for (const size of [1 << 20, 1 << 13]) {
    try {
      for (;;) writeFileSync(ballast, Buffer.alloc(size), { flag: "a" });
    } catch {
      // No such piece fits any more.
    }
  }
  return () => rmSync(ballast, { force: true });
}
