/**
 * Undos and replacements that are cut off, and undos beside loads, refreshes and each other. Whatever happens, the warehouse is as
 * before or as after, and a second attempt works.
 */
import { dirname } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../../db/client.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { type OwnServer, openOwnServer, stateOf, until } from "../../../db/testing/own_server.ts";
import { LOAD_STEPS } from "../../load/steps.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { pruneStatements } from "../../undo/prune.ts";
import { UNDO_STEPS, type UndoReport, undo } from "../../undo/undo.ts";
import { type MadeDrop, makeDrop } from "../drops.ts";
import { findDivergences, load } from "../invoices.ts";
import {
  disagreements,
  expectNothingHeld,
  jobOn,
  SESSIONS,
  startOwnWorker,
  totalsOf,
  type Worker,
} from "../warehouse.ts";
import type { Job, JobResult } from "../worker.ts";

/** Number of the load that is undone. */
const MISTAKE = 2;
/** What becomes of its invoices. */
const COUNTS = { removed: 150, corrected: 500, unchanged: 50, inserted: 0 };

/** An undo that is cut off. */
interface Undone {
  readonly loadId: number;
  readonly counts: UndoReport["rows"];
  /** Whether what other loads said is forgotten, and read from their files. */
  readonly fromArchive?: boolean;
}

const OF_MISTAKE: Undone = { loadId: MISTAKE, counts: COUNTS };

const UNDOS: Readonly<Record<string, Undone>> = {
  "an undo": OF_MISTAKE,
  // In one pass, as nothing came after it and it brought nothing new.
  "an undo of the last load, which confirms": {
    loadId: 5,
    counts: { removed: 0, corrected: 0, unchanged: 100, inserted: 0 },
  },
  "an undo from the archive": { ...OF_MISTAKE, fromArchive: true },
};

/** Each step of each of them. */
const CUTS = Object.entries(UNDOS).flatMap(([what, undone]) =>
  UNDO_STEPS.map((step) => ({ what, step, undone })),
);

/** The history of an undo, and how it is told to be undone. */
async function prepare(warehouse: TestWarehouse, { loadId, fromArchive }: Undone): Promise<Partial<Job>> {
  const [first] = await makeHistory(warehouse);
  if (fromArchive !== true || first === undefined) return { undo: loadId };
  await warehouse.query("update warehouse.loads set known_at = known_at - interval '500 days'");
  await pruneStatements(warehouse);
  return { undo: loadId, archive: dirname(first.path) };
}

/**
 * Five loads, of which the second was a mistake. It corrected invoices of the first and brought others. Two older
 * drops came after it and lost to it: one says something else, one the same. The last confirms some of it.
 */
async function makeHistory(warehouse: TestWarehouse): Promise<readonly MadeDrop[]> {
  const folder = makeFolder();
  const drops = [
    await makeDrop({ folder, syncedOn: "2026-04-01", rows: 800 }),
    await makeDrop({ folder, syncedOn: "2026-04-03", rows: 800, first: 400, version: 1 }),
    await makeDrop({ folder, syncedOn: "2026-04-02", rows: 400, first: 600, version: 2 }),
    await makeDrop({ folder, syncedOn: "2026-04-02", rows: 50, first: 1100, version: 1 }),
    await makeDrop({ folder, syncedOn: "2026-04-04", rows: 100, first: 450, version: 1 }),
  ];
  for (const { path } of drops.slice(0, 1)) await load(warehouse, path);
  await refreshPartitions({ database: warehouse.database });
  for (const { path } of drops.slice(1)) await load(warehouse, path);
  return drops;
}

/** Loads of the history by their numbers; those of later attempts differ from run to run. */
const named = (column: string) => `case when ${column} > 5 then 'later' else ${column}::text end`;
const ENTRY = `
  with entry as (
    select load_id, case when undo_of is null then ${named("load_id")} else 'undo of ' || undo_of end as entry
    from warehouse.loads
  )`;

