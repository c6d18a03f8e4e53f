import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { openEmbeddedServer } from "../../db/embedded/server.ts";
import { makeServerHome } from "../../db/testing/home.ts";
import { DATABASE } from "./endure/endurance.ts";
import { type EndureResults, isSound, readEndureResults } from "./endure/results.ts";
import { LEAST_MS_TO_JUDGE, percentile, summarizeGrowth } from "./endure/trends.ts";
import { findBloat } from "./endure/watch.ts";
import type { WearResults } from "./endure/wear.ts";

const ENDURE = fileURLToPath(new URL("./endure.ts", import.meta.url));
const RUN_MS = 600_000;

interface Run {
  readonly home: string;
  readonly child: ChildProcess;
  readonly ended: Promise<number | NodeJS.Signals | null>;
  readonly output: Promise<string>;
  /** Resolves with the first line on stderr that matches. */
  readonly untilPrinted: (part: RegExp) => Promise<string>;
  readonly results: () => EndureResults;
  /** The same of `--wear`. */
  readonly worn: () => WearResults;
}

function startEndure(...args: readonly string[]): Run {
  const home = makeServerHome();
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  const out = join(home, "results.json");
  const child = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), ENDURE, "--home", home, "--out", out, ...args],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  const ended = once(child, "exit").then(([code, signal]) => signal ?? code);
  const printed: string[] = [];
  const lines = createInterface({ input: child.stderr });
  lines.on("line", (line) => printed.push(line));
  return {
    home,
    child,
    ended,
    output: text(child.stdout),
    untilPrinted: async (part) => {
      for (;;) {
        const found = printed.find((line) => part.test(line));
        if (found !== undefined) return found;
        if (child.exitCode !== null) throw new Error(`it ended without ${part}:\n${printed.join("\n")}`);
        await sleep(50);
      }
    },
    results: () => readEndureResults(out),
    worn: () => JSON.parse(readFileSync(out, "utf8")) as WearResults,
  };
}

test(
  "eight loaders and four readers leave no difference, no leak and no failed load",
  async () => {
    const run = startEndure(
      ...["--minutes", "0.25", "--loaders", "8", "--readers", "4", "--largest", "20000", "--seed", "7"],
    );
    const code = await run.ended;
    const output = await run.output;
    const results = run.results();
    const { differences, leaks, failures, loads, times, memory, tables, verified } = results;
    expect({ differences, leaks, failures }).toEqual({ differences: [], leaks: [], failures: [] });
    expect({ failed: loads.failed, deadlocked: loads.deadlocked }).toEqual({ failed: 0, deadlocked: 0 });
    expect(code).toBe(0);

    // Something was at work: every loader and reader, all kinds of reads, several ways to refresh.
    expect(loads.loaded).toBeGreaterThan(3);
    expect(loads.rows).toBeGreaterThan(3000);
    expect(verified.invoices).toBeGreaterThan(3000);
    expect(verified.invoices).toBeLessThanOrEqual(loads.rows);
    const processes = memory.map(({ what }) => what).filter((what) => /^(loader|reader) \d$/.test(what));
    expect(processes).toHaveLength(12);
    expect(memory.every(({ max }) => max > 0)).toBe(true);
    const kinds = times.map(({ what }) => what);
    expect(kinds).toContain("commit of a drop");
    expect(kinds).toContain("refresh after a load");
    expect(kinds.filter((what) => what.startsWith("read: ")).length).toBeGreaterThanOrEqual(4);
    expect(
      times.every(({ count, p50, p90, p99, max }) => count > 0 && p50 <= p90 && p90 <= p99 && p99 <= max),
    ).toBe(true);
    expect(Object.keys(loads.refreshed).length).toBeGreaterThan(1);
    expect(tables.map(({ table }) => table)).toContain("venue_day_rollup");
    expect(output).toContain("differences: 0");
    expect(readdirSync(run.home).sort()).toEqual(["postgres", "results.json"]);
  },
  RUN_MS,
);

interface RunWarehouse {
  readonly connect: () => Promise<pg.Client>;
  /** Runs a statement on a connection of its own; its rows, or none where the database is going away. */
  readonly query: (text: string) => Promise<readonly Record<string, string>[]>;
}

/** The warehouse of a run, seen from outside. */
async function openWarehouse(run: Run): Promise<RunWarehouse> {
  const server = await openEmbeddedServer({ home: join(run.home, "postgres") });
  onTestFinished(() => server.release({ withinMs: 5000 }));
  const { host, port, user } = server;
  const connect = async () => {
    const client = new pg.Client({ host, port, user, ssl: false, database: DATABASE });
    // Whoever drops the database cuts it.
    client.on("error", () => {});
    await client.connect();
    return client;
  };
  const query = async (text: string) => {
    const client = await connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  };
  return { connect, query: (text) => query(text).catch(() => []) };
}

const hasEnded = ({ child }: Run) => child.exitCode !== null || child.signalCode !== null;

