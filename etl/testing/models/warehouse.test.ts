import { expect, test } from "vitest";
import { dayOfDate } from "./clocks.ts";
import type { ReadLine } from "./format.ts";
import { createStanding, type LoadOrder } from "./standing.ts";
import { createTotals } from "./totals.ts";
import { createWarehouseModel } from "./warehouse.ts";

const VENUE = { venue: "v", createdOn: "2026-03-01" };

/** A line that says something about invoice "i" of venue "v" on 1 March. */
function statement(number: number, cents: number): ReadLine {
  const invoice = { ...VENUE, uuid: "i", instant: 0n, cents: BigInt(cents) };
  return { number, from: 0, bytes: Buffer.of(), decision: { kind: "taken", invoice } };
}

function refused(number: number, reason: string): ReadLine {
  return { number, from: 0, bytes: Buffer.of(), decision: { kind: "rejected", reason, column: null } };
}

const counts = (
  inserted: number,
  corrected: number,
  unchanged: number,
  superseded: number,
  rejected = 0,
) => ({
  read: inserted + corrected + unchanged + superseded + rejected,
  inserted,
  corrected,
  unchanged,
  superseded,
  removed: 0,
  absent: 0,
  voided: 0,
  skipped: 0,
  summed: 0,
  rejected,
});

test("the newest statement wins, by sync date, then load, then line", () => {
  const model = createWarehouseModel();
  const load = (loadId: number, syncedOn: string, ...cents: readonly number[]) =>
    model.apply(
      { loadId, syncedOn },
      cents.map((one, index) => statement(index + 1, one)),
    );
  expect(load(1, "2026-03-05", 100, 200).counts).toEqual(counts(1, 0, 0, 1));
  expect(load(2, "2026-03-04", 300).counts).toEqual(counts(0, 0, 0, 1));
  const corrected = load(3, "2026-03-05", 500);
  expect(corrected.counts).toEqual(counts(0, 1, 0, 0));
  expect(corrected.deltas).toEqual([{ ...VENUE, invoices: 0, cents: 300 }]);
  expect(corrected.corrections).toMatchObject([{ cents: 200, loadId: 1 }]);
  // A confirmation takes the newer drop's place: a drop in between comes too late.
  expect(load(4, "2026-03-07", 500).counts).toEqual(counts(0, 0, 1, 0));
  expect(load(5, "2026-03-06", 900).counts).toEqual(counts(0, 0, 0, 1));
  expect(model.totals()).toEqual([{ ...VENUE, invoices: 1, cents: 500 }]);
  expect(model.totals(1)).toEqual([{ ...VENUE, invoices: 1, cents: 200 }]);
});

test("lines that are refused count, and change nothing", () => {
  const model = createWarehouseModel();
  const { rejects, counts: found } = model.apply({ loadId: 1, syncedOn: "2026-03-01" }, [
    refused(2, "partition_closed"),
  ]);
  expect(rejects).toEqual([{ line: 2, reason: "partition_closed" }]);
  expect(found).toEqual(counts(0, 0, 0, 0, 1));
  expect(model.invoices()).toEqual([]);
});

test("what stands in the end is the same in whatever order loads are taken in", () => {
  const loads: readonly (LoadOrder & { readonly cents: readonly number[] })[] = [
    { loadId: 5, syncDay: 20_001, cents: [100, 200] },
    { loadId: 6, syncDay: 20_001, cents: [110, 210] },
    { loadId: 7, syncDay: 20_000, cents: [1, 2] },
  ];
  for (const order of [loads, loads.toReversed(), [...loads.slice(1), ...loads.slice(0, 1)]]) {
    const standing = createStanding();
    const totals = createTotals(1);
    for (const { cents, ...load } of order) {
      standing.take(load, { invoices: [1, 2000], cents }, ({ invoice, before, after }) =>
        totals.add(invoice, 20_000, before ? 0 : 1, after.cents - (before?.cents ?? 0)),
      );
    }
    expect(standing.count()).toBe(2);
    expect(standing.of(0)).toBeUndefined();
    expect(standing.of(2000)).toEqual({ loadId: 6, syncDay: 20_001, cents: 210, createdAt: 0 });
    expect([...totals.groups()]).toEqual([
      { venue: 1, day: 20_000, invoices: 1, cents: 110 },
      { venue: 2000, day: 20_000, invoices: 1, cents: 210 },
    ]);
  }
});

const JUST_UNDONE = counts(0, 0, 0, 0);

/** A model whose loads say something about invoice "i"; `value` is the cents that stand for it. */
function startModel() {
  const model = createWarehouseModel();
  return {
    ...model,
    load: (loadId: number, syncedOn: string, cents: number) =>
      model.apply({ loadId, syncedOn: `2026-03-${syncedOn}` }, [statement(1, cents)]).counts,
    standing: () => model.invoices().map(({ cents, loadId, syncedOn }) => [cents, loadId, syncedOn.slice(8)]),
    kept: () => model.kept().map(({ loadId }) => loadId),
  };
}

