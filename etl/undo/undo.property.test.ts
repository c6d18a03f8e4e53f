/**
 * Random histories in which loads are undone, against a model in memory, and against a second warehouse that
 * the undone loads never came to. ROLLBOOK_HISTORIES says how many, ROLLBOOK_SEED where they begin.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RollbookError } from "../../db/errors.ts";
import { GRANULARITIES, type Granularity } from "../../db/schema.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { loadDrop } from "../load/load.ts";
import type { LoadReport } from "../load/report.ts";
import { retryRejects } from "../load/retry_rejects.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { STRATEGIES } from "../refresh/strategy.ts";
import { explainTotal } from "../reports/totals.ts";
import { findDivergences } from "../testing/invoices.ts";
import { invoiceId } from "../testing/lines.ts";
import { type ReadLine, readDrop } from "../testing/models/format.ts";
import { euros } from "../testing/models/money.ts";
import {
  type Applied,
  createWarehouseModel,
  type InvoiceRow,
  type WarehouseModel,
} from "../testing/models/warehouse.ts";
import { disagreements, totalsOf } from "../testing/warehouse.ts";
import { verifyWarehouse } from "../verify/verify.ts";
import { replaceLoad } from "./replace.ts";
import { type UndoReport, undo } from "./undo.ts";

const HISTORIES = Number(process.env.ROLLBOOK_HISTORIES ?? 20);
const FIRST_SEED = Number(process.env.ROLLBOOK_SEED ?? 1);
/** The databases of a test stay until it ends. */
const HISTORIES_PER_TEST = 5;

/** Few invoices, dates and totals, so that loads meet, confirm each other, and totals come back. */
const anyLine = fc.record({
  invoice: fc.nat(9),
  /** It has another venue or date than most statements of this invoice. */
  moved: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(2) }),
  second: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(1) }),
  cents: fc.nat(2),
  /** A total with a decimal comma is refused at first, and read by a retry. */
  comma: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});
type Line = typeof anyLine extends fc.Arbitrary<infer T> ? T : never;

const anyDrop = fc.record({ content: fc.nat(5), syncDay: fc.integer({ min: 3, max: 6 }) });

const anyAct = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ do: fc.constant("load" as const), drop: fc.nat(7), careful: fc.boolean() }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("undo" as const), load: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("take back" as const), undo: fc.nat(9) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("replace" as const),
      drop: fc.nat(7),
      load: fc.nat(9),
      /** Not one reject is allowed. */
      strict: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("retry" as const), load: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("take out" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("refresh" as const), strategy: fc.constantFrom(...STRATEGIES) }),
  },
);
type Act = typeof anyAct extends fc.Arbitrary<infer T> ? T : never;

const anyHistory = fc.noBias(
  fc.record({
    granularity: fc.constantFrom(...GRANULARITIES),
    contents: fc.array(fc.array(anyLine, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 6 }),
    drops: fc.array(anyDrop, { minLength: 2, maxLength: 8 }),
    acts: fc.array(anyAct, { minLength: 4, maxLength: 20 }),
  }),
);
interface History {
  readonly granularity: Granularity;
  readonly contents: readonly (readonly Line[])[];
  readonly drops: readonly { readonly content: number; readonly syncDay: number }[];
  readonly acts: readonly Act[];
}

interface Drop {
  readonly path: string;
  readonly syncedOn: string;
  /** As it is read at first, and by a retry. */
  readonly lines: readonly ReadLine[];
  readonly linesOfRetry: readonly ReadLine[];
}

const DATES = ["2026-02-27", "2026-03-01", "2026-03-02"] as const;

function formatLine({ invoice, moved, second, cents, comma }: Line): string {
  const venue = `venue-${(invoice + (moved === 1 ? 1 : 0)) % 2}`;
  const date = DATES[(invoice + (moved === 2 ? 1 : 0)) % 3];
  const total = euros(100 * (cents + 1));
  return `${venue};${invoiceId(invoice)};${date}T12:00:0${second};${comma ? total.replace(".", ",") : total}\n`;
}

