/** What files and tables are called in OpenLineage, and what is said of each. */
import { hostname } from "node:os";
import { getTableColumns, getTableName } from "drizzle-orm";
import type { Connection } from "../../db/connection/libpq.ts";
import { leafName, type Parent, tablesOf } from "../../db/partitions/tables.ts";
import { deltas, invoices, rollup } from "../../db/schema.ts";
import { COLUMNS, ROW } from "../drop/row.ts";
import { type Dataset, type Facets, facet } from "./event.ts";

/** Where the tables of a warehouse are. */
export interface Place {
  /** `postgres://db.example.com:5432`. */
  readonly namespace: string;
  readonly database: string;
}

/**
 * The names of a warehouse, as the connection has it: other programs that report lineage name a server as they
 * reach it, too. Behind a socket it is a server of this machine.
 *
 * Source: https://openlineage.io/docs/spec/naming
 */
export function placeOf({ login }: Connection): Place {
  const { host = "localhost", port = 5432, user = "", database = user } = login;
  const named = host.startsWith("/") ? hostname() : host.includes(":") ? `[${host}]` : host;
  return { namespace: `postgres://${named}:${port}`, database };
}

/** A file, by its absolute path; it is the version that its SHA-256 says. */
export function fileDataset(
  path: string,
  more: {
    readonly sha256?: string | undefined;
    readonly isDropFormat: boolean;
    readonly inputFacets: Facets;
  },
): Dataset {
  const { sha256, isDropFormat, inputFacets } = more;
  const fields = COLUMNS.map((name) => ({ name, type: ROW[name].type }));
  return {
    namespace: "file",
    name: path,
    facets: {
      ...(sha256 !== undefined && facet("version", { datasetVersion: sha256 })),
      ...(isDropFormat && facet("schema", { fields })),
    },
    inputFacets,
  };
}

const TABLES = { invoices, venue_day_deltas: deltas, venue_day_rollup: rollup } as const;

/** A table that has partitions, as a whole. */
export function tableDataset(place: Place, parent: Parent): Dataset {
  const columns = Object.values(getTableColumns(TABLES[parent]));
  return {
    ...named(place, getTableName(TABLES[parent])),
    facets: {
      ...facet("dataSource", {
        name: place.namespace,
        uri: `${place.namespace}/${encodeURIComponent(place.database)}`,
      }),
      ...facet("schema", {
        fields: columns.map((column) => ({ name: column.name, type: column.getSQLType() })),
      }),
    },
  };
}

/** The table of a partition, which says what it is a part of. */
export function partitionDataset(place: Place, parent: Parent, partition: string): Dataset {
  const name = leafName(parent, tablesOf(partition));
  const hierarchy = [
    { type: "DATABASE", name: place.database },
    { type: "SCHEMA", name: SCHEMA },
    { type: "TABLE", name: parent },
    { type: "PARTITION", name },
  ];
  return { ...named(place, name), facets: facet("hierarchy", { hierarchy }) };
}

const SCHEMA = "warehouse";

function named({ namespace, database }: Place, table: string): Pick<Dataset, "namespace" | "name"> {
  return { namespace, name: `${database}.${SCHEMA}.${table}` };
}
