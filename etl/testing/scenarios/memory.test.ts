/**
 * Memory of a load does not depend on the size of the drop: two million lines, which fill eight chunks, need
 * no more than the process may have. ROLLBOOK_MEMORY_ROWS=1000000 tries five million.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { COMMAND } from "../cli.ts";
import { writeLargeDrop } from "../drops.ts";
import { limitMemory, type MemoryLimit } from "../memory_limit.ts";

const ROWS = Number(process.env.ROLLBOOK_MEMORY_ROWS ?? 400_000);
/** Most lines repeat an invoice: what is tried is the reading process, not how PostgreSQL inserts. */
const INVOICES = 20_000;
/** A load of two million lines needs some 210 MB; if it kept each line, at 70 bytes, it would need 350. */
const LIMIT: MemoryLimit = { total: 256, heap: 64 };

interface Loaded {
  readonly outcome: string;
  readonly rows: Readonly<Record<string, number>>;
}

/** Loads a drop into a warehouse of its own by the real command line, within {@link LIMIT}. */
async function loadInLimits(options: {
  readonly rows: number;
  readonly badEvery?: number;
  readonly args?: readonly string[];
}): Promise<Loaded> {
  const { rows, badEvery = 0, args = [] } = options;
  const path = join(makeFolder(), "large_2026-03-31.csv");
  await writeLargeDrop({ path, rows, distinct: INVOICES, badEvery });
  const { environment } = await createTestDatabase();
  const [program, ...first] = limitMemory(COMMAND, LIMIT);
  const child = spawn(program, [...first, "load", path, "--no-refresh", "--json", ...args], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  expect({ code, signal }, stderr).toEqual({ code: 0, signal: null });
  return JSON.parse(stdout);
}

test(`a load does with ${LIMIT.total} MB, however many lines the drop has`, {
  timeout: 600_000,
}, async () => {
  expect(await loadInLimits({ rows: 5 * ROWS })).toMatchObject({
    outcome: "loaded",
    rows: { read: 5 * ROWS, inserted: INVOICES, superseded: 5 * ROWS - INVOICES, rejected: 0 },
  });
});

test("rejects do not pile up in memory either", { timeout: 600_000 }, async () => {
  const loaded = await loadInLimits({ rows: ROWS, badEvery: 1, args: ["--max-rejects", "1"] });
  expect(loaded).toMatchObject({ outcome: "loaded", rows: { read: ROWS, inserted: 0, rejected: ROWS } });
});

test("nor do rejects that stand between good lines", { timeout: 600_000 }, async () => {
  const loaded = await loadInLimits({ rows: 2 * ROWS, badEvery: 2, args: ["--max-rejects", "0.5"] });
  expect(loaded).toMatchObject({ outcome: "loaded", rows: { read: 2 * ROWS, rejected: ROWS } });
});