/** Two drops with the same content and sync date are one. */
function writeDrops({ contents, drops }: History): readonly Drop[] {
  const folder = makeFolder();
  return drops.map(({ content, syncDay }, index) => {
    const syncedOn = `2026-03-0${syncDay}`;
    const lines = contents[content % contents.length] ?? [];
    const path = join(folder, `drop${index}_${syncedOn}.csv`);
    writeFileSync(path, `venue_id;invoice_id;datetime_created;total\n${lines.map(formatLine).join("")}`);
    const world = { timeZone: "UTC", dayStarts: "00:00", earliest: "2000-01-01", syncedOn } as const;
    const read = (decimalComma: boolean) =>
      readDrop(readFileSync(path), { ...world, syncSlack: 0, closed: [], decimalComma }).lines;
    return { path, syncedOn, lines: read(false), linesOfRetry: read(true) };
  });
}

/** An entry of the ledger. */
interface Entry {
  readonly loadId: number;
  readonly kind: "load" | "retry" | "take out" | "undo";
  /** Of a load or a retry. */
  readonly drop?: Drop;
  readonly careful?: boolean;
  /** Of a retry or an undo. */
  readonly of?: number;
  /** Of a load or a retry. */
  readonly rows?: LoadReport["rows"];
  /** Of a take-out: what it took out, and what stood for the same invoices. */
  readonly took?: readonly InvoiceRow[];
  readonly left?: readonly InvoiceRow[];
}

interface Life {
  readonly warehouse: TestWarehouse;
  readonly model: WarehouseModel;
  readonly entries: Entry[];
  readonly moments: { readonly at: string; readonly totals: unknown }[];
}

async function liveThrough(history: History): Promise<void> {
  const warehouse = await createTestDatabase({ granularity: history.granularity });
  const drops = writeDrops(history);
  const life: Life = { warehouse, model: createWarehouseModel(), entries: [], moments: [] };
  for (const act of history.acts) {
    await carryOut(life, drops, act);
    await compare(life);
  }
  const then = { entries: life.entries.length, view: await view(warehouse) };
  // How later loads decide is a part of what an undo leaves.
  for (const drop of drops) {
    await load(life, drop, false);
    await compare(life);
  }
  await settle(life);
  await expectAsIfNeverLoaded(life, history.granularity, then);
}

async function carryOut(life: Life, drops: readonly Drop[], act: Act): Promise<void> {
  const { warehouse, model, entries } = life;
  const pick = (kind: Entry["kind"], number: number) => {
    const able = entries.filter((entry) => entry.kind === kind && !model.isUndone(entry.loadId));
    return able[number % Math.max(able.length, 1)];
  };
  switch (act.do) {
    case "load": {
      const drop = drops[act.drop % drops.length];
      if (drop !== undefined) await load(life, drop, act.careful);
      return;
    }
    case "undo": {
      const entry = pick("load", act.load);
      if (entry !== undefined) await undoEntry(life, entry);
      return;
    }
    case "replace": {
      const [drop, entry] = [drops[act.drop % drops.length], pick("load", act.load)];
      if (drop !== undefined && entry !== undefined) await replace(life, entry, drop, act.strict);
      return;
    }
    case "take back": {
      const able = entries.filter(
        ({ loadId, kind, of }) =>
          !model.isUndone(loadId) &&
          (kind === "take out" ||
            (kind === "undo" && entries.find((one) => one.loadId === of)?.kind === "load")),
      );
      const entry = able[act.undo % Math.max(able.length, 1)];
      if (entry !== undefined) await undoEntry(life, entry);
      return;
    }
    case "retry": {
      const entry = pick("load", act.load);
      if (entry !== undefined) await retry(life, entry);
      return;
    }
    case "take out":
      return takeOut(life);
    case "refresh":
      await refreshPartitions({ ...warehouse, strategy: act.strategy });
  }
}

