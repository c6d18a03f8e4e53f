/** Lives through a random history: carries its acts out on a warehouse and on the model. */
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { RollbookError } from "../../../db/errors.ts";
import { initWarehouse } from "../../../db/migrate.ts";
import type { TestWarehouse } from "../../../db/testing/database.ts";
import { loadDrop } from "../../load/load.ts";
import type { LoadReport } from "../../load/report.ts";
import { retryRejects } from "../../load/retry_rejects.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { euros } from "../../testing/models/money.ts";
import type { Applied, InvoiceRow, WarehouseModel } from "../../testing/models/warehouse.ts";
import { verifyWarehouse } from "../../verify/verify.ts";
import { pruneStatements } from "../prune.ts";
import { replaceLoad } from "../replace.ts";
import { type UndoReport, undo } from "../undo.ts";
import { type Act, type Drop, isTaken, retriedLines } from "./history.ts";

/** An entry of the ledger. */
export interface Entry {
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

export interface Life {
  readonly warehouse: TestWarehouse;
  readonly model: WarehouseModel;
  readonly entries: Entry[];
  /** What the reports showed. */
  moments: readonly { readonly at: string; readonly totals: unknown }[];
  /** Entries that cannot be undone any more. */
  pruned: ReadonlySet<number>;
}

export async function carryOut(life: Life, drops: readonly Drop[], act: Act): Promise<void> {
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
    case "prune":
      return prune(life);
    case "refresh":
      await refreshPartitions({ ...warehouse, strategy: act.strategy });
  }
}

/** The load of a drop that counts. */
function findLoad({ model, entries }: Life, drop: Drop): Entry | undefined {
  const isSame = (other: Drop | undefined) =>
    other?.syncedOn === drop.syncedOn && readFileSync(other.path).equals(readFileSync(drop.path));
  return entries.find(
    (entry) => entry.kind === "load" && isSame(entry.drop) && !model.isUndone(entry.loadId),
  );
}

/** How a drop is loaded. */
export function optionsOf({ path, source, isSnapshot }: Drop) {
  return { path, source, replaceVenueDays: isSnapshot, maxRejects: 1 };
}

/** The counts of a load or a retry, of which no invoice leaves but as absent. */
function rowsOf({ counts: { removed, ...rows } }: Applied): LoadReport["rows"] {
  expect(removed).toBe(0);
  return rows;
}

export async function load(life: Life, drop: Drop, careful: boolean): Promise<void> {
  const { warehouse, model, entries } = life;
  const { syncedOn, lines, isSnapshot } = drop;
  const known = findLoad(life, drop);
  const report = await loadDrop({ ...warehouse, ...optionsOf(drop), careful });
  if (known !== undefined) {
    expect(report).toMatchObject({ outcome: "already_loaded", loadId: known.loadId });
    return;
  }
  // A line that cannot be read might name an invoice that would leave.
  if (isSnapshot && !lines.every(isTaken)) {
    expect(report.outcome).toBe("rejected");
    return;
  }
  const loadId = Number(report.loadId);
  const rows = rowsOf(model.apply({ loadId, syncedOn, isSnapshot }, lines));
  expect(report).toMatchObject({ outcome: "loaded", rows });
  entries.push({ loadId, kind: "load", drop, careful, rows: report.rows });
}

/** Loads a drop instead of a load, unless it is refused, or in already. */
async function replace(life: Life, entry: Entry, drop: Drop, strict: boolean): Promise<void> {
  const { warehouse, model, entries } = life;
  const { settings } = warehouse;
  const { syncedOn, lines, isSnapshot } = drop;
  const known = findLoad(life, drop);
  const replacing = replaceLoad({ settings, loadId: entry.loadId, because: "a test" });
  const options = { ...warehouse, ...optionsOf(drop), maxRejects: strict ? 0 : 1, replace: replacing };
  const report = await loadDrop(options);
  const refusals = refusalsOf(life, entry);
  if (report.outcome === "failed" && refusals.pruned) {
    expect(report.error?.code).toBe("statements_pruned");
    return;
  }
  expect(refusals.pruned).toBe(false);
  if (known !== undefined && known.loadId !== entry.loadId) {
    expect(report).toMatchObject({ outcome: "already_loaded", loadId: known.loadId });
    expect(replacing.report()).toBeUndefined();
    return;
  }
  if ((strict || isSnapshot) && !lines.every(isTaken)) {
    expect(report.outcome).toBe("rejected");
    expect(replacing.report()).toBeUndefined();
    return;
  }
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
  const rows = rowsOf(model.apply({ loadId, syncedOn, isSnapshot }, lines));
  expect(report).toMatchObject({ outcome: "loaded", rows });
  entries.push({ loadId, kind: "load", drop, careful: true, rows: report.rows });
}