const STATE = {
  ledger: `${ENTRY}
    select entry, status, read, inserted, corrected, unchanged, superseded, removed, partitions
    from warehouse.loads join entry using (load_id) order by entry`,
  invoices: `
    select created_at, created_on, venue_key, ${named("load_id")} as load, synced_on, invoice_id, total
    from warehouse.invoices order by created_on, venue_key, invoice_id`,
  corrections: `${ENTRY}
    select entry, created_on, venue_key, invoice_id, old_created_at, old_total, old_load_id, old_synced_on
    from warehouse.corrections join entry using (load_id)
    order by entry, created_on, venue_key, invoice_id`,
  statements: `${ENTRY}
    select entry, ${named("stated_by")} as stated_by, synced_on, ${named("same_as")} as same_as, created_on, venue_key, each.*
    from warehouse.statements join entry using (load_id)
    cross join lateral unnest(invoice_ids, created_at, total) as each (invoice_id, created_at, total)
    order by created_on, venue_key, each.invoice_id, entry, stated_by`,
  deltas: `${ENTRY}
    select entry, created_on, venue_key, sum(invoices) as invoices, sum(total) as total
    from warehouse.venue_day_deltas join entry using (load_id)
    group by 1, 2, 3 order by 1, 2, 3`,
};

type State = Readonly<Record<keyof typeof STATE, unknown>>;

async function readState(warehouse: TestWarehouse): Promise<State> {
  const tables = await Promise.all(
    Object.entries(STATE).map(async ([name, query]) => [name, await warehouse.query(query)] as const),
  );
  return Object.fromEntries(tables) as Record<keyof typeof STATE, unknown>;
}

interface Expected {
  readonly before: State;
  readonly after: State;
}

/** What the history is before and after each undo, where nothing goes wrong. */
const expecting = new Map<Undone, Promise<Expected>>();

function undoing(warehouse: TestWarehouse, loadId = MISTAKE, folder?: string): Promise<UndoReport> {
  const { database, settings } = warehouse;
  const archive = folder === undefined ? undefined : { folder, sources: [] };
  return undo({ database, settings, loadId, because: "a test", archive });
}

const undoJob = (warehouse: TestWarehouse, more: Partial<Job> = {}): Job => ({
  ...jobOn(warehouse),
  undo: MISTAKE,
  ...more,
});

async function untilStopped({ pid }: Worker): Promise<void> {
  await until("the worker has stopped", () => stateOf(pid) === "T");
}

async function untilWaiting(warehouse: TestWarehouse, query = "%"): Promise<void> {
  await until("a session waits", async () => {
    const waiting = await warehouse.query(
      `select from pg_stat_activity where ${SESSIONS} and wait_event_type = 'Lock' and query like $1`,
      [query],
    );
    return waiting.length > 0;
  });
}

async function expectWhole(warehouse: TestWarehouse): Promise<void> {
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await findDivergences(warehouse)).toEqual([]);
}

/** After a cut-off nothing is half done; then a second attempt, and a refresh, finish the job. */
async function expectFinished(
  warehouse: TestWarehouse,
  isUndone: boolean,
  { undone, archive }: { readonly undone: Undone; readonly archive?: string | undefined } = {
    undone: OF_MISTAKE,
  },
): Promise<void> {
  const known = expecting.get(undone) ?? readExpected(undone);
  expecting.set(undone, known);
  const expected = await known;
  await expectNothingHeld(warehouse);
  expect(await readState(warehouse)).toEqual(isUndone ? expected.after : expected.before);
  await expectWhole(warehouse);
  if (isUndone) {
    await expect(undoing(warehouse, undone.loadId, archive)).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining("undone already"),
    });
  } else {
    await undoing(warehouse, undone.loadId, archive);
  }
  expect(await readState(warehouse)).toEqual(expected.after);
  await refreshPartitions({ database: warehouse.database });
  expect(await warehouse.query("select * from warehouse.venue_day_pending")).toEqual([]);
  await expectWhole(warehouse);
  await expectNothingHeld(warehouse);
}

function reportOf(result: JobResult): UndoReport {
  if ("undone" in result) return result.undone;
  throw new Error(`no undo: ${JSON.stringify(result)}`);
}

async function readExpected(undone: Undone): Promise<Expected> {
  const warehouse = await createTestDatabase();
  const { archive } = await prepare(warehouse, undone);
  const before = await readState(warehouse);
  expect((await undoing(warehouse, undone.loadId, archive)).rows).toEqual(undone.counts);
  await expectWhole(warehouse);
  return { before, after: await readState(warehouse) };
}

