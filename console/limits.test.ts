import { expect, test } from "vitest";
import { createLimit, createPlaces, networkOf } from "./limits.ts";

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

test("so many places in all and for each, and one more when one is given back", () => {
  const { take } = createPlaces({ most: 3, mostOfOne: 2 });
  const leave = take("a");
  expect([take("a"), take("a"), take("b"), take("c")].map((place) => place !== undefined)).toEqual([
    true,
    false,
    true,
    false,
  ]);
  leave?.();
  // Who leaves twice gives back one.
  leave?.();
  expect([take("c"), take("c")].map((place) => place !== undefined)).toEqual([true, false]);
});

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:0DB8:1:2::9", "2001:db8:1:2::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["2001:db8:1:2:3:4:5::", "2001:db8:1:2::/64"],
  ["::1", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["64:ff9b::192.0.2.7", "64:ff9b:0:0::/64"],
  ["", ""],
])("%s counts as %s", (address, network) => {
  expect(networkOf(address)).toBe(network);
});
