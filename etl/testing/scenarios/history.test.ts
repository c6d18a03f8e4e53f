/**
 * Random histories of drops, loaded by several processes at once with refreshes in between, against a model in memory. Seeded: a failure
 * names its seed, and ROLLBOOK_SEED runs that one alone.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Granularity } from "../../../db/schema.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { loginAs } from "../../../db/testing/roles.ts";
import { loadDrop } from "../../load/load.ts";
import type { LoadReport } from "../../load/report.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { STRATEGIES } from "../../refresh/strategy.ts";
import { type Change, explainTotal, type Total } from "../../reports/totals.ts";
import type { Divergence } from "../../verify/divergence.ts";
import { verifyWarehouse } from "../../verify/verify.ts";
import { readDrop } from "../models/format.ts";
import { euros } from "../models/money.ts";
import { createWarehouseModel, type WarehouseModel } from "../models/warehouse.ts";
import { disagreements, startWorker, totalsOf, type Worker } from "../warehouse.ts";

const HISTORIES = 200;
/** Every so many histories one is lived through by the roles: what loads, refreshes and verifies is the loader, what asks the reader. */
const HISTORIES_PER_ROLES = 8;
const PROCESSES = 4;
const ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"] as const;
const GRANULARITIES: readonly Granularity[] = ["day", "week", "month", "quarter", "year"];

interface Line {
  readonly venue: string;
  readonly invoice: number;
  /** Wall-clock time in the warehouse's zone; noon, so that no clock change is near. */
  readonly createdAt: string;
  readonly cents: number;
}

interface Drop {
  readonly syncedOn: string;
  readonly path: string;
  readonly lines: readonly Line[];
}

/** A generator of numbers that a seed determines (mulberry32, public domain). */
function randomFrom(seed: number) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  const pick = <T>(items: readonly T[]): T => {
    const item = items[below(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  };
  const shuffle = <T>(items: readonly T[]): T[] => {
    const left = [...items];
    const shuffled: T[] = [];
    while (left.length > 0) shuffled.push(...left.splice(below(left.length), 1));
    return shuffled;
  };
  return { below, pick, shuffle, chance: (share: number) => next() < share };
}
type Random = ReturnType<typeof randomFrom>;

function uuidOf(number: number): string {
  const hex = createHash("md5").update(String(number)).digest("hex");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

function dayBefore(date: string, days: number): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) - days * 86_400_000).toISOString().slice(0, 10);
}

/** Drops with late, repeated, corrected, re-sent and shuffled lines, over few keys so that they meet. */
function makeDrops(random: Random, folder: string): readonly Drop[] {
  const seen: Line[] = [];
  return Array.from({ length: 3 + random.below(6) }, (_, index): Drop => {
    const syncedOn = `2026-03-${String(1 + random.below(6)).padStart(2, "0")}`;
    const lines = Array.from({ length: random.below(40) }, (): Line => {
      const cents = random.below(10) === 0 ? 0 : random.below(20_000) - 2000;
      const known = seen.filter((line) => line.createdAt.slice(0, 10) <= syncedOn);
      if (known.length > 0 && random.chance(0.4)) {
        const again = random.pick(known);
        if (random.chance(0.3)) return again;
        const second = String(random.below(60)).padStart(2, "0");
        return random.chance(0.3)
          ? { ...again, createdAt: `${again.createdAt.slice(0, 17)}${second}` }
          : { ...again, cents };
      }
      const late = random.chance(0.3) ? random.below(70) : random.below(2);
      const line: Line = {
        venue: `venue-${random.below(3)}`,
        invoice: random.below(5000),
        createdAt: `${dayBefore(syncedOn, late)}T12:00:00`,
        cents,
      };
      seen.push(line);
      return line;
    });
    const path = join(folder, `drop${index}_${syncedOn}.csv`);
    const shuffled = random.shuffle(lines);
    writeFileSync(path, `venue_id,invoice_id,datetime_created,total\n${shuffled.map(formatLine).join("")}`);
    return { syncedOn, path, lines: shuffled };
  });
}

