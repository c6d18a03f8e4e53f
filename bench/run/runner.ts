/** Runs a profile cell by cell. Each is written when it is measured, so that a run can be continued. */
import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { RollbookError } from "../../db/errors.ts";
import { describeEnvironment } from "../program/environment.ts";
import { type BenchServer, openBenchServer } from "../program/server.ts";
import type { ProgressListener } from "../program/terminal.ts";
import type { ArmResult, Profile, Results } from "../results.ts";
import type { Arm } from "./arm.ts";
import { writeBatch } from "./batch.ts";
import { ensureHistory } from "./history.ts";
import { measureCell } from "./load_cell.ts";
import { createLoadProcesses } from "./load_process.ts";
import { short } from "./names.ts";
import { chooseArms, type PlannedCell, planProfile, REPETITIONS } from "./profiles.ts";
import { createMeter, type Meter, type Todo } from "./progress.ts";
import { measureReads } from "./read_cell.ts";
import { scaleOf } from "./scale.ts";
import { dropClones } from "./site.ts";
import { openStore, type Store } from "./store.ts";

export interface BenchOptions {
  readonly profile: Profile;
  /** Folder of the embedded server, the histories and the files of a run; made when missing. */
  readonly home: string;
  /** Folder of `results.json`. */
  readonly out: string;
  /** Connection string of a server to use instead of the embedded one. */
  readonly server?: string | undefined;
  /** Measure only cells whose name contains this text. */
  readonly only?: string | undefined;
  /** Begin anew, whatever was measured before. Histories are kept. */
  readonly fresh?: boolean | undefined;
  /** Those to measure, where they apply. */
  readonly arms: readonly Arm[];
  /** When it aborts, what is under way is given up, and clones are dropped. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
  /** Called with a sentence that a user should read. */
  readonly onNote?: ((note: string) => void) | undefined;
}

export interface BenchOutcome {
  readonly results: Results;
  /** Of `results.json`. */
  readonly path: string;
  readonly interrupted: boolean;
}

/**
 * Measures the cells of a profile that are not measured yet.
 *
 * @throws RollbookError `usage` when no cell has the text of `only`, or when another run uses the server
 */
export async function runBench(options: BenchOptions): Promise<BenchOutcome> {
  const { home, signal = new AbortController().signal } = options;
  const plan = planProfile(options.profile);
  const wanted = plan.filter(({ cell }) => cell.id.includes(options.only ?? ""));
  if (wanted.length === 0) throw unknownCell(options, plan);
  await mkdir(home, { recursive: true });
  const server = await openBenchServer({ home, url: options.server, signal });
  const cutOff = () => void terminateAll(server);
  signal.addEventListener("abort", cutOff, { once: true });
  try {
    await dropClones(server);
    const environment = await describeEnvironment(server);
    const { profile, out: folder, fresh = false } = options;
    const store = await openStore({ folder, profile, plan, environment, fresh });
    if (store.startedAnew !== undefined) {
      options.onNote?.(`This run begins anew, older results are kept: ${store.startedAnew}.`);
    }
    const interrupted = await measureAll(options, { server, store, wanted, signal });
    return { results: store.results(), path: store.path, interrupted };
  } finally {
    signal.removeEventListener("abort", cutOff);
    await rm(join(home, "scratch"), { recursive: true, force: true });
    await dropClones(server).catch(() => {});
    await server.close();
  }
}

function unknownCell({ only, profile }: BenchOptions, plan: readonly PlannedCell[]): RollbookError {
  const names = plan.map(({ cell }) => `  ${cell.id}`).join("\n");
  return new RollbookError({
    code: "usage",
    message: `no cell of profile ${profile} has ${JSON.stringify(only)} in its name. They are:\n${names}`,
  });
}

interface Running {
  readonly server: BenchServer;
  readonly store: Store;
  readonly wanted: readonly PlannedCell[];
  readonly signal: AbortSignal;
}

/** Returns whether it was interrupted. */
async function measureAll(options: BenchOptions, running: Running): Promise<boolean> {
  const { store, wanted, signal } = running;
  const todo = wanted
    .filter(({ cell }) => !store.has(cell.id))
    .map((planned) => ({
      cell: planned.cell,
      arms: chooseArms(options.arms, planned),
      repetitions: REPETITIONS[options.profile],
    }));
  if (todo.length < wanted.length) {
    options.onNote?.(`${wanted.length - todo.length} of ${wanted.length} cells are measured already.`);
  }
  const meter = createMeter(todo, options.onProgress);
  try {
    for (const one of todo) {
      signal.throwIfAborted();
      const arms = await orAborted(measureTodo(options, running, one, meter), signal);
      await store.add({ cell: one.cell, arms, finishedAt: new Date().toISOString() });
    }
    return false;
  } catch (error) {
    if (signal.aborted) return true;
    throw error;
  }
}

/**
 * What is under way gets some seconds to end after an abort; then it is left behind, and its clone is dropped
 * all the same.
 */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const settled = new AbortController();
  const tooLate = once(signal, "abort", { signal: settled.signal }).then(async () => {
    await sleep(GRACE_MS, undefined, { signal: settled.signal });
    return Promise.reject(signal.reason);
  });
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    tooLate.catch(() => {});
    work.catch(() => {});
    settled.abort();
  }
}

const GRACE_MS = 3000;

async function measureTodo(
  { home }: BenchOptions,
  { server, signal }: Running,
  todo: Todo,
  meter: Meter,
): Promise<readonly ArmResult[]> {
  const { cell } = todo;
  const scale = scaleOf(cell.history === 0 ? cell.batch : cell.history);
  const name = `history of ${short(cell.history)}, by ${cell.granularity}`;
  const onProgress = (rows: number) => meter.built(cell, rows, name);
  const { history: size, granularity } = cell;
  const history = await ensureHistory({
    server,
    home,
    history: size,
    granularity,
    scale,
    signal,
    onProgress,
  });
  onProgress(size);
  const scratch = join(home, "scratch");
  const batch = await writeBatch(scale, cell, join(scratch, "batch"));
  const onArm = (arm: string) => meter.arm(cell, arm);
  const processes = createLoadProcesses();
  // Work that is left behind would not end them.
  const end = () => void processes.close();
  signal.addEventListener("abort", end, { once: true });
  const measuring = { ...todo, server, scale, history, batch, scratch, processes, signal, onArm };
  try {
    return await (cell.axis === "reads" ? measureReads(measuring) : measureCell(measuring));
  } finally {
    signal.removeEventListener("abort", end);
    await processes.close();
  }
}

/** Ends what runs in the databases of the benchmark, in another session: the run's own may be busy. */
async function terminateAll({ admin, connectionTo }: BenchServer): Promise<void> {
  const client = new pg.Client(connectionTo(admin.database ?? "postgres"));
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query(`
      select pg_terminate_backend(pid) from pg_stat_activity where starts_with(datname, 'rollbook_bench_')`);
  } catch {
    // Then the run ends at its next step.
  } finally {
    await client.end().catch(() => {});
  }
}
