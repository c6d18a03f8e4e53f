/**
 * Statistics that are wrong at the worst moments: another session analyzes tables while a load fills them, or they
 * are of a time when a table was empty, or huge. No plan of a load or a refresh may follow them.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { type Database, openDatabase } from "../../../db/client.ts";
import { createTestDatabase, type TestWarehouse, testConnection } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { type LoadOptions, loadDrop } from "../../load/load.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { undo } from "../../undo/undo.ts";
import { disagreements } from "../warehouse.ts";

/** What another session does to the statistics of all tables, again and again. */
const STATISTICS = {
  "analyzed beside it": "analyze warehouse.%I",
  "of few rows on many pages":
    "select pg_restore_relation_stats('schemaname', 'warehouse', 'relname', %L, 'relpages', 20000, 'reltuples', 10::real)",
  "of very many rows":
    "select pg_restore_relation_stats('schemaname', 'warehouse', 'relname', %L, 'relpages', 10, 'reltuples', 1000000::real)",
} as const;
type Statistics = keyof typeof STATISTICS;

/** A thread with a session of its own. `said` is 0 while it works, then 1, or 2 if it failed. */
const SPOILER = `
  const { parentPort, workerData } = require("node:worker_threads");
  const pg = require("pg");
  const { connection, statement, said } = workerData;
  const client = new pg.Client(connection);
  const ready = client.connect().then(() => client.query("set lock_timeout = '1ms'"));
  const spoil = async () => {
    await ready;
    const { rows } = await client.query(\`
      select format($1, relname, relname) as statement from pg_class
      where relnamespace = 'warehouse'::regnamespace and relkind = 'r'\`, [statement]);
    // Staging is locked by the load that fills it.
    for (const { statement } of rows) await client.query(statement).catch(() => {});
  };
  parentPort.on("message", () => {
    spoil().then(() => 1, (error) => (console.error(error), 2)).then((end) => {
      Atomics.store(said, 0, end);
      Atomics.notify(said, 0);
    });
  });`;

/** Returns what spoils the statistics, while this thread stands still. */
function startSpoiler(database: string, statistics: Statistics): () => void {
  const said = new Int32Array(new SharedArrayBuffer(4));
  const connection = testConnection(database);
  const thread = new Worker(SPOILER, {
    eval: true,
    workerData: { connection, statement: STATISTICS[statistics], said },
  });
  onTestFinished(async () => {
    await thread.terminate();
  });
  return () => {
    Atomics.store(said, 0, 0);
    thread.postMessage("");
    expect(Atomics.wait(said, 0, 0, 60_000)).not.toBe("timed-out");
    expect(Atomics.load(said, 0)).toBe(1);
  };
}

/** The rows that all nodes of a plan gave or looked at. */
function countRows(plan: string): number {
  let loops = 0;
  let sum = 0;
  for (const [, rows, times, removed] of plan.matchAll(
    /actual rows=([\d.]+) loops=(\d+)|Rows Removed by [\w ]+: (\d+)/g,
  )) {
    if (times !== undefined) loops = Number(times);
    sum += Number(rows ?? removed) * loops;
  }
  return sum;
}

interface Explained {
  readonly statement: string;
  readonly rows: number;
}

/** The same database, with the plan of each statement as it was run. */
function explaining(warehouse: TestWarehouse): { readonly database: Database; readonly plans: Explained[] } {
  const { database: name } = warehouse.database.pool.options;
  const settings = {
    session_preload_libraries: "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_parameter_max_length": "0",
    client_min_messages: "log",
  };
  const options = Object.entries(settings)
    .map(([setting, value]) => `-c ${setting}=${value}`)
    .join(" ");
  const database = openDatabase({ connection: { ...testConnection(name ?? ""), options }, max: 4 });
  onTestFinished(() => database.pool.end());
  const plans: Explained[] = [];
  database.pool.on("connect", (client) => {
    client.on("notice", ({ message = "" }) => {
      const [, statement, plan] =
        /plan:\nQuery Text:([\s\S]*?)\n(\w[^\n]*\(cost=[\s\S]*)/.exec(message) ?? [];
      if (statement !== undefined && plan !== undefined) plans.push({ statement, rows: countRows(plan) });
    });
  });
  return { database, plans };
}

const VENUES = 40;

/** Lines of February: those from `first` on, `count` of them. */
function linesOf(first: number, count: number, total: string): string {
  return Array.from({ length: count }, (_, index) => {
    const n = first + index;
    const id = `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
    const day = String(1 + (n % 28)).padStart(2, "0");
    return `venue-${n % VENUES},${id},2026-02-${day}T12:00:00,${total}\n`;
  }).join("");
}

const HISTORY = 20_000;
const CHANGED = 4000;
/** Each line of these files, each invoice, and each group of them may be read so often, but not once for each other. */
const MOST_ROWS = 20 * (HISTORY + 4 * CHANGED);

test.each(Object.keys(STATISTICS) as Statistics[])(
  "no statement follows statistics %s",
  async (statistics) => {
    const warehouse = await createTestDatabase();
    const { settings } = warehouse;
    const { database, plans } = explaining(warehouse);
    const spoil = startSpoiler(database.pool.options.database ?? "", statistics);
    const folder = makeFolder();
    const load = async (file: string, lines: string, options: Partial<LoadOptions> = {}) => {
      const path = join(folder, file);
      writeFileSync(path, lines);
      let step = "";
      let looks = 0;
      const onProgress: LoadOptions["onProgress"] = (progress) => {
        // At the beginning of each step, and some times in the middle of the longer ones.
        looks = progress.step === step ? looks + 1 : 0;
        step = progress.step;
        if (looks === 0 || looks === 2) spoil();
      };
      const report = await loadDrop({ database, settings, path, chunkLines: 3000, onProgress, ...options });
      expect(report).toMatchObject({ outcome: "loaded" });
      return report.loadId ?? 0;
    };
    const refresh = async (strategy: "delta" | "partition") => {
      spoil();
      await refreshPartitions({ database, strategy });
    };
    await load("history_2026-03-01.csv", linesOf(0, HISTORY, "1.00"));
    await refresh("delta");
    // Lines of other chunks that replace earlier ones.
    const again = linesOf(HISTORY, 2 * CHANGED, "1.00") + linesOf(HISTORY, CHANGED, "2.00");
    await load("direct_2026-03-02.csv", again);
    await refresh("partition");
    const corrected = await load("corrected_2026-03-03.csv", linesOf(CHANGED, 2 * CHANGED, "3.00"));
    await load("late_2026-03-02.csv", linesOf(CHANGED, CHANGED, "4.00"), { careful: true });
    // What a snapshot or an undo takes out is not pinned against these: the planner takes a probe for a scan then.
    const isPinned = statistics !== "of few rows on many pages";
    await load("snapshot_2026-03-04.csv", linesOf(0, CHANGED, "5.00"), { replaceVenueDays: isPinned });
    await load("older_2026-03-03.csv", linesOf(0, 2 * CHANGED, "6.00"));
    await refresh("delta");
    if (isPinned) {
      spoil();
      await undo({
        database,
        settings,
        loadId: corrected,
        because: "test",
        onStep: spoil,
      });
    }
    await refresh("delta");
    expect(await disagreements(warehouse)).toEqual([]);
    expect(plans.length).toBeGreaterThan(100);
    expect(plans.filter(({ rows }) => rows > MOST_ROWS)).toEqual([]);
  },
);
