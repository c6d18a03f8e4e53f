/** Invoices that were sent again with another venue or creation date, and how the older statements leave. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import pg from "pg";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { LOCK } from "../../db/locks.ts";
import { detachPartition } from "../../db/partitions/remove.ts";
import { GRANULARITIES } from "../../db/schema.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { until } from "../../db/testing/own_server.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { STRATEGIES } from "../refresh/strategy.ts";
import { type Change, explainTotal } from "../reports/totals.ts";
import { dropVerified } from "../retire.ts";
import { jsonLines, rollbookHere, startRollbook } from "../testing/cli.ts";
import { findDivergences, type Invoice, load, writeInvoices } from "../testing/invoices.ts";
import { invoiceId } from "../testing/lines.ts";
import { readDrop } from "../testing/models/format.ts";
import { euros } from "../testing/models/money.ts";
import { createWarehouseModel, type WarehouseModel } from "../testing/models/warehouse.ts";
import { disagreements, startWorker, totalsOf, type Worker } from "../testing/warehouse.ts";
import type { TakenOut } from "./take_out.ts";
import { verifyWarehouse } from "./verify.ts";

let workers: readonly Worker[] = [];
beforeAll(() => {
  workers = Array.from({ length: 3 }, startWorker);
});
afterAll(() => {
  for (const worker of workers) worker.kill();
});

async function takeOut(warehouse: TestWarehouse, partition?: string): Promise<TakenOut> {
  const { database, settings } = warehouse;
  const options = { database, settings, partition, identity: true, repair: "newest" } as const;
  const { takenOut } = await verifyWarehouse(options);
  if (takenOut === null) throw new Error("nothing was to be taken out");
  return takenOut;
}

/** Ids under several keys, each with the venues and dates of its statements, the newest first. */
async function findMoved(warehouse: TestWarehouse): Promise<readonly string[]> {
  return (await findDivergences(warehouse, { identity: true })).map((found) => {
    if (found.kind !== "identity") throw new Error(`not expected: ${JSON.stringify(found)}`);
    const keys = found.statements.map(
      ({ venueId, createdOn, newest }) => `${newest ? "" : "older "}${venueId} ${createdOn}`,
    );
    return `${Number(found.invoiceId.slice(-12))}: ${keys.join(", ")}`;
  });
}

/** The totals as texts, `venue date invoices total`. */
async function textsOf(warehouse: TestWarehouse, asKnownOn?: string): Promise<readonly string[]> {
  const totals = await totalsOf(warehouse, asKnownOn);
  return totals.map(({ venue_id, created_on, invoices, total }) =>
    [venue_id, created_on, invoices, total].join(" "),
  );
}

function textsOfModel(model: WarehouseModel, loads?: number): readonly string[] {
  return model
    .totals(loads)
    .filter(({ invoices }) => invoices !== 0)
    .map(({ venue, createdOn, invoices, cents }) => `${venue} ${createdOn} ${invoices} ${euros(cents)}`)
    .sort();
}

/** Nothing diverges, and the loads behind each total add up to it. */
async function expectWhole(warehouse: TestWarehouse): Promise<void> {
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await findDivergences(warehouse)).toEqual([]);
  const { database, settings } = warehouse;
  const changes: Change[] = [];
  await explainTotal({ database, settings }, async (change) => {
    changes.push(change);
  });
  const totals = await totalsOf(warehouse);
  const sum = (rows: readonly { readonly invoices: number; readonly total: string }[]) => [
    rows.reduce((all, { invoices }) => all + invoices, 0),
    rows.reduce((all, { total }) => all + Math.round(Number(total) * 100), 0),
  ];
  expect(sum(changes)).toEqual(sum(totals));
}

async function now(warehouse: TestWarehouse): Promise<string> {
  const [row] = await warehouse.query<{ at: string }>("select clock_timestamp()::text as at");
  return row?.at ?? "";
}

/** What a register sends whose clock was wrong, and one that named a wrong venue; nobody else's are touched. */
async function makeMoved(): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const drops: readonly (readonly [string, readonly Invoice[]])[] = [
    [
      "moved_2026-06-02.csv",
      [
        ["bar-9", 1, "2026-06-01", "100.00"],
        ["bar-9", 2, "2026-06-01", "50.00"],
      ],
    ],
    ["moved_2026-06-03.csv", [["bar-9", 1, "2026-06-02", "100.00"]]],
    ["venue_2026-06-02.csv", [["bar-X", 3, "2026-05-31", "30.00"]]],
    ["venue_2026-06-03.csv", [["bar-Y", 3, "2026-05-31", "31.50"]]],
  ];
  for (const [name, invoices] of drops) await load(warehouse, writeInvoices(folder, name, invoices));
  return warehouse;
}

