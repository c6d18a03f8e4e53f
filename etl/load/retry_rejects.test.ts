/** Rejected lines that are read again: what comes in is what would have come in at first, and nothing else changes. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { readOpenRejects } from "../reports/open_rejects.ts";
import { attachRebuilt, detachRefreshed } from "../retire.ts";
import { rollbookHere } from "../testing/cli.ts";
import { findDivergences } from "../testing/invoices.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { dismissRejects } from "./dismiss.ts";
import { type LoadOptions, loadDrop } from "./load.ts";
import { type RetryReport, retryRejects } from "./retry_rejects.ts";

const line = (number: number, total: string, created = "2026-01-01T12:00:00") =>
  `v${number % 3},${invoiceId(number)},${created},${total}`;
/** A total that only --decimal-comma takes. */
const comma = (number: number, total: string, created?: string) => line(number, `"${total}"`, created);

async function load(
  warehouse: TestWarehouse,
  path: string,
  options: Partial<LoadOptions> = {},
): Promise<number> {
  const report = await loadDrop({ ...warehouse, path, maxRejects: 1, ...options });
  expect(report).toMatchObject({ outcome: "loaded" });
  return report.loadId ?? 0;
}

async function retry(
  warehouse: TestWarehouse,
  loadId: number,
  path: string,
  options: { readonly decimalComma?: boolean; readonly signal?: AbortSignal } = { decimalComma: true },
): Promise<RetryReport> {
  return retryRejects({ ...warehouse, loadId, findFile: async () => ({ path, follow: false }), ...options });
}

const open = (warehouse: TestWarehouse) => readOpenRejects(warehouse);

/** The invoices, and what the reports show; the same for warehouses that came to them in different ways. */
async function stateOf({ query }: TestWarehouse): Promise<unknown> {
  return {
    invoices: await query(`
      select venue_id, invoice_id, created_on, created_at, total, load_id, synced_on
      from warehouse.invoices join warehouse.venues using (venue_key) order by 1, 2, 3`),
    totals: await query("select * from reports.venue_daily_totals order by 1, 2"),
  };
}

test("open lines come in as statements of their drop, with a ledger entry of their own", async () => {
  const warehouse = await createTestDatabase();
  const path = writeDrop(makeFolder(), "a_2026-01-05.csv", [
    line(1, "1.00"),
    comma(2, "2,00"),
    line(3, "x"),
    comma(4, "-4,00"),
  ]);
  const loadId = await load(warehouse, path);
  expect(await open(warehouse)).toMatchObject([
    { loadId, fileName: "a_2026-01-05.csv", reason: "bad_total", lines: 3, firstLine: 2, firstCell: "2,00" },
  ]);
  const [before] = await warehouse.query<{ now: string }>("select clock_timestamp()::text as now");
  const report = await retry(warehouse, loadId, path);
  expect(report).toMatchObject({
    outcome: "taken_in",
    retryOf: loadId,
    rows: {
      read: 3,
      inserted: 2,
      corrected: 0,
      unchanged: 0,
      superseded: 0,
      rejected: 1,
      skipped: 0,
      summed: 0,
      voided: 0,
      absent: 0,
    },
    reasons: [{ reason: "bad_total", count: 1, line: 3, cell: "x" }],
    partitions: ["2026-01"],
  });
  expect(await open(warehouse)).toMatchObject([{ loadId: report.loadId, lines: 1, firstLine: 3 }]);
  expect(
    await warehouse.query(`
      select status, retry_of, file_name, synced_on::text, read, inserted, rejected
      from reports.load_history where load_id = ${report.loadId}`),
  ).toEqual([
    {
      status: "retry",
      retry_of: loadId,
      file_name: "a_2026-01-05.csv",
      synced_on: "2026-01-05",
      read: "3",
      inserted: "2",
      rejected: "1",
    },
  ]);
  const known = (at: string) =>
    warehouse.query(`select sum(total)::text as total from reports.venue_daily_totals_as_known_on(${at})`);
  expect(await known(`'${before?.now}'::timestamptz`)).toEqual([{ total: "1.00" }]);
  expect(await known("now()")).toEqual([{ total: "-1.00" }]);
  expect(await findDivergences(warehouse)).toEqual([]);
  await refreshPartitions(warehouse);
  expect(await findDivergences(warehouse, { identity: true })).toEqual([]);
});

