/**
 * Random histories in which loads are undone, against a model in memory, and against a second warehouse that
 * the undone loads never came to. ROLLBOOK_HISTORIES says how many, ROLLBOOK_SEED where they begin.
 */
import fc from "fast-check";
import { test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { createWarehouseModel } from "../testing/models/warehouse.ts";
import { compare, expectAsIfNeverLoaded, settle, view } from "./testing/compare.ts";
import { anyHistory, type History, writeDrops } from "./testing/history.ts";
import { carryOut, type Life, load } from "./testing/life.ts";

const HISTORIES = Number(process.env.ROLLBOOK_HISTORIES ?? 20);
const FIRST_SEED = Number(process.env.ROLLBOOK_SEED ?? 1);
/** The databases of a test stay until it ends. */
const HISTORIES_PER_TEST = 5;

async function liveThrough(history: History): Promise<void> {
  const warehouse = await createTestDatabase({ granularity: history.granularity });
  const drops = writeDrops(history);
  const life: Life = {
    warehouse,
    model: createWarehouseModel(),
    entries: [],
    moments: [],
    pruned: new Set(),
  };
  for (const act of history.acts) {
    await carryOut(life, drops, act);
    await compare(life);
  }
  const then = { entries: life.entries.length, view: await view(warehouse) };
  // How later loads decide is a part of what an undo leaves.
  for (const drop of drops) {
    await load(life, drop, false);
    await compare(life);
  }
  await settle(life);
  await expectAsIfNeverLoaded(life, history.granularity, then);
}

const chunks = Array.from(
  { length: Math.ceil(HISTORIES / HISTORIES_PER_TEST) },
  (_, index) => FIRST_SEED + index,
);

test.each(chunks)(
  "what is undone was never loaded: histories of seed %i",
  { timeout: 600_000 },
  async (seed) => {
    await fc.assert(fc.asyncProperty(anyHistory, liveThrough), { seed, numRuns: HISTORIES_PER_TEST });
  },
);