test("of an invoice that was sent with another date or venue the newest statement stays", async () => {
  const warehouse = await makeMoved();
  await refreshPartitions({ database: warehouse.database });
  const before = await now(warehouse);
  const counted = await textsOf(warehouse);
  expect(await findMoved(warehouse)).toEqual([
    "1: bar-9 2026-06-02, older bar-9 2026-06-01",
    "3: bar-Y 2026-05-31, older bar-X 2026-05-31",
  ]);
  expect(await takeOut(warehouse)).toEqual({ loadId: 5, statements: 2, closed: [] });
  const right = ["bar-9 2026-06-01 1 50.00", "bar-9 2026-06-02 1 100.00", "bar-Y 2026-05-31 1 31.50"];
  expect(await textsOf(warehouse)).toEqual(right);
  await expectWhole(warehouse);
  expect(await findMoved(warehouse)).toEqual([]);
  await refreshPartitions({ database: warehouse.database });
  expect(await textsOf(warehouse)).toEqual(right);
  await refreshPartitions({ database: warehouse.database, strategy: "full" });
  expect(await textsOf(warehouse)).toEqual(right);
  await expectWhole(warehouse);
  expect(await textsOf(warehouse, before)).toEqual(counted);
  expect(await textsOf(warehouse, await now(warehouse))).toEqual(right);
  expect(
    await warehouse.query(`
      select c.load_id, v.venue_id, c.created_on::text, c.old_total, c.old_load_id, c.old_synced_on::text
      from warehouse.corrections c join warehouse.venues v using (venue_key) order by 2, 3`),
  ).toEqual([
    {
      load_id: 5,
      venue_id: "bar-9",
      created_on: "2026-06-01",
      old_total: "100.00",
      old_load_id: 1,
      old_synced_on: "2026-06-02",
    },
    {
      load_id: 5,
      venue_id: "bar-X",
      created_on: "2026-05-31",
      old_total: "30.00",
      old_load_id: 3,
      old_synced_on: "2026-06-02",
    },
  ]);
  expect(
    await warehouse.query("select status, corrected, partitions from reports.load_history where load_id = 5"),
  ).toEqual([{ status: "repair", corrected: "2", partitions: ["2026-05", "2026-06"] }]);
});

test("taken out twice, the second time changes nothing", async () => {
  const warehouse = await makeMoved();
  await takeOut(warehouse);
  const tables = ["loads", "invoices", "corrections", "venue_day_deltas", "venue_day_pending"];
  const rows = () =>
    Promise.all(tables.map((table) => warehouse.query(`select * from warehouse.${table} order by 1, 2, 3`)));
  const before = await rows();
  expect(await takeOut(warehouse)).toEqual({ loadId: null, statements: 0, closed: [] });
  expect(await rows()).toEqual(before);
});

test("of two repairs at once each statement is taken out by one", async () => {
  const warehouse = await makeMoved();
  const both = await Promise.all([takeOut(warehouse), takeOut(warehouse)]);
  expect(both.map(({ statements }) => statements).toSorted()).toEqual([0, 2]);
  await expectWhole(warehouse);
});

