import { expect, test } from "vitest";
import { openDatabase } from "../../db/client.ts";
import { detachPartition } from "../../db/partitions/remove.ts";
import {
  createTestDatabase,
  onServer,
  type TestWarehouse,
  testConnection,
} from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { until } from "../../db/testing/own_server.ts";
import { openTransaction, waits } from "../../db/testing/partitions.ts";
import { loginAs, withUser } from "../../db/testing/roles.ts";
import { closePeriod } from "../closings/close.ts";
import { periodOf } from "../closings/period.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { summarizeProofs } from "../reports/proofs.ts";
import { readStatus } from "../reports/status.ts";
import { attachRebuilt } from "../retire.ts";
import { findDivergences, load, writeInvoices } from "../testing/invoices.ts";
import { verifyWarehouse } from "./verify.ts";

const ALL = ["ledger", "checkpoints", "2026-01", "2026-02", "2026-03"];
const ENDLESS = 1e9;

/** One with an invoice in each of three months. */
async function makeWarehouse(options: { readonly roles?: boolean } = {}): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase(options);
  const path = writeInvoices(makeFolder(), "a_2026-03-20.csv", [
    ["v", 1, "2026-01-10", "1.00"],
    ["v", 2, "2026-02-10", "2.00"],
    ["v", 3, "2026-03-10", "3.00"],
  ]);
  await load(warehouse, path);
  await refreshPartitions({ database: warehouse.database });
  return warehouse;
}

const slice = ({ database, settings }: TestWarehouse, sliceMs = 0, more = {}) =>
  verifyWarehouse({ database, settings, sliceMs, ...more });

interface Proved {
  readonly name: string;
  readonly proved: boolean;
  readonly load: number | null;
  readonly diverged: boolean;
}

/** What is recorded of each part. */
const proofsOf = ({ query }: TestWarehouse) =>
  query<Proved & Record<string, unknown>>(`
    select coalesce(partition, subject) as name, proved_at is not null as proved, proved_load as load,
           diverged_at is not null as diverged
    from reports.proofs
    order by 1`);

const namesOf = async (warehouse: TestWarehouse, which: (proof: Proved) => boolean) =>
  (await proofsOf(warehouse)).filter(which).map(({ name }) => name);

test("slices prove one part after the other, what was not proved for longest first", async () => {
  const warehouse = await makeWarehouse();
  for (const [index, name] of [...ALL, ...ALL].entries()) {
    const { slice: report, divergences } = await slice(warehouse);
    expect(report, `slice ${index}`).toMatchObject({ proved: [name], left: ALL.length - 1 });
    expect(divergences).toBe(0);
  }
  // Of two that were proved, the one whose proof is older.
  await warehouse.query(
    "update warehouse.proofs set proved_at = proved_at - interval '1 day' where partition_id = 2",
  );
  expect((await slice(warehouse)).slice?.proved).toEqual(["2026-02"]);
});

test("a slice with time for all proves all, and says so", async () => {
  const warehouse = await makeWarehouse();
  const { slice: report, ...found } = await slice(warehouse, ENDLESS);
  expect(report).toEqual({ proved: ALL, left: 0, roundMs: expect.any(Number) });
  expect(found).toMatchObject({ partitions: 3, invoices: 3, groups: 3, recorded: "recorded", repaired: [] });
});

test("a slice ends before what took longer than is left, and the next one begins with it", async () => {
  const warehouse = await makeWarehouse();
  await slice(warehouse, ENDLESS);
  await warehouse.query("update warehouse.proofs set duration_ms = 10 * $1::bigint where partition_id = 2", [
    ENDLESS,
  ]);
  const first = await slice(warehouse, ENDLESS);
  expect(first.slice).toMatchObject({ proved: ["ledger", "checkpoints", "2026-01"], left: 2 });
  expect(first.slice?.roundMs).toBeGreaterThanOrEqual(10 * ENDLESS);
  const second = await slice(warehouse, ENDLESS);
  expect(second.slice?.proved).toEqual(["2026-02", "2026-03", "ledger", "checkpoints", "2026-01"]);
});