test("again it finds nothing that can come in; what was decided is not open", async () => {
  const warehouse = await createTestDatabase();
  const path = writeDrop(makeFolder(), "a_2026-01-05.csv", [comma(1, "1,00"), line(2, "x")]);
  const loadId = await load(warehouse, path);
  const first = await retry(warehouse, loadId, path);
  const before = await stateOf(warehouse);
  for (const id of [loadId, first.loadId ?? 0]) {
    expect(await retry(warehouse, id, path)).toMatchObject({
      outcome: "nothing_taken",
      loadId: null,
      rows: { read: 1, rejected: 1 },
    });
  }
  expect(await stateOf(warehouse)).toEqual(before);
  expect(await warehouse.query("select from warehouse.loads")).toHaveLength(2);
  await expect(dismissRejects({ ...warehouse, loadId, because: "x" })).rejects.toThrow(
    `nothing of load ${loadId} is open. Its lines were read again by load ${first.loadId}.`,
  );
  const dismissed = await dismissRejects({ ...warehouse, loadId: first.loadId ?? 0, because: "trailer" });
  expect(dismissed).toMatchObject([{ reason: "bad_total", lines: 1 }]);
  expect(await open(warehouse)).toEqual([]);
  expect(await retry(warehouse, loadId, path)).toMatchObject({ outcome: "nothing_open", rows: { read: 0 } });
});

test("dismissed lines stay out, also where an open one has their key", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  await load(warehouse, writeDrop(folder, "a_2026-01-05.csv", [line(9, "1.00")]));
  await detachRefreshed({ ...warehouse, partition: "2026-01" });
  const path = writeDrop(folder, "b_2026-01-05.csv", [comma(1, "1,00"), line(1, "2.00"), line(2, "4.00")]);
  const loadId = await load(warehouse, path);
  await dismissRejects({ ...warehouse, loadId, reason: "partition_closed", because: "a test of the till" });
  const kept = await warehouse.query(
    "select load_id, reason, because, dismissed_by from warehouse.dismissals",
  );
  expect(kept).toEqual([
    {
      load_id: loadId,
      reason: "partition_closed",
      because: "a test of the till",
      dismissed_by: expect.any(String),
    },
  ]);
  expect(await open(warehouse)).toMatchObject([{ reason: "bad_total", lines: 1 }]);
  await attachRebuilt({ ...warehouse, partition: "2026-01" });
  expect(await retry(warehouse, loadId, path)).toMatchObject({ rows: { read: 1, inserted: 1, rejected: 0 } });
  const brought = await warehouse.query("select total from warehouse.invoices where load_id = $1", [loadId]);
  expect(brought).toEqual([{ total: "1.00" }]);
  expect(await open(warehouse)).toEqual([]);
});

test("two at once take the lines in once", async () => {
  const warehouse = await createTestDatabase();
  const path = writeDrop(makeFolder(), "a_2026-01-05.csv", [line(1, "1.00"), comma(2, "2,00")]);
  const loadId = await load(warehouse, path);
  const reports = await Promise.all([1, 2, 3].map(() => retry(warehouse, loadId, path)));
  expect(reports.map(({ outcome }) => outcome).toSorted()).toEqual([
    "nothing_open",
    "nothing_open",
    "taken_in",
  ]);
  expect(await findDivergences(warehouse)).toEqual([]);
});

test("one that is interrupted, or meets another file, changes nothing", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const path = writeDrop(folder, "a_2026-01-05.csv", [line(1, "1.00"), comma(2, "2,00")]);
  const loadId = await load(warehouse, path);
  const before = await stateOf(warehouse);
  const control = new AbortController();
  await expect(
    retryRejects({
      ...warehouse,
      loadId,
      decimalComma: true,
      findFile: async () => ({ path, follow: false }),
      signal: control.signal,
      onProgress: ({ step }) => step === "merge" && control.abort(),
    }),
  ).rejects.toMatchObject({ code: "aborted" });
  const other = writeDrop(folder, "b_2026-01-05.csv", [line(1, "9.00"), comma(2, "9,00")]);
  await expect(retry(warehouse, loadId, other)).rejects.toMatchObject({ code: "file_changed" });
  expect(await stateOf(warehouse)).toEqual(before);
  expect(await warehouse.query("select from warehouse.loads")).toHaveLength(1);
  expect(await retry(warehouse, loadId, path)).toMatchObject({ outcome: "taken_in" });
});

test("lines of a partition that was closed come in when it is open again", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  await load(warehouse, writeDrop(folder, "a_2026-01-05.csv", [line(1, "1.00")]));
  await refreshPartitions(warehouse);
  await detachRefreshed({ ...warehouse, partition: "2026-01" });
  const path = writeDrop(folder, "b_2026-01-06.csv", [line(2, "2.00"), line(3, "3.00", "2025-12-31")]);
  const loadId = await load(warehouse, path);
  expect(await retry(warehouse, loadId, path, {})).toMatchObject({ outcome: "nothing_taken" });
  await attachRebuilt({ ...warehouse, partition: "2026-01" });
  expect(await retry(warehouse, loadId, path, {})).toMatchObject({ rows: { read: 1, inserted: 1 } });
  expect(await findDivergences(warehouse)).toEqual([]);
});

