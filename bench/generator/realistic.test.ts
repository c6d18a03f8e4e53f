/** How realistic the generated data are: docs/generator.md. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFolder } from "../../db/testing/folder.ts";
import { type GenerateOptions, generateDrops, type Manifest } from "../generate.ts";
import { type GeneratedDrop, latenessOf, type Row, readDrops, rowsOf } from "./testing.ts";

type Given = Partial<Omit<GenerateOptions, "out">>;

async function generate(given: Given): Promise<{ readonly out: string; readonly manifest: Manifest }> {
  const out = join(makeFolder(), "drops");
  return { out, manifest: await generateDrops({ seed: 1, rows: 1000, ...given, out }) };
}

/** Only new invoices, in files as large as each other. */
const PLAIN: Given = { corrections: 0, resent: 0, duplicates: 0, bad: 0 };

function tally<T>(items: readonly T[], keyOf: (item: T) => string | number): Map<string | number, number> {
  const counts = new Map<string | number, number>();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return counts;
}

test("venues are of very different size", async () => {
  const { out } = await generate({ ...PLAIN, rows: 50_000, days: 10, newVenues: 0 });
  const sizes = [...tally((await readDrops(out)).flatMap(rowsOf), (row) => row.venue).values()].sort(
    (a, b) => b - a,
  );
  const sum = (from: number, to: number) => sizes.slice(from, to).reduce((a, b) => a + b, 0) / 50_000;
  expect(sizes.length).toBeGreaterThan(950);
  expect(sum(0, 1)).toBeGreaterThan(0.03);
  expect(sum(0, 100)).toBeGreaterThan(0.5);
  expect(sum(500, 1000)).toBeLessThan(0.16);
});

test("new venues open over time, and none has invoices from before", async () => {
  const { out } = await generate({ ...PLAIN, rows: 30_000, days: 60, venues: 100, newVenues: 0.5 });
  const first = new Map<string, string>();
  for (const { venue, created } of (await readDrops(out)).flatMap(rowsOf)) {
    const date = created.slice(0, 10);
    if (date < (first.get(venue) ?? "9")) first.set(venue, date);
  }
  const openings = [...first.values()].filter((date) => date >= "2026-08-02");
  expect(openings.length).toBeGreaterThan(45);
  expect(openings.length).toBeLessThanOrEqual(52);
  expect(openings.filter((date) => date >= "2026-08-31").length).toBeGreaterThan(20);
});

test("weekends, summer, lunch and dinner are busy, each only when wanted", async () => {
  const year: Given = { ...PLAIN, rows: 40_000, late: 0, first: "2025-01-01", last: "2025-12-31" };
  const busy = (await readDrops((await generate(year)).out)).flatMap(rowsOf);
  const weekday = (row: Row) => new Date(row.created.slice(0, 10)).getUTCDay();
  const month = (row: Row) => row.created.slice(5, 7);
  const hour = (row: Row) => row.created.slice(11, 13);
  const ratio = (rows: Row[], keyOf: (row: Row) => string | number, a: string | number, b: string | number) =>
    (tally(rows, keyOf).get(a) ?? 0) / (tally(rows, keyOf).get(b) ?? 0);
  expect(ratio(busy, weekday, 6, 1)).toBeGreaterThan(2);
  expect(ratio(busy, month, "06", "01")).toBeGreaterThan(1.25);
  expect(ratio(busy, hour, "12", "10")).toBeGreaterThan(2);
  expect(ratio(busy, hour, "19", "15")).toBeGreaterThan(2);
  const flat = (
    await readDrops((await generate({ ...year, weekly: false, season: false, hours: false })).out)
  ).flatMap(rowsOf);
  expect(ratio(flat, weekday, 6, 1)).toBeCloseTo(1, 1);
  expect(ratio(flat, month, "07", "01")).toBeCloseTo(1, 1);
  expect(ratio(flat, hour, "12", "10")).toBeCloseTo(1, 0);
});

test("without patterns all drops are of one size", async () => {
  const { manifest } = await generate({ rows: 1000, days: 100, weekly: false, season: false });
  expect(manifest.files.every((file) => file.rows.read === 10)).toBe(true);
});

test("the asked share is late: most by weeks, a tail over the whole reach", async () => {
  const { out } = await generate({ ...PLAIN, rows: 50_000, days: 5, late: 0.1 });
  const drops = await readDrops(out);
  const ages = drops.flatMap((drop) => rowsOf(drop).map((row) => latenessOf(row.created, drop.syncedOn)));
  const late = ages.filter((age) => age >= 2).sort((a, b) => a - b);
  expect(late.length).toBe(5000);
  expect(late[2500]).toBeLessThan(14);
  expect(late.filter((age) => age > 200).length / 5000).toBeGreaterThan(0.06);
  expect(late.filter((age) => age > 200).length / 5000).toBeLessThan(0.12);
  expect(late.at(-1)).toBeGreaterThan(1000);
  expect(late.at(-1)).toBeLessThanOrEqual(1095);
  expect(Math.min(...ages)).toBe(0);
});

