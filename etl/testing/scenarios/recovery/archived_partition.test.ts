/** A partition detached, archived outside of the database, and attached again: docs/recovery.md, "An old partition in an archive". */
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { createTestDatabase } from "../../../../db/testing/database.ts";
import { makeFolder } from "../../../../db/testing/folder.ts";
import { expectFitting } from "../../../../db/testing/partitions.ts";
import { jsonLines, rollbookHere } from "../../cli.ts";
import { findClientPrograms, runOk } from "../../client_programs.ts";
import { expectedTotals, makeDrop } from "../../drops.ts";
import { findDivergences } from "../../invoices.ts";
import { digest, makeHistory } from "../../recovery.ts";
import { disagreements, totalsOf } from "../../warehouse.ts";

beforeAll(async () => {
  await findClientPrograms();
});

const LEAVES = ["invoices_2026_01", "venue_day_deltas_2026_01", "venue_day_rollup_2026_01"];
const isJanuary = ({ created_on: date = "" }: { readonly created_on?: string }) => date.startsWith("2026-01");

test("a partition in an archive comes back exactly, and the lines that came meanwhile are loaded then", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const { environment, query } = warehouse;
  const drops = await makeHistory(warehouse, folder);
  const run = (...args: string[]) => rollbookHere(args, { environment, folder });
  const totals = await totalsOf(warehouse);
  const [moment] = await query<{ at: string }>("select clock_timestamp()::text as at");

  // Out of the reports, into the archive, out of the database.
  expect((await run("partitions", "detach", "2026-01")).code).toBe(0);
  const before = await digest(warehouse);
  const leaves = () =>
    Promise.all(
      LEAVES.map((leaf) =>
        query(`select md5(string_agg(t::text, '' order by t::text)) as digest from warehouse.${leaf} t`),
      ),
    );
  const archived = await leaves();
  const archive = join(folder, "2026-01.dump");
  const tables = LEAVES.map((leaf) => `--table=warehouse.${leaf}`);
  await runOk("pg_dump", ["--format=custom", ...tables, `--file=${archive}`], environment);
  await query(`drop table ${LEAVES.map((leaf) => `warehouse.${leaf}`).join(", ")}`);

  expect(await totalsOf(warehouse)).toEqual(totals.filter((row) => !isJanuary(row)));
  const status = await run("status");
  expect(status).toMatchObject({ code: 0, stdout: expect.stringContaining("detached") });
  expect(status.stderr).toBe("");
  // The ledger tells of invoices that are in the archive: that is no divergence.
  expect(await findDivergences(warehouse)).toEqual([]);
  const refused = await run("partitions", "attach", "2026-01");
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("pg_restore") });

  // Lines for it are rejected meanwhile; the others of their drop are loaded.
  const late = await makeDrop({ folder, syncedOn: "2026-04-10", rows: 300, first: 300, version: 4 });
  const [report] = jsonLines((await run("load", "--json", "--max-rejects", "1", late.path)).stdout);
  const rejected = late.lines.filter(({ createdOn }) => createdOn.startsWith("2026-01")).length;
  expect(rejected).toBeGreaterThan(0);
  expect(report).toMatchObject({ outcome: "loaded", rows: { rejected } });
  const rejects = jsonLines((await run("rejects", "--load", String(report?.loadId), "--json")).stdout);
  expect(rejects.map(({ reason }) => reason)).toEqual(Array(rejected).fill("partition_closed"));

  // Back: tables from the archive, then attached.
  await runOk(
    "pg_restore",
    ["--exit-on-error", "--dbname", environment.PGDATABASE ?? "", archive],
    environment,
  );
  expect(await leaves()).toEqual(archived);
  expect(await run("partitions", "attach", "2026-01")).toMatchObject({
    code: 0,
    stdout: "2026-01: attached\n",
  });
  await expectFitting(warehouse);
  expect((await totalsOf(warehouse)).filter(isJanuary)).toEqual(totals.filter(isJanuary));
  expect(await totalsOf(warehouse, moment?.at)).toEqual(totals);
  expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
  expect(before["warehouse.venues"]).toBe((await digest(warehouse))["warehouse.venues"]);

  // The lines that were rejected are read again. Those that are in do not change.
  const loadId = String(report?.loadId);
  const again = await run("rejects", "retry", "--load", loadId, "--json", late.path);
  expect(jsonLines(again.stdout)[0]).toMatchObject({
    outcome: "taken_in",
    rows: { read: rejected, rejected: 0 },
  });
  expect(await totalsOf(warehouse)).toEqual(expectedTotals([...drops, late]));
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
});
