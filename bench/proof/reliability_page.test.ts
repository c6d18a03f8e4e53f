import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type Block, readBlock } from "../program/block.ts";
import { readEndureResults } from "./endure/results.ts";
import { findOutdated, type MutationRecord } from "./mutate/attempt.ts";
import { MUTATIONS } from "./mutate/mutations.ts";
import { LOAD_BLOCK, MUTATIONS_BLOCK, SIMULATION_BLOCK } from "./reliability_page.ts";
import { readRecord } from "./simulate/record.ts";

const docs = (name: string) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));

function expectOnPage<Figures>(block: Block<Figures>, figures: Figures): void {
  const path = docs("reliability.md");
  expect(readBlock(readFileSync(path, "utf8"), path, block)).toBe(block.format(figures));
}

test("docs/reliability.md has the figures of the simulation's record, and no history differed", () => {
  const record = readRecord(docs("reliability/simulation.json"));
  expectOnPage(SIMULATION_BLOCK, record);
  expect(record.failures).toEqual([]);
});

test("docs/reliability.md has the figures of the mutations' record, and each was noticed", () => {
  const record: MutationRecord = JSON.parse(readFileSync(docs("reliability/mutations.json"), "utf8"));
  expectOnPage(MUTATIONS_BLOCK, record);
  expect(record.mutations.filter(({ noticedBy }) => noticedBy === null)).toEqual([]);
  expect(record.mutations).not.toEqual([]);
});

test("docs/reliability.md has the figures of the load's record, and all is well in them", () => {
  const results = readEndureResults(docs("reliability/load.json"));
  expectOnPage(LOAD_BLOCK, results);
  const { differences, leaks, failures, interrupted, loads } = results;
  expect({ differences, leaks, failures, interrupted }).toEqual({
    differences: [],
    leaks: [],
    failures: [],
    interrupted: false,
  });
  expect({ failed: loads.failed, deadlocked: loads.deadlocked }).toEqual({ failed: 0, deadlocked: 0 });
});

test("the text of each mutation stands once in its file", () => {
  expect(findOutdated(MUTATIONS)).toEqual([]);
  expect(MUTATIONS.length).toBeGreaterThanOrEqual(20);
  expect(new Set(MUTATIONS.map(({ name }) => name)).size).toBe(MUTATIONS.length);
});