describe("killed", () => {
  test.each(CUTS)(
    "$what at step $step leaves the warehouse as before or as after",
    async ({ step, undone }) => {
      const warehouse = await createTestDatabase();
      const job = await prepare(warehouse, undone);
      const result = await startOwnWorker().run(undoJob(warehouse, { ...job, dieAt: step }));
      expect(result).toEqual({ error: "the worker ended: SIGKILL" });
      await expectFinished(warehouse, step === "committed", { undone, archive: job.archive });
    },
  );

  test("an undo in the middle of its changes leaves the warehouse as before", async () => {
    const warehouse = await createTestDatabase();
    await makeHistory(warehouse);
    // What changes is appended to pending last; this keeps it waiting there.
    const held = await holdLock(warehouse, "lock table warehouse.venue_day_pending in share mode");
    const killed = startOwnWorker();
    const result = killed.run(undoJob(warehouse));
    await untilWaiting(warehouse, "%undo_changed%");
    killed.kill();
    expect(await result).toEqual({ error: "the worker ended: SIGKILL" });
    await held.release();
    await expectFinished(warehouse, false);
  });
});

/** Runs a statement in a transaction that stays open until it is released. */
async function holdLock(
  warehouse: TestWarehouse,
  statement: string,
): Promise<{ readonly release: () => Promise<void> }> {
  const client: pg.PoolClient = await warehouse.database.pool.connect();
  let released = false;
  const release = async () => {
    if (released) return;
    released = true;
    await client.query("rollback; reset application_name");
    client.release();
  };
  onTestFinished(release);
  await client.query("begin; set application_name = 'holder'");
  await client.query(statement);
  return { release };
}

describe("PostgreSQL killed with all its processes", () => {
  let own: OwnServer;
  beforeAll(async () => {
    own = await openOwnServer();
  });
  afterAll(() => own.close());

  test.each(CUTS)("while $what is at step $step loses and doubles nothing", async ({ step, undone }) => {
    const warehouse = await own.makeWarehouse();
    const job = await prepare(warehouse, undone);
    const stopped = startOwnWorker();
    const result = stopped.run(undoJob(warehouse, { ...job, stopAt: step }));
    await untilStopped(stopped);
    own.kill();
    process.kill(stopped.pid, "SIGCONT");
    const ended = await result;
    if ("error" in ended) expect(ended.error).toMatch(/connect|terminat|ECONN|EPIPE/);
    await untilReachable(warehouse);
    await expectFinished(warehouse, "undone" in ended, { undone, archive: job.archive });
  });
});

async function endSessions(warehouse: TestWarehouse): Promise<void> {
  const { connection } = jobOn(warehouse);
  const admin = openDatabase({ connection: { ...connection, application_name: "admin" }, max: 1 });
  await admin.pool.query(`
    select pg_terminate_backend(pid, 10000) from pg_stat_activity
    where application_name = 'rollbook' and datname = current_database()`);
  await admin.pool.end();
}

async function untilReachable(warehouse: TestWarehouse): Promise<void> {
  await until("the server is back", () =>
    warehouse.query("select 1").then(
      () => true,
      () => false,
    ),
  );
}

describe("an undo whose connections are ended", () => {
  test.each(UNDO_STEPS.filter((step) => step !== "committed"))(
    "at step %s is tried again and succeeds",
    async (step) => {
      const warehouse = await createTestDatabase();
      await makeHistory(warehouse);
      const stopped = startOwnWorker();
      const result = stopped.run(undoJob(warehouse, { stopAt: step }));
      await untilStopped(stopped);
      await endSessions(warehouse);
      process.kill(stopped.pid, "SIGCONT");
      expect(reportOf(await result).rows.removed).toBe(150);
      await expectFinished(warehouse, true);
    },
  );
});

