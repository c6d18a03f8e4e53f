import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { jsonLines, rollbookHere } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";

async function setScene() {
  const warehouse = await createTestDatabase({ timeZone: "Asia/Kolkata" });
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const lines = (total: string) => [1, 2].map((n) => `v1,${invoiceId(n)},2026-01-01,${total}`);
  const load = async (name: string, total: string) => {
    const { stdout } = await run("load", writeDrop(folder, name, lines(total)), "--json");
    return Number(jsonLines(stdout)[0]?.loadId);
  };
  return { warehouse, run, load };
}

test("prune forgets what loads kept longer ago than --keep-statements, and those loads cannot be undone any more", async () => {
  const { warehouse, run, load } = await setScene();
  const first = await load("a_2026-01-02.csv", "1.00");
  const second = await load("b_2026-01-03.csv", "1.00");
  const third = await load("c_2026-01-04.csv", "1.00");
  await warehouse.query(
    `update warehouse.loads set known_at = now() - interval '1 day' * (20 - load_id) where load_id < ${third}`,
  );
  expect(jsonLines((await run("prune", "--json")).stdout)).toEqual([
    { rows: 0, keptSince: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+\+05:30$/) },
  ]);
  const changed = await run("init", "--keep-statements", "3");
  expect(changed.stdout).toContain("has other settings now");
  expect(changed.stdout).toContain("a load can be undone for 3 days");
  const pruned = await run("prune");
  expect([pruned.code, pruned.stderr]).toEqual([0, ""]);
  expect(pruned.stdout).toMatch(
    /^1 row of old statements forgotten; loads that became known after \d{4}-\d\d-\d\d [\d:]+\+05:30 can be undone\.\n$/,
  );
  for (const old of [first, second]) {
    const { code, stderr } = await run("undo", String(old), "--dry-run");
    expect(code).toBeGreaterThan(0);
    expect(stderr).toMatch(new RegExp(`^rollbook: ${old} cannot be undone: .*--keep-statements`));
  }
  expect((await run("undo", String(third), "--because", "wrong file")).code).toBe(0);
  expect((await run("verify")).code).toBe(0);
});

test("--keep-statements may be changed at any time, and nothing else follows from it", async () => {
  const { run, load } = await setScene();
  await load("a_2026-01-02.csv", "1.00");
  const settings = async (...flags: string[]) => jsonLines((await run("init", "--json", ...flags)).stdout)[0];
  expect(await settings()).toMatchObject({ keepStatementsDays: 400, changed: false });
  expect(await settings("--keep-statements", "1")).toMatchObject({ keepStatementsDays: 1, changed: true });
  expect(await settings("--keep-statements", "1")).toMatchObject({ keepStatementsDays: 1, changed: false });
  expect(await settings()).toMatchObject({ keepStatementsDays: 1, changed: false });
  for (const days of ["0", "-1", "1.5", "100001", "x"]) {
    expect((await run("init", "--keep-statements", days)).code).toBe(2);
  }
  const { stdout } = await run("sql", "-c", "select * from reports.warehouse_settings", "--json");
  expect(jsonLines(stdout)).toMatchObject([{ keep_statements_days: 1 }]);
});
