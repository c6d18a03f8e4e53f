/**
 * For tests of recovery: a warehouse with a history, and a digest of all that must be the same after a
 * restore.
 */

import { inject } from "vitest";
import { type Database, withSession } from "../../db/client.ts";
import { readSettings } from "../../db/settings.ts";
import { createEmptyDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { environmentOf } from "../../db/testing/environment.ts";
import { loadDrop } from "../load/load.ts";
import type { LoadReport } from "../load/report.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { detachRefreshed, dropVerified } from "../retire.ts";
import type { Connection } from "./client_programs.ts";
import { type MadeDrop, makeDrop } from "./drops.ts";

/** Loads drops in their order; each must be loaded. */
export async function loadAll(
  { database, settings }: TestWarehouse,
  drops: readonly Pick<MadeDrop, "path">[],
  options: { readonly again?: boolean } = {},
): Promise<readonly LoadReport[]> {
  const reports: LoadReport[] = [];
  for (const { path } of drops) {
    const report = await loadDrop({ database, settings, path, maxRejects: 1, ...options });
    if (report.outcome !== "loaded") throw new Error(JSON.stringify(report));
    reports.push(report);
  }
  return reports;
}

/** Makes a drop for each of these sync dates. They correct and confirm each other, over four months. */
export function makeDrops(folder: string, days: readonly string[]): Promise<readonly MadeDrop[]> {
  return Promise.all(
    days.map((syncedOn, index) =>
      makeDrop({ folder, syncedOn, rows: 300, first: 150 * index, version: index }),
    ),
  );
}

/**
 * Loads three drops: the second has corrections, the third is pending. With `leaving`, January is detached
 * and February's invoices are dropped.
 */
export async function makeHistory(
  warehouse: TestWarehouse,
  folder: string,
  { leaving = false }: { readonly leaving?: boolean } = {},
): Promise<readonly MadeDrop[]> {
  const { database, settings } = warehouse;
  const drops = await makeDrops(folder, ["2026-04-01", "2026-04-02", "2026-04-03"]);
  await loadAll(warehouse, drops.slice(0, 2));
  await refreshPartitions({ database });
  if (leaving) {
    await detachRefreshed({ database, partition: "2026-01" });
    await dropVerified({ database, settings, partition: "2026-02" });
  }
  await loadAll(warehouse, drops.slice(2));
  return drops;
}

const CONTENTS = [
  ...["settings", "venues", "loads", "rejects", "corrections", "partitions"],
  ...["invoices", "venue_day_deltas", "venue_day_pending", "venue_day_rollup"],
];

/** A digest of each table of a warehouse, also of the detached ones, and of each report. */
export async function digest({ query }: TestWarehouse): Promise<Readonly<Record<string, string>>> {
  const tables = await query<{ name: string }>(`
    select oid::regclass::text as name from pg_class
    where relnamespace = 'warehouse'::regnamespace and relkind in ('r', 'p') and not relispartition
      and relname !~ '^staging_'`);
  const digests: Record<string, string> = {};
  const names = new Set([...CONTENTS.map((name) => `warehouse.${name}`), ...tables.map(({ name }) => name)]);
  for (const name of [...names, "reports.venue_daily_totals", "reports.load_history"]) {
    const [row] = await query<{ digest: string }>(`
      select count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '') as digest
      from ${name} t`);
    digests[name] = row?.digest ?? "";
  }
  return digests;
}

/** An empty database on the tests' server, to restore into; `open` opens the warehouse that was restored. */
export async function emptyDatabase(): Promise<{
  readonly connection: Connection;
  readonly open: () => Promise<TestWarehouse>;
}> {
  const { database, name } = await createEmptyDatabase();
  const { host, port, user } = inject("postgres");
  const connection = environmentOf({ host, port, user, database: name });
  return { connection, open: () => openRestored(database, connection) };
}

/** Opens the warehouse of a database that {@link createTestDatabase} did not make. */
export async function openRestored(database: Database, environment: Connection): Promise<TestWarehouse> {
  return {
    database,
    environment,
    settings: await withSession({ database }, readSettings),
    query: async (text, values) => (await database.pool.query(text, values && [...values])).rows,
  };
}
