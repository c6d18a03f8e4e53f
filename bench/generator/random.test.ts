import fc from "fast-check";
import { expect, test } from "vitest";
import {
  apportion,
  createPermutation,
  createPicker,
  goldenStep,
  invertModulo,
  mix32,
  multiplyModulo,
} from "./random.ts";

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });

test("a permutation takes every place once, and knows the way back", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 700 }), word, (size, key) => {
      const { at, positionOf } = createPermutation(size, key);
      const elements = Array.from({ length: size }, (_, position) => at(position));
      expect(new Set(elements).size).toBe(size);
      expect(Math.max(...elements)).toBeLessThan(size);
      expect(elements.map(positionOf)).toEqual([...elements.keys()]);
    }),
  );
});

test("a permutation of a thousand million knows the way back", () => {
  const { at, positionOf } = createPermutation(1_000_000_000, 7);
  for (let k = 0; k < 1000; k += 1) {
    const position = 999_999_999 - k * 999_983;
    expect(at(position)).toBeLessThan(1_000_000_000);
    expect(positionOf(at(position))).toBe(position);
  }
});

test("parts add up to the count, and none is more than one off its share", () => {
  const weights = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e9 }), weights, word, (count, given, offset) => {
      fc.pre(given.some((weight) => weight > 0));
      const sum = given.reduce((a, b) => a + b, 0);
      const parts = apportion(count, Float64Array.from(given), offset / 2 ** 32);
      expect(parts.reduce((a, b) => a + b, 0)).toBe(count);
      parts.forEach((part, k) => {
        expect(Math.abs(part - (count * (given[k] as number)) / sum)).toBeLessThanOrEqual(1.000001);
      });
    }),
  );
});

test("a picker draws by weight", () => {
  const pick = createPicker(Float64Array.of(1, 0.5, 6, 2.5));
  const drawn = [0, 0, 0, 0];
  for (let k = 0; k < 100_000; k += 1) {
    const index = pick(mix32(k), mix32(k + 0x10000000));
    drawn[index] = (drawn[index] as number) + 1;
  }
  expect(drawn.map((count) => Math.round(count / 1000))).toEqual([10, 5, 60, 25]);
});

test("products modulo a number are those of whole numbers without limit", () => {
  const below = fc.integer({ min: 1, max: 2 ** 31 - 1 });
  fc.assert(
    fc.property(below, below, below, (a, b, m) => {
      expect(multiplyModulo(a % m, b % m, m)).toBe(Number((BigInt(a % m) * BigInt(b % m)) % BigInt(m)));
    }),
  );
});

test("golden steps visit every number once, evenly, and can be traced back", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), (size) => {
      const step = goldenStep(size);
      const visited = Array.from({ length: size }, (_, k) => multiplyModulo(k, step, size));
      expect(new Set(visited).size).toBe(size);
      expect(visited.map((k) => multiplyModulo(k, invertModulo(step, size), size))).toEqual([
        ...visited.keys(),
      ]);
    }),
  );
  const tenth = Array.from({ length: 1000 }, (_, k) => multiplyModulo(k, goldenStep(10_000), 10_000));
  for (let part = 0; part < 10; part += 1) {
    const here = tenth.filter((k) => Math.floor(k / 1000) === part).length;
    expect(here).toBeGreaterThan(90);
    expect(here).toBeLessThan(110);
  }
});
