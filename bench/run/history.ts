/**
 * The histories: databases loaded once, by the product's own functions, kept and cloned for every sample.
 * With each goes what the arms of others keep beside the invoices (schema `bench`), and a columnar copy in a
 * DuckDB file. An unfinished one goes on where it stopped.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import pg from "pg";
import { type Database, openDatabase } from "../../db/client.ts";
import { addDays, toDate } from "../../db/dates.ts";
import { RollbookError } from "../../db/errors.ts";
import { initWarehouse } from "../../db/migrate.ts";
import { ensurePartitions } from "../../db/partitions/create.ts";
import type { Granularity, Settings } from "../../db/schema.ts";
import { DEFAULT_SETTINGS } from "../../db/settings.ts";
import { readJournal } from "../../db/version.ts";
import { loadDrop } from "../../etl/load/load.ts";
import { refreshPartitions } from "../../etl/refresh/refresh.ts";
import type { BenchServer } from "../program/server.ts";
import { writePart } from "./batch.ts";
import { type ColumnarCopy, openColumnarCopy } from "./columnar.ts";
import { historyName, short } from "./names.ts";
import type { Scale } from "./scale.ts";

/** To be raised when the same numbers give other invoices, or schema `bench` changes. */
const RECIPE = 1;

export interface History {
  /** The template database. */
  readonly name: string;
  readonly settings: Settings;
  /** The DuckDB file; not to be written. */
  readonly columnar: string;
}

export interface HistoryOptions {
  readonly server: BenchServer;
  readonly home: string;
  /** Invoices; 0 for an empty warehouse. */
  readonly history: number;
  readonly granularity: Granularity;
  readonly scale: Scale;
  readonly signal: AbortSignal;
  /** Invoices that are in, of all. */
  readonly onProgress: (rows: number) => void;
}

/** The history; what is missing of it is built, in about a minute per 10 million invoices and core. */
export async function ensureHistory(options: HistoryOptions): Promise<History> {
  const { server, history, granularity, home } = options;
  const name = historyName(history, granularity);
  const columnar = join(home, "columnar", `${short(history).toLowerCase()}_${RECIPE}.duckdb`);
  const settings = { ...DEFAULT_SETTINGS, granularity };
  const fingerprint = await fingerprintOf();
  const state = await readMark(server, name);
  if (state !== undefined && state !== `complete ${fingerprint}` && state !== `begun ${fingerprint}`) {
    await server.admin.query(`drop database ${name} with (force)`);
  }
  if (state !== `complete ${fingerprint}`) {
    if (state !== `begun ${fingerprint}`) {
      await server.admin.query(`create database ${name} template template0`);
      await mark(server, name, `begun ${fingerprint}`);
    }
    await build({ ...options, name, columnar, settings });
    // No session may enter a template, autovacuum included: it would be in the way of a clone.
    await server.admin.query(`alter database ${name} with allow_connections false`);
    await mark(server, name, `complete ${fingerprint}`);
  }
  return { name, settings, columnar };
}

/** Changes with the recipe and with the schema. */
async function fingerprintOf(): Promise<string> {
  const hash = createHash("sha256").update(`recipe ${RECIPE}`);
  for (const { tag } of await readJournal()) {
    hash.update(await readFile(new URL(`../../db/migrations/${tag}.sql`, import.meta.url)));
  }
  return hash.digest("hex").slice(0, 16);
}

/** The comment of a database, which says how far it is; undefined where it is not there. */
async function readMark({ admin }: BenchServer, name: string): Promise<string | undefined> {
  const { rows } = await admin.query(
    "select coalesce(shobj_description(oid, 'pg_database'), '') as mark from pg_database where datname = $1",
    [name],
  );
  return rows[0]?.mark;
}

async function mark({ admin }: BenchServer, name: string, text: string): Promise<void> {
  await admin.query(`comment on database ${name} is ${pg.escapeLiteral(text)}`);
}

interface Building extends HistoryOptions {
  readonly name: string;
  readonly columnar: string;
  readonly settings: Settings;
}