test("of many keys all but the newest go, and of those that one load brought none is chosen", async () => {
  const warehouse = await createTestDatabase({ granularity: "week" });
  const folder = makeFolder();
  const drops: readonly (readonly [string, readonly Invoice[]])[] = [
    [
      "2026-06-20.csv",
      [
        ["a", 1, "2026-06-01", "1.00"],
        ["a", 2, "2026-06-01", "2.00"],
      ],
    ],
    [
      "2026-06-23.csv",
      [
        ["b", 1, "2026-06-15", "1.00"],
        ["b", 2, "2026-06-08", "2.00"],
        ["b", 2, "2026-06-15", "2.00"],
      ],
    ],
    // It comes later, and is older.
    [
      "2026-06-21.csv",
      [
        ["c", 1, "2026-05-01", "1.00"],
        ["a", 3, "2026-06-02", "4.00"],
        ["b", 3, "2026-06-02", "4.00"],
      ],
    ],
    ["2026-06-22.csv", [["d", 1, "2026-06-01", "1.00"]]],
  ];
  for (const [name, invoices] of drops) await load(warehouse, writeInvoices(folder, name, invoices));
  expect(await findMoved(warehouse)).toEqual([
    "1: b 2026-06-15, older d 2026-06-01, older c 2026-05-01, older a 2026-06-01",
    "2: b 2026-06-08, b 2026-06-15, older a 2026-06-01",
    "3: a 2026-06-02, b 2026-06-02",
  ]);
  expect(await takeOut(warehouse)).toMatchObject({ statements: 4 });
  const tied = ["2: b 2026-06-08, b 2026-06-15", "3: a 2026-06-02, b 2026-06-02"];
  expect(await findMoved(warehouse)).toEqual(tied);
  expect(await takeOut(warehouse)).toEqual({ loadId: null, statements: 0, closed: [] });
  // What the advice says: the right one again, in a newer file.
  await load(
    warehouse,
    writeInvoices(folder, "2026-06-24.csv", [
      ["b", 2, "2026-06-08", "2.00"],
      ["b", 3, "2026-06-02", "4.00"],
    ]),
  );
  expect(await takeOut(warehouse)).toMatchObject({ statements: 2 });
  expect(await textsOf(warehouse)).toEqual([
    "b 2026-06-02 1 4.00",
    "b 2026-06-08 1 2.00",
    "b 2026-06-15 1 1.00",
  ]);
  await expectWhole(warehouse);
  expect(await findMoved(warehouse)).toEqual([]);
});

test("an older statement that arrives, or comes back, after a repair is found again", async () => {
  const warehouse = await makeMoved();
  await takeOut(warehouse);
  const folder = makeFolder();
  await load(warehouse, writeInvoices(folder, "late_2026-06-01.csv", [["bar-9", 1, "2026-06-01", "100.00"]]));
  expect(await findMoved(warehouse)).toEqual(["1: bar-9 2026-06-02, older bar-9 2026-06-01"]);
  await takeOut(warehouse);
  // Now the register says that it was the first date after all.
  await load(warehouse, writeInvoices(folder, "back_2026-06-09.csv", [["bar-9", 1, "2026-06-01", "99.00"]]));
  await takeOut(warehouse);
  expect(await textsOf(warehouse)).toEqual(["bar-9 2026-06-01 2 149.00", "bar-Y 2026-05-31 1 31.50"]);
  await expectWhole(warehouse);
});

test("what stands in a partition that is leaving stays, and is said", async () => {
  const warehouse = await makeMoved();
  // A detach that was killed when it had only set the state.
  await warehouse.query("update warehouse.partitions set state = 'detached' where partition = '2026-05'");
  const before = await warehouse.query(
    "select * from warehouse.invoices where created_on < '2026-06-01' order by 3",
  );
  expect(await takeOut(warehouse)).toEqual({
    loadId: 5,
    statements: 1,
    closed: [{ partition: "2026-05", state: "detached" }],
  });
  expect(
    await warehouse.query("select * from warehouse.invoices where created_on < '2026-06-01' order by 3"),
  ).toEqual(before);
  await warehouse.query("update warehouse.partitions set state = 'open' where partition = '2026-05'");
  expect(await takeOut(warehouse)).toMatchObject({ statements: 1, closed: [] });
  await expectWhole(warehouse);
});

test("partitions that left are named as not looked at, and refused alone", async () => {
  const warehouse = await makeMoved();
  const { database, settings, environment } = warehouse;
  await refreshPartitions({ database });
  await detachPartition({ database, partition: "2026-05" });
  await dropVerified({ database, settings, partition: "2026-06" });
  const run = (...args: string[]) => rollbookHere(["verify", ...args], { environment, folder: makeFolder() });
  expect(await run("--identity", "--repair", "newest")).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(
      "not looked at for ids under several keys: 2026-05 (detached), 2026-06 (dropped)",
    ),
  });
  expect(await run("--identity", "--repair", "newest", "--partition", "2026-05")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/2026-05 is detached.*Attach it/),
  });
  expect(await run("--identity", "--repair", "newest", "--partition", "2026-06")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/2026-06 were dropped for good/),
  });
});

