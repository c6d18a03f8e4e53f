import { expect, test } from "vitest";
import { partitionOf } from "../../db/partitions/ranges.ts";
import { GRANULARITIES } from "../../db/schema.ts";
import { parsePeriod, periodOf } from "./period.ts";

test.each([
  ["2026", "2026-01-01", "2027-01-01"],
  ["2026-Q1", "2026-01-01", "2026-04-01"],
  ["2026-Q4", "2026-10-01", "2027-01-01"],
  ["2026-10", "2026-10-01", "2026-11-01"],
  ["2024-02", "2024-02-01", "2024-03-01"],
  ["2026-W01", "2025-12-29", "2026-01-05"],
  ["2026-W53", "2026-12-28", "2027-01-04"],
  ["2024-02-29", "2024-02-29", "2024-03-01"],
])("%s is from %s to %s, and these dates have its name", (name, from, to) => {
  expect(parsePeriod(name)).toEqual({ name, from, to });
  expect(periodOf({ from, to })).toEqual({ name, from, to });
});

test.each([
  "",
  "26",
  "2026-13",
  "2026-00",
  "2026-Q0",
  "2026-Q5",
  "2026-q4",
  "2025-W53",
  "2026-W00",
  "2026-02-29",
  "2026-02-30",
  "2026-1",
  "2026-10-5",
  "0000",
  "0000-01",
  "9999",
  "9999-12-31",
  "2026-10 ",
  " 2026-10",
  "2026-10\n",
  "October",
])("%j is no period", (text) => {
  expect(parsePeriod(text)).toBeUndefined();
});

test("the names of partitions of thirty years are periods, with their dates", () => {
  for (const granularity of GRANULARITIES) {
    for (let date = "2000-01-01"; date < "2030-01-01"; ) {
      const { partition: name, lower: from, upper: to } = partitionOf(granularity, date);
      const period = JSON.stringify({ name, from, to });
      if (JSON.stringify(parsePeriod(name)) !== period) expect.fail(`${name} is another period`);
      if (JSON.stringify(periodOf({ from, to })) !== period) expect.fail(`${name} has another name`);
      date = to;
    }
  }
});

test("any other range is called by its dates", () => {
  const name = "from 2026-10-01 to 2026-10-16";
  expect(periodOf({ from: "2026-10-01", to: "2026-10-16" }).name).toBe(name);
});