async function build(building: Building): Promise<void> {
  const { server, name, granularity, history, scale, signal } = building;
  const database = openDatabase({ connection: server.connectionTo(name) });
  try {
    await initWarehouse({ database, granularity, timeZone: "UTC" });
    await database.pool.query("create schema if not exists bench");
    if (history > 0) {
      await makeVenues(database, scale);
      await ensurePartitions({ database, granularity, dates: datesOf(scale), signal });
      await loadParts(building, database);
      await refreshPartitions({ database, signal });
      await makeForeignTotals(database);
    }
    await database.pool.query("vacuum (analyze)");
    await database.pool.query("checkpoint");
  } finally {
    await database.pool.end();
  }
}

/** In the order of their names, so that keys follow from it. A batch brings no new venue. */
export async function makeVenues(database: Database, { venues }: Scale): Promise<void> {
  const names = Array.from({ length: venues.count }, (_, venue) => venues.name(venue));
  await database.pool.query(
    `insert into warehouse.venues (venue_id)
     select name from unnest($1::text[]) with ordinality as names (name, position)
     where not exists (select from warehouse.venues)
     order by position`,
    [names],
  );
}

/** All creation dates, those of the batch included: no arm makes partitions while it is measured. */
export function datesOf({ firstDay, lastDay }: Scale): readonly string[] {
  const first = toDate(firstDay);
  return Array.from({ length: lastDay - firstDay + 2 }, (_, index) => addDays(first, index));
}

async function loadParts(building: Building, database: Database): Promise<void> {
  const { scale, settings, signal, home, onProgress } = building;
  const folder = join(home, "scratch", "history");
  await mkdir(folder, { recursive: true });
  await mkdir(join(building.columnar, ".."), { recursive: true });
  const columnar = await openColumnarCopy(building.columnar, scale.venues);
  const loaded = await readLoaded(database);
  let rows = 0;
  try {
    for (const part of scale.parts) {
      signal.throwIfAborted();
      const path = join(folder, `history_${toDate(part.firstDay + part.days - 1)}.csv`);
      const missing = {
        warehouse: !loaded.has(basename(path)),
        columnar: !(await columnar.has(part.series)),
      };
      if (missing.warehouse || missing.columnar) await writePart(scale, part, path);
      if (missing.warehouse) await loadPart(database, settings, path, signal);
      if (missing.columnar) await appendPart(columnar, part.series, path);
      await rm(path, { force: true });
      rows += part.rows;
      onProgress(rows);
    }
  } finally {
    columnar.close();
  }
}

async function readLoaded(database: Database): Promise<ReadonlySet<string>> {
  const { rows } = await database.pool.query("select file_name from warehouse.loads where status = 'loaded'");
  return new Set(rows.map((row) => row.file_name));
}

async function loadPart(
  database: Database,
  settings: Settings,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const report = await loadDrop({ database, settings, path, signal });
  if (report.outcome === "loaded" || report.outcome === "already_loaded") return;
  throw new RollbookError({
    code: "database",
    message: `${path} could not be loaded into the history: ${report.error?.message ?? report.outcome}`,
  });
}

async function appendPart(columnar: ColumnarCopy, series: number, path: string): Promise<void> {
  // The end of a month is its sync date, as the name of the drop says.
  await columnar.append({ path, syncedOn: basename(path).slice(8, 18), series });
}

/**
 * What others keep: a summary table, and materialized views with the index that `concurrently` asks for. The
 * plain one is left empty: a refresh writes it anew whatever is in it.
 */
async function makeForeignTotals(database: Database): Promise<void> {
  const grouped = `select created_on, venue_key, count(*) as invoices, sum(total) as total
    from warehouse.invoices
    group by created_on, venue_key`;
  await database.pool.query(`
    drop materialized view if exists bench.plain_view, bench.concurrent_view;
    drop table if exists bench.summary;
    create table bench.summary (
      created_on date not null,
      venue_key integer not null,
      invoices bigint not null,
      total numeric(24, 2) not null,
      primary key (created_on, venue_key)
    );
    insert into bench.summary (created_on, venue_key, invoices, total)
    select created_on, venue_key, invoices, total from warehouse.venue_day_rollup order by created_on, venue_key;
    create materialized view bench.plain_view as ${grouped} with no data;
    create unique index on bench.plain_view (created_on, venue_key);
    create materialized view bench.concurrent_view as ${grouped};
    create unique index on bench.concurrent_view (created_on, venue_key)`);
}
