/** Ways back where the ledger and the data are of different moments: docs/recovery.md, "Ledger and data of different moments". */
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../../../db/testing/database.ts";
import { makeFolder } from "../../../../db/testing/folder.ts";
import { undo } from "../../../undo/undo.ts";
import { jsonLines, rollbookHere } from "../../cli.ts";
import { findClientPrograms, runOk } from "../../client_programs.ts";
import { expectedTotals, type MadeDrop, makeDrop } from "../../drops.ts";
import { findDivergences } from "../../invoices.ts";
import { writeDrop } from "../../lines.ts";
import { digest, emptyDatabase, loadAll, makeHistory } from "../../recovery.ts";
import { disagreements, totalsOf } from "../../warehouse.ts";

beforeAll(async () => {
  await findClientPrograms();
});

interface Past {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  /** Those before the backup, and those after it: one with corrections alone, one with rejected lines. */
  readonly before: readonly MadeDrop[];
  readonly after: readonly MadeDrop[];
  readonly backup: string;
}

async function makePast(): Promise<Past> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const before = await makeHistory(warehouse, folder);
  const backup = join(folder, "old.dump");
  await runOk("pg_dump", ["--format=custom", `--file=${backup}`], warehouse.environment);
  const after: MadeDrop[] = [
    await makeDrop({ folder, syncedOn: "2026-04-05", rows: 80, first: 10, version: 5 }),
    await makeDrop({ folder, syncedOn: "2026-04-06", rows: 200, first: 500, version: 6 }),
  ];
  const path = writeDrop(folder, "bad_2026-04-07.csv", ["venue-1,no uuid,2026-03-01,1.00"]);
  await loadAll(warehouse, [...after, { path }]);
  return {
    warehouse,
    folder,
    before,
    after: [...after, { path, syncedOn: "2026-04-07", lines: [] }],
    backup,
  };
}

const ofLedger = ["--schema=warehouse", "--table=loads", "--table=loads_load_id_seq"];

test("a ledger newer than the data: verify names each load that is not there, and its drop is loaded again", async () => {
  const { warehouse, folder, before, after, backup } = await makePast();
  const newer = join(folder, "new.dump");
  await runOk("pg_dump", ["--format=custom", `--file=${newer}`], warehouse.environment);
  const { connection, open } = await emptyDatabase();
  await runOk("pg_restore", ["--exit-on-error", "--dbname", connection.PGDATABASE ?? "", backup], connection);
  await runOk("psql", ["--command=truncate warehouse.loads"], connection);
  await runOk(
    "pg_restore",
    ["--data-only", ...ofLedger, "--dbname", connection.PGDATABASE ?? "", newer],
    connection,
  );
  const restored = await open();
  const run = (...args: string[]) => rollbookHere(args, { environment: connection, folder });

  const named = (await findDivergences(restored)).map((one) => (one.kind === "load" ? one.loadId : one.kind));
  const lost = await restored.query<{ load_id: number; file_name: string }>(
    "select load_id, file_name from warehouse.loads where load_id > 3 order by load_id",
  );
  expect(lost).toHaveLength(3);
  expect([...new Set(named)]).toEqual(lost.map(({ load_id: loadId }) => loadId));
  const paths = after.map(({ path }) => path);
  const plain = jsonLines((await run("load", "--json", ...paths)).stdout);
  expect(plain.map(({ outcome }) => outcome)).toEqual(paths.map(() => "already_loaded"));

  const flags = ["--again", "--json", "--max-rejects", "1"];
  const again = jsonLines((await run("load", ...flags, ...paths)).stdout);
  expect(again.map(({ outcome }) => outcome)).toEqual(paths.map(() => "loaded"));
  expect(await totalsOf(restored)).toEqual(expectedTotals([...before, ...after]));
  expect(await totalsOf(restored)).toEqual(await totalsOf(warehouse));
  expect(await run("verify")).toMatchObject({ code: 0 });
  expect(await findDivergences(restored, { identity: true })).toEqual([]);
  expect(await disagreements(restored)).toEqual([]);
  const third = jsonLines((await run("load", "--json", ...paths)).stdout);
  expect(third.map(({ outcome }) => outcome)).toEqual(paths.map(() => "already_loaded"));
});

