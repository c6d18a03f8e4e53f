/** A columnar copy of a history in a DuckDB file: the invoices with the same keys, in the order they came. */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { Venues } from "../generator/venues.ts";
import { keyOfVenue } from "./batch.ts";

export interface ColumnarCopy {
  /** Whether this part of the history is in. */
  readonly has: (series: number) => Promise<boolean>;
  /** Appends a drop, all or nothing. */
  readonly append: (drop: {
    readonly path: string;
    readonly syncedOn: string;
    readonly series: number;
  }) => Promise<void>;
  readonly close: () => void;
}

/** Opens the file, or makes it. */
export async function openColumnarCopy(path: string, venues: Venues): Promise<ColumnarCopy> {
  const { connection, close } = await openDuckDb(path);
  await connection.run(`
    create table if not exists venues (venue_key integer, venue_id varchar);
    create table if not exists parts (series integer);
    create table if not exists invoices (
      created_on date, venue_key integer, invoice_id uuid, created_at timestamp, synced_on date, total decimal(14, 2)
    )`);
  await fillVenues(connection, venues);
  return {
    has: async (series) => {
      const reader = await connection.runAndReadAll("select 1 from parts where series = $series", { series });
      return reader.currentRowCount > 0;
    },
    append: async ({ path, syncedOn, series }) => {
      await connection.run("begin");
      await appendDrop(connection, { path, syncedOn, into: "invoices", venues: "venues" });
      await connection.run("insert into parts values ($series)", { series });
      await connection.run("commit");
    },
    close,
  };
}

export async function openDuckDb(
  path: string,
): Promise<{ readonly connection: DuckDBConnection; readonly close: () => void }> {
  const instance = await DuckDBInstance.create(path);
  const connection = await instance.connect();
  return {
    connection,
    close: () => {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

async function fillVenues(connection: DuckDBConnection, venues: Venues): Promise<void> {
  const reader = await connection.runAndReadAll("select 1 from venues limit 1");
  if (reader.currentRowCount > 0) return;
  const appender = await connection.createAppender("venues");
  for (let venue = 0; venue < venues.count; venue += 1) {
    appender.appendInteger(keyOfVenue(venue));
    appender.appendVarchar(venues.name(venue));
    appender.endRow();
  }
  appender.closeSync();
}

/** Reads a drop with DuckDB's CSV reader and gives each line its keys. `into` and `venues` are tables. */
export async function appendDrop(
  connection: DuckDBConnection,
  drop: { readonly path: string; readonly syncedOn: string; readonly into: string; readonly venues: string },
): Promise<void> {
  const { path, syncedOn, into, venues } = drop;
  await connection.run(
    `insert into ${into}
     select d.datetime_created::date, v.venue_key, d.invoice_id, d.datetime_created, $syncedOn::date, d.total
     from read_csv($path, header = true, auto_detect = false, delim = ',', columns = {
       venue_id: 'varchar', invoice_id: 'uuid', datetime_created: 'timestamp', total: 'decimal(14, 2)'
     }) d
     join ${venues} v using (venue_id)`,
    { path, syncedOn },
  );
}
