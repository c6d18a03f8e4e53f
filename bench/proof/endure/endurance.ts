/**
 * Loads and reads for a while, with as many processes as are asked for, and checks everything that must hold
 * meanwhile and afterwards.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Database, openDatabase } from "../../../db/client.ts";
import { toDate } from "../../../db/dates.ts";
import { initWarehouse } from "../../../db/migrate.ts";
import type { Settings } from "../../../db/schema.ts";
import { refreshPartitions } from "../../../etl/refresh/refresh.ts";
import type { Strategy } from "../../../etl/refresh/strategy.ts";
import { type AskedProcess, startAskedProcess } from "../../program/asked_process.ts";
import { describeEnvironment } from "../../program/environment.ts";
import { openBenchServer } from "../../program/server.ts";
import { compareWithModel, createList, verifyAll } from "./end_state.ts";
import { type InvoiceBook, openInvoiceBook, openTruth, type Truth } from "./invoices.ts";
import { findIdleLeaks, findLastLeaks } from "./leaks.ts";
import type { Answer as LoaderAnswer, Order as LoaderOrder } from "./loader.ts";
import type { Answer as ReaderAnswer, Order as ReaderOrder } from "./reader.ts";
import { type EndureResults, isSound } from "./results.ts";
import { clearDrops, createDropMaker, type DropMaker } from "./supply.ts";
import { createTally, type Tally } from "./tally.ts";
import { LEAST_MS_TO_JUDGE, summarizeGrowth, summarizeTimes } from "./trends.ts";
import { findBloat, PENDING, readTables, startWatch, type Watch } from "./watch.ts";

export interface EndureOptions {
  readonly minutes: number;
  readonly loaders: number;
  readonly readers: number;
  readonly seed: number;
  /** Lines of a large drop. */
  readonly largest: number;
  /** Folder of the embedded server and of the drops. */
  readonly home: string;
  /** The command that is run, and what else the machine does, for the results. */
  readonly command: string;
  readonly note?: string | undefined;
  /** Ends the run in order, early. */
  readonly signal: AbortSignal;
  readonly onNote: (note: string) => void;
}

/** Made anew by each run; left where something was found. */
export const DATABASE = "rollbook_endure";
const LOADER = fileURLToPath(new URL("./loader.ts", import.meta.url));
const READER = fileURLToPath(new URL("./reader.ts", import.meta.url));
const NOTE_EVERY_MS = 10_000;

type Loader = AskedProcess<LoaderOrder, LoaderAnswer>;
type Reader = AskedProcess<ReaderOrder, ReaderAnswer>;

/** Everything that the parts of a run share. */
interface Endurance {
  readonly options: EndureOptions;
  readonly database: Database;
  readonly settings: Settings;
  readonly book: InvoiceBook;
  readonly drops: DropMaker;
  readonly truth: Truth;
  readonly tally: Tally;
  readonly watch: Watch;
  readonly loaders: readonly Loader[];
  readonly readers: readonly Reader[];
  readonly readTimes: Map<string, number[]>;
  readonly differences: ReturnType<typeof createList>;
  readonly failures: ReturnType<typeof createList>;
  /** Aborts when no new drop is to be loaded: at the end of the time, or when it is interrupted. */
  readonly over: AbortSignal;
}

/**
 * Runs, and returns what was found. What goes wrong on the way is in the results; only what keeps it from
 * running is thrown.
 */
