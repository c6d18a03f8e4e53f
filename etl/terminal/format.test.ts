import { expect, test } from "vitest";
import { isoInstant } from "../reports/zone.ts";
import {
  countOf,
  formatBytes,
  formatCount,
  formatDuration,
  formatEuros,
  formatInstant,
  shorten,
} from "./format.ts";

test("numbers, euros, bytes and durations are as people read them", () => {
  expect(formatCount(1234567)).toBe("1,234,567");
  expect(countOf(1, "line")).toBe("1 line");
  expect(countOf(0, "line")).toBe("0 lines");
  expect(formatEuros("1234567.80")).toBe("1,234,567.80");
  expect(formatEuros("-999.00")).toBe("-999.00");
  expect(formatEuros("-1000.05")).toBe("-1,000.05");
  expect(formatEuros("99999999999999999999.99")).toBe("99,999,999,999,999,999,999.99");
  expect(formatEuros("0")).toBe("0.00");
  expect(formatBytes(0)).toBe("0.0 kB");
  expect(formatBytes(12_345_678)).toBe("12.3 MB");
  expect(formatBytes(1_234_567_890)).toBe("1.23 GB");
  expect([0, 999, 1500, 59_999, 61_000].map(formatDuration)).toEqual([
    "0 ms",
    "999 ms",
    "1.5 s",
    "59.9 s",
    "1:01 min",
  ]);
});

test("instants are ISO 8601 for programs, and to the second for people", () => {
  expect(isoInstant("2026-10-05 18:00:00.123456+02")).toBe("2026-10-05T18:00:00.123456+02:00");
  expect(isoInstant("2026-10-05 18:00:00+05:30")).toBe("2026-10-05T18:00:00+05:30");
  expect(isoInstant("2026-10-05 18:00:00-03")).toBe("2026-10-05T18:00:00-03:00");
  expect(formatInstant("2026-10-05T18:00:00.123456+02:00")).toBe("2026-10-05 18:00:00+02:00");
});

test("a long text loses its middle", () => {
  expect(shorten("short")).toBe("short");
  expect(shorten("a".repeat(50) + "b".repeat(50), 20)).toBe(`${"a".repeat(11)}...${"b".repeat(6)}`);
  expect([...shorten("😀".repeat(100), 20)]).toHaveLength(20);
});
