/**
 * Very many small loads on one set of groups, each with its refresh and a look at a report: whether the last ones
 * take as long as the first. Once as it is, and once beside a transaction that somebody has left open, behind which
 * vacuum cannot clean up.
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { openDatabase } from "../../../db/client.ts";
import { toDate } from "../../../db/dates.ts";
import { initWarehouse } from "../../../db/migrate.ts";
import { loadDrop } from "../../../etl/load/load.ts";
import { refreshPartitions } from "../../../etl/refresh/refresh.ts";
import { warnOfOldTransactions } from "../../../etl/reports/status.ts";
import { formatCount } from "../../../etl/terminal/format.ts";
import { euros } from "../../generator/line.ts";
import { mix32 } from "../../generator/random.ts";
import { describeEnvironment } from "../../program/environment.ts";
import { type BenchServer, openBenchServer } from "../../program/server.ts";
import type { Environment } from "../../results.ts";
import { verifyAll } from "./end_state.ts";
import { DATABASE } from "./endurance.ts";
import { FIRST_SYNC_DAY } from "./invoices.ts";
import { clearDrops } from "./supply.ts";
import { percentile } from "./trends.ts";
import { readTables } from "./watch.ts";

export interface WearOptions {
  readonly loads: number;
  /** Folder of the embedded server and of the drops. */
  readonly home: string;
  readonly command: string;
  readonly signal: AbortSignal;
  readonly onNote: (note: string) => void;
}

/** Medians in milliseconds of the first and of the last loads. */
export interface Worn {
  readonly what: string;
  readonly first: number;
  readonly last: number;
}

export interface WearPart {
  /** Whether a transaction was held open all the while. */
  readonly held: boolean;
  readonly loads: number;
  readonly times: readonly Worn[];
  /** Tables that grew over 100 kB, with their indexes, in bytes. */
  readonly tables: readonly {
    readonly table: string;
    readonly bytes: number;
    readonly autovacuums: number;
  }[];
  /** What `status` says of the transaction; null where it does not name it. */
  readonly warning: string | null;
  /** Empty where all is well. */
  readonly differences: readonly string[];
}

export interface WearResults {
  readonly version: 1;
  readonly command: string;
  readonly environment: Environment;
  readonly parts: readonly WearPart[];
}

/** The groups: so many venues on so many dates, and invoices in each at the start. */
const VENUES = 20;
const DATES = 5;
const INVOICES_PER_GROUP = 20;
/** Lines of a load: half of them are new invoices, the others correct some. */
const LINES = 20;
const LOADS_PER_DAY = 50;
/** The share of the loads that are the first, and the last. The very first ones warm the process up. */
const SHARE = 0.1;
const WARM_UP = 0.02;
const NOTE_EVERY = 500;

/** @returns what was measured; less where it is interrupted */
export async function wear(options: WearOptions): Promise<WearResults> {
  const server = await openBenchServer({ home: options.home, signal: options.signal });
  const folder = join(options.home, "drops");
  try {
    const environment = await describeEnvironment(server);
    const parts: WearPart[] = [];
    for (const held of [false, true]) {
      if (options.signal.aborted) break;
      await clearDrops(folder);
      parts.push(await wearOut({ ...options, server, folder, held }));
    }
    return { version: 1, command: options.command, environment, parts };
  } finally {
    await rm(folder, { recursive: true, force: true });
    await server.close();
  }
}