/** Reads the rejected lines of a load again, by a decimal comma, and perhaps by a source that it was not read by. */
export function retryOf(warehouse: TestWarehouse, loadId: number, { path, sourceOfRetry }: Drop) {
  return retryRejects({
    ...warehouse,
    loadId,
    decimalComma: true,
    findFile: async () => ({ path, follow: false, source: sourceOfRetry }),
  });
}

async function retry({ warehouse, model, entries }: Life, { loadId: root, drop }: Entry): Promise<void> {
  if (drop === undefined) throw new Error("a load of nothing");
  const report = await retryOf(warehouse, root, drop);
  const isRetried = entries.some(({ kind, of }) => kind === "retry" && of === root);
  if (isRetried || drop.lines.every(isTaken)) {
    expect(report.outcome).toBe("nothing_open");
    return;
  }
  const loadId = Number(report.loadId);
  const { syncedOn } = drop;
  const rows = rowsOf(model.apply({ loadId, syncedOn, retryOf: root }, retriedLines(drop)));
  expect(report).toMatchObject({ outcome: "taken_in", rows });
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

/** Two days pass, and what was kept more than a day ago is forgotten: nothing of before can be undone. */
async function prune(life: Life): Promise<void> {
  const { warehouse, entries } = life;
  await initWarehouse({ database: warehouse.database, keepStatements: 1 });
  const [passed] = await warehouse.query<{ moments: string[] }>(
    `with aged as (update warehouse.loads set known_at = known_at - interval '2 days' where known_at is not null)
     select coalesce(array_agg((at - interval '2 days')::text order by n), '{}') as moments
     from unnest($1::timestamptz[]) with ordinality as given (at, n)`,
    [life.moments.map(({ at }) => at)],
  );
  life.moments = life.moments.map((moment, index) => ({ ...moment, at: passed?.moments[index] ?? "" }));
  await pruneStatements(warehouse);
  life.pruned = new Set(entries.map(({ loadId }) => loadId));
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
    if (!(error instanceof RollbookError) || !(refusals.may || refusals.pruned)) throw error;
    expect(error.code).toBe(refusals.pruned ? "statements_pruned" : "usage");
    await expect(run(false)).rejects.toMatchObject({ code: error.code });
    return;
  }
  expect(refusals).toMatchObject({ must: false, pruned: false });
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

/** Whether an undo may be refused, whether it must be, and whether it must be because statements are forgotten. */
function refusalsOf(life: Life, { loadId, kind, of = 0 }: Entry) {
  const { model, entries, pruned: forgotten } = life;
  const pruned = forgotten.has(kind === "undo" ? of : loadId);
  if (kind === "undo") {
    const drop = entries.find((entry) => entry.loadId === of)?.drop;
    const again = drop !== undefined && findLoad(life, drop) !== undefined;
    return { may: again, must: again, pruned };
  }
  if (kind !== "load") return { may: false, must: false, pruned };
  const takeOuts = entries.filter(
    (entry) => entry.kind === "take out" && entry.loadId > loadId && !model.isUndone(entry.loadId),
  );
  const said = [...model.invoices(), ...model.kept()].filter((row) => row.loadId === loadId);
  return {
    // It may have been the cause.
    may: takeOuts.some(({ took = [] }) => said.some(({ uuid }) => took.some((out) => out.uuid === uuid))),
    must: takeOuts.some(({ left = [] }) => left.some((row) => row.loadId === loadId)),
    pruned,
  };
}