export async function endure(options: EndureOptions): Promise<EndureResults> {
  const startedAt = new Date().toISOString();
  const server = await openBenchServer({ home: options.home, signal: options.signal });
  const folder = join(options.home, "drops");
  try {
    await clearDrops(folder);
    await server.admin.query(`drop database if exists ${DATABASE} with (force)`);
    await server.admin.query(`create database ${DATABASE} template template0`);
    const connection = server.connectionTo(DATABASE);
    const environment = await describeEnvironment(server);
    const database = openDatabase({ connection, max: 2 });
    const loaders = Array.from({ length: options.loaders }, (): Loader => startAskedProcess(LOADER));
    const readers = Array.from({ length: options.readers }, (): Reader => startAskedProcess(READER));
    try {
      const { settings } = await initWarehouse({ database, timeZone: "Europe/Berlin" });
      const book = openInvoiceBook(options.seed);
      const venues = Array.from({ length: book.venues.count }, (_, venue) => book.venues.name(venue));
      await Promise.all([
        ...loaders.map((loader) => loader.ask({ kind: "connect", connection, settings }, "connected")),
        ...readers.map((reader, index) =>
          reader.ask({ kind: "connect", connection, venues, seed: options.seed + index }, "connected"),
        ),
      ]);
      const found = await runAndCheck({ options, database, settings, book, folder, loaders, readers });
      const results: EndureResults = {
        version: 1,
        command: options.command,
        seed: options.seed,
        minutes: options.minutes,
        loaders: options.loaders,
        readers: options.readers,
        startedAt,
        finishedAt: new Date().toISOString(),
        ...(options.note !== undefined && { note: options.note }),
        environment,
        ...found,
      };
      await database.pool.end();
      if (isSound(results)) await server.admin.query(`drop database ${DATABASE} with (force)`);
      return results;
    } finally {
      await Promise.all([...loaders, ...readers].map((process) => process.close()));
      if (!database.pool.ended) await database.pool.end();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
    await server.close();
  }
}

type Found = Omit<
  EndureResults,
  | "version"
  | "command"
  | "seed"
  | "minutes"
  | "loaders"
  | "readers"
  | "startedAt"
  | "finishedAt"
  | "note"
  | "environment"
>;

async function runAndCheck(
  given: Pick<Endurance, "options" | "database" | "settings" | "book" | "loaders" | "readers"> & {
    readonly folder: string;
  },
): Promise<Found> {
  const { options, database, book, folder } = given;
  const { seed, largest, loaders, minutes, signal } = options;
  const differences = createList("differences");
  const failures = createList("failures");
  const truth = openTruth(book);
  const timeUp = new AbortController();
  const timer = setTimeout(() => timeUp.abort(), minutes * 60_000);
  const endurance: Endurance = {
    ...given,
    drops: createDropMaker({ folder, seed, book, largest, loaders }),
    truth,
    tally: createTally(truth, differences.add, failures.add),
    watch: startWatch({ database, onFailure: failures.add }),
    readTimes: new Map(),
    differences,
    failures,
    over: AbortSignal.any([timeUp.signal, signal]),
  };
  const started = performance.now();
  await loadAndRead(endurance, started);
  clearTimeout(timer);
  const ranMs = performance.now() - started;
  await endurance.watch.stop();
  const checked = await checkEnd(endurance, ranMs);
  const reads = [...endurance.readTimes].sort();
  return {
    ...checked,
    seconds: Math.round(ranMs / 100) / 10,
    interrupted: signal.aborted,
    loads: endurance.tally.loads(ranMs / 1000),
    reads: { count: reads.reduce((sum, [, { length }]) => sum + length, 0) },
    times: [
      ...[...endurance.tally.times].sort().map(([what, measured]) => summarizeTimes(what, measured)),
      ...reads.map(([what, measured]) => summarizeTimes(`read: ${what}`, measured)),
    ],
    server: await readServerCounts(database),
    differences: [...differences.list(), ...checked.differences],
    failures: failures.list(),
  };
}

/** What the run left: first while the processes are there and idle, then when they are gone. */
async function checkEnd(endurance: Endurance, ranMs: number) {
  const { options, database, settings, book, truth, tally } = endurance;
  options.onNote("the loads and reads have ended; checking what they left");
  const tables = await readTables(database);
  const idle = await findIdleLeaks(database);
  await leaveAll(endurance);
  await refreshPartitions({ database });
  options.onNote("comparing all totals with the model");
  const differences = [...tally.unsettled(), ...(await compareWithModel(database, truth, book.venues))];
  options.onNote("verifying all partitions");
  const { verified, differences: diverging } = await verifyAll(database, settings);
  differences.push(...diverging);
  if (verified.invoices !== truth.invoices())
    differences.push(`the rollup counts ${verified.invoices} invoices, the model ${truth.invoices()}`);
  const memory = summarizeWatched(endurance, ranMs, (what) => what !== PENDING);
  const sizes = summarizeWatched(endurance, ranMs, (what) => what === PENDING);
  const grown = [...memory, ...sizes]
    .filter(({ flat }) => flat === false)
    .map(({ what, grown }) => `${what} grew by ${grown} bytes in the second half of the run`);
  const bloated = ranMs >= LEAST_MS_TO_JUDGE ? findBloat(tables) : [];
  const leaks = [...idle, ...(await findLastLeaks(database)), ...grown, ...bloated];
  return { tables, memory, sizes, verified, differences, leaks };
}

/** Until the time is up: each loader ends the drop that it has, and then the readers their read. */
async function loadAndRead(endurance: Endurance, started: number): Promise<void> {
  const loaded = new AbortController();
  const noting = noteProgress(endurance, started, loaded.signal);
  const reading = endurance.readers.map((reader, index) =>
    keepReading(endurance, reader, index, loaded.signal),
  );
  await Promise.all(endurance.loaders.map((loader, index) => keepLoading(endurance, loader, index)));
  loaded.abort();
  await Promise.all([...reading, noting]);
}

async function keepLoading(endurance: Endurance, loader: Loader, index: number): Promise<void> {
  const { drops, tally, watch, failures, over } = endurance;
  try {
    while (!over.aborted) {
      const drop = await drops.make();
      const strategy = strategyOf(drop.index);
      const loaded = await loader.ask({ kind: "load", path: drop.path, strategy }, "loaded");
      tally.add(drop, strategy, loaded);
      drops.done(drop);
      watch.add(`loader ${index + 1}`, loaded.residentBytes);
    }
  } catch (error) {
    failures.add(`loader ${index + 1} stopped: ${String(error)}`);
  }
}

async function keepReading(
  endurance: Endurance,
  reader: Reader,
  index: number,
  loaded: AbortSignal,
): Promise<void> {
  const { drops, truth, readTimes, watch, differences, failures } = endurance;
  try {
    while (!loaded.aborted) {
      const today = toDate(drops.today());
      const done = await reader.ask({ kind: "read", today, floor: truth.invoices() }, "read");
      const measured = readTimes.get(done.read) ?? [];
      readTimes.set(done.read, measured);
      measured.push(done.ms);
      for (const problem of done.problems) differences.add(`reader ${index + 1}: ${problem}`);
      watch.add(`reader ${index + 1}`, done.residentBytes);
    }
  } catch (error) {
    failures.add(`reader ${index + 1} stopped: ${String(error)}`);
  }
}

/** Deltas as a rule, as users do; now and then rebuilds, which contend most. */
function strategyOf(index: number): Strategy {
  if (index % 150 === 11) return "full";
  if (index % 50 === 7) return "partition";
  return index % 3 === 0 ? "delta" : "auto";
}

async function noteProgress(
  { options, tally, readTimes, differences, failures }: Endurance,
  started: number,
  loaded: AbortSignal,
): Promise<void> {
  while (!loaded.aborted) {
    await sleep(NOTE_EVERY_MS, undefined, { signal: loaded }).catch(() => {});
    const seconds = (performance.now() - started) / 1000;
    const reads = [...readTimes.values()].reduce((sum, { length }) => sum + length, 0);
    options.onNote(
      `${Math.round(seconds)} s: ${tally.count()} loads, ` +
        `${tally.rows()} rows (${Math.round(tally.rows() / seconds)} a second), ${reads} reads, ` +
        `${differences.count()} differences, ${failures.count()} failures`,
    );
  }
}

async function leaveAll({ loaders, readers, failures }: Endurance): Promise<void> {
  const leave = (left: Promise<unknown>, who: string) =>
    left.catch((error: unknown) => failures.add(`${who} could not leave: ${String(error)}`));
  await Promise.all([
    ...loaders.map(({ ask }, index) => leave(ask({ kind: "leave" }, "left"), `loader ${index + 1}`)),
    ...readers.map(({ ask }, index) => leave(ask({ kind: "leave" }, "left"), `reader ${index + 1}`)),
  ]);
}

function summarizeWatched({ watch }: Endurance, runMs: number, wanted: (what: string) => boolean) {
  return [...watch.samples]
    .filter(([what]) => wanted(what))
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([what, samples]) => summarizeGrowth(what, samples, runMs));
}

async function readServerCounts({ pool }: Database): Promise<EndureResults["server"]> {
  const { rows } = await pool.query(`
    select deadlocks::float8 as deadlocks, xact_rollback::float8 as rollbacks, temp_bytes::float8 as "tempBytes"
    from pg_stat_database
    where datname = current_database()`);
  return rows[0];
}
