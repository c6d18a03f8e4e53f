/** The way back to a moment by a base backup and the archived WAL: docs/recovery.md, "To a moment before the accident". */

import { execFileSync } from "node:child_process";
import { appendFileSync, chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../../../db/client.ts";
import { openEmbeddedServer } from "../../../../db/embedded/server.ts";
import { initWarehouse } from "../../../../db/migrate.ts";
import type { TestWarehouse } from "../../../../db/testing/database.ts";
import { environmentOf } from "../../../../db/testing/environment.ts";
import { makeFolder } from "../../../../db/testing/folder.ts";
import { makeServerHome } from "../../../../db/testing/home.ts";
import { expectFitting } from "../../../../db/testing/partitions.ts";
import { loadDrop } from "../../../load/load.ts";
import { refreshPartitions } from "../../../refresh/refresh.ts";
import { findClientPrograms, runOk } from "../../client_programs.ts";
import { expectedTotals, makeDrop } from "../../drops.ts";
import { findDivergences } from "../../invoices.ts";
import { digest, loadAll, makeDrops, openRestored } from "../../recovery.ts";
import { disagreements, totalsOf } from "../../warehouse.ts";

beforeAll(async () => {
  await findClientPrograms();
});

/** A server of the test's own, with these settings, and the warehouse in its database. */
async function openServer(home: string, settings: Readonly<Record<string, string>> = {}) {
  // Nothing here cuts the power: not waiting for the disk is a minute less on a busy machine.
  const server = await openEmbeddedServer({ home, settings: { fsync: "off", ...settings } });
  const { host, port, user, database: name } = server;
  const database = openDatabase({ connection: { host, port, user, database: name, ssl: false }, max: 10 });
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= database.pool.end().then(() => server.release({ withinMs: 5000 }));
    return closed;
  };
  onTestFinished(close);
  const connection = environmentOf({ host, port, user, database: name });
  return { database, connection, close };
}

/** A folder that the server, which may run as another user, can write to. */
function sharedFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "rollbook-wal-"));
  chmodSync(folder, 0o777);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function newHome(): string {
  const home = makeServerHome();
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  return home;
}

test("a base backup and its WAL bring the warehouse back to a moment between two loads, and the archive brings the rest", async () => {
  const folder = makeFolder();
  const [home, restoredHome, wal] = [newHome(), newHome(), sharedFolder()];
  const first = await openServer(home, {
    archive_mode: "on",
    archive_command: `test ! -f '${wal}/%f' && cp '%p' '${wal}/%f'`,
  });
  await initWarehouse({ database: first.database, timeZone: "Europe/Berlin" });
  const warehouse = await openRestored(first.database, first.connection);
  const drops = await makeDrops(folder, ["2026-04-01", "2026-04-02", "2026-04-03", "2026-04-04"]);
  const { database, query } = warehouse;
  await loadAll(warehouse, drops.slice(0, 1));
  await refreshPartitions({ database });

  await runOk(
    "pg_basebackup",
    ["--pgdata", join(restoredHome, "data"), "--checkpoint=fast", "--wal-method=none"],
    first.connection,
  );
  // A refresh and a load that nobody refreshed, before the moment; the careful way has been in staging, which the WAL leaves out.
  await loadAll(warehouse, drops.slice(1, 2));
  await refreshPartitions({ database });
  await loadDrop({ ...warehouse, path: drops[2]?.path ?? "", careful: true });
  const then = await digest(warehouse);
  const [moment] = await query<{ at: string }>("select clock_timestamp()::text as at");
  await loadAll(warehouse, drops.slice(3));
  await refreshPartitions({ database });
  const afterAll = await totalsOf(warehouse);
  // The accident, and the last of the WAL.
  await query("delete from warehouse.invoices where created_on >= '2026-02-01'");
  await query("select pg_switch_wal()");
  await expect
    .poll(
      async () => {
        const [row] = await query<{ done: boolean }>(
          "select last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) as done from pg_stat_archiver",
        );
        return row?.done;
      },
      { timeout: 60_000 },
    )
    .toBe(true);
  await first.close();

  const data = join(restoredHome, "data");
  appendFileSync(
    join(data, "postgresql.auto.conf"),
    [
      `restore_command = 'cp ''${wal}/%f'' ''%p'''`,
      `recovery_target_time = '${moment?.at}'`,
      "recovery_target_action = 'promote'",
      "archive_mode = off",
      "",
    ].join("\n"),
  );
  writeFileSync(join(data, "recovery.signal"), "");
  const second = await openServer(restoredHome);
  const restored: TestWarehouse = await openRestored(second.database, second.connection);
  expect(await digest(restored)).toEqual(then);
  expect(await totalsOf(restored)).toEqual(expectedTotals(drops.slice(0, 3)));
  expect(await findDivergences(restored, { identity: true })).toEqual([]);
  await expectFitting(restored);
  const staged = await restored.query(
    "select from warehouse.staging_1 union all select from warehouse.staging_2",
  );
  expect(staged).toEqual([]);

  const outcomes: unknown[] = [];
  for (const { path } of drops) outcomes.push((await loadDrop({ ...restored, path })).outcome);
  expect(outcomes).toEqual(["already_loaded", "already_loaded", "already_loaded", "loaded"]);
  await refreshPartitions({ database: restored.database });
  expect(await totalsOf(restored)).toEqual(afterAll);
  expect(await totalsOf(restored)).toEqual(expectedTotals(drops));
  expect(await totalsOf(restored, moment?.at)).toEqual(expectedTotals(drops.slice(0, 3)));
  // Commit order and known_at agree, also over the recovery.
  const disordered = await restored.query(`
    select from warehouse.loads a join warehouse.loads b on a.load_id < b.load_id and a.known_at >= b.known_at`);
  expect(disordered).toEqual([]);
  const next = await makeDrop({ folder, syncedOn: "2026-04-09", rows: 200, first: 300, version: 9 });
  await loadDrop({ ...restored, path: next.path, careful: true });
  expect(await disagreements(restored)).toEqual([]);
  expect(await findDivergences(restored)).toEqual([]);
});

test("a copy of the embedded server's data, taken while no command runs, is a backup", async () => {
  const folder = makeFolder();
  const [home, copy] = [newHome(), newHome()];
  const first = await openServer(home);
  await initWarehouse({ database: first.database });
  const warehouse = await openRestored(first.database, first.connection);
  const drops = await makeDrops(folder, ["2026-04-01", "2026-04-02"]);
  await loadAll(warehouse, drops.slice(0, 1));
  const then = await digest(warehouse);
  await first.close();
  execFileSync("cp", ["-a", join(home, "data"), join(copy, "data")]);

  const second = await openServer(copy);
  const restored = await openRestored(second.database, second.connection);
  expect(await digest(restored)).toEqual(then);
  await loadAll(restored, drops.slice(1));
  expect(await totalsOf(restored)).toEqual(expectedTotals(drops));
  expect(await findDivergences(restored)).toEqual([]);
});
