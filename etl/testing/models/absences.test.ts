/** Worked examples of absences in the warehouse model. */
import { expect, test } from "vitest";
import { createWarehouseModel, type SaidLine } from "./warehouse.ts";

const DAY = "2026-03-01";
const OTHER_DAY = "2026-03-02";

/** A line about an invoice; without cents: it is void. */
type Line = readonly [uuid: string, cents?: number, createdOn?: string];

function said(lines: readonly Line[]): readonly SaidLine[] {
  return lines.map(([uuid, cents, createdOn = DAY], index) => {
    const invoice = { venue: "v", uuid, createdOn, instant: 0n, cents: BigInt(cents ?? 0) };
    const line = { number: index + 1, from: 0, bytes: Buffer.of() };
    return { ...line, decision: { kind: "taken", invoice }, isVoid: cents === undefined };
  });
}

function startModel() {
  const model = createWarehouseModel();
  const take = (isSnapshot: boolean) => (loadId: number, day: string, lines: readonly Line[]) =>
    model.apply({ loadId, syncedOn: `2026-03-${day}`, isSnapshot }, said(lines));
  return {
    ...model,
    load: take(false),
    snapshot: take(true),
    retry: (loadId: number, retryOf: number, day: string, lines: readonly Line[]) =>
      model.apply({ loadId, retryOf, syncedOn: `2026-03-${day}` }, said(lines)),
    standing: () =>
      model
        .invoices()
        .map(({ uuid, cents, loadId }) => `${uuid} ${cents} by ${loadId}`)
        .sort(),
  };
}

const NONE = {
  inserted: 0,
  corrected: 0,
  unchanged: 0,
  superseded: 0,
  removed: 0,
  absent: 0,
  voided: 0,
  rejected: 0,
  skipped: 0,
  summed: 0,
};

test("a snapshot takes out what it does not name, of the groups that it holds", () => {
  const { load, snapshot, standing, kept, absences } = startModel();
  load(1, "05", [
    ["a", 1],
    ["b", 2],
    ["c", 4, OTHER_DAY],
  ]);
  const taken = snapshot(2, "06", [
    ["a", 1],
    ["d", 8],
  ]);
  expect(taken.counts).toEqual({ ...NONE, read: 2, inserted: 1, unchanged: 1, absent: 1 });
  expect(taken.deltas).toEqual([{ venue: "v", createdOn: DAY, invoices: 0, cents: 6 }]);
  expect(taken.corrections).toMatchObject([{ uuid: "b", cents: 2, loadId: 1 }]);
  expect(standing()).toEqual(["a 1 by 2", "c 4 by 1", "d 8 by 2"]);
  expect(kept()).toMatchObject([
    { uuid: "a", loadId: 1 },
    { uuid: "b", loadId: 1 },
  ]);
  expect(absences()).toEqual([
    { venue: "v", createdOn: DAY, uuid: undefined, loadId: 2, statedBy: 2, syncedOn: "2026-03-06" },
  ]);
});

test("an older drop that names an absent invoice comes too late, a newer one brings it back", () => {
  const { load, snapshot, standing } = startModel();
  snapshot(1, "06", [["a", 1]]);
  expect(load(2, "05", [["b", 2]]).counts).toEqual({ ...NONE, read: 1, superseded: 1 });
  expect(standing()).toEqual(["a 1 by 1"]);
  // Of one sync date the later load is the newer.
  expect(load(3, "06", [["b", 3]]).counts).toEqual({ ...NONE, read: 1, inserted: 1 });
  expect(load(4, "07", [["b", 3]]).counts).toEqual({ ...NONE, read: 1, unchanged: 1 });
  expect(snapshot(5, "06", [["a", 1]]).counts).toEqual({ ...NONE, read: 1, unchanged: 1 });
  expect(standing()).toEqual(["a 1 by 5", "b 3 by 4"]);
});

test("a snapshot that comes late takes out what is older than itself only", () => {
  const { load, snapshot, standing } = startModel();
  load(1, "05", [
    ["a", 1],
    ["b", 2],
  ]);
  load(2, "07", [
    ["b", 2],
    ["c", 3],
  ]);
  expect(snapshot(3, "06", [["d", 4]]).counts).toEqual({ ...NONE, read: 1, inserted: 1, absent: 1 });
  expect(standing()).toEqual(["b 2 by 2", "c 3 by 2", "d 4 by 3"]);
});

test("the same drops make the same warehouse in any order", () => {
  const drops: readonly (readonly [number, string, readonly Line[], boolean])[] = [
    [
      1,
      "05",
      [
        ["a", 1],
        ["b", 2],
        ["c", 3],
      ],
      false,
    ],
    [2, "06", [["a", 5], ["b"]], true],
    [3, "07", [["b", 7], ["c"]], false],
    [4, "04", [["d", 8]], true],
  ];
  const orders = drops.flatMap((_, first) => {
    const turned = [...drops.slice(first), ...drops.slice(0, first)];
    return [turned, turned.toReversed()];
  });
  for (const order of orders) {
    const { load, snapshot, standing } = startModel();
    for (const [loadId, day, lines, isSnapshot] of order) (isSnapshot ? snapshot : load)(loadId, day, lines);
    expect(standing()).toEqual(["a 5 by 2", "b 7 by 3"]);
  }
});