describe("a load that replaces the mistake", () => {
  const steps = LOAD_STEPS.filter((step) => step !== "insert");
  let expectingReplaced: Promise<Expected> | undefined;

  /** It corrects some of the mistake, leaves some out, and brings others. */
  async function makeCorrected(): Promise<string> {
    const corrected = { syncedOn: "2026-04-03", rows: 700, first: 550, version: 8 };
    return (await makeDrop({ folder: makeFolder(), ...corrected })).path;
  }

  const replaceJob = (warehouse: TestWarehouse, path: string, more: Partial<Job> = {}): Job => ({
    ...jobOn(warehouse),
    path,
    replace: MISTAKE,
    ...more,
  });

  async function readReplaced(): Promise<Expected> {
    const warehouse = await createTestDatabase();
    await makeHistory(warehouse);
    const before = await readState(warehouse);
    const done = await startOwnWorker().run(replaceJob(warehouse, await makeCorrected()));
    expect(done).toMatchObject({ load: { outcome: "loaded" } });
    await expectWhole(warehouse);
    return { before, after: await readState(warehouse) };
  }

  async function expectReplaced(warehouse: TestWarehouse, path: string, isReplaced: boolean): Promise<void> {
    expectingReplaced ??= readReplaced();
    const expected = await expectingReplaced;
    await expectNothingHeld(warehouse);
    const failed = "delete from warehouse.loads where status = 'failed'";
    await warehouse.query(failed);
    expect(await readState(warehouse)).toEqual(isReplaced ? expected.after : expected.before);
    await expectWhole(warehouse);
    const again = await startOwnWorker().run(replaceJob(warehouse, path));
    const outcome = isReplaced ? "failed" : "loaded";
    expect(again, JSON.stringify(again)).toMatchObject({ load: { outcome } });
    await warehouse.query(failed);
    expect(await readState(warehouse)).toEqual(expected.after);
    await refreshPartitions({ database: warehouse.database });
    await expectWhole(warehouse);
  }

  test.each(steps)("and is killed at step %s leaves both as before or as after", async (step) => {
    const warehouse = await createTestDatabase();
    await makeHistory(warehouse);
    const path = await makeCorrected();
    const result = await startOwnWorker().run(replaceJob(warehouse, path, { dieAt: step }));
    expect(result).toEqual({ error: "the worker ended: SIGKILL" });
    await expectReplaced(warehouse, path, step === "committed");
  });

  test.each(steps.filter((step) => step !== "committed"))(
    "and loses its connections at step %s is tried again and succeeds",
    async (step) => {
      const warehouse = await createTestDatabase();
      await makeHistory(warehouse);
      const path = await makeCorrected();
      const stopped = startOwnWorker();
      const result = stopped.run(replaceJob(warehouse, path, { stopAt: step }));
      await untilStopped(stopped);
      await endSessions(warehouse);
      process.kill(stopped.pid, "SIGCONT");
      expect(await result).toMatchObject({ load: { outcome: "loaded" } });
      await expectReplaced(warehouse, path, true);
    },
  );

  describe("and PostgreSQL is killed with all its processes", () => {
    let own: OwnServer;
    beforeAll(async () => {
      own = await openOwnServer();
    });
    afterAll(() => own.close());

    test.each(steps)("at step %s loses and doubles nothing", async (step) => {
      const warehouse = await own.makeWarehouse();
      await makeHistory(warehouse);
      const path = await makeCorrected();
      const stopped = startOwnWorker();
      const result = stopped.run(replaceJob(warehouse, path, { stopAt: step }));
      await untilStopped(stopped);
      own.kill();
      process.kill(stopped.pid, "SIGCONT");
      const ended = await result;
      if (!("load" in ended)) throw new Error(`no load: ${JSON.stringify(ended)}`);
      await untilReachable(warehouse);
      await expectReplaced(warehouse, path, ended.load.outcome === "loaded");
    });
  });
});