test("a whole verification is recorded part by part, with the newest load that it knows", async () => {
  const warehouse = await makeWarehouse();
  const more = writeInvoices(makeFolder(), "b_2026-03-21.csv", [["v", 9, "2026-03-10", "9.00"]]);
  const { loadId } = await load(warehouse, more);
  expect(await proofsOf(warehouse)).toHaveLength(ALL.length);
  expect(await namesOf(warehouse, ({ proved }) => proved)).toEqual([]);
  const [before] = await warehouse.query<{ at: string }>("select clock_timestamp()::text as at");
  expect(await findDivergences(warehouse)).toEqual([]);
  expect(await proofsOf(warehouse)).toEqual(
    ALL.toSorted().map((name) => ({ name, proved: true, load: loadId, diverged: false })),
  );
  const times = await warehouse.query(
    `select every(proved_at between $1 and clock_timestamp()) as real,
            every(recorded_by = session_user and duration_ms >= 0) as told
     from warehouse.proofs`,
    [before?.at],
  );
  expect(times).toEqual([{ real: true, told: true }]);
});

test("one partition that is verified is recorded, and nothing else", async () => {
  const warehouse = await makeWarehouse();
  await findDivergences(warehouse, { partition: "2026-02", identity: true });
  expect(await namesOf(warehouse, ({ proved }) => proved)).toEqual(["2026-02"]);
  const shown = await warehouse.query(
    "select partition, proved_load from reports.partition_freshness where proved_at is not null",
  );
  expect(shown).toEqual([{ partition: "2026-02", proved_load: 1 }]);
});

test("what does not verify is not recorded as proved, and others have their turn before it comes again", async () => {
  const warehouse = await makeWarehouse();
  await findDivergences(warehouse);
  const provedAt = () =>
    warehouse.query("select proved_at::text, proved_load from warehouse.proofs where partition_id = 1");
  const before = await provedAt();
  await warehouse.query("update warehouse.invoices set total = 7 where created_on = '2026-01-10'");
  const turns: string[] = [];
  for (let turn = 0; turn < 2 * ALL.length; turn += 1) {
    const { slice: report, divergences } = await slice(warehouse);
    turns.push(...(report?.proved ?? []));
    expect(divergences > 0).toBe(report?.proved[0] === "2026-01");
  }
  expect(turns).toEqual([...turns.slice(0, ALL.length), ...turns.slice(0, ALL.length)]);
  expect(await provedAt()).toEqual(before);
  expect(await namesOf(warehouse, ({ diverged }) => diverged)).toEqual(["2026-01"]);
  const { warnings, proofs } = await readStatus(warehouse);
  expect(warnings).toContainEqual(expect.stringMatching(/^2026-01 did not verify at 2.*rollbook verify/));
  expect(proofs).toMatchObject({ never: 0, oldest: { name: "2026-01" }, diverged: [{ name: "2026-01" }] });
  // A repair has not proved it yet; what follows it has.
  await findDivergences(warehouse, { repair: true });
  expect(await namesOf(warehouse, ({ diverged }) => diverged)).toEqual(["2026-01"]);
  await findDivergences(warehouse);
  expect(await namesOf(warehouse, ({ diverged }) => diverged)).toEqual([]);
  expect(await provedAt()).not.toEqual(before);
});

test("of the ledger, the checkpoints and the closings it is recorded, too, that they do not verify", async () => {
  const warehouse = await makeWarehouse();
  const { database, settings } = warehouse;
  await closePeriod({ database, settings, period: periodOf({ from: "2026-01-01", to: "2026-02-01" }) });
  expect(await findDivergences(warehouse, { closings: true })).toEqual([]);
  expect(await namesOf(warehouse, ({ proved }) => proved)).toContain("closings");
  await warehouse.query("update warehouse.venue_day_deltas set invoices = 2 where created_on = '2026-01-10'");
  await warehouse.query("update warehouse.checkpoints set known_at = '2000-01-01'");
  await slice(warehouse, ENDLESS, { closings: true });
  expect(await namesOf(warehouse, ({ diverged }) => diverged)).toEqual([
    "2026-01",
    "checkpoints",
    "closings",
    "ledger",
  ]);
});

test("closings that cannot be proved are not recorded as proved", async () => {
  const warehouse = await makeWarehouse();
  const { database, settings } = warehouse;
  await closePeriod({ database, settings, period: periodOf({ from: "2026-01-01", to: "2026-02-01" }) });
  await detachPartition({ database, partition: "2026-01" });
  await warehouse.query("drop table warehouse.venue_day_deltas_2026_01");
  const report = await verifyWarehouse({ database, settings, closings: true });
  expect(report).toMatchObject({ divergences: 0, closings: { unprovable: [{ closing: 1 }] } });
  expect(await namesOf(warehouse, ({ proved }) => !proved)).toEqual(["closings"]);
});

