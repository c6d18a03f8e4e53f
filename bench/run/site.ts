/** A site: a clone of a history in which arms are measured. It is dropped afterwards. */

import type pg from "pg";
import { type Database, openDatabase } from "../../db/client.ts";
import type { Settings } from "../../db/schema.ts";
import type { BenchServer } from "../program/server.ts";
import type { Cell } from "../results.ts";
import type { Batch } from "./batch.ts";
import type { History } from "./history.ts";
import type { LoadProcesses } from "./load_process.ts";
import { CLONE_PREFIX } from "./names.ts";
import type { Scale } from "./scale.ts";

export interface SiteOptions {
  readonly server: BenchServer;
  readonly cell: Cell;
  readonly scale: Scale;
  readonly history: History;
  readonly batch: Batch;
  /** Folder for files of the arms. */
  readonly scratch: string;
  /** Those that load for us. */
  readonly processes: LoadProcesses;
}

export interface Site extends Omit<SiteOptions, "server"> {
  readonly settings: Settings;
  readonly connection: pg.ClientConfig;
  /** For what is outside the time; arms are measured on connections of their own. */
  readonly database: Database;
  /** Loads with a greater number belong to the batch. */
  readonly lastLoad: number;
}

let clones = 0;

/** Runs `work` on a clone. It is dropped also when `work` fails. */
export async function withSite<T>(options: SiteOptions, work: (site: Site) => Promise<T>): Promise<T> {
  const { server, ...others } = options;
  const { history } = options;
  clones += 1;
  const name = `${CLONE_PREFIX}${process.pid}_${clones}`;
  // File by file: copying through the log would double what is written, and leave it to the first checkpoint
  // to be measured.
  await server.admin.query(`create database ${name} template ${history.name} strategy file_copy`);
  const connection = server.connectionTo(name);
  const database = openDatabase({ connection, max: 1 });
  try {
    const { rows } = await database.pool.query(
      "select coalesce(max(load_id), 0) as last from warehouse.loads",
    );
    const lastLoad = rows[0].last;
    return await work({ ...others, settings: history.settings, connection, database, lastLoad });
  } finally {
    await database.pool.end();
    await server.admin.query(`drop database if exists ${name} with (force)`).catch(() => {});
  }
}

/** Drops the clones that a killed run left. */
export async function dropClones({ admin }: BenchServer): Promise<void> {
  const { rows } = await admin.query("select datname from pg_database where starts_with(datname, $1)", [
    CLONE_PREFIX,
  ]);
  for (const { datname } of rows) await admin.query(`drop database if exists ${datname} with (force)`);
}
