/** For tests: a process that loads, undoes and refreshes on demand, so that several processes can do so at once. */
import type pg from "pg";
import { openDatabase } from "../../db/client.ts";
import type { Settings } from "../../db/schema.ts";
import { loadDrop } from "../load/load.ts";
import type { LoadReport } from "../load/report.ts";
import type { LoadStep } from "../load/steps.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import type { RefreshReport } from "../refresh/report.ts";
import type { Strategy } from "../refresh/strategy.ts";
import { replaceLoad } from "../undo/replace.ts";
import { type UndoReport, type UndoStep, undo } from "../undo/undo.ts";

export interface Job {
  readonly connection: pg.ClientConfig;
  readonly settings: Settings;
  /** Loads this drop. Without it and `undo` the process refreshes. */
  readonly path?: string;
  /** Undoes this load. */
  readonly undo?: number;
  /** With `undo`: the folder with the files of loads whose statements are forgotten. */
  readonly archive?: string;
  readonly maxRejects?: number;
  readonly careful?: boolean;
  readonly again?: boolean;
  /** The load that the drop replaces. */
  readonly replace?: number;
  readonly strategy?: Strategy;
  /** The process kills itself with SIGKILL when the load, the undo or the refresh comes to this step. */
  readonly dieAt?: Step;
  /** The process stops itself with SIGSTOP at this step, until somebody sends SIGCONT. */
  readonly stopAt?: Step;
  /** With `dieAt` or `stopAt` "insert" or "stage": not before so many bytes of the file were read. */
  readonly afterBytes?: number;
}

type Step = LoadStep | UndoStep | "refresh";

export type JobResult =
  | { readonly load: LoadReport }
  | { readonly undone: UndoReport }
  | { readonly refreshed: readonly RefreshReport[] }
  | { readonly error: string };

process.on("message", (job: Job) => {
  carryOut(job).then(
    (result) => process.send?.(result),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});

async function carryOut(job: Job): Promise<JobResult> {
  const database = openDatabase({ connection: job.connection, max: 4 });
  let stopped = false;
  const arrive = (step: Step, bytes = 0) => {
    if (stopped || bytes < (job.afterBytes ?? 0)) return;
    if (step === job.dieAt) process.kill(process.pid, "SIGKILL");
    if (step !== job.stopAt) return;
    stopped = true;
    process.kill(process.pid, "SIGSTOP");
  };
  try {
    if (job.path !== undefined) {
      const { settings, path, maxRejects, careful, again, replace: loadId } = job;
      return {
        load: await loadDrop({
          database,
          settings,
          path,
          maxRejects,
          careful,
          again,
          replace: loadId === undefined ? undefined : replaceLoad({ settings, loadId, because: "a test" }),
          onProgress: ({ step, bytes }) => arrive(step, bytes),
        }),
      };
    }
    if (job.undo !== undefined) {
      const { settings, undo: loadId } = job;
      const archive = job.archive === undefined ? undefined : { folder: job.archive, sources: [] };
      return {
        undone: await undo({ database, settings, loadId, archive, because: "a test", onStep: arrive }),
      };
    }
    return {
      refreshed: await refreshPartitions({
        database,
        strategy: job.strategy,
        onProgress: () => arrive("refresh"),
      }),
    };
  } finally {
    await database.pool.end();
  }
}
