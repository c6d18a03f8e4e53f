/** Ways back for invoices of one partition, from a backup: docs/recovery.md, "A table of a partition is gone" and "A page is corrupted". */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../../../db/testing/database.ts";
import { makeFolder } from "../../../../db/testing/folder.ts";
import { openOwnServer } from "../../../../db/testing/own_server.ts";
import { expectFitting } from "../../../../db/testing/partitions.ts";
import { jsonLines, rollbookHere } from "../../cli.ts";
import { findClientPrograms, runOk } from "../../client_programs.ts";
import { expectedTotals, type MadeDrop, makeDrop } from "../../drops.ts";
import { findDivergences } from "../../invoices.ts";
import { digest, loadAll, makeHistory } from "../../recovery.ts";
import { disagreements, totalsOf } from "../../warehouse.ts";

beforeAll(async () => {
  await findClientPrograms();
});

async function backUp(warehouse: TestWarehouse, folder: string): Promise<string> {
  const file = join(folder, "backup.dump");
  await runOk("pg_dump", ["--format=custom", `--file=${file}`], warehouse.environment);
  return file;
}

/** As the page says: the table alone, which has no indexes then; they come with the attaching. */
function restoreTable(warehouse: TestWarehouse, backup: string, table: string): Promise<string> {
  const { environment } = warehouse;
  const args = [
    "--exit-on-error",
    "--schema=warehouse",
    `--table=${table}`,
    "--dbname",
    environment.PGDATABASE ?? "",
  ];
  return runOk("pg_restore", [...args, backup], environment);
}

test.each(["invoices", "venue_day_deltas", "venue_day_rollup"])(
  "%s of a partition come back from a backup as they were",
  async (parent) => {
    const warehouse = await createTestDatabase();
    const folder = makeFolder();
    const drops = await makeHistory(warehouse, folder);
    const backup = await backUp(warehouse, folder);
    const before = await digest(warehouse);
    await warehouse.query(`drop table warehouse.${parent}_2026_03`);
    const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
    expect((await run("verify")).code).toBe(1);
    await restoreTable(warehouse, backup, `${parent}_2026_03`);
    expect(await run("partitions", "attach", "2026-03")).toMatchObject({ code: 0 });
    const after = await digest(warehouse);
    for (const name of [`warehouse.${parent}`, "reports.venue_daily_totals", "warehouse.loads"]) {
      // What was pending for the partition has been taken by the rebuild.
      if (parent === "venue_day_rollup" && name === "warehouse.venue_day_rollup") continue;
      expect(after[name], name).toBe(before[name]);
    }
    expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
    await expectFitting(warehouse);
    expect(await totalsOf(warehouse)).toEqual(expectedTotals(drops));
  },
);

/** The steps of the page where the backup is older than the last loads. */
async function expectWayBack(
  warehouse: TestWarehouse,
  backup: string,
  past: {
    readonly folder: string;
    readonly before: readonly MadeDrop[];
    readonly after: readonly MadeDrop[];
  },
): Promise<void> {
  const { folder, before, after } = past;
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  await warehouse.query("drop table warehouse.invoices_2026_03");
  await restoreTable(warehouse, backup, "invoices_2026_03");
  expect(await run("partitions", "attach", "2026-03")).toMatchObject({ code: 0 });
  expect((await findDivergences(warehouse)).map(({ kind }) => kind)).toContain("group");
  expect(await run("verify", "--partition", "2026-03", "--repair")).toMatchObject({ code: 0 });
  // What the reports show is less, and right for what is there.
  expect(await findDivergences(warehouse)).toEqual([]);
  const again = await run("load", "--again", "--json", ...after.map(({ path }) => path));
  expect(again.code, again.stderr).toBe(0);
  expect(await totalsOf(warehouse)).toEqual(expectedTotals([...before, ...after]));
  expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
  await expectFitting(warehouse);
}

test("invoices of a backup older than the last loads: repaired, and the drops since loaded again", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const before = await makeHistory(warehouse, folder);
  const backup = await backUp(warehouse, folder);
  const after = [
    await makeDrop({ folder, syncedOn: "2026-04-05", rows: 80, first: 10, version: 5 }),
    await makeDrop({ folder, syncedOn: "2026-04-06", rows: 200, first: 500, version: 6 }),
  ];
  await loadAll(warehouse, after);
  const [moment] = await warehouse.query<{ at: string }>("select clock_timestamp()::text as at");
  await expectWayBack(warehouse, backup, { folder, before, after });
  expect(await totalsOf(warehouse, moment?.at)).toEqual(expectedTotals([...before, ...after]));
});

test("a page that the disk has changed is named by its checksum, and its partition comes back from a backup", async () => {
  const folder = makeFolder();
  const own = await openOwnServer();
  onTestFinished(own.close);
  const warehouse = await own.makeWarehouse();
  const before = await makeHistory(warehouse, folder);
  const backup = await backUp(warehouse, folder);
  const after = [await makeDrop({ folder, syncedOn: "2026-04-05", rows: 80, first: 10, version: 5 })];
  await loadAll(warehouse, after);
  const [file] = await warehouse.query<{ path: string }>(
    "select pg_relation_filepath('warehouse.invoices_2026_03') as path",
  );
  await warehouse.query("checkpoint");
  // Killed, not stopped: what is in memory is not written over the byte.
  own.kill();
  flipByte(join(own.home, "data", file?.path ?? ""), 3000);
  const environment = warehouse.environment;
  await expect
    .poll(
      () =>
        warehouse.query("select 1").then(
          () => true,
          () => false,
        ),
      { timeout: 60_000 },
    )
    .toBe(true);

  const run = (...args: string[]) => rollbookHere(args, { environment, folder });
  const verified = await run("verify");
  expect(verified).toMatchObject({ code: 1, stderr: expect.stringContaining("invalid page in block 0") });
  expect(verified.stderr).toContain("docs/recovery.md");
  const rebuilt = await run("refresh", "--partition", "2026-03", "--strategy", "partition");
  expect(rebuilt).toMatchObject({ code: 1, stderr: expect.stringContaining("docs/recovery.md") });
  const drop = await makeDrop({ folder, syncedOn: "2026-04-06", rows: 300, version: 8 });
  const [loaded] = jsonLines((await run("load", "--json", drop.path)).stdout);
  expect(loaded).toMatchObject({ outcome: "failed", error: { code: "corrupted" } });
  // Other partitions, and the reports, go on.
  expect((await run("verify", "--partition", "2026-02")).code).toBe(0);
  expect(await totalsOf(warehouse)).toEqual(expectedTotals([...before, ...after]));

  await expectWayBack(warehouse, backup, { folder, before, after });
  await loadAll(warehouse, [drop]);
  expect(await disagreements(warehouse)).toEqual([]);
});

function flipByte(path: string, at: number): void {
  const file = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, at);
  writeSync(file, Buffer.from([(byte[0] ?? 0) ^ 0xff]), 0, 1, at);
  closeSync(file);
}