const isTaken = ({ decision }: ReadLine) => decision.kind === "taken";

/** The load of a drop that counts. */
function findLoad({ model, entries }: Life, drop: Drop): Entry | undefined {
  const isSame = (other: Drop | undefined) =>
    other?.syncedOn === drop.syncedOn && readFileSync(other.path).equals(readFileSync(drop.path));
  return entries.find(
    (entry) => entry.kind === "load" && isSame(entry.drop) && !model.isUndone(entry.loadId),
  );
}

async function load(life: Life, drop: Drop, careful: boolean): Promise<void> {
  const { warehouse, model, entries } = life;
  const { path, syncedOn, lines } = drop;
  const known = findLoad(life, drop);
  const report = await loadDrop({ ...warehouse, path, careful, maxRejects: 1 });
  if (known !== undefined) {
    expect(report).toMatchObject({ outcome: "already_loaded", loadId: known.loadId });
    return;
  }
  const loadId = Number(report.loadId);
  const { removed, absent, voided, ...counts } = model.apply({ loadId, syncedOn }, lines).counts;
  expect(report).toMatchObject({ outcome: "loaded", rows: counts });
  entries.push({ loadId, kind: "load", drop, careful, rows: report.rows });
}

/** Loads a drop instead of a load, unless it is refused, or in already. */
async function replace(life: Life, entry: Entry, drop: Drop, strict: boolean): Promise<void> {
  const { warehouse, model, entries } = life;
  const { settings } = warehouse;
  const { path, syncedOn, lines } = drop;
  const known = findLoad(life, drop);
  const replacing = replaceLoad({ settings, loadId: entry.loadId, because: "a test" });
  const report = await loadDrop({ ...warehouse, path, maxRejects: strict ? 0 : 1, replace: replacing });
  if (known !== undefined && known.loadId !== entry.loadId) {
    expect(report).toMatchObject({ outcome: "already_loaded", loadId: known.loadId });
    expect(replacing.report()).toBeUndefined();
    return;
  }
  if (strict && !lines.every(isTaken)) {
    expect(report.outcome).toBe("rejected");
    expect(replacing.report()).toBeUndefined();
    return;
  }
  const refusals = refusalsOf(life, entry);
  if (report.outcome === "failed" && refusals.may) {
    expect(report.error?.code).toBe("usage");
    return;
  }
  expect(refusals.must).toBe(false);
  const loadId = Number(report.loadId);
  const undoId = Number(replacing.report()?.loadId);
  const { removed, corrected, unchanged, inserted } = model.undo(undoId, entry.loadId).counts;
  expect(replacing.report()).toMatchObject({
    undone: "load",
    undoOf: entry.loadId,
    rows: { removed, corrected, unchanged, inserted },
  });
  entries.push({ loadId: undoId, kind: "undo", of: entry.loadId });
  const { removed: none, absent, voided, ...counts } = model.apply({ loadId, syncedOn }, lines).counts;
  expect(none).toBe(0);
  expect(report).toMatchObject({ outcome: "loaded", rows: counts });
  entries.push({ loadId, kind: "load", drop, careful: true, rows: report.rows });
}

/** The lines that a retry takes in: those that were refused, unless a later line of the drop has their key. */
function retriedLines({ lines, linesOfRetry }: Drop): readonly ReadLine[] {
  const refused = new Set(lines.filter((line) => !isTaken(line)).map(({ number }) => number));
  const lastOf = new Map<string, number>();
  const keyOf = ({ decision }: ReadLine) =>
    decision.kind === "taken"
      ? `${decision.invoice.createdOn} ${decision.invoice.venue} ${decision.invoice.uuid}`
      : "";
  for (const line of linesOfRetry) lastOf.set(keyOf(line), line.number);
  return linesOfRetry.filter((line) => refused.has(line.number) && lastOf.get(keyOf(line)) === line.number);
}