async function wearOut(
  options: WearOptions & { readonly server: BenchServer; readonly folder: string; readonly held: boolean },
): Promise<WearPart> {
  const { server, folder, held, signal, onNote } = options;
  await server.admin.query(`drop database if exists ${DATABASE} with (force)`);
  await server.admin.query(`create database ${DATABASE} template template0`);
  const connection = server.connectionTo(DATABASE);
  const database = openDatabase({ connection, max: 3 });
  const holder = new pg.Client(connection);
  // A connection that breaks emits this event, too; the run ends with a difference then.
  holder.on("error", () => {});
  try {
    const { settings } = await initWarehouse({ database, timeZone: "Europe/Berlin" });
    const drops = createDrops();
    const load = async (number: number, lines: readonly string[]) => {
      const path = join(
        folder,
        `${number}_${toDate(FIRST_SYNC_DAY + Math.floor(number / LOADS_PER_DAY))}.csv`,
      );
      await writeFile(path, `${lines.join("\n")}\n`);
      const { outcome, touched, error } = await loadDrop({ database, settings, path });
      if (outcome !== "loaded") throw new Error(`${path}: ${outcome} ${error?.message ?? ""}`);
      await rm(path);
      return touched;
    };
    await load(0, drops.first());
    await refreshPartitions({ database });
    if (held) {
      await holder.connect();
      await holder.query("begin isolation level repeatable read; select from warehouse.settings");
    }
    const took = { load: [] as number[], refresh: [] as number[], view: [] as number[] };
    const time = async <T>(what: keyof typeof took, work: () => Promise<T>): Promise<T> => {
      const began = performance.now();
      const result = await work();
      took[what].push(performance.now() - began);
      return result;
    };
    for (let number = 1; number <= options.loads && !signal.aborted; number += 1) {
      const lines = drops.next();
      const partitions = await time("load", () => load(number, lines));
      // Each tenth is left to the next: then a reader finds something pending.
      if (number % 10 !== 0) await time("refresh", () => refreshPartitions({ database, partitions }));
      await time("view", () =>
        database.pool.query("select venue_id, sum(total) from reports.venue_daily_totals group by venue_id"),
      );
      if (number % NOTE_EVERY === 0) onNote(`${formatCount(number)} of ${formatCount(options.loads)} loads`);
    }
    const warnings = held ? await warnOfOldTransactions({ database, settings, olderThanMinutes: 0 }) : [];
    const tables = await readTables(database);
    await refreshPartitions({ database });
    const { rows } = await database.pool.query<{ shown: string }>(
      "select concat_ws(', ', sum(invoices), sum(total)) as shown from reports.venue_daily_totals",
    );
    const { differences } = await verifyAll(database, settings);
    const wrong =
      rows[0]?.shown === drops.expected()
        ? []
        : [`the reports show ${rows[0]?.shown}, not ${drops.expected()}`];
    return {
      held,
      loads: took.load.length,
      times: Object.entries(took).map(([what, measured]) => compareEnds(what, measured)),
      tables: tables.map(({ table, bytes, autovacuums }) => ({ table, bytes, autovacuums })),
      warning: warnings[0] ?? null,
      differences: [...differences, ...wrong],
    };
  } finally {
    await holder.end().catch(() => {});
    await database.pool.end();
    await server.admin.query(`drop database if exists ${DATABASE} with (force)`);
  }
}

function compareEnds(what: string, measured: readonly number[]): Worn {
  const median = (times: readonly number[]) =>
    percentile(
      times.toSorted((a, b) => a - b),
      0.5,
    );
  const share = Math.ceil(SHARE * measured.length);
  const warm = Math.ceil(WARM_UP * measured.length);
  return { what, first: median(measured.slice(warm, warm + share)), last: median(measured.slice(-share)) };
}

/** Lines of the loads, one after the other, and what the reports must show in all. */
function createDrops() {
  const cents: number[] = [];
  const groups = VENUES * DATES;
  const line = (invoice: number) => {
    const group = invoice % groups;
    const date = toDate(FIRST_SYNC_DAY - 1 - Math.floor(group / VENUES));
    const id = `00000000-0000-4000-8000-${String(invoice).padStart(12, "0")}`;
    return `venue-${group % VENUES},${id},${date}T12:00:00,${euros(cents[invoice] ?? 0)}`;
  };
  let words = 0;
  const word = () => mix32(words++);
  const add = () => {
    cents.push(100 + (word() % 10_000));
    return line(cents.length - 1);
  };
  return {
    first: () => Array.from({ length: groups * INVOICES_PER_GROUP }, add),
    next: () => {
      const known = cents.length;
      const corrected = new Set(Array.from({ length: LINES / 2 }, () => word() % known));
      for (const invoice of corrected) cents[invoice] = 100 + (word() % 10_000);
      return [...Array.from({ length: LINES / 2 }, add), ...[...corrected].map(line)];
    },
    expected: () => `${cents.length}, ${euros(cents.reduce((sum, one) => sum + one, 0))}`,
  };
}
