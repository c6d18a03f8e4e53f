import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { fetchDataset } from "./tills/dataset.ts";
import { proveTills } from "./tills/prove.ts";

const DONE_WITHIN_MS = 600_000;

test("the totals of a year of real till lines are DuckDB's own sums by store and day, to the cent", {
  timeout: DONE_WITHIN_MS,
}, async ({ skip }) => {
  const dataset = await fetchDataset();
  if (dataset.kind === "unavailable")
    return skip(`the data set cannot be fetched: ${dataset.reason.split("\n").join("; ")}`);
  const { environment } = await createTestDatabase({ timeZone: "America/New_York" });
  const { loadSeconds, ...report } = await proveTills({
    parquet: dataset.path,
    folder: makeFolder(),
    environment,
    onNote: () => {},
  });
  expect(report).toEqual({
    files: 55,
    lines: 1_469_307,
    late: 207_779,
    inserted: 155_848,
    stores: 457,
    groups: 38_543,
    baskets: 155_848,
    total: "4596039.58",
    differences: [],
  });
});
