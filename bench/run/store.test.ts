import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type CellResult, type Environment, readResults } from "../results.ts";
import { planProfile } from "./profiles.ts";
import { openStore } from "./store.ts";

const ENVIRONMENT: Environment = {
  cpu: "one",
  cores: 2,
  memoryBytes: 1,
  os: "Linux",
  node: "v20",
  postgres: "18",
  duckdb: "1.5",
  commit: "abc",
  server: "embedded",
  settings: { fsync: "on" },
};
const plan = planProfile("smoke");

function openIn(folder: string, changed: Partial<Environment> = {}, fresh = false) {
  return openStore({ folder, profile: "smoke", plan, environment: { ...ENVIRONMENT, ...changed }, fresh });
}

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "rollbook-store-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const resultOf = (index: number): CellResult => {
  const planned = plan[index];
  if (planned === undefined) throw new Error(`the profile has no cell ${index}`);
  return { cell: planned.cell, arms: [], finishedAt: "2026-10-01T00:00:00Z" };
};

test("what was measured is there again, in the order of the profile", async () => {
  const folder = makeFolder();
  const store = await openIn(folder);
  await store.add(resultOf(2));
  await store.add(resultOf(0));
  const again = await openIn(folder);
  expect(again.startedAnew).toBeUndefined();
  expect(again.results().cells).toEqual([resultOf(0), resultOf(2)]);
  expect(again.has(resultOf(2).cell.id)).toBe(true);
  expect(again.has(resultOf(1).cell.id)).toBe(false);
});

test("a run is finished when all cells are in", async () => {
  const store = await openIn(makeFolder());
  for (const index of plan.keys()) {
    expect(store.results().finishedAt).toBeNull();
    await store.add(resultOf(index));
  }
  expect(store.results().finishedAt).not.toBeNull();
});

test.each([
  ["another commit", { commit: "def" }, false, "its commit is abc, not def"],
  ["other settings", { settings: { fsync: "off" } }, false, "PostgreSQL's settings were others"],
  ["--fresh", {}, true, "--fresh was given"],
])("with %s a run begins anew and keeps what was there beside", async (_, changed, fresh, reason) => {
  const folder = makeFolder();
  await (await openIn(folder)).add(resultOf(0));
  const store = await openIn(folder, changed, fresh);
  expect(store.startedAnew).toBe(reason);
  expect(store.results().cells).toEqual([]);
  await store.add(resultOf(1));
  expect(readResults(store.path).cells).toEqual([resultOf(1)]);
  expect(readdirSync(folder).filter((name) => /^results-.+\.json$/.test(name))).toHaveLength(1);
});