describe("an undo and a load that meet at the same invoices", () => {
  const loads = [
    { what: "an older one", syncedOn: "2026-04-02", version: 5 },
    { what: "a newer one", syncedOn: "2026-04-05", version: 6 },
    { what: "one that confirms", syncedOn: "2026-04-05", version: 1 },
    { what: "an older one that says the same", syncedOn: "2026-04-02", version: 1 },
  ];
  // Invoices of all kinds: kept by the first load, lost to the mistake, its own, confirmed, and new ones.
  const lines = { rows: 900, first: 350 };
  const cases = loads.flatMap((one) => [
    { ...one, careful: true },
    { ...one, careful: false },
  ]);

  /** The invoices where one came after the other. */
  async function inTurn(path: string): Promise<unknown> {
    const warehouse = await createTestDatabase();
    await makeHistory(warehouse);
    await undoing(warehouse);
    await load(warehouse, path);
    return readInvoices(warehouse);
  }

  const readInvoices = (warehouse: TestWarehouse) => warehouse.query(STATE.invoices);

  test.each(cases)(
    "$what (careful: $careful) that waits for the undo",
    async ({ what: _, careful, ...drop }) => {
      const warehouse = await createTestDatabase();
      await makeHistory(warehouse);
      const { path } = await makeDrop({ folder: makeFolder(), ...lines, ...drop });
      const [first, second] = [startOwnWorker(), startOwnWorker()];
      const undone = first.run(undoJob(warehouse, { stopAt: "commit" }));
      await untilStopped(first);
      const loaded = second.run({ ...jobOn(warehouse), path, careful });
      await untilWaiting(warehouse);
      process.kill(first.pid, "SIGCONT");
      expect(reportOf(await undone).rows).toEqual(COUNTS);
      expect(await loaded).toMatchObject({ load: { outcome: "loaded" } });
      expect(await readInvoices(warehouse)).toEqual(await inTurn(path));
      await expectWhole(warehouse);
    },
  );

  test.each(cases)(
    "$what (careful: $careful) for which the undo waits",
    async ({ what: _, careful, ...drop }) => {
      const warehouse = await createTestDatabase();
      await makeHistory(warehouse);
      const { path } = await makeDrop({ folder: makeFolder(), ...lines, ...drop });
      const [first, second] = [startOwnWorker(), startOwnWorker()];
      const loaded = first.run({ ...jobOn(warehouse), path, careful, stopAt: "commit" });
      await untilStopped(first);
      const undone = second.run(undoJob(warehouse));
      await untilWaiting(warehouse, "%undo_standing%");
      process.kill(first.pid, "SIGCONT");
      expect(await loaded).toMatchObject({ load: { outcome: "loaded" } });
      reportOf(await undone);
      expect(await readInvoices(warehouse)).toEqual(await inTurn(path));
      await expectWhole(warehouse);
    },
  );

  test("when the undo is taken back and the load brings what comes back", async () => {
    const warehouse = await createTestDatabase();
    await makeHistory(warehouse);
    const before = await totalsOf(warehouse);
    const { loadId } = await undoing(warehouse);
    const { path } = await makeDrop({
      folder: makeFolder(),
      syncedOn: "2026-04-02",
      rows: 200,
      first: 1000,
      version: 7,
    });
    const [first, second] = [startOwnWorker(), startOwnWorker()];
    const loaded = first.run({ ...jobOn(warehouse), path, stopAt: "commit" });
    await untilStopped(first);
    const undone = second.run(undoJob(warehouse, { undo: loadId ?? 0 }));
    await untilWaiting(warehouse);
    process.kill(first.pid, "SIGCONT");
    expect(await loaded).toMatchObject({ load: { outcome: "loaded" } });
    expect(reportOf(await undone).undone).toBe("undo");
    expect(await totalsOf(warehouse)).toEqual(before);
    await expectWhole(warehouse);
  });
});

describe("an undo beside a refresh", () => {
  test("that is between two partitions", async () => {
    const warehouse = await createTestDatabase();
    await makeHistory(warehouse);
    const refresher = startOwnWorker();
    const refreshed = refresher.run({ ...jobOn(warehouse), strategy: "delta", stopAt: "refresh" });
    await untilStopped(refresher);
    await undoing(warehouse);
    expect(await disagreements(warehouse)).toEqual([]);
    process.kill(refresher.pid, "SIGCONT");
    expect(await refreshed).toHaveProperty("refreshed");
    await expectFinished(warehouse, true);
  });

  test.each(["delta", "partition"] as const)(
    "by %s that goes on while the undo is open",
    async (strategy) => {
      const warehouse = await createTestDatabase();
      await makeHistory(warehouse);
      const first = startOwnWorker();
      const undone = first.run(undoJob(warehouse, { stopAt: "commit" }));
      await untilStopped(first);
      await refreshPartitions({ database: warehouse.database, strategy });
      expect(await disagreements(warehouse)).toEqual([]);
      process.kill(first.pid, "SIGCONT");
      reportOf(await undone);
      await expectFinished(warehouse, true);
    },
  );
});

