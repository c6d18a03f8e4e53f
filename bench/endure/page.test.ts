import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { figuresOf, formatFigures } from "./page.ts";
import { readEndureResults } from "./results.ts";

test("docs/reliability.md has the figures of docs/reliability/load.json, and all is well in them", () => {
  const docs = (name: string) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));
  const path = docs("reliability.md");
  const results = readEndureResults(docs("reliability/load.json"));
  expect(figuresOf(readFileSync(path, "utf8"), path)).toBe(formatFigures(results));
  const { differences, leaks, failures, interrupted, loads } = results;
  expect({ differences, leaks, failures, interrupted }).toEqual({
    differences: [],
    leaks: [],
    failures: [],
    interrupted: false,
  });
  expect({ failed: loads.failed, deadlocked: loads.deadlocked }).toEqual({ failed: 0, deadlocked: 0 });
});
