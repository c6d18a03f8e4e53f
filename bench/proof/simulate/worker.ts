/**
 * A process that loads, retries, refreshes or undoes on demand, and dies, stops or waits at the step that the job names.
 */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import type pg from "pg";
import { openDatabase } from "../../../db/client.ts";
import { errorState } from "../../../db/errors.ts";
import type { Settings } from "../../../db/schema.ts";
import { loadDrop } from "../../../etl/load/load.ts";
import type { LoadReport } from "../../../etl/load/report.ts";
import { type RetryReport, retryRejects } from "../../../etl/load/retry_rejects.ts";
import type { LoadStep } from "../../../etl/load/steps.ts";
import { refreshPartitions } from "../../../etl/refresh/refresh.ts";
import type { Strategy } from "../../../etl/refresh/strategy.ts";
import { replaceLoad } from "../../../etl/undo/replace.ts";
import { type UndoReport, type UndoStep, undo } from "../../../etl/undo/undo.ts";
import { type Reading, readBy } from "./reading.ts";

type Step = LoadStep | UndoStep | "refresh";

/** What happens in the process itself when a step is reached. `stop` waits for SIGCONT. */
export type Interference =
  | { readonly kind: "kill" | "stop" | "abort"; readonly at: Step }
  | { readonly kind: "pause"; readonly at: Step; readonly ms: number }
  /** The file gets other bytes (base64), in its place or in another file of its name; or it is gone. */
  | {
      readonly kind: "file";
      readonly at: LoadStep;
      readonly change: "rewrite" | "replace" | "vanish";
      readonly bytes: string;
    };

export type Job =
  | {
      readonly kind: "load";
      readonly connection: pg.ClientConfig;
      readonly settings: Settings;
      readonly path: string;
      readonly careful: boolean;
      readonly maxRejects: number;
      readonly chunkLines: number;
      readonly reading: Reading;
      /** The load that it replaces. */
      readonly replaces: number | null;
      readonly interference: Interference | null;
    }
  | {
      readonly kind: "retry";
      readonly connection: pg.ClientConfig;
      readonly settings: Settings;
      readonly loadId: number;
      readonly path: string;
      readonly reading: Reading;
      readonly interference: Interference | null;
    }
  | {
      readonly kind: "refresh";
      readonly connection: pg.ClientConfig;
      readonly strategy: Strategy;
      readonly interference: Interference | null;
    }
  | {
      readonly kind: "undo";
      readonly connection: pg.ClientConfig;
      readonly settings: Settings;
      readonly loadId: number;
      readonly interference: Interference | null;
    };

export type JobResult =
  | { readonly kind: "load"; readonly report: LoadReport; readonly retries: readonly string[] }
  | { readonly kind: "retry"; readonly report: RetryReport }
  | { readonly kind: "refresh"; readonly refreshed: readonly string[] }
  | { readonly kind: "undo"; readonly report: UndoReport }
  | { readonly kind: "error"; readonly code: string; readonly message: string };

const BECAUSE = "the simulation says so";

process.on("message", (job: Job) => {
  carryOut(job).then(
    (result) => process.send?.(result),
    (error: unknown) =>
      process.send?.({
        kind: "error",
        code: errorState(error) ?? "",
        message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      } satisfies JobResult),
  );
});

function carryOut(job: Job): Promise<JobResult> {
  switch (job.kind) {
    case "load":
      return load(job);
    case "retry":
      return retry(job);
    case "refresh":
      return refresh(job);
    case "undo":
      return undoEntry(job);
  }
}

async function load(job: Job & { kind: "load" }): Promise<JobResult> {
  const { settings, path, careful, maxRejects, chunkLines, reading, replaces } = job;
  const database = openDatabase({ connection: job.connection, max: 4 });
  const retries: string[] = [];
  const aborting = new AbortController();
  const interfere = startInterference(job.interference, path, aborting);
  try {
    const report = await loadDrop({
      database,
      settings,
      path,
      careful,
      maxRejects,
      chunkLines,
      ...readBy(reading),
      replace: replaces === null ? undefined : replaceLoad({ settings, loadId: replaces, because: BECAUSE }),
      signal: aborting.signal,
      onProgress: ({ step }) => interfere(step),
      onRetry: (_attempt, error) => retries.push(errorState(error) ?? "lost"),
    });
    return { kind: "load", report, retries };
  } finally {
    await database.pool.end();
  }
}

async function retry(job: Job & { kind: "retry" }): Promise<JobResult> {
  const { settings, loadId, path, reading } = job;
  const { source } = readBy(reading);
  const database = openDatabase({ connection: job.connection, max: 4 });
  const aborting = new AbortController();
  const interfere = startInterference(job.interference, path, aborting);
  try {
    const report = await retryRejects({
      database,
      settings,
      loadId,
      decimalComma: true,
      findFile: async () => ({ path, follow: false, source }),
      signal: aborting.signal,
      onProgress: ({ step }) => interfere(step),
    });
    return { kind: "retry", report };
  } finally {
    await database.pool.end();
  }
}

async function refresh(job: Job & { kind: "refresh" }): Promise<JobResult> {
  const database = openDatabase({ connection: job.connection, max: 4 });
  const interfere = startInterference(job.interference, "", new AbortController());
  try {
    const refreshed = await refreshPartitions({
      database,
      strategy: job.strategy,
      onProgress: () => interfere("refresh"),
    });
    // Else that waits until the queue has grown, which it does not in so short a life.
    await database.pool.query("select warehouse.raise_pending_floor()");
    return { kind: "refresh", refreshed: refreshed.map(({ partition }) => partition) };
  } finally {
    await database.pool.end();
  }
}

async function undoEntry(job: Job & { kind: "undo" }): Promise<JobResult> {
  const { settings, loadId } = job;
  const database = openDatabase({ connection: job.connection, max: 4 });
  const aborting = new AbortController();
  try {
    const report = await undo({
      database,
      settings,
      loadId,
      because: BECAUSE,
      signal: aborting.signal,
      onStep: startInterference(job.interference, "", aborting),
    });
    return { kind: "undo", report };
  } finally {
    await database.pool.end();
  }
}

/** What to call at each step; it interferes once. All of it is done before the step goes on. */
function startInterference(
  interference: Interference | null,
  path: string,
  aborting: AbortController,
): (step: Step) => void {
  let done = interference === null;
  return (step) => {
    if (done || interference === null || step !== interference.at) return;
    done = true;
    switch (interference.kind) {
      case "kill":
        process.kill(process.pid, "SIGKILL");
        break;
      case "stop":
        process.kill(process.pid, "SIGSTOP");
        break;
      case "abort":
        aborting.abort(new Error("aborted by the simulation"));
        break;
      case "pause":
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, interference.ms);
        break;
      case "file":
        changeFile(path, interference);
        break;
    }
  };
}

function changeFile(path: string, { change, bytes }: Interference & { kind: "file" }): void {
  switch (change) {
    case "rewrite":
      writeFileSync(path, Buffer.from(bytes, "base64"));
      break;
    case "replace":
      writeFileSync(`${path}.new`, Buffer.from(bytes, "base64"));
      renameSync(`${path}.new`, path);
      break;
    case "vanish":
      rmSync(path);
      break;
  }
}
