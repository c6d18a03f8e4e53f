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
});