describe("two undos at once", () => {
  test("of one load: one undoes it, the other says that it is undone", async () => {
    const warehouse = await createTestDatabase();
    await makeHistory(warehouse);
    const [first, second] = [startOwnWorker(), startOwnWorker()];
    const undone = first.run(undoJob(warehouse, { stopAt: "commit" }));
    await untilStopped(first);
    const late = second.run(undoJob(warehouse));
    await untilWaiting(warehouse);
    process.kill(first.pid, "SIGCONT");
    const { loadId } = reportOf(await undone);
    expect(await late).toEqual({ error: expect.stringContaining(`2 is undone already, by ${loadId}`) });
    await expectFinished(warehouse, true);
  });

  test("of one load, the first killed: the second undoes it", async () => {
    const warehouse = await createTestDatabase();
    await makeHistory(warehouse);
    const [first, second] = [startOwnWorker(), startOwnWorker()];
    const killed = first.run(undoJob(warehouse, { stopAt: "commit" }));
    await untilStopped(first);
    const undone = second.run(undoJob(warehouse));
    await untilWaiting(warehouse);
    first.kill();
    expect(await killed).toEqual({ error: "the worker ended: SIGKILL" });
    reportOf(await undone);
    await expectFinished(warehouse, true);
  });

  test("of two loads that state the same invoices: both are undone", async () => {
    const warehouse = await createTestDatabase();
    await makeHistory(warehouse);
    const [first, second] = [startOwnWorker(), startOwnWorker()];
    const both = await Promise.all([
      first.run(undoJob(warehouse)),
      second.run(undoJob(warehouse, { undo: 3 })),
    ]);
    for (const result of both) reportOf(result);
    await expectWhole(warehouse);
    const turned = await createTestDatabase();
    await makeHistory(turned);
    await undoing(turned, 3);
    await undoing(turned);
    const [one, other] = [await readState(warehouse), await readState(turned)];
    expect(one.invoices).toEqual(other.invoices);
  });
});

describe("the drop of a load that is undone", () => {
  test("is loaded again while its undo is taken back: the second is refused", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const before = await totalsOf(warehouse);
    const { loadId } = await undoing(warehouse);
    const path = drops[1]?.path ?? "";
    const [first, second] = [startOwnWorker(), startOwnWorker()];
    const loaded = first.run({ ...jobOn(warehouse), path, stopAt: "commit" });
    await untilStopped(first);
    const refused = second.run(undoJob(warehouse, { undo: loadId ?? 0 }));
    await untilWaiting(warehouse, "%update%loads%");
    process.kill(first.pid, "SIGCONT");
    expect(await loaded).toMatchObject({ load: { outcome: "loaded", loadId: 7 } });
    expect(await refused).toEqual({
      error: expect.stringMatching(/RollbookError: undo 6 cannot be taken back.*undo 7/),
    });
    expect(await totalsOf(warehouse)).toEqual(before);
    await expectWhole(warehouse);
  });

  test("is not loaded again when the one who would is killed: the undo is taken back", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const before = await totalsOf(warehouse);
    const { loadId } = await undoing(warehouse);
    const path = drops[1]?.path ?? "";
    const [first, second] = [startOwnWorker(), startOwnWorker()];
    const killed = first.run({ ...jobOn(warehouse), path, stopAt: "commit" });
    await untilStopped(first);
    const undone = second.run(undoJob(warehouse, { undo: loadId ?? 0 }));
    await untilWaiting(warehouse, "%update%loads%");
    first.kill();
    expect(await killed).toEqual({ error: "the worker ended: SIGKILL" });
    expect(reportOf(await undone).undone).toBe("undo");
    expect(await totalsOf(warehouse)).toEqual(before);
    await expectWhole(warehouse);
  });

  test("is loaded again because its data was lost, at the same moment: there is nothing to undo", async () => {
    const warehouse = await createTestDatabase();
    const drops = await makeHistory(warehouse);
    const path = drops[1]?.path ?? "";
    const [first, second] = [startOwnWorker(), startOwnWorker()];
    const loaded = first.run({ ...jobOn(warehouse), path, again: true, stopAt: "commit" });
    await untilStopped(first);
    const refused = second.run(undoJob(warehouse));
    await untilWaiting(warehouse, "%loads%");
    process.kill(first.pid, "SIGCONT");
    expect(await loaded).toMatchObject({ load: { outcome: "loaded" } });
    expect(await refused).toEqual({ error: expect.stringContaining("load 2 is failed") });
    await expectWhole(warehouse);
  });
});