test("closings have their turn only where that is asked for", async () => {
  const warehouse = await makeWarehouse();
  const { database, settings } = warehouse;
  await closePeriod({ database, settings, period: periodOf({ from: "2026-01-01", to: "2026-02-01" }) });
  expect((await slice(warehouse, ENDLESS)).slice).toMatchObject({ proved: ALL, left: 0 });
  // Nobody has asked for them, so they are not the oldest proof.
  expect((await summarizeProofs(warehouse)).never).toBe(0);
  expect((await slice(warehouse, 0, { closings: true })).slice).toMatchObject({ proved: ["closings"] });
});

test("a proof that is interrupted is not recorded", async () => {
  const warehouse = await makeWarehouse();
  const open = await openTransaction(warehouse);
  await open.query("lock table warehouse.invoices_2026_01 in access exclusive mode");
  const interruption = new AbortController();
  const verifying = verifyWarehouse({
    database: warehouse.database,
    settings: warehouse.settings,
    partition: "2026-01",
    signal: interruption.signal,
  });
  await until("the proof waits", async () => (await waits(warehouse)).length > 0);
  interruption.abort();
  await expect(verifying).rejects.toMatchObject({ code: "aborted" });
  await open.query("rollback");
  expect(await warehouse.query("select from warehouse.proofs")).toEqual([]);
});

test("what commits after a proof began is not said to be in it", async () => {
  const warehouse = await makeWarehouse();
  const open = await openTransaction(warehouse);
  await open.query("lock table warehouse.invoices_2026_01 in access exclusive mode");
  const verifying = findDivergences(warehouse, { partition: "2026-01" });
  await until("the proof waits", async () => (await waits(warehouse)).length > 0);
  const more = writeInvoices(makeFolder(), "b_2026-03-21.csv", [["v", 9, "2026-03-10", "9.00"]]);
  expect(await load(warehouse, more)).toMatchObject({ loadId: 2 });
  await open.query("rollback");
  expect(await verifying).toEqual([]);
  const recorded = await warehouse.query("select proved_load from warehouse.proofs");
  expect(recorded).toEqual([{ proved_load: 1 }]);
});

test("a partition that was away has to be proved anew", async () => {
  const warehouse = await makeWarehouse();
  const { database, settings } = warehouse;
  await findDivergences(warehouse);
  await detachPartition({ database, partition: "2026-02" });
  expect(await namesOf(warehouse, () => true)).not.toContain("2026-02");
  await attachRebuilt({ database, settings, partition: "2026-02" });
  expect(await namesOf(warehouse, ({ proved }) => !proved)).toEqual(["2026-02"]);
  expect((await slice(warehouse)).slice?.proved).toEqual(["2026-02"]);
});

test("a table that is gone is named in every slice, and checkpoints wait until it is back", async () => {
  const warehouse = await makeWarehouse();
  await findDivergences(warehouse);
  await warehouse.query("drop table warehouse.venue_day_rollup_2026_02");
  for (const name of ["2026-01", "2026-03", "ledger", "2026-01"]) {
    const { slice: report, divergences } = await slice(warehouse);
    expect([report?.proved, divergences]).toEqual([["2026-02", name], 1]);
  }
  expect(await namesOf(warehouse, ({ diverged }) => diverged)).toEqual(["2026-02"]);
});

test("a loader and a steward record what they prove, each under its own name", async () => {
  const warehouse = await makeWarehouse({ roles: true });
  for (const role of ["loader", "steward"] as const) {
    const login = await loginAs(warehouse, role);
    expect(await slice(login, ENDLESS)).toMatchObject({ divergences: 0, recorded: "recorded" });
    const names = await warehouse.query("select distinct recorded_by from warehouse.proofs");
    expect(names).toEqual([{ recorded_by: `test ${role}` }]);
  }
});

