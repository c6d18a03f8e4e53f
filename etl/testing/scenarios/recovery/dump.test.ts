/** Ways back by pg_dump and pg_restore: docs/recovery.md, "From a dump". */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { initWarehouse } from "../../../../db/migrate.ts";
import { createTestDatabase, type TestWarehouse } from "../../../../db/testing/database.ts";
import { makeFolder } from "../../../../db/testing/folder.ts";
import { expectFitting } from "../../../../db/testing/partitions.ts";
import { loadDrop } from "../../../load/load.ts";
import { refreshPartitions } from "../../../refresh/refresh.ts";
import { rollbookHere } from "../../cli.ts";
import { type Connection, findClientPrograms, runOk, runProgram } from "../../client_programs.ts";
import { expectedTotals, type MadeDrop, makeDrop } from "../../drops.ts";
import { findDivergences } from "../../invoices.ts";
import { digest, emptyDatabase, loadAll, makeDrops, makeHistory } from "../../recovery.ts";
import { disagreements, totalsOf } from "../../warehouse.ts";

beforeAll(async () => {
  await findClientPrograms();
});

interface Way {
  readonly dump: readonly string[];
  readonly restore: (file: string, into: Connection) => Promise<unknown>;
}

const WAYS: Readonly<Record<string, Way>> = {
  "the custom format": {
    dump: ["--format=custom"],
    restore: (file, into) =>
      runOk(
        "pg_restore",
        ["--exit-on-error", "--single-transaction", `--dbname=${into.PGDATABASE}`, file],
        into,
      ),
  },
  "a folder, in parallel": {
    dump: ["--format=directory", "--jobs=2"],
    restore: (file, into) =>
      runOk("pg_restore", ["--exit-on-error", "--jobs=2", `--dbname=${into.PGDATABASE}`, file], into),
  },
  "plain SQL": {
    dump: ["--format=plain"],
    restore: (file, into) =>
      runOk(
        "psql",
        ["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--single-transaction", `--file=${file}`],
        into,
      ),
  },
};

/** A restored warehouse goes on as the one that was dumped would have. */
async function expectToGoOn(
  restored: TestWarehouse,
  drops: readonly MadeDrop[],
  folder: string,
): Promise<void> {
  const { database, settings, query } = restored;
  expect(await initWarehouse({ database })).toMatchObject({ applied: [], created: false });
  const before = await totalsOf(restored);
  const [known] = await query<{ load_id: number; venue_key: number }>(`
    select (select max(load_id) from warehouse.loads) as load_id, (select max(venue_key) from warehouse.venues) as venue_key`);
  for (const { path } of drops) {
    expect(await loadDrop({ database, settings, path })).toMatchObject({ outcome: "already_loaded" });
  }
  expect(await totalsOf(restored)).toEqual(before);
  const next = await makeDrop({ folder, syncedOn: "2026-04-09", rows: 400, first: 200, version: 9 });
  const [report] = await loadAll(restored, [next]);
  expect(report?.loadId).toBeGreaterThan(known?.load_id ?? Infinity);
  await query("insert into warehouse.venues (venue_id) values ('a new one')");
  const [venue] = await query<{ venue_key: number }>(
    "select venue_key from warehouse.venues where venue_id = 'a new one'",
  );
  expect(venue?.venue_key).toBeGreaterThan(known?.venue_key ?? Infinity);
  await refreshPartitions({ database });
  expect(await findDivergences(restored, { identity: true })).toEqual([]);
  await expectFitting(restored);
}

test.each(Object.entries(WAYS))("a warehouse comes back from a dump in %s, and goes on", async (_, way) => {
  const warehouse = await createTestDatabase({ timeZone: "Europe/Berlin" });
  const folder = makeFolder();
  const drops = await makeHistory(warehouse, folder, { leaving: true });
  const [middle] = await warehouse.query<{ at: string }>(
    "select known_at::text as at from warehouse.loads order by load_id limit 1",
  );
  const file = join(folder, "warehouse.dump");
  await runOk("pg_dump", [...way.dump, `--file=${file}`], warehouse.environment);

  const { connection, open } = await emptyDatabase();
  await way.restore(file, connection);
  const restored = await open();
  expect(await digest(restored)).toEqual(await digest(warehouse));
  expect(await totalsOf(restored, middle?.at)).toEqual(await totalsOf(warehouse, middle?.at));
  expect(restored.settings).toEqual(warehouse.settings);
  const staging = await restored.query<{ kind: string; count: number }>(`
    select relpersistence as kind, count(*)::int as count from pg_class where oid::regclass::text ~ '^warehouse.staging_' group by 1`);
  expect(staging).toEqual([{ kind: "u", count: 16 }]);
  expect(await findDivergences(restored, { identity: true })).toEqual([]);
  await expectToGoOn(restored, drops, folder);
});