test("a void line takes out its invoice, and none of its group", () => {
  const { load, standing, absences } = startModel();
  load(1, "05", [
    ["a", 1],
    ["b", 2],
  ]);
  const taken = load(2, "06", [["a"], ["z"]]);
  expect(taken.counts).toEqual({ ...NONE, read: 2, voided: 2, absent: 1 });
  expect(taken.deltas).toEqual([{ venue: "v", createdOn: DAY, invoices: -1, cents: -1 }]);
  expect(standing()).toEqual(["b 2 by 1"]);
  expect(load(3, "05", [["z", 9]]).counts).toEqual({ ...NONE, read: 1, superseded: 1 });
  // It comes too late, and is a void line all the same.
  expect(load(4, "04", [["b"]]).counts).toEqual({ ...NONE, read: 1, voided: 1 });
  expect(standing()).toEqual(["b 2 by 1"]);
  expect(absences().map(({ uuid, loadId }) => `${uuid} by ${loadId}`)).toEqual([
    "a by 2",
    "z by 2",
    "b by 4",
  ]);
});

test("of the lines of a drop about one invoice the last counts, void or not", () => {
  const { load, standing, absences } = startModel();
  const taken = load(1, "05", [["a"], ["a", 1], ["b", 2], ["b"]]);
  expect(taken.counts).toEqual({ ...NONE, read: 4, inserted: 1, voided: 2, superseded: 1 });
  expect(standing()).toEqual(["a 1 by 1"]);
  expect(absences()).toMatchObject([{ uuid: "b" }]);
});

test("a snapshot whose lines of a group are all void says that the whole group is absent", () => {
  const { load, snapshot, standing } = startModel();
  load(1, "05", [
    ["a", 1],
    ["b", 2],
  ]);
  expect(snapshot(2, "06", [["a"]]).counts).toEqual({ ...NONE, read: 1, voided: 1, absent: 2 });
  expect(standing()).toEqual([]);
});

test("an undo takes an absence back, and an undo of the undo brings it again", () => {
  const { load, snapshot, undo, standing } = startModel();
  load(1, "05", [
    ["a", 1],
    ["b", 2],
  ]);
  snapshot(2, "06", [["a", 5]]);
  load(3, "05", [["c", 4]]);
  expect(standing()).toEqual(["a 5 by 2"]);
  const undone = undo(4, 2);
  expect(undone.counts).toEqual({ ...NONE, read: 0, corrected: 1, inserted: 2 });
  expect(standing()).toEqual(["a 1 by 1", "b 2 by 1", "c 4 by 3"]);
  load(5, "07", [["b", 2]]);
  const again = undo(6, 4);
  expect(again.counts).toEqual({ ...NONE, read: 0, corrected: 1, removed: 1 });
  expect(again.corrections).toEqual([]);
  expect(standing()).toEqual(["a 5 by 2", "b 2 by 5"]);
});

test("without the newest of two absences the older one counts", () => {
  const { load, snapshot, undo, standing } = startModel();
  load(1, "05", [
    ["a", 1],
    ["b", 2],
  ]);
  snapshot(2, "06", [["b", 2]]);
  load(3, "08", [["a"]]);
  load(4, "07", [["a", 7]]);
  expect(standing()).toEqual(["b 2 by 2"]);
  undo(5, 4);
  expect(undo(6, 3).deltas).toEqual([]);
  expect(standing()).toEqual(["b 2 by 2"]);
  undo(7, 2);
  expect(standing()).toEqual(["a 1 by 1", "b 2 by 1"]);
});

test("what a retry reads of an invoice counts instead of what its load says of it, void or not", () => {
  const { load, retry, undo, standing } = startModel();
  load(1, "05", [["a", 1], ["b"]]);
  expect(retry(2, 1, "05", [["a"], ["b", 2]]).counts).toEqual({
    ...NONE,
    read: 2,
    voided: 1,
    absent: 1,
    inserted: 1,
  });
  expect(standing()).toEqual(["b 2 by 1"]);
  load(3, "06", [["b"]]);
  undo(4, 3);
  expect(standing()).toEqual(["b 2 by 1"]);
  undo(5, 1);
  expect(standing()).toEqual([]);
});

test("a repair makes void what was said up to then, absences as well", () => {
  const { load, snapshot, takeOutOlder, undo, standing } = startModel();
  load(1, "04", [["a", 1]]);
  snapshot(2, "06", [
    ["a", 2],
    ["b", 2],
  ]);
  load(3, "07", [["a", 4, OTHER_DAY]]);
  expect(takeOutOlder(4, () => true).corrections).toMatchObject([{ createdOn: DAY, loadId: 2 }]);
  // Of what is known before the repair nothing decides about this key any more; of "b" the snapshot still does.
  expect(
    load(5, "05", [
      ["a", 8],
      ["c", 9],
    ]).counts,
  ).toEqual({ ...NONE, read: 2, inserted: 1, superseded: 1 });
  expect(standing()).toEqual(["a 4 by 3", "a 8 by 5", "b 2 by 2"]);
  undo(6, 4);
  expect(standing()).toEqual(["a 2 by 2", "a 4 by 3", "b 2 by 2"]);
});

test("an absence that comes after a repair counts", () => {
  const { load, snapshot, takeOutOlder, standing } = startModel();
  load(1, "04", [["a", 1]]);
  load(2, "07", [["a", 4, OTHER_DAY]]);
  takeOutOlder(3, () => true);
  snapshot(4, "06", [["b", 2]]);
  expect(load(5, "05", [["a", 8]]).counts).toEqual({ ...NONE, read: 1, superseded: 1 });
  expect(standing()).toEqual(["a 4 by 2", "b 2 by 4"]);
});