test("an even spread gives every date of the reach the same", async () => {
  const { out } = await generate({
    ...PLAIN,
    rows: 20_000,
    days: 2,
    late: 1,
    lateDays: 1001,
    lateSpread: "even",
  });
  for (const drop of await readDrops(out)) {
    const counts = tally(rowsOf(drop), (row) => latenessOf(row.created, drop.syncedOn));
    expect(Math.min(...(counts.keys() as Iterable<number>))).toBe(2);
    expect(Math.max(...(counts.keys() as Iterable<number>))).toBe(1001);
    expect(counts.size).toBe(1000);
    expect(Math.max(...counts.values()) - Math.min(...counts.values())).toBeLessThanOrEqual(1);
  }
});

test("nothing is late when nothing is to be", async () => {
  const { manifest, out } = await generate({ ...PLAIN, rows: 5000, days: 5, late: 0 });
  expect(manifest.files.every((file) => file.late === 0)).toBe(true);
  const drops = await readDrops(out);
  for (const drop of drops) {
    expect(rowsOf(drop).every((row) => latenessOf(row.created, drop.syncedOn) <= 1)).toBe(true);
  }
});

test("corrections, re-sent lines, duplicates and bad lines come in the asked shares", async () => {
  const { manifest } = await generate({
    rows: 100_000,
    days: 20,
    corrections: 0.05,
    resent: 0.03,
    duplicates: 0.02,
    bad: 0.01,
  });
  for (const { rows } of manifest.files.slice(1)) {
    expect(rows.corrected / rows.read).toBeCloseTo(0.05, 3);
    expect(rows.unchanged / rows.read).toBeCloseTo(0.03, 3);
    expect(rows.superseded / rows.read).toBeCloseTo(0.02, 3);
    expect(rows.rejected / rows.read).toBeCloseTo(0.01, 3);
  }
  expect(manifest.maxRejects).toBe(0.01);
});

test("corrections and re-sent lines reach back over many drops", async () => {
  const { out } = await generate({ ...PLAIN, rows: 50_000, days: 100, late: 0, corrections: 0.1 });
  const drops = await readDrops(out);
  const last = drops.at(-1) as GeneratedDrop;
  const ages = rowsOf(last).map((row) => latenessOf(row.created, last.syncedOn));
  expect(new Set(ages.filter((age) => age > 1)).size).toBeGreaterThan(6);
  expect(Math.max(...ages)).toBeGreaterThanOrEqual(89);
});

test("up to a hundredth bad lines, every drop loads with the default limit", async () => {
  const { manifest } = await generate({ rows: 5000, days: 30, bad: 0.01 });
  for (const { rows } of manifest.files) expect(rows.rejected).toBeLessThanOrEqual(rows.read / 100);
});

const CANONICAL = new RegExp(
  [
    /^venue-\d{5}/,
    /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/,
    /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/,
    /-?\d+\.\d\d$/,
  ]
    .map(({ source }) => source)
    .join(","),
);

test("lines are canonical, but for the share that is not to be", async () => {
  const all = (await readDrops((await generate({ rows: 5000 })).out)).flatMap(rowsOf);
  expect(all.filter((row) => !CANONICAL.test(row.raw))).toEqual([]);
  const some = (await readDrops((await generate({ rows: 20_000, odd: 0.2 })).out)).flatMap(rowsOf);
  const odd = some.filter((row) => !CANONICAL.test(row.raw)).length / some.length;
  // A few odd forms change nothing: seconds that are not 00 cannot be left out.
  expect(odd).toBeGreaterThan(0.13);
  expect(odd).toBeLessThan(0.2);
});

test("refunds come in the asked share", async () => {
  const rows = (await readDrops((await generate({ ...PLAIN, rows: 50_000, refunds: 0.05 })).out)).flatMap(
    rowsOf,
  );
  expect(rows.filter((row) => row.cents < 0n).length / rows.length).toBeCloseTo(0.05, 2);
});

test("lines are in random order, or in that of their creation", async () => {
  for (const order of ["shuffled", "sorted"] as const) {
    const { out } = await generate({ rows: 20_000, days: 4, corrections: 0.1, duplicates: 0.01, order });
    for (const drop of await readDrops(out)) {
      const created = rowsOf(drop).map((row) => row.created);
      const falls = created.filter((instant, k) => k > 0 && instant < (created[k - 1] as string)).length;
      if (order === "sorted") expect(falls).toBe(0);
      else expect(falls / created.length).toBeGreaterThan(0.4);
    }
  }
});