test(
  "a row of the rollup that is tampered with, and a lock that is left, are named, and the exit code is 1",
  async () => {
    const run = startEndure("--minutes", "60", "--loaders", "2", "--readers", "2", "--largest", "2000");
    await run.untilPrinted(/[1-9]\d* loads, /);
    const warehouse = await openWarehouse(run);
    const left = await warehouse.connect();
    onTestFinished(() => left.end().catch(() => {}));
    await left.query("select pg_advisory_lock(4711, 12)");
    // A reader sees it: then it is enough.
    run.untilPrinted(/[1-9]\d* differences/).then(
      () => run.child.kill("SIGTERM"),
      () => {},
    );
    let group = "";
    // Again and again, because a rebuild makes good what was done before it.
    while (!hasEnded(run)) {
      const [tampered] = await warehouse.query(`
        update warehouse.venue_day_rollup r set total = total + 0.01
        from warehouse.venues v
        where v.venue_key = r.venue_key
          and (r.created_on, r.venue_key) = (
            select created_on, venue_key from warehouse.venue_day_rollup order by 1, 2 limit 1)
        returning v.venue_id || ' on ' || r.created_on as "group"`);
      group = tampered?.group ?? group;
      await sleep(100);
    }
    expect(await run.ended).toBe(1);
    const results = run.results();
    expect(isSound(results)).toBe(false);
    expect(group).not.toBe("");
    // By a reader; and by the model and by verify, who name the group.
    expect(results.differences.some((difference) => /^reader \d: /.test(difference))).toBe(true);
    expect(results.differences.filter((difference) => difference.startsWith(group))).toHaveLength(1);
    expect(results.differences.join("\n")).toContain(`verify: ${group}`);
    expect(results.leaks.join("\n")).toMatch(/^advisory locks: .*4711\/12/m);
    expect(results.leaks.join("\n")).toMatch(/^connections: /m);
    expect(results.failures).toEqual([]);
    expect(await run.output).toContain(group);
  },
  RUN_MS,
);

test(
  "a run that is interrupted ends in order and is checked, and reports a load that was cut off and tried again",
  async () => {
    const run = startEndure(
      ...["--minutes", "60", "--loaders", "2", "--readers", "1", "--largest", "20000", "--json"],
    );
    await run.untilPrinted(/[1-9]\d* loads, /);
    const warehouse = await openWarehouse(run);
    for (let cut: readonly unknown[] = []; cut.length === 0; ) {
      cut = await warehouse.query(`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and state = 'active' and query ilike 'copy %'`);
    }
    run.child.kill("SIGTERM");
    expect(await run.ended).toBe(143);
    const results = run.results();
    expect(results.interrupted).toBe(true);
    expect(isSound(results)).toBe(true);
    expect(results.loads.loaded).toBeGreaterThan(0);
    expect(Object.values(results.loads.retried).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
    expect(JSON.parse(await run.output)).toEqual(results);
  },
  RUN_MS,
);

test("what grows in the second half is not flat, what only warmed up or comes and goes is", () => {
  const runMs = 2 * LEAST_MS_TO_JUDGE;
  const sample = (bytes: (share: number) => number) =>
    Array.from({ length: 100 }, (_, index) => ({
      at: (index * runMs) / 100,
      bytes: 1e8 * bytes(index / 100),
    }));
  const flat = (bytes: (share: number) => number) => summarizeGrowth("a process", sample(bytes), runMs).flat;
  expect(flat((share) => 1 + 2 * share)).toBe(false);
  expect(flat((share) => 1 + 2 * Math.min(share, 0.4))).toBe(true);
  expect(flat((share) => 2 + Math.sin(100 * share))).toBe(true);
  expect(flat((share) => 3 - share)).toBe(true);
  expect(
    summarizeGrowth(
      "a process",
      sample((share) => share),
      LEAST_MS_TO_JUDGE - 1,
    ).flat,
  ).toBeNull();
});

test("a rollup that is far larger than its rows need is named", () => {
  const rollup = { table: "venue_day_rollup", parts: 2, rows: 10_000, deadRows: 30_000, autovacuums: 1 };
  expect(findBloat([{ ...rollup, bytes: 3e6 }])).toEqual([]);
  expect(findBloat([{ ...rollup, bytes: 3e7 }])).toEqual([
    "venue_day_rollup: 30000000 bytes for 10000 rows, 30000 dead",
  ]);
});

test("a percentile is a value that was measured", () => {
  const sorted = Array.from({ length: 200 }, (_, index) => index + 1);
  expect([0.5, 0.99, 1].map((share) => percentile(sorted, share))).toEqual([100, 198, 200]);
  expect(percentile([3], 0.5)).toBe(3);
});

test(
  "small loads on one set of groups end with what was loaded, also beside an open transaction",
  async () => {
    const run = startEndure("--wear", "30");
    expect(await run.ended).toBe(0);
    const { parts } = run.worn();
    expect(parts.map(({ held, loads, differences }) => ({ held, loads, differences }))).toEqual([
      { held: false, loads: 30, differences: [] },
      { held: true, loads: 30, differences: [] },
    ]);
    expect(parts[0]?.warning).toBeNull();
    expect(parts[1]?.warning).toMatch(/^pid \d+ .* has a transaction open since /);
    for (const { times } of parts) {
      expect(times.map(({ what }) => what)).toEqual(["load", "refresh", "view"]);
      for (const { first, last } of times) expect(Math.min(first, last)).toBeGreaterThan(0);
    }
    expect(await run.output).toContain("beside a transaction that is held open");
  },
  RUN_MS,
);
