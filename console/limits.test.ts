import { expect, test } from "vitest";
import { createLimit } from "./limits.ts";

test("so many at once, then so many a second, by address", () => {
  let now = 0;
  const limit = createLimit({ burst: 2, perSecond: 0.5, now: () => now });
  const take = (address: string) => limit.take(address);
  expect([take("a"), take("a"), take("a"), take("b")]).toEqual([true, true, false, true]);
  expect([limit.has("a"), limit.has("b"), limit.has("c")]).toEqual([false, true, true]);
  now = 1999;
  expect(take("a")).toBe(false);
  now = 3000;
  expect([take("a"), take("a")]).toEqual([true, false]);
  now = 1e9;
  expect([take("a"), take("a"), take("a")]).toEqual([true, true, false]);
});

test("a stranger with many addresses fills no memory", () => {
  const limit = createLimit({ burst: 1, perSecond: 0, now: () => 0 });
  for (let address = 0; address <= 10_000; address += 1) expect(limit.take(String(address))).toBe(true);
  // The oldest is forgotten, the newest is not.
  expect([limit.has("0"), limit.has("10000")]).toEqual([true, false]);
});