function formatLine({ venue, invoice, createdAt, cents }: Line): string {
  return `${venue},${uuidOf(invoice)},${createdAt},${euros(cents)}\n`;
}

/** The model's totals, as the reports show them. */
function expectedTotals(model: WarehouseModel): readonly Total[] {
  return model
    .totals()
    .map(({ venue, createdOn, invoices, cents }) => ({
      venue_id: venue,
      created_on: createdOn,
      invoices,
      total: euros(cents),
    }))
    .sort((a, b) => (`${a.venue_id} ${a.created_on}` < `${b.venue_id} ${b.created_on}` ? -1 : 1));
}

let workers: readonly Worker[] = [];
beforeAll(() => {
  workers = Array.from({ length: PROCESSES }, startWorker);
});
afterAll(() => {
  for (const worker of workers) worker.kill();
});

/** Runs the jobs on the worker processes, as many at once as there are workers. */
async function runAtOnce(
  warehouse: TestWarehouse,
  drops: readonly Drop[],
  random: Random,
): Promise<LoadReport[]> {
  const connection = warehouse.database.pool.options;
  const { host, port, user, database } = connection;
  const base = {
    connection: { host, port, user, database, ssl: false } as const,
    settings: warehouse.settings,
  };
  const refreshing = random.chance(0.5);
  const jobs = drops.map(({ path }, index) => workers[index]?.run({ ...base, path, maxRejects: 0 }));
  const refresher = workers[drops.length];
  const refreshed =
    refreshing && refresher ? refresher.run({ ...base, strategy: random.pick(STRATEGIES) }) : undefined;
  const results = await Promise.all(jobs);
  const after = await refreshed;
  if (after !== undefined && "error" in after) throw new Error(after.error);
  return results.map((result) => {
    if (result === undefined || !("load" in result)) throw new Error(`no load: ${JSON.stringify(result)}`);
    return result.load;
  });
}

async function liveThrough(seed: number): Promise<void> {
  const random = randomFrom(seed);
  const settings = {
    timeZone: random.pick(ZONES),
    granularity: random.pick(GRANULARITIES),
    earliest: "2000-01-01",
  };
  const roles = seed % HISTORIES_PER_ROLES === 0;
  const warehouse = await createTestDatabase({ ...settings, roles });
  const loader = roles ? await loginAs(warehouse, "loader") : warehouse;
  const reader = roles ? await loginAs(warehouse, "reader") : warehouse;
  const drops = makeDrops(random, makeFolder());
  const queue = random.shuffle([...drops, ...drops.filter(() => random.chance(0.3))]);
  const model = createWarehouseModel();
  const world = { ...settings, dayStarts: "00:00", syncSlack: 0, closed: [], decimalComma: false };
  const moments: { at: string; totals: unknown }[] = [];
  const inOrder: { drop: Drop; loadId: number }[] = [];
  while (queue.length > 0) {
    const batch = queue.splice(0, 1 + random.below(PROCESSES));
    const reports = await runAtOnce(loader, batch, random);
    for (const [index, report] of reports.entries()) {
      const drop = batch[index];
      if (drop === undefined) throw new Error("more reports than drops");
      const { rows, outcome, loadId } = report;
      expect(["loaded", "already_loaded"], JSON.stringify(report)).toContain(outcome);
      expect(
        rows.inserted + rows.corrected + rows.unchanged + rows.superseded + rows.rejected + rows.summed,
      ).toBe(rows.read);
      if (outcome !== "loaded" || loadId === null) continue;
      expect(rows.read).toBe(drop.lines.length);
      const { syncedOn, path } = drop;
      const { lines } = readDrop(readFileSync(path), { ...world, syncedOn });
      const { counts } = model.apply({ loadId, syncedOn }, lines);
      expect(counts.read).toBe(rows.read);
      expect(counts.rejected).toBe(rows.rejected);
      inOrder.push({ drop, loadId });
    }
    expect(await disagreements(warehouse)).toEqual([]);
    const totals = await totalsOf(reader);
    expect(totals).toEqual(expectedTotals(model));
    const [now] = await warehouse.query<{ at: string }>("select clock_timestamp()::text as at");
    moments.push({ at: now?.at ?? "", totals });
    if (random.chance(0.5)) {
      await refreshPartitions({ database: loader.database, strategy: random.pick(STRATEGIES) });
      expect(await disagreements(warehouse)).toEqual([]);
    }
  }
  await settle(warehouse, loader, random);
  expect(await totalsOf(reader)).toEqual(expectedTotals(model));
  for (const { at, totals } of moments) expect(await totalsOf(reader, at)).toEqual(totals);
  await expectExplained(reader);
  await expectOrderFree(warehouse, settings, inOrder, random);
}

