/**
 * Writes the fixture of a release: a small warehouse as this checkout makes it, as SQL, with everything that
 * a migration could damage, and what the warehouse must show. Run it once for each release, in a checkout of
 * it; a fixture is never written again:
 *
 *     node --import tsx etl/testing/make_release.ts 0.2.0
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { openDatabase } from "../../db/client.ts";
import { openEmbeddedServer } from "../../db/embedded/server.ts";
import { initWarehouse } from "../../db/migrate.ts";
import { openOwnServer } from "../../db/testing/own_server.ts";
import { readJournal } from "../../db/version.ts";
import { loadDrop } from "../load/load.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { readTotals, type Total } from "../reports/totals.ts";
import { detachRefreshed, dropVerified } from "../retire.ts";
import { runOk } from "./client_programs.ts";
import { makeDrop } from "./drops.ts";

const [version = ""] = process.argv.slice(2);
const target = join(fileURLToPath(new URL("../../db/testing/releases", import.meta.url)), version);
if (!/^\d+\.\d+\.\d+$/.test(version) || existsSync(`${target}.sql.gz`)) {
  throw new Error("which version? One of which there is no fixture yet.");
}
const folder = mkdtempSync(join(tmpdir(), "rollbook-release-"));
mkdirSync(join(folder, "drops"));
const own = await openOwnServer(undefined, openEmbeddedServer);
try {
  await own.makeWarehouse();
  const { host, port, user } = own.server;
  const connection = { PGHOST: host, PGPORT: String(port), PGUSER: user, PGDATABASE: "rollbook" };
  const database = openDatabase({ connection: { host, port, user, database: "rollbook", ssl: false } });
  const { settings } = await initWarehouse({ database, timeZone: "Europe/Berlin" });
  const load = async (options: { syncedOn: string; rows: number; first?: number; version?: number }) => {
    const { path } = await makeDrop({ folder: join(folder, "drops"), ...options });
    return loadDrop({ database, settings, path, maxRejects: 1 });
  };
  await load({ syncedOn: "2026-04-01", rows: 120 });
  await load({ syncedOn: "2026-04-02", rows: 120, first: 60, version: 1 });
  const bad = join(folder, "drops", "bad_2026-04-02.csv");
  writeFileSync(bad, "venue-1,no uuid,2026-03-01,1.00\nvenue-1,,2026-03-01,1.00\n");
  await loadDrop({ database, settings, path: bad, maxRejects: 0 });
  await loadDrop({ database, settings, path: bad, maxRejects: 1 });
  await refreshPartitions({ database });
  await detachRefreshed({ database, partition: "2026-01" });
  await dropVerified({ database, settings, partition: "2025-12" });
  const between = (await database.pool.query("select clock_timestamp()::text as at")).rows[0].at;
  // This leaves changes pending, and a stale partition.
  await load({ syncedOn: "2026-04-03", rows: 60, first: 150, version: 2 });
  await database.pool.query("update warehouse.partitions set state = 'stale' where partition = '2026-02'");

  const totals = async (asKnownOn?: string) => {
    const rows: Total[] = [];
    await readTotals({ database, settings, by: "venue,day", asKnownOn }, async (row) => {
      rows.push(row);
    });
    return rows;
  };
  const counts = await database.pool.query(`
    select (select count(*)::int from warehouse.loads) as loads,
           (select count(*)::int from warehouse.rejects) as rejects,
           (select count(*)::int from warehouse.corrections) as corrections,
           (select count(*)::int from warehouse.venue_day_pending) as pending`);
  const shows = {
    version,
    migration: (await readJournal()).at(-1)?.tag,
    settings,
    counts: counts.rows[0],
    totals: await totals(),
    between,
    totalsBetween: await totals(between),
  };
  await database.pool.end();
  const dumped = await runOk(
    "pg_dump",
    ["--inserts", "--rows-per-insert=100", "--no-owner", "--no-privileges"],
    connection,
  );
  // psql's own commands are taken out, so that any client can run it.
  const sql = dumped.replace(/^\\.*$/gm, "");
  writeFileSync(`${target}.sql.gz`, gzipSync(sql, { level: 9 }));
  writeFileSync(`${target}.json`, `${JSON.stringify(shows)}\n`);
} finally {
  await own.close();
  rmSync(folder, { recursive: true, force: true });
}