async function retry({ warehouse, model, entries }: Life, { loadId: root, drop }: Entry): Promise<void> {
  if (drop === undefined) throw new Error("a load of nothing");
  const report = await retryRejects({
    ...warehouse,
    loadId: root,
    decimalComma: true,
    findFile: async () => ({ path: drop.path, follow: false }),
  });
  const refused = drop.lines.filter((line) => !isTaken(line)).length;
  if (refused === 0 || entries.some(({ kind, of }) => kind === "retry" && of === root)) {
    expect(report.outcome).toBe("nothing_open");
    return;
  }
  const loadId = Number(report.loadId);
  const lines = retriedLines(drop);
  const { inserted, corrected, unchanged } = model.apply(
    { loadId, syncedOn: drop.syncedOn, retryOf: root },
    lines,
  ).counts;
  const superseded = refused - inserted - corrected - unchanged;
  expect(report).toMatchObject({
    outcome: "taken_in",
    rows: { read: refused, rejected: 0, inserted, corrected, unchanged, superseded },
  });
  entries.push({ loadId, kind: "retry", drop, of: root, rows: report.rows });
}

async function takeOut({ warehouse, model, entries }: Life): Promise<void> {
  const { takenOut } = await verifyWarehouse({ ...warehouse, identity: true, repair: "newest" });
  const older = model.older(() => true);
  expect(takenOut?.statements ?? 0).toBe(older.length);
  const loadId = takenOut?.loadId ?? null;
  if (loadId === null) return;
  const took = model.takeOutOlder(loadId, () => true).corrections;
  const ids = new Set(took.map(({ uuid }) => uuid));
  const left = model.invoices().filter(({ uuid }) => ids.has(uuid));
  entries.push({ loadId, kind: "take out", took, left });
}

/** Undoes it, or is refused where it must be. */
async function undoEntry(life: Life, entry: Entry): Promise<void> {
  const { warehouse, model, entries } = life;
  const { loadId: undoOf } = entry;
  const run = (dryRun: boolean) => undo({ ...warehouse, loadId: undoOf, because: "a test", dryRun });
  const refusals = refusalsOf(life, entry);
  let planned: UndoReport;
  try {
    planned = await run(true);
  } catch (error) {
    if (!(error instanceof RollbookError) || error.code !== "usage" || !refusals.may) throw error;
    await expect(run(false)).rejects.toMatchObject({ code: "usage" });
    return;
  }
  expect(refusals.must).toBe(false);
  await expect(run(true)).resolves.toEqual(planned);
  const report = await run(false);
  expect(report).toEqual({ ...planned, loadId: report.loadId });
  const loadId = Number(report.loadId);
  const { counts, deltas } = model.undo(loadId, undoOf);
  const { removed, corrected, unchanged, inserted } = counts;
  expect(report).toMatchObject({
    undoOf,
    undone: { load: "load", undo: "undo", "take out": "repair", retry: "" }[entry.kind],
    rows: { removed, corrected, unchanged, inserted },
    groups: deltas.length,
    invoices: deltas.reduce((sum, delta) => sum + delta.invoices, 0),
    total: euros(deltas.reduce((sum, { cents }) => sum + cents, 0)),
  });
  entries.push({ loadId, kind: "undo", of: undoOf });
}

/** Whether an undo may be refused, and whether it must be. */
function refusalsOf(life: Life, { loadId, kind, of }: Entry): { may: boolean; must: boolean } {
  const { model, entries } = life;
  if (kind === "undo") {
    const drop = entries.find((entry) => entry.loadId === of)?.drop;
    const again = drop !== undefined && findLoad(life, drop) !== undefined;
    return { may: again, must: again };
  }
  if (kind !== "load") return { may: false, must: false };
  const takeOuts = entries.filter(
    (entry) => entry.kind === "take out" && entry.loadId > loadId && !model.isUndone(entry.loadId),
  );
  const said = [...model.invoices(), ...model.kept()].filter((row) => row.loadId === loadId);
  return {
    // It may have been the cause.
    may: takeOuts.some(({ took = [] }) => said.some(({ uuid }) => took.some((out) => out.uuid === uuid))),
    must: takeOuts.some(({ left = [] }) => left.some((row) => row.loadId === loadId)),
  };
}