test("without a load that is undone, the statement before it stands again", () => {
  const { load, undo, standing, totals, isUndone } = startModel();
  load(1, "05", 100);
  load(2, "06", 250);
  const undone = undo(3, 2);
  expect(undone.counts).toEqual({ ...JUST_UNDONE, corrected: 1 });
  expect(undone.deltas).toEqual([{ ...VENUE, invoices: 0, cents: -150 }]);
  expect(undone.corrections).toEqual([]);
  expect(standing()).toEqual([[100, 1, "05"]]);
  expect([1, 2, 3].map(isUndone)).toEqual([false, true, false]);
  expect(undo(4, 1).counts).toEqual({ ...JUST_UNDONE, removed: 1 });
  expect(standing()).toEqual([]);
  expect([1, 2, 3, 4].map((known) => totals(known)[0]?.cents)).toEqual([100, 250, 100, undefined]);
});

test("a load in the middle is undone without any change where a newer one stands", () => {
  const { load, undo, standing, kept } = startModel();
  load(1, "05", 100);
  load(2, "06", 200);
  load(3, "07", 300);
  expect(undo(4, 2)).toMatchObject({ counts: JUST_UNDONE, deltas: [] });
  expect(standing()).toEqual([[300, 3, "07"]]);
  expect(undo(5, 3).counts).toEqual({ ...JUST_UNDONE, corrected: 1 });
  expect(standing()).toEqual([[100, 1, "05"]]);
  expect(kept()).toEqual([2, 3]);
});

test("a load that is confirmed by the one that is undone stands for its invoice again", () => {
  const { load, undo, standing } = startModel();
  load(1, "05", 100);
  expect(load(2, "07", 100)).toEqual(counts(0, 0, 1, 0));
  expect(load(3, "06", 900)).toEqual(counts(0, 0, 0, 1));
  // Without the confirmation the third drop was in time.
  expect(undo(4, 2).counts).toEqual({ ...JUST_UNDONE, corrected: 1 });
  expect(standing()).toEqual([[900, 3, "06"]]);
  expect(undo(5, 3).counts).toEqual({ ...JUST_UNDONE, corrected: 1 });
  expect(standing()).toEqual([[100, 1, "05"]]);
});

test("where another load says the same, only the load changes", () => {
  const { load, undo, standing } = startModel();
  load(1, "05", 100);
  load(2, "06", 100);
  expect(undo(3, 2)).toMatchObject({ counts: { ...JUST_UNDONE, unchanged: 1 }, deltas: [] });
  expect(standing()).toEqual([[100, 1, "05"]]);
});

test("an older drop that comes late counts once the newer one is undone, also when it comes after the undo", () => {
  const { load, undo, standing } = startModel();
  load(1, "07", 700);
  load(2, "05", 500);
  undo(3, 1);
  expect(standing()).toEqual([[500, 2, "05"]]);
  expect(load(4, "06", 600)).toEqual(counts(0, 1, 0, 0));
  expect(load(5, "04", 400)).toEqual(counts(0, 0, 0, 1));
  expect(standing()).toEqual([[600, 4, "06"]]);
});

test("an undo can be taken back, and what came meanwhile keeps its rank", () => {
  const { load, undo, standing, isUndone } = startModel();
  load(1, "06", 100);
  undo(2, 1);
  expect(undo(3, 2).counts).toEqual({ ...JUST_UNDONE, inserted: 1 });
  expect(standing()).toEqual([[100, 1, "06"]]);
  expect([1, 2, 3].map(isUndone)).toEqual([false, true, false]);
  undo(4, 1);
  load(5, "05", 500);
  load(6, "06", 600);
  expect(undo(7, 4)).toMatchObject({ counts: JUST_UNDONE, deltas: [] });
  expect(standing()).toEqual([[600, 6, "06"]]);
  undo(8, 6);
  expect(standing()).toEqual([[100, 1, "06"]]);
});

test("nothing is undone twice, and what took an undo back is not undone", () => {
  const { load, undo } = startModel();
  load(1, "06", 100);
  undo(2, 1);
  expect(() => undo(3, 1)).toThrow("1 is undone already");
  undo(3, 2);
  expect(() => undo(4, 2)).toThrow("2 is undone already");
  expect(() => undo(4, 3)).toThrow("3 took an undo back");
});

test("a drop that is loaded again after an undo is another load", () => {
  const { load, undo, standing } = startModel();
  load(1, "06", 100);
  load(2, "06", 200);
  undo(3, 1);
  expect(standing()).toEqual([[200, 2, "06"]]);
  expect(load(4, "06", 100)).toEqual(counts(0, 1, 0, 0));
  expect(standing()).toEqual([[100, 4, "06"]]);
  undo(5, 4);
  undo(6, 2);
  expect(standing()).toEqual([]);
});