test("the command names both statements, what it advises does it, and exits by what is left", async () => {
  const warehouse = await makeMoved();
  const { environment } = warehouse;
  const run = (...args: string[]) => rollbookHere(["verify", ...args], { environment, folder: makeFolder() });
  const found = await run("--identity");
  expect(found.code).toBe(1);
  expect(found.stdout).toContain(
    `invoice ${invoiceId(1)} stands under 2 keys: ` +
      "newest bar-9 on 2026-06-02 for 100.00 (load 2, moved_2026-06-03.csv, synced on 2026-06-03); " +
      "older bar-9 on 2026-06-01 for 100.00 (load 1, moved_2026-06-02.csv, synced on 2026-06-02)",
  );
  expect(found.stdout).toContain("rollbook verify --identity --repair newest");
  expect(found.stdout).not.toContain("nothing tells which is right");
  // It mends nothing here, and its advice is the same.
  const bare = await run("--identity", "--repair");
  expect([bare.code, bare.stdout]).toEqual([1, expect.stringContaining("--identity --repair newest")]);
  expect(jsonLines((await run("--identity", "--json")).stdout)).toContainEqual({
    kind: "identity",
    invoiceId: invoiceId(3),
    statements: [
      {
        venueId: "bar-Y",
        createdOn: "2026-05-31",
        total: "31.50",
        loadId: 4,
        fileName: "venue_2026-06-03.csv",
        syncedOn: "2026-06-03",
        newest: true,
      },
      {
        venueId: "bar-X",
        createdOn: "2026-05-31",
        total: "30.00",
        loadId: 3,
        fileName: "venue_2026-06-02.csv",
        syncedOn: "2026-06-02",
        newest: false,
      },
    ],
  });
  expect(await run("--repair", "newest")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--identity"),
  });
  const repaired = await run("--identity", "--repair", "newest");
  expect(repaired.stdout).toContain("Repaired: took out 2 older statements (load 5). Verifying again.");
  expect(repaired.code).toBe(0);
  const explained = await rollbookHere(["explain-total", "--venue", "bar-9", "--json"], {
    environment,
    folder: makeFolder(),
  });
  expect(jsonLines(explained.stdout)).toMatchObject([
    { loadId: 1, invoices: 2, total: "150.00" },
    { loadId: 2, invoices: 1, total: "100.00" },
    {
      loadId: 5,
      fileName: "verify --identity --repair newest",
      syncedOn: null,
      invoices: -1,
      total: "-100.00",
    },
  ]);
  const both: readonly Invoice[] = [
    ["a", 9, "2026-06-01", "1.00"],
    ["b", 9, "2026-06-01", "1.00"],
  ];
  const folder = makeFolder();
  writeInvoices(folder, "both_2026-06-05.csv", both);
  const said = await rollbookHere(["load", "both_2026-06-05.csv"], { environment, folder });
  expect(said.stdout).toMatch(/2 inserted.*; 1 invoice id with several venues or dates.*verify --identity/);
  writeInvoices(folder, "both_2026-06-06.csv", both);
  const told = await rollbookHere(["load", "--json", "--no-refresh", "both_2026-06-06.csv"], {
    environment,
    folder,
  });
  expect(jsonLines(told.stdout)).toMatchObject([{ outcome: "loaded", idsUnderTwoKeys: 1 }]);
  const tied = await run("--identity", "--repair", "newest");
  expect(tied.code).toBe(1);
  expect(tied.stdout).toContain("nothing tells which is right");
  expect(tied.stdout).not.toContain("To take out");
});

test("a ledger entry of a repair that its corrections or deltas do not bear out diverges", async () => {
  const warehouse = await makeMoved();
  await takeOut(warehouse);
  await warehouse.query("delete from warehouse.corrections where load_id = 5 and venue_key = 1");
  expect(await findDivergences(warehouse)).toMatchObject([{ kind: "load", loadId: 5 }]);
  await warehouse.query("update warehouse.loads set corrected = 1 where load_id = 5");
  expect(await findDivergences(warehouse)).toMatchObject([{ kind: "load", loadId: 5 }]);
  expect(await findDivergences(warehouse, { repair: true })).toHaveLength(1);
  expect(await findDivergences(warehouse)).toEqual([]);
});

/** Waits until a session of the database waits for a lock. */
async function untilBlocked(warehouse: TestWarehouse): Promise<void> {
  await until("a session waits for a lock", async () => {
    const waiting = await warehouse.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    return waiting.length > 0;
  });
}