test("a dump taken while loads and refreshes run is the warehouse of one moment", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const days = Array.from({ length: 12 }, (_, index) => `2026-05-${String(index + 1).padStart(2, "0")}`);
  const drops = await makeDrops(folder, days);
  await loadAll(warehouse, drops.slice(0, 2));
  const file = join(folder, "warehouse.dump");
  const dumping = runOk("pg_dump", ["--format=custom", `--file=${file}`], warehouse.environment);
  for (const drop of drops.slice(2)) {
    await loadAll(warehouse, [drop]);
    await refreshPartitions({ database: warehouse.database });
  }
  await dumping;

  const { connection, open } = await emptyDatabase();
  await runOk("pg_restore", ["--exit-on-error", `--dbname=${connection.PGDATABASE}`, file], connection);
  const restored = await open();
  const [loads] = await restored.query<{ count: number }>(
    "select count(*)::int as count from warehouse.loads",
  );
  expect(loads?.count).toBeGreaterThanOrEqual(2);
  expect(await totalsOf(restored)).toEqual(expectedTotals(drops.slice(0, loads?.count)));
  expect(await findDivergences(restored, { identity: true })).toEqual([]);
  // The drops since the dump come from the archive; those before change nothing.
  for (const { path } of drops) await loadDrop({ ...restored, path });
  expect(await totalsOf(restored)).toEqual(await totalsOf(warehouse));
  expect(await disagreements(restored)).toEqual([]);
});

test("where a role is missing the restore says so; without owners and grants it succeeds", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const drops = await makeHistory(warehouse, folder);
  const role = `reader_${process.pid}`;
  await warehouse.query(`create role ${role}`);
  let there = true;
  const dropRole = async () => {
    if (!there) return;
    there = false;
    await warehouse.query(`drop owned by ${role}`);
    await warehouse.query(`drop role ${role}`);
  };
  onTestFinished(dropRole);
  await warehouse.query(`grant usage on schema reports to ${role}`);
  await warehouse.query(`grant select on all tables in schema reports to ${role}`);
  const before = await digest(warehouse);
  const file = join(folder, "warehouse.dump");
  await runOk("pg_dump", ["--format=custom", `--file=${file}`], warehouse.environment);
  await dropRole();

  const first = await emptyDatabase();
  const args = ["--exit-on-error", "--single-transaction"];
  const refused = await runProgram(
    "pg_restore",
    [...args, `--dbname=${first.connection.PGDATABASE}`, file],
    first.connection,
  );
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`role "${role}" does not exist`),
  });
  await expect(first.open()).rejects.toMatchObject({ code: "warehouse_missing" });
  await runOk(
    "pg_restore",
    [...args, "--no-owner", "--no-privileges", `--dbname=${first.connection.PGDATABASE}`, file],
    first.connection,
  );
  const restored = await first.open();
  expect(await digest(restored)).toEqual(before);
  await expectToGoOn(restored, drops, folder);
});

test("a restore that is cut off is no warehouse, or one that verify does not pass", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  await makeHistory(warehouse, folder);
  const file = join(folder, "warehouse.dump");
  await runOk("pg_dump", ["--format=custom", `--file=${file}`], warehouse.environment);
  const { connection, open } = await emptyDatabase();
  // Without --single-transaction each table commits by itself: here the deltas are missing.
  const list = await runOk("pg_restore", ["--list", file], connection);
  const partial = join(folder, "partial.list");
  writeFileSync(
    partial,
    list
      .split("\n")
      .filter((line) => !/TABLE DATA warehouse venue_day_deltas_2026_02/.test(line))
      .join("\n"),
  );
  await runOk("pg_restore", [`--use-list=${partial}`, `--dbname=${connection.PGDATABASE}`, file], connection);
  const restored = await open();
  expect(await findDivergences(restored)).toContainEqual(
    expect.objectContaining({ kind: "group", partition: "2026-02" }),
  );
  const said = await rollbookHere(["verify"], { environment: connection, folder });
  expect(said.code).toBe(1);
});
