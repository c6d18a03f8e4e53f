/** Compares a warehouse with the model, and with a warehouse to which the undone loads never came. */
import { expect } from "vitest";
import type { Granularity } from "../../../db/schema.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { loadDrop } from "../../load/load.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { explainTotal } from "../../reports/totals.ts";
import { findDivergences } from "../../testing/invoices.ts";
import { euros } from "../../testing/models/money.ts";
import type { Applied, WarehouseModel } from "../../testing/models/warehouse.ts";
import { disagreements, totalsOf } from "../../testing/warehouse.ts";
import { verifyWarehouse } from "../../verify/verify.ts";
import { type Life, optionsOf, retryOf } from "./life.ts";

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
export async function compare(life: Life): Promise<void> {
  const { warehouse, model } = life;
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
  await compareAbsences(life);
  const [now] = await warehouse.query<{ at: string }>("select clock_timestamp()::text as at");
  life.moments = [...life.moments, { at: now?.at ?? "", totals }];
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

/** Each absence is kept, whatever stands; unless it may be forgotten. */
async function compareAbsences({ warehouse, model, pruned }: Life): Promise<void> {
  const rows = await warehouse.query<{ load_id: number; said: string }>(`
    select load_id, concat_ws(' ', load_id, stated_by, synced_on, created_on, venue_id, each.invoice_id) as said
    from warehouse.absences a
    join warehouse.venues using (venue_key)
    left join lateral unnest(a.invoice_ids) as each (invoice_id) on true
    order by said`);
  const expected = model
    .absences()
    .map(({ loadId, statedBy, syncedOn, createdOn, venue, uuid }) => ({
      load_id: loadId,
      said: [loadId, statedBy, syncedOn, createdOn, venue, ...(uuid === undefined ? [] : [uuid])].join(" "),
    }))
    .sort((a, b) => (a.said < b.said ? -1 : 1));
  const isKept = ({ load_id }: { readonly load_id: number }) => !pruned.has(load_id);
  expect(rows.filter(isKept)).toEqual(expected.filter(isKept));
  expect(expected).toEqual(expect.arrayContaining(rows));
}

/** All is refreshed and proved, each total is explained, and the past is what it was. */
export async function settle({ warehouse, model, entries, moments }: Life): Promise<void> {
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

export interface View {
  readonly invoices: readonly Invoice[];
  readonly open: readonly { readonly load_id: number }[];
  readonly totals: unknown;
}

export async function view(warehouse: TestWarehouse): Promise<View> {
  const open = await warehouse.query<{ load_id: number }>(
    "select load_id, reason, lines, first_line from reports.open_rejects order by load_id, first_line",
  );
  return { invoices: await invoicesOf(warehouse), open, totals: await totalsOf(warehouse) };
}

/**
 * A take-out takes out what is older at its time. So it is not what it would have been beside an undo that was
 * taken back, nor where an invoice was absent then by a load that is undone by now.
 */
function isComparable({ model, entries }: Life): boolean {
  if (!entries.some(({ kind, loadId }) => kind === "take out" && !model.isUndone(loadId))) return true;
  const takenBack = entries.some(
    ({ kind, of }) => kind === "undo" && entries.find(({ loadId }) => loadId === of)?.kind === "undo",
  );
  return !takenBack && !model.absences().some(({ statedBy }) => model.isUndone(statedBy));
}

/**
 * A warehouse to which the undone loads never came, and in which no undone take-out was run, has the same
 * invoices and open rejects, and the loads at the end decide alike. Loads have other numbers in it; they are
 * compared by their order.
 *
 * @param then what the warehouse was before the loads at the end, after so many entries
 */
export async function expectAsIfNeverLoaded(
  life: Life,
  granularity: Granularity,
  then: { readonly entries: number; readonly view: View },
): Promise<void> {
  const { warehouse, model, entries } = life;
  if (!isComparable(life)) return;
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
        ? await loadDrop({ ...other, ...optionsOf(drop), careful })
        : await retryOf(other, numbers.get(of) ?? 0, drop);
    numbers.set(loadId, Number(report.loadId));
    if (index >= then.entries) expect(report.rows).toEqual(rows);
  }
  await expectSame(await view(warehouse));
}
