/** Takes in what is in the inbox now, and waits until it is done. */
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ARCHIVE, listDrops as listReadable, REJECTED } from "../../etl/inbox/list.ts";
import type { Source } from "../../etl/sources/source.ts";
import { AirflowError, aborted } from "./errors.ts";
import type { Rest } from "./rest.ts";
import { type DagRun, INGEST, listRuns, listTasks, nameOf, readLog } from "./runs.ts";

export interface OnceReport {
  /** Names that left the inbox, by where they went; `gone`: neither to archive/ nor to rejected/. */
  readonly archived: readonly string[];
  readonly rejected: readonly string[];
  readonly gone: readonly string[];
  /** Names that a run left in the inbox. */
  readonly left: readonly string[];
  /** What failed, with the end of its log. */
  readonly failure?: string;
}

const POLL_MS = 500;
/** So many runs that move nothing will not be followed by one that does. */
const IDLE_RUNS = 2;

/** What the DAG takes in, also what it will reject: names, behind those of the folders below the inbox. */
export async function listDrops(inbox: string, sources: readonly Source[]): Promise<readonly string[]> {
  const { files } = await listReadable(inbox, { sources });
  return files.map(({ path }) => relative(inbox, path));
}

export interface OnceOptions {
  readonly rest: Rest;
  readonly inbox: string;
  readonly sources: readonly Source[];
  /** Names in the inbox, as {@link listDrops} gives them. */
  readonly drops: readonly string[];
  /** Since when runs count, in milliseconds since 1970. */
  readonly since: number;
  readonly signal?: AbortSignal | undefined;
  /** Called at each look. */
  readonly onPoll?: () => Promise<void>;
}

/**
 * Waits until the drops have left the inbox and the run that moved them is finished, or a run failed.
 *
 * @throws AirflowError `configuration` when the DAG is paused, `aborted`
 */
export async function ingestOnce(options: OnceOptions): Promise<OnceReport> {
  const { rest, inbox, sources, drops, since, signal, onPoll } = options;
  const before = filesIn(inbox);
  let lastThere = since;
  let idle = 0;
  const counted = new Set<string>();
  for (;;) {
    if (signal?.aborted) throw aborted(signal.reason);
    const now = Date.now();
    const there = new Set(await listDrops(inbox, sources));
    const left = drops.filter((name) => there.has(name));
    if (left.length > 0) lastThere = now;
    await requireRunning(rest);
    await onPoll?.();
    const runs = (await listRuns(rest, INGEST)).filter(({ end_date }) => endOf(end_date) >= since);
    for (const run of runs.filter(({ state }) => state === "failed")) {
      if (await wasWaiting(rest, run, since)) continue;
      return { ...sort(), left, failure: await explain(rest, run) };
    }
    if (left.length === 0 && runs.some(({ end_date }) => endOf(end_date) >= lastThere))
      return { ...sort(), left };
    for (const run of runs) {
      if (counted.has(run.dag_run_id)) continue;
      counted.add(run.dag_run_id);
      if (Date.parse(run.start_date ?? "") >= since && left.length > 0) idle += 1;
    }
    if (left.length > 0 && idle >= IDLE_RUNS) return { ...sort(), left };
    await pause(POLL_MS, undefined, { signal }).catch(() => {});
  }

  function sort(): Pick<OnceReport, "archived" | "rejected" | "gone"> {
    const after = filesIn(inbox);
    const moved = (folder: typeof ARCHIVE | typeof REJECTED, name: string) =>
      [...after[folder]].some((one) => !before[folder].has(one) && isNameOf(one, name));
    const archived = drops.filter((name) => moved(ARCHIVE, name));
    const rejected = drops.filter((name) => moved(REJECTED, name));
    const known = new Set([...archived, ...rejected, ...after.inbox]);
    return { archived, rejected, gone: drops.filter((name) => !known.has(name)) };
  }
}

/**
 * Whether a run had no drop yet when an earlier Airflow was stopped, in the middle of its wait: that Airflow may call failed. The next
 * run waits in its place.
 */
async function wasWaiting(rest: Rest, run: DagRun, since: number): Promise<boolean> {
  if (!(Date.parse(run.start_date ?? "") < since)) return false;
  const failed = (await listTasks(rest, run)).filter(({ state }) => state === "failed");
  return failed.length > 0 && failed.every(({ task_id }) => task_id === "wait_for_drop");
}

const endOf = (date: string | null) => (date === null ? Number.NaN : Date.parse(date));

/** Moved under its own name, or with the load's number in it where that was taken. */
function isNameOf(moved: string, name: string): boolean {
  if (moved === name) return true;
  const dot = name.indexOf(".", name.lastIndexOf("/") + 2);
  const [stem, ending] = dot < 0 ? [name, ""] : [name.slice(0, dot), name.slice(dot)];
  return moved.startsWith(stem) && moved.endsWith(ending);
}

function filesIn(
  inbox: string,
): Readonly<Record<"inbox" | typeof ARCHIVE | typeof REJECTED, ReadonlySet<string>>> {
  const list = (folder: string) => {
    try {
      return new Set(readdirSync(folder, { recursive: true, encoding: "utf8" }));
    } catch {
      return new Set<string>();
    }
  };
  return { inbox: list(inbox), archive: list(join(inbox, ARCHIVE)), rejected: list(join(inbox, REJECTED)) };
}

async function requireRunning(rest: Rest): Promise<void> {
  const dag = await rest
    .get<{ readonly is_paused: boolean; readonly has_import_errors?: boolean }>(`/dags/${INGEST}`)
    .catch((error) => {
      // Not parsed yet.
      if (error instanceof AirflowError && error.message.includes(": 404 ")) return undefined;
      throw error;
    });
  if (dag?.is_paused !== true) return;
  throw new AirflowError({
    code: "configuration",
    message: `the DAG ${INGEST} is paused. Unpause it on Airflow's pages (npm run airflow, without --once)`,
  });
}

async function explain(rest: Rest, run: DagRun): Promise<string> {
  const tasks = await listTasks(rest, run);
  const failed = tasks.filter(({ state }) => state === "failed");
  const logs = await Promise.all(
    failed.slice(0, 3).map(async (task) => `${nameOf(task)}:\n${await readLog(rest, run, task)}`),
  );
  const more = failed.length > 3 ? [`and ${failed.length - 3} more`] : [];
  return [`${run.dag_id} failed`, ...logs, ...more].join("\n");
}