/** A session of its own, with an open transaction. */
async function beginElsewhere(warehouse: TestWarehouse): Promise<pg.Client> {
  const { host, port, user, database } = warehouse.database.pool.options;
  const client = new pg.Client({ host, port, user, database, ssl: false });
  await client.connect();
  onTestFinished(() => client.end());
  await client.query("begin");
  return client;
}

test("killed midway, a repair leaves nothing half done, and the next one does it", async () => {
  const warehouse = await makeMoved();
  const { environment } = warehouse;
  const other = await beginElsewhere(warehouse);
  const before = await textsOf(warehouse);
  for (const blocked of ["venue_day_pending", "corrections", "invoices"]) {
    // All statements before the one that waits here were carried out.
    await other.query(`lock table warehouse.${blocked} in share mode`);
    const { child, ended } = startRollbook(["verify", "--identity", "--repair", "newest"], {
      environment,
      folder: makeFolder(),
    });
    await untilBlocked(warehouse);
    child.kill("SIGKILL");
    await ended;
    await other.query("rollback");
    await until("the session is gone", async () => {
      const others = await warehouse.query(
        "select from pg_stat_activity where datname = current_database() and application_name = 'rollbook' and state <> 'idle' and pid <> pg_backend_pid()",
      );
      return others.length === 0;
    });
    expect(await textsOf(warehouse)).toEqual(before);
    expect(await warehouse.query("select from warehouse.loads where status = 'repair'")).toEqual([]);
    expect(await warehouse.query("select from warehouse.corrections")).toEqual([]);
    expect(await disagreements(warehouse)).toEqual([]);
    await other.query("begin");
  }
  await other.query("rollback");
  expect(await takeOut(warehouse)).toMatchObject({ statements: 2 });
  await expectWhole(warehouse);
});

test.each([true, false])("what a load restates at the same moment stays (careful: %s)", async (careful) => {
  const warehouse = await makeMoved();
  const { settings } = warehouse;
  const { host, port, user, database } = warehouse.database.pool.options;
  // The load has written, and waits to commit: it says that the first date was right.
  const other = await beginElsewhere(warehouse);
  await other.query(`select pg_advisory_xact_lock(${LOCK.knownAt}, 0)`);
  const path = writeInvoices(makeFolder(), "again_2026-06-08.csv", [["bar-9", 1, "2026-06-01", "101.00"]]);
  const loading = workers[0]?.run({
    connection: { host, port, user, database, ssl: false },
    settings,
    path,
    careful,
  });
  await untilBlocked(warehouse);
  const repairing = takeOut(warehouse);
  await until("the repair waits for the load's row", async () => {
    const waiting = await warehouse.query(
      `select from pg_locks join pg_stat_activity using (pid)
       where datname = current_database() and not granted and locktype in ('transactionid', 'tuple')`,
    );
    return waiting.length > 0;
  });
  await other.query("rollback");
  expect(await loading).toMatchObject({ load: { outcome: "loaded" } });
  // bar-X alone: the statement about bar-9 that was ranked as the older is there no more.
  expect(await repairing).toMatchObject({ statements: 1 });
  await expectWhole(warehouse);
  expect(await findMoved(warehouse)).toEqual(["1: bar-9 2026-06-01, older bar-9 2026-06-02"]);
  await takeOut(warehouse);
  expect(await textsOf(warehouse)).toEqual(["bar-9 2026-06-01 2 151.00", "bar-Y 2026-05-31 1 31.50"]);
});

const statement = fc.record({
  venue: fc.nat(2),
  number: fc.nat(14),
  day: fc.nat(75),
  cents: fc.integer({ min: -500, max: 5000 }),
});
const history = fc.record({
  granularity: fc.constantFrom(...GRANULARITIES),
  steps: fc.array(
    fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          syncDay: fc.nat(4),
          said: fc.array(statement, { minLength: 1, maxLength: 12 }),
        }),
      },
      { weight: 2, arbitrary: fc.constant("take out" as const) },
      { weight: 1, arbitrary: fc.constantFrom(...STRATEGIES) },
    ),
    { minLength: 4, maxLength: 14 },
  ),
});

