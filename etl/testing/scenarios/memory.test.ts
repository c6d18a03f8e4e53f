/**
 * Memory of a load does not depend on the size of the drop. The promise is about 1 M and 5 M rows (ROLLBOOK_MEMORY_ROWS=1000000 runs those);
 * two fifths of both show the same in less time, because everything that could grow does so per line, and both are longer than a chunk.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { writeLargeDrop } from "../drops.ts";

const CLI = fileURLToPath(new URL("../../cli.ts", import.meta.url));
const ROWS = Number(process.env.ROLLBOOK_MEMORY_ROWS ?? 400_000);
/** Most lines repeat an invoice: what is measured is the reading process, not how PostgreSQL inserts. */
const INVOICES = 20_000;
/** Of 5 M lines 300, because 8 bytes are kept of each, up to four million. */
const MAX_MB = ROWS < 1_000_000 ? 250 : 300;
const MAX_GROWTH_MB = 50;

/**
 * Runs in the process that is measured, before the command: writes its peak of resident memory, in kB, when it ends. Not maxRSS on Linux,
 * because that begins with what the process had that this one was forked from.
 */
const PROBE = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync, writeFileSync } from "node:fs";
  process.on("exit", () => {
    const peak = process.platform === "linux"
      ? /VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]
      : process.resourceUsage().maxRSS;
    writeFileSync(process.env.PEAK_FILE, String(peak));
  });`)}`;

interface Measured {
  readonly peakMb: number;
  readonly report: { readonly outcome: string; readonly rows: Readonly<Record<string, number>> };
}

/** Loads a drop into a warehouse of its own by the real command line. */
async function measureLoad(options: {
  readonly rows: number;
  readonly badEvery?: number;
  readonly args?: readonly string[];
}): Promise<Measured> {
  const { rows, badEvery = 0, args = [] } = options;
  const folder = makeFolder();
  const path = join(folder, "large_2026-03-31.csv");
  await writeLargeDrop({ path, rows, distinct: INVOICES, badEvery });
  const warehouse = await createTestDatabase();
  const peakFile = join(folder, "peak");
  const child = spawn(
    process.execPath,
    [
      "--import",
      import.meta.resolve("tsx"),
      "--import",
      PROBE,
      CLI,
      "load",
      path,
      "--no-refresh",
      "--json",
      ...args,
    ],
    {
      env: { PATH: process.env.PATH, PEAK_FILE: peakFile, ...warehouse.environment },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  const [code] = await once(child, "close");
  expect(code, stdout).toBe(0);
  const peakMb = Math.round(Number(readFileSync(peakFile, "utf8")) / 1024);
  const megabytes = Math.round(statSync(path).size / 1e6);
  console.log(`${rows} lines, ${megabytes} MB${badEvery ? ", bad ones among them" : ""}: peak ${peakMb} MB`);
  return { peakMb, report: JSON.parse(stdout) };
}

test(`five times the rows take no more memory, and less than ${MAX_MB} MB`, {
  timeout: 600_000,
}, async () => {
  const small = await measureLoad({ rows: ROWS });
  const large = await measureLoad({ rows: 5 * ROWS });
  const again = await measureLoad({ rows: 5 * ROWS });
  expect(large.report).toMatchObject({
    outcome: "loaded",
    rows: { read: 5 * ROWS, inserted: INVOICES, superseded: 5 * ROWS - INVOICES, rejected: 0 },
  });
  // When the collector runs is chance, and adds up to 30 MB: the lesser of two peaks is what the load needs.
  const peakMb = Math.min(large.peakMb, again.peakMb);
  expect(peakMb).toBeLessThan(MAX_MB);
  expect(peakMb - small.peakMb).toBeLessThan(MAX_GROWTH_MB);
});

test("rejects do not pile up in memory either", { timeout: 600_000 }, async () => {
  const small = await measureLoad({ rows: ROWS / 5, badEvery: 1, args: ["--max-rejects", "1"] });
  const large = await measureLoad({ rows: ROWS, badEvery: 1, args: ["--max-rejects", "1"] });
  expect(large.report).toMatchObject({
    outcome: "loaded",
    rows: { read: ROWS, inserted: 0, rejected: ROWS },
  });
  expect(large.peakMb).toBeLessThan(MAX_MB);
  expect(large.peakMb - small.peakMb).toBeLessThan(MAX_GROWTH_MB);
});

test("nor do rejects that stand between good lines", { timeout: 600_000 }, async () => {
  const { peakMb, report } = await measureLoad({ rows: ROWS, badEvery: 2, args: ["--max-rejects", "0.5"] });
  expect(report).toMatchObject({ outcome: "loaded", rows: { read: ROWS, rejected: ROWS / 2 } });
  expect(peakMb).toBeLessThan(MAX_MB);
});