const INVOICES = `
  select created_on::text || ' ' || venue_id || ' ' || invoice_id || ' ' ||
         (extract(epoch from created_at) * 1000000)::bigint || ' ' || total as said, load_id, synced_on::text
  from warehouse.invoices join warehouse.venues using (venue_key)
  order by 1`;

interface Invoice {
  readonly said: string;
  readonly load_id: number;
  readonly synced_on: string;
}

function invoicesOf(warehouse: TestWarehouse): Promise<Invoice[]> {
  return warehouse.query<Invoice & Record<string, unknown>>(INVOICES);
}

function invoicesOfModel(model: WarehouseModel): readonly Invoice[] {
  return model
    .invoices()
    .map(({ createdOn, venue, uuid, createdAt, cents, loadId, syncedOn }) => ({
      said: `${createdOn} ${venue} ${uuid} ${createdAt} ${euros(cents)}`,
      load_id: loadId,
      synced_on: syncedOn,
    }))
    .sort((a, b) => (a.said < b.said ? -1 : 1));
}

/** The invoices, the totals and the ledger are the model's; what the reports showed is remembered. */
async function compare({ warehouse, model, moments }: Life): Promise<void> {
  expect(await invoicesOf(warehouse)).toEqual(invoicesOfModel(model));
  expect(await disagreements(warehouse)).toEqual([]);
  const totals = await totalsOf(warehouse);
  expect(
    totals.map(
      ({ venue_id, created_on, invoices, total }) => `${venue_id} ${created_on} ${invoices} ${total}`,
    ),
  ).toEqual(
    model
      .totals()
      .map(({ venue, createdOn, invoices, cents }) => `${venue} ${createdOn} ${invoices} ${euros(cents)}`)
      .sort(),
  );
  await compareLedger(warehouse, model.applied());
  const [now] = await warehouse.query<{ at: string }>("select clock_timestamp()::text as at");
  moments.push({ at: now?.at ?? "", totals });
}

async function compareLedger(warehouse: TestWarehouse, applied: readonly Applied[]): Promise<void> {
  const deltas = await warehouse.query(`
    select load_id, created_on::text, venue_id, sum(invoices)::integer as invoices, sum(total)::text as total
    from warehouse.venue_day_deltas join warehouse.venues using (venue_key)
    group by 1, 2, 3 having sum(invoices) <> 0 or sum(total) <> 0
    order by 1, 2, 3`);
  const expected = applied.flatMap(({ loadId, deltas: changes }) =>
    changes
      .map(({ createdOn, venue, invoices, cents }) => ({
        load_id: loadId,
        created_on: createdOn,
        venue_id: venue,
        invoices,
        total: euros(cents),
      }))
      .sort((a, b) => (`${a.created_on} ${a.venue_id}` < `${b.created_on} ${b.venue_id}` ? -1 : 1)),
  );
  expect(deltas).toEqual(expected.sort((a, b) => a.load_id - b.load_id));
}