test("a ledger older than the data: verify names the loads it does not know, and --repair enters them", async () => {
  const { warehouse, folder, before, after, backup } = await makePast();
  const totals = await totalsOf(warehouse);
  const { environment } = warehouse;
  await runOk("psql", ["--command=truncate warehouse.loads"], environment);
  await runOk(
    "pg_restore",
    ["--data-only", ...ofLedger, "--dbname", environment.PGDATABASE ?? "", backup],
    environment,
  );
  const run = (...args: string[]) => rollbookHere(args, { environment, folder });

  const named = await findDivergences(warehouse);
  expect(named.map((one) => (one.kind === "load" ? one.loadId : one.kind))).toEqual([4, 5, 6]);
  expect(await totalsOf(warehouse)).toEqual(totals);
  expect(await run("verify", "--repair")).toMatchObject({ code: 0 });
  expect(await totalsOf(warehouse)).toEqual(totals);

  // The drops since the backup: nothing changes but that the ledger has them again, under numbers of their own.
  const paths = after.map(({ path }) => path);
  const again = jsonLines((await run("load", "--json", "--max-rejects", "1", ...paths)).stdout);
  const loads = again.filter(({ outcome }) => outcome === "loaded");
  expect(loads).toHaveLength(paths.length);
  for (const { loadId, partitions } of loads) {
    expect(loadId).toBeGreaterThan(6);
    expect(partitions).toEqual([]);
  }
  expect(await totalsOf(warehouse)).toEqual(totals);
  expect(totals).toEqual(expectedTotals([...before, ...after]));
  expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
});

test("a ledger from before an undo: verify names both entries, --repair enters them, and no total changes", async () => {
  const { warehouse, before, after, backup } = await makePast();
  const { database, settings, environment } = warehouse;
  const undoing = (loadId: number) => undo({ database, settings, loadId, because: "a test" });
  expect(await undoing(4)).toMatchObject({ loadId: 7, rows: { removed: 0, corrected: 80 } });
  const totals = await totalsOf(warehouse);
  expect(totals).toEqual(expectedTotals([...before, ...after.slice(1)]));
  await runOk("psql", ["--command=truncate warehouse.loads"], environment);
  await runOk(
    "pg_restore",
    ["--data-only", ...ofLedger, "--dbname", environment.PGDATABASE ?? "", backup],
    environment,
  );
  const named = await findDivergences(warehouse, { repair: true });
  expect(named.map((one) => (one.kind === "load" ? one.loadId : one.kind))).toEqual([4, 5, 6, 7]);
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(await totalsOf(warehouse)).toEqual(totals);
  await expect(undoing(3)).rejects.toMatchObject({ code: "statements_pruned" });
  // What the ledger does not know of it does not undo: the drop counts again, and is undone again.
  const [report] = await loadAll(warehouse, after.slice(0, 1));
  expect(report?.loadId).toBeGreaterThan(7);
  expect(await totalsOf(warehouse)).toEqual(expectedTotals([...before, ...after]));
  await undoing(report?.loadId ?? 0);
  expect(await totalsOf(warehouse)).toEqual(totals);
  expect(await findDivergences(warehouse)).toEqual([]);
});

test("a repair of a warehouse in order enters nothing, and gives out no number", async () => {
  const { warehouse } = await makePast();
  const before = await digest(warehouse);
  expect(await findDivergences(warehouse, { repair: true })).toEqual([]);
  // It has proved everything, and says so.
  const { "warehouse.proofs": proofs, ...after } = await digest(warehouse);
  expect({ ...after, "warehouse.proofs": before["warehouse.proofs"] }).toEqual(before);
  expect(proofs).not.toBe(before["warehouse.proofs"]);
  const [sequence] = await warehouse.query<{ last: string }>(
    "select last_value::text as last from warehouse.loads_load_id_seq",
  );
  expect(sequence?.last).toBe("6");
});

test("a drop that is not lost may be loaded again: nothing changes", async () => {
  const { warehouse, after } = await makePast();
  const totals = await totalsOf(warehouse);
  await loadAll(warehouse, after, { again: true });
  expect(await totalsOf(warehouse)).toEqual(totals);
  expect(await findDivergences(warehouse)).toEqual([]);
  const ledger = await warehouse.query<{ status: string; error_code: string | null }>(
    "select status, error_code from warehouse.loads order by load_id",
  );
  expect(ledger.slice(3)).toEqual([
    ...Array(3).fill({ status: "failed", error_code: "loaded_again" }),
    ...Array(3).fill({ status: "loaded", error_code: null }),
  ]);
});

test("of two processes that load one drop again, one loads it", async () => {
  const { warehouse, after } = await makePast();
  const [drop] = after;
  const outcomes = await Promise.allSettled([
    loadAll(warehouse, [drop as MadeDrop], { again: true }),
    loadAll(warehouse, [drop as MadeDrop]),
  ]);
  expect(outcomes.map(({ status }) => status)).toContain("fulfilled");
  const loaded = await warehouse.query<{ count: number }>(
    "select count(*)::int as count from warehouse.loads where status = 'loaded' group by sha256, synced_on having count(*) > 1",
  );
  expect(loaded).toEqual([]);
  expect(await findDivergences(warehouse)).toEqual([]);
});
