import { expect, test } from "vitest";
import { cutBatches } from "./batch.ts";
import type { InboxFile } from "./list.ts";

function fileOf(name: string, bytes: number): InboxFile {
  return { name, path: `/inbox/${name}`, bytes: BigInt(bytes), modifiedNs: 0n, inode: 0n };
}

test("few small drops are one batch; many, or large ones, are several of similar weight, in their order", () => {
  const small = Array.from({ length: 100 }, (_, n) => fileOf(`${n}_2026-01-05.csv`, 1000));
  expect(cutBatches([], 8)).toEqual([]);
  expect(cutBatches(small, 8)).toHaveLength(1);
  const many = Array.from({ length: 2000 }, (_, n) => fileOf(`${n}_2026-01-05.csv`, 1000));
  const batches = cutBatches(many, 8);
  expect(batches.map(({ files }) => files.length)).toEqual(Array(8).fill(250));
  expect(batches.flatMap(({ files }) => files)).toEqual(many);
  const large = [1e9, 1000, 1000, 4e8, 5e8, 1000].map((bytes, n) => fileOf(`${n}_2026-01-05.csv`, bytes));
  expect(cutBatches(large, 4).map(({ files }) => files.length)).toEqual([1, 3, 2]);
  expect(cutBatches(large, 1)).toHaveLength(1);
  expect(cutBatches([fileOf("huge_2026-01-05.csv", 1e12)], 8)).toHaveLength(1);
});

test("the batches of any inbox hold each drop once, in order", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const files = Array.from({ length: (seed * 7) % 60 }, (_, n) =>
      fileOf(`${n}.csv`, Math.floor(10 ** ((seed * 31 + n * 17) % 11))),
    );
    const most = 1 + (seed % 9);
    const batches = cutBatches(files, most);
    expect(batches.length).toBeLessThanOrEqual(most);
    expect(batches.flatMap((batch) => batch.files)).toEqual(files);
    expect(batches.every((batch) => batch.files.length > 0)).toBe(true);
  }
});
