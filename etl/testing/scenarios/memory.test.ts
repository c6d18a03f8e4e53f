/**
 * Memory of a load does not depend on the size of the drop: two million lines, which fill eight chunks, need
 * no more than the process may have. ROLLBOOK_MEMORY_ROWS=1000000 tries five million.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { addDays } from "../../../db/dates.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
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
  return loadWithin(LIMIT, await createTestDatabase(), path, args);
}

async function loadWithin(
  limit: MemoryLimit,
  { environment }: TestWarehouse,
  path: string,
  args: readonly string[] = [],
): Promise<Loaded> {
  const [program, ...first] = limitMemory(COMMAND, limit);
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

/** Groups and venues are objects, so more of it may be heap. */
const WIDE_LIMIT: MemoryLimit = { total: 256, heap: 128 };

/** @param file of the drop, which is also what its ids begin with: `1` to `9` */
function writeWideDrop(
  file: number,
  lines: number,
  groupOf: (line: number) => readonly [string, string],
): string {
  const path = join(makeFolder(), `wide${file}_2026-03-31.csv`);
  const parts = Array.from({ length: lines }, (_, line) => {
    const [venue, date] = groupOf(line);
    return `${venue},${file}0000000-0000-4000-8000-${String(line).padStart(12, "0")},${date}T12:00:00,1.00\n`;
  });
  writeFileSync(path, parts.join(""));
  return path;
}

test("half a million groups need no more, where venues and partitions are there", {
  timeout: 600_000,
}, async () => {
  const warehouse = await createTestDatabase();
  const lines = 500_000;
  const venues = 20_000;
  // 193 is prime to the number of days: neighbours in the file are far from each other.
  const groupOf = (line: number) =>
    [
      `venue-${line % venues}`,
      addDays("2016-01-01", (line * 193 + Math.floor(line / venues)) % 3650),
    ] as const;
  for (const file of [1, 2]) {
    const loaded = await loadWithin(WIDE_LIMIT, warehouse, writeWideDrop(file, lines, groupOf));
    expect(loaded).toMatchObject({ outcome: "loaded", rows: { inserted: lines } });
  }
});

test("nor do 300,000 new venues", { timeout: 600_000 }, async () => {
  const path = writeWideDrop(1, 300_000, (line) => [`venue-${line}`, "2026-03-01"]);
  const loaded = await loadWithin(WIDE_LIMIT, await createTestDatabase(), path);
  expect(loaded).toMatchObject({ outcome: "loaded", rows: { inserted: 300_000 } });
});