test("who may not record verifies all the same, and says so", async () => {
  const warehouse = await makeWarehouse();
  await onServer(async (client) => {
    await client.query("select pg_advisory_lock(2)");
    const found = await client.query("select from pg_roles where rolname = 'test auditor'");
    if (found.rowCount === 0) await client.query(`create role "test auditor" login`);
    await client.query("select pg_advisory_unlock(2)");
  });
  await warehouse.query(`grant usage on schema warehouse, reports to "test auditor"`);
  await warehouse.query(`grant select on all tables in schema warehouse, reports to "test auditor"`);
  const auditor = withUser(warehouse, "test auditor");
  for (let turn = 0; turn < 2; turn += 1) {
    expect(await slice(auditor)).toMatchObject({
      divergences: 0,
      recorded: "no_right",
      slice: { proved: ["ledger"] },
    });
  }
  expect(await findDivergences(auditor)).toEqual([]);
  expect(await warehouse.query("select from warehouse.proofs")).toEqual([]);
});

test("where nothing can be written what is verified is not recorded", async () => {
  const warehouse = await makeWarehouse();
  const { database: name = "" } = warehouse.database.pool.options;
  const database = openDatabase({
    connection: { ...testConnection(name), options: "-c default_transaction_read_only=on" },
  });
  try {
    const { settings } = warehouse;
    expect(await verifyWarehouse({ database, settings })).toMatchObject({
      divergences: 0,
      recorded: "read_only",
    });
  } finally {
    await database.pool.end();
  }
  expect(await warehouse.query("select from warehouse.proofs")).toEqual([]);
});

test("of two proofs at once the one that began later counts, and none is of a time to come", async () => {
  const warehouse = await makeWarehouse();
  const record = (at: string, loadId: number | null, diverged: boolean) =>
    warehouse.query("select warehouse.record_proof('partition', 1, $1, $2, 5, $3)", [at, loadId, diverged]);
  await record("2026-01-02T00:00:00Z", 1, false);
  await record("2026-01-01T00:00:00Z", null, true);
  const read = () =>
    warehouse.query(
      "select proved_at::text, proved_load, diverged_at::text from warehouse.proofs where partition_id = 1",
    );
  expect(await read()).toEqual([{ proved_at: "2026-01-02 00:00:00+00", proved_load: 1, diverged_at: null }]);
  await record("2026-01-03T00:00:00Z", 1, true);
  expect(await read()).toEqual([
    { proved_at: "2026-01-02 00:00:00+00", proved_load: 1, diverged_at: "2026-01-03 00:00:00+00" },
  ]);
  await record("infinity", null, false);
  const [row] = await warehouse.query(
    "select proved_at between now() - interval '1 minute' and clock_timestamp() as now, proved_load, diverged_at from warehouse.proofs where partition_id = 1",
  );
  expect(row).toEqual({ now: true, proved_load: null, diverged_at: null });
  await expect(record("2026-01-04T00:00:00Z", 99, false)).rejects.toMatchObject({ code: "22023" });
});

test("a verification waits for another one that records the same, and records after it", async () => {
  const warehouse = await makeWarehouse();
  await findDivergences(warehouse);
  const other = await openTransaction(warehouse);
  await other.query("select warehouse.record_proof('ledger', 0, '2026-01-01', null, 5, false)");
  await other.query("update warehouse.proofs set recorded_by = 'other' where subject = 'ledger'");
  const verifying = findDivergences(warehouse);
  await until("the proof waits", async () => (await waits(warehouse)).length > 0);
  await other.query("commit");
  expect(await verifying).toEqual([]);
  const [proof] = await warehouse.query(
    "select recorded_by = session_user as own from warehouse.proofs where subject = 'ledger'",
  );
  expect(proof).toEqual({ own: true });
});

test("the oldest proof is told by its instant, whatever the clocks were set to", async () => {
  const warehouse = await createTestDatabase({ timeZone: "Europe/Berlin" });
  const none = await summarizeProofs(warehouse);
  expect(none).toMatchObject({ never: 2, oldest: { provedAt: null } });
  await findDivergences(warehouse);
  // 02:30 comes twice: first in summer time, an hour later in winter time.
  await warehouse.query(
    "update warehouse.proofs set proved_at = '2026-10-25T00:40:00Z' where subject = 'ledger'",
  );
  await warehouse.query(
    "update warehouse.proofs set proved_at = '2026-10-25T01:30:00Z' where subject = 'checkpoints'",
  );
  expect(await summarizeProofs(warehouse)).toEqual({
    oldest: { name: "ledger", provedAt: "2026-10-25T02:40:00+02:00" },
    never: 0,
    diverged: [],
  });
});