test("random drops with moved ids, and repairs in between, come to what a model makes of the statements", async () => {
  await fc.assert(
    fc.asyncProperty(history, async ({ granularity, steps }) => {
      const warehouse = await createTestDatabase({ granularity });
      const { database, settings } = warehouse;
      const folder = makeFolder();
      const model = createWarehouseModel();
      const moments: { readonly at: string; readonly texts: readonly string[] }[] = [];
      for (const [index, step] of [...steps, "take out" as const].entries()) {
        if (step === "take out") {
          const expected = new Set(model.split(() => true));
          expect((await findMoved(warehouse)).length).toBe(expected.size);
          const { loadId, statements } = await takeOut(warehouse);
          if (loadId === null) expect(statements).toBe(0);
          const applied = model.takeOutOlder(loadId ?? 0, () => true);
          expect(statements).toBe(applied.corrections.length);
        } else if (typeof step === "string") {
          await refreshPartitions({ database, strategy: step });
        } else {
          const syncedOn = `2026-04-0${1 + step.syncDay}`;
          const invoices = step.said.map(({ venue, number, day, cents }): Invoice => {
            const createdOn = new Date(Date.parse("2026-01-10") + day * 86_400_000)
              .toISOString()
              .slice(0, 10);
            return [`venue-${venue}`, number, createdOn, euros(cents)];
          });
          const path = writeInvoices(folder, `drop${index}_${syncedOn}.csv`, invoices);
          const { loadId } = await load(warehouse, path);
          const { lines } = readDrop(readFileSync(path), {
            ...settings,
            timeZone: "UTC",
            syncedOn,
            syncSlack: 0,
            closed: [],
            decimalComma: false,
          });
          model.apply({ loadId: loadId ?? 0, syncedOn }, lines);
        }
        const texts = await textsOf(warehouse);
        expect(texts.toSorted()).toEqual(textsOfModel(model));
        moments.push({ at: await now(warehouse), texts });
      }
      await expectWhole(warehouse);
      for (const { at, texts } of moments) expect(await textsOf(warehouse, at)).toEqual(texts);
      await refreshPartitions({ database, strategy: "full" });
      expect((await textsOf(warehouse)).toSorted()).toEqual(textsOfModel(model));
    }),
    { numRuns: 8 },
  );
});

test("beside loads and refreshes, repairs end in one statement of each invoice, and nothing diverges", async () => {
  const warehouse = await createTestDatabase({ granularity: "week" });
  const { settings } = warehouse;
  const { host, port, user, database } = warehouse.database.pool.options;
  const base = { connection: { host, port, user, database, ssl: false }, settings } as const;
  const folder = makeFolder();
  let busy = true;
  const loading = Promise.all(
    workers.map(async (worker, lane) => {
      for (let round = 0; round < 6; round += 1) {
        const invoices = Array.from({ length: 150 }, (_, n): Invoice => {
          const date = new Date(Date.UTC(2025, 0, 1 + ((n * 5 * (lane + 1) + round * 21) % 90)));
          return [`venue-${(n + round) % 5}`, n, date.toISOString().slice(0, 10), `${lane}${round}.25`];
        });
        const path = writeInvoices(folder, `drop${lane}-${round}-2025-12-0${1 + round}.csv`, invoices);
        expect(await worker.run({ ...base, path, careful: round % 2 === 0 })).toMatchObject({
          load: { outcome: "loaded" },
        });
        expect(await worker.run(base)).toHaveProperty("refreshed");
      }
    }),
  ).finally(() => {
    busy = false;
  });
  let taken = 0;
  while (busy) taken += (await takeOut(warehouse)).statements;
  await loading;
  taken += (await takeOut(warehouse)).statements;
  expect(taken).toBeGreaterThan(0);
  await expectWhole(warehouse);
  expect(await findMoved(warehouse)).toEqual([]);
  expect(
    await warehouse.query("select from warehouse.invoices group by invoice_id having count(*) > 1"),
  ).toEqual([]);
  expect(await warehouse.query("select count(*)::integer as n from warehouse.invoices")).toEqual([
    { n: 150 },
  ]);
  // The newest statement of each: of the last sync date, and of its three loads the last.
  const [newest] = await warehouse.query<{ load_id: number }>(
    "select max(load_id) as load_id from warehouse.loads where synced_on = '2025-12-06'",
  );
  const standing = await warehouse.query("select distinct load_id from warehouse.invoices");
  expect(standing).toEqual([newest]);
});