/** All is refreshed and proved, each total is explained, and the past is what it was. */
async function settle({ warehouse, model, entries, moments }: Life): Promise<void> {
  await refreshPartitions(warehouse);
  expect(await warehouse.query("select * from warehouse.venue_day_pending")).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await findDivergences(warehouse)).toEqual([]);
  const explained = { invoices: 0, cents: 0 };
  await explainTotal(warehouse, async ({ invoices, total }) => {
    explained.invoices += invoices;
    explained.cents += Math.round(Number(total) * 100);
  });
  expect(explained).toEqual({
    invoices: model.invoices().length,
    cents: model.invoices().reduce((sum, { cents }) => sum + cents, 0),
  });
  for (const { at, totals } of moments) expect(await totalsOf(warehouse, at)).toEqual(totals);
  const states = await warehouse.query<{ load_id: number; undone: boolean }>(
    "select load_id, status = 'undone' as undone from warehouse.loads where known_at is not null order by load_id",
  );
  expect(states).toEqual(
    entries
      .map(({ loadId, kind, of = 0 }) => ({
        load_id: loadId,
        undone: model.isUndone(loadId) || (kind === "retry" && model.isUndone(of)),
      }))
      .sort((a, b) => a.load_id - b.load_id),
  );
}

interface View {
  readonly invoices: readonly Invoice[];
  readonly open: readonly { readonly load_id: number }[];
  readonly totals: unknown;
}

async function view(warehouse: TestWarehouse): Promise<View> {
  const open = await warehouse.query<{ load_id: number }>(
    "select load_id, reason, lines, first_line from reports.open_rejects order by load_id, first_line",
  );
  return { invoices: await invoicesOf(warehouse), open, totals: await totalsOf(warehouse) };
}

/**
 * A warehouse to which the undone loads never came, and in which no undone take-out was run, has the same
 * invoices and open rejects, and the loads at the end decide alike. Loads have other numbers in it; they are
 * compared by their order. A take-out takes out what is older at its time; so one beside an undo that was taken
 * back is not compared.
 *
 * @param then what the warehouse was before the loads at the end, after so many entries
 */
async function expectAsIfNeverLoaded(
  life: Life,
  granularity: Granularity,
  then: { readonly entries: number; readonly view: View },
): Promise<void> {
  const { warehouse, model, entries } = life;
  const takenBack = entries.some(
    ({ kind, of }) => kind === "undo" && entries.find(({ loadId }) => loadId === of)?.kind === "undo",
  );
  if (takenBack && entries.some(({ kind }) => kind === "take out")) return;
  const other = await createTestDatabase({ granularity });
  const numbers = new Map<number, number>();
  const renumber = <Row extends { readonly load_id: number }>(rows: readonly Row[]) =>
    rows.map((row) => ({ ...row, load_id: numbers.get(row.load_id) }));
  const expectSame = async ({ invoices, open, totals }: View) =>
    expect({ invoices: renumber(invoices), open: renumber(open), totals }).toEqual(await view(other));
  for (const [index, entry] of entries.entries()) {
    if (index === then.entries) await expectSame(then.view);
    const { loadId, kind, drop, of = 0, careful, rows } = entry;
    if (kind === "undo" || model.isUndone(loadId) || (kind === "retry" && model.isUndone(of))) continue;
    if (kind === "take out") {
      const { takenOut } = await verifyWarehouse({ ...other, identity: true, repair: "newest" });
      numbers.set(loadId, Number(takenOut?.loadId));
      continue;
    }
    if (drop === undefined) throw new Error("a load of nothing");
    const report =
      kind === "load"
        ? await loadDrop({ ...other, path: drop.path, careful, maxRejects: 1 })
        : await retryRejects({
            ...other,
            loadId: numbers.get(of) ?? 0,
            decimalComma: true,
            findFile: async () => ({ path: drop.path, follow: false }),
          });
    numbers.set(loadId, Number(report.loadId));
    if (index >= then.entries) expect(report.rows).toEqual(rows);
  }
  await expectSame(await view(warehouse));
}

const chunks = Array.from(
  { length: Math.ceil(HISTORIES / HISTORIES_PER_TEST) },
  (_, index) => FIRST_SEED + index,
);

test.each(chunks)(
  "what is undone was never loaded: histories of seed %i",
  { timeout: 600_000 },
  async (seed) => {
    await fc.assert(fc.asyncProperty(anyHistory, liveThrough), { seed, numRuns: HISTORIES_PER_TEST });
  },
);