test("a drop that was refused as a whole has no open lines, nor has a load that there is not", async () => {
  const warehouse = await createTestDatabase();
  const path = writeDrop(makeFolder(), "a_2026-01-05.csv", [line(1, "x")]);
  const refused = await loadDrop({ ...warehouse, path });
  expect(refused.outcome).toBe("rejected");
  expect(await open(warehouse)).toEqual([]);
  await expect(retry(warehouse, refused.loadId ?? 0, path)).rejects.toThrow("Load the file again");
  await expect(retry(warehouse, 99, path)).rejects.toMatchObject({ code: "not_found" });
});

/** A generator of numbers from 0 to below 1, the same for the same seed. Source: mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test.each([1, 2, 3, 4])(
  "random drops of few invoices, some retried in between: the state is as if all had been read so at first (seed %i)",
  async (seed) => {
    const random = seeded(seed);
    const whole = (below: number) => Math.floor(random() * below);
    const [retried, atOnce] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    const folder = makeFolder();
    const paths: string[] = [];
    const waiting: { loadId: number; path: string }[] = [];
    for (let drop = 0; drop < 12; drop++) {
      const lines = Array.from({ length: 30 }, () => {
        const number = whole(25);
        const total = `${whole(50)},${10 + whole(90)}`;
        return random() < 0.5 ? comma(number, total) : line(number, total.replace(",", "."));
      });
      const path = writeDrop(folder, `d${drop}_2026-01-0${5 + whole(3)}.csv`, lines);
      paths.push(path);
      waiting.push({ loadId: await load(retried, path, { careful: random() < 0.5 }), path });
      if (random() < 0.4) await retryAny();
    }
    while (waiting.length > 0) await retryAny();
    // A retry takes a number of the ledger as well, so the loads of the other warehouse are numbered alike.
    const numbers = await retried.query<{ load_id: number; file_name: string; status: string }>(
      "select load_id, file_name, status from warehouse.loads order by load_id",
    );
    for (const { load_id: loadId, file_name: name, status } of numbers) {
      if (status === "retry") continue;
      await atOnce.query(`select setval('warehouse.loads_load_id_seq', ${loadId}, false)`);
      expect(await load(atOnce, join(folder, name), { decimalComma: true })).toBe(loadId);
    }
    expect(await stateOf(retried)).toEqual(await stateOf(atOnce));
    expect(await open(retried)).toEqual([]);
    expect(await findDivergences(retried, { identity: true })).toEqual([]);

    async function retryAny(): Promise<void> {
      const [chosen] = waiting.splice(whole(waiting.length), 1);
      if (chosen === undefined) return;
      expect(await retry(retried, chosen.loadId, chosen.path)).toMatchObject({ rows: { rejected: 0 } });
    }
  },
);

test("the command lists what is open, finds the file in the archive by its bytes, and tells what came in", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  expect((await run("rejects")).stdout).toBe("No rejects are open.\n");
  const path = writeDrop(folder, "a_2026-01-05.csv", [
    line(1, "1.00"),
    comma(2, "2,00"),
    line(3, "3.00", "soon"),
  ]);
  await load(warehouse, path);
  const listed = (await run("rejects")).stdout;
  expect(listed).toMatch(/1 +a_2026-01-05\.csv .*bad_total +1 /);
  expect(listed).toMatch(/bad_timestamp +1 +3\.00 /);
  expect(listed).toContain("load 1, bad_total: if the comma is the decimal mark: --decimal-comma");
  expect((await run("status")).stdout).toContain(
    "2 lines of 1 file refused and not decided on, 3.00 as far as it can be read: rollbook rejects",
  );
  rmSync(path);
  const lost = await run("rejects", "retry", "--load", "1");
  expect([lost.code, lost.stderr]).toEqual([
    expect.any(Number),
    expect.stringContaining("rollbook rejects retry --load 1 FILE"),
  ]);
  expect(lost.code).not.toBe(0);
  writeDrop(folder, "inbox/archive/other_2026-01-05.csv", [line(1, "7.00")]);
  const text = [line(1, "1.00"), comma(2, "2,00"), line(3, "3.00", "soon")].map((row) => `${row}\n`).join("");
  writeFileSync(join(folder, "inbox", "archive", "a_2026-01-05.1.csv"), text);
  const taken = await run("rejects", "retry", "--load", "1", "--decimal-comma");
  expect(taken).toMatchObject({ code: 0, stderr: "" });
  expect(taken.stdout).toContain(
    "a_2026-01-05.csv (load 1): read again (load 2), 2 lines: 1 inserted, 1 rejected",
  );
  const dismissed = await run(
    ..."rejects dismiss --load 2 --reason bad_timestamp --because trailer".split(" "),
  );
  expect(dismissed).toMatchObject({
    code: 0,
    stdout: "load 2: 1 line dismissed: bad_timestamp, 3.00 in all\n",
  });
  expect((await run("rejects", "--json")).stdout).toBe("");
});