/** With everything refreshed nothing is pending, and the rollup alone is the recompute. */
async function settle(warehouse: TestWarehouse, loader: TestWarehouse, random: Random): Promise<void> {
  const { database, settings } = loader;
  await refreshPartitions({ database, strategy: random.pick(STRATEGIES) });
  expect(await warehouse.query("select * from warehouse.venue_day_pending")).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
  const divergences: Divergence[] = [];
  await verifyWarehouse({ database, settings, onDivergence: (divergence) => divergences.push(divergence) });
  expect(divergences).toEqual([]);
}

/** The loads behind each total add up to it. */
async function expectExplained(warehouse: TestWarehouse): Promise<void> {
  const { database, settings } = warehouse;
  for (const { venue_id: venue, created_on, invoices, total } of (await totalsOf(warehouse)).slice(0, 5)) {
    const changes: Change[] = [];
    const to = dayBefore(created_on ?? "", -1);
    await explainTotal({ database, settings, venue, from: created_on, to }, async (change) => {
      changes.push(change);
    });
    expect(changes.reduce((sum, change) => sum + change.invoices, 0)).toBe(invoices);
    const cents = changes.reduce((sum, change) => sum + Math.round(Number(change.total) * 100), 0);
    expect(euros(cents)).toBe(total);
  }
}

/** The same drops in another order that keeps those of one sync date in sequence end in the same invoices and totals. */
async function expectOrderFree(
  warehouse: TestWarehouse,
  settings: { timeZone: string; granularity: Granularity; earliest: string },
  loaded: readonly { drop: Drop; loadId: number }[],
  random: Random,
): Promise<void> {
  const other = await createTestDatabase(settings);
  const inSequence = [...loaded].sort((a, b) => a.loadId - b.loadId);
  const syncDates = [...new Set(inSequence.map(({ drop }) => drop.syncedOn))];
  const lanes = syncDates.map((date) => inSequence.filter(({ drop }) => drop.syncedOn === date));
  while (lanes.some((lane) => lane.length > 0)) {
    const next = random.pick(lanes.filter((lane) => lane.length > 0)).shift();
    if (next === undefined) break;
    const report = await loadDrop({
      database: other.database,
      settings: other.settings,
      path: next.drop.path,
      maxRejects: 0,
    });
    expect(report.outcome).toBe("loaded");
  }
  const facts = `
    select created_at::text, created_on::text, venue_id, invoice_id, total, synced_on::text
    from warehouse.invoices join warehouse.venues using (venue_key) order by 2, 3, 4`;
  expect(await other.query(facts)).toEqual(await warehouse.query(facts));
  expect(await totalsOf(other)).toEqual(await totalsOf(warehouse));
}

const only = process.env.ROLLBOOK_SEED;
const seeds =
  only === undefined ? Array.from({ length: HISTORIES }, (_, index) => index + 1) : [Number(only)];
test.each(seeds)("history %i ends in the totals of the model, in every order", liveThrough);