test("a retry says what its load says, and is undone with it", () => {
  const { load, apply, undo, standing } = startModel();
  load(1, "06", 100);
  load(2, "06", 200);
  const retry = { loadId: 3, retryOf: 1, syncedOn: "2026-03-06" };
  expect(apply(retry, [statement(2, 300)]).counts).toEqual(counts(0, 0, 0, 1));
  undo(4, 2);
  expect(standing()).toEqual([[300, 1, "06"]]);
  undo(5, 1);
  expect(standing()).toEqual([]);
});

test("an invoice id under two keys is named, in the dates that count", () => {
  const model = createWarehouseModel();
  const on = (createdOn: string) => {
    const invoice = { venue: "v", uuid: "i", createdOn, instant: 0n, cents: 1n };
    return { number: 1, from: 0, bytes: Buffer.of(), decision: { kind: "taken", invoice } } as const;
  };
  model.apply({ loadId: 1, syncedOn: "2026-03-02" }, [on("2026-03-01"), on("2026-03-02")]);
  expect(model.split(() => true)).toEqual(["i"]);
  expect(model.split((createdOn) => dayOfDate(createdOn) < dayOfDate("2026-03-02"))).toEqual([]);
});

test("of an invoice id under several keys all but the newest statement leave, and may come back", () => {
  const model = createWarehouseModel();
  const on = (createdOn: string, cents: bigint) => {
    const invoice = { venue: "v", uuid: "i", createdOn, instant: 0n, cents };
    return { number: 1, from: 0, bytes: Buffer.of(), decision: { kind: "taken", invoice } } as const;
  };
  model.apply({ loadId: 1, syncedOn: "2026-03-04" }, [on("2026-03-01", 1n)]);
  model.apply({ loadId: 2, syncedOn: "2026-03-03" }, [on("2026-03-02", 2n)]);
  model.apply({ loadId: 3, syncedOn: "2026-03-04" }, [on("2026-03-03", 4n)]);
  expect(model.takeOutOlder(4, ({ createdOn }) => createdOn > "2026-03-01").corrections).toMatchObject([
    { createdOn: "2026-03-02", cents: 2, loadId: 2 },
  ]);
  expect(model.older((createdOn) => createdOn > "2026-03-01")).toEqual([]);
  const { deltas, counts: found } = model.takeOutOlder(5, () => true);
  expect(deltas).toEqual([{ venue: "v", createdOn: "2026-03-01", invoices: -1, cents: -1 }]);
  expect(found).toEqual({ ...counts(0, 0, 0, 0), corrected: 1 });
  expect(model.totals()).toEqual([{ venue: "v", createdOn: "2026-03-03", invoices: 1, cents: 4 }]);
  expect(model.totals(3)).toHaveLength(3);
  const back = model.apply({ loadId: 6, syncedOn: "2026-03-01" }, [on("2026-03-01", 1n)]);
  expect(back.counts).toEqual(counts(1, 0, 0, 0));
  // What was taken out before stays out, until the take-out is undone.
  expect(model.undo(7, 6).counts).toEqual({ ...JUST_UNDONE, removed: 1 });
  expect(model.undo(8, 5).counts).toEqual({ ...JUST_UNDONE, inserted: 1 });
  expect(model.undo(9, 4).counts).toEqual({ ...JUST_UNDONE, inserted: 1 });
  expect(model.totals()).toEqual(model.totals(3));
});

test("a statement that was taken out twice comes back when both take-outs are undone", () => {
  const model = createWarehouseModel();
  const on = (createdOn: string) => {
    const invoice = { venue: "v", uuid: "i", createdOn, instant: 0n, cents: 1n };
    return { number: 1, from: 0, bytes: Buffer.of(), decision: { kind: "taken", invoice } } as const;
  };
  model.apply({ loadId: 1, syncedOn: "2026-03-04" }, [on("2026-03-01")]);
  model.apply({ loadId: 2, syncedOn: "2026-03-05" }, [on("2026-03-02")]);
  model.takeOutOlder(3, () => true);
  model.apply({ loadId: 4, syncedOn: "2026-03-03" }, [on("2026-03-01")]);
  model.takeOutOlder(5, () => true);
  expect(model.undo(6, 3)).toMatchObject({ counts: JUST_UNDONE, deltas: [] });
  expect(model.undo(7, 5).counts).toEqual({ ...JUST_UNDONE, inserted: 1 });
  expect(model.invoices()).toMatchObject([
    { createdOn: "2026-03-01", loadId: 1 },
    { createdOn: "2026-03-02", loadId: 2 },
  ]);
});
