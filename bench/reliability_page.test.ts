import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { MUTATIONS } from "./mutations/mutations.ts";
import * as mutations from "./mutations/page.ts";
import { findOutdated } from "./mutations/run.ts";
import * as simulation from "./simulation/page.ts";
import { readRecord } from "./simulation/record.ts";

const docs = (name: string) => fileURLToPath(new URL(`../docs/${name}`, import.meta.url));
const PATH = docs("reliability.md");
const page = readFileSync(PATH, "utf8");

test("docs/reliability.md has the figures of the simulation's record, and no history differed", () => {
  const record = readRecord(docs("reliability/simulation.json"));
  expect(simulation.figuresOf(page, PATH)).toBe(simulation.formatFigures(record));
  expect(record.failures).toEqual([]);
});

test("docs/reliability.md has the figures of the mutations' record, and each was noticed", () => {
  const record: mutations.MutationRecord = JSON.parse(
    readFileSync(docs("reliability/mutations.json"), "utf8"),
  );
  expect(mutations.figuresOf(page, PATH)).toBe(mutations.formatFigures(record));
  expect(record.mutations.filter(({ noticedBy }) => noticedBy === null)).toEqual([]);
  expect(record.mutations).not.toEqual([]);
});

test("the text of each mutation stands once in its file", () => {
  expect(findOutdated(MUTATIONS)).toEqual([]);
  expect(MUTATIONS.length).toBeGreaterThanOrEqual(20);
  expect(new Set(MUTATIONS.map(({ name }) => name)).size).toBe(MUTATIONS.length);
});
