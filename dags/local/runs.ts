/** What became of DAG runs, in words. */
import type { Rest } from "./rest.ts";

export const INGEST = "invoice_ingest";

export interface DagRun {
  readonly dag_id: string;
  readonly dag_run_id: string;
  readonly state: "queued" | "running" | "success" | "failed";
  readonly start_date: string | null;
  readonly end_date: string | null;
}

export interface TaskInstance {
  readonly task_id: string;
  readonly map_index: number;
  readonly try_number: number;
  readonly state: string | null;
  readonly end_date: string | null;
  readonly rendered_map_index: string | null;
}

/** The newest runs of a DAG (`~`: of all), the newest first. */
export async function listRuns(rest: Rest, dag: string, limit = 50): Promise<readonly DagRun[]> {
  const path = `/dags/${dag}/dagRuns?order_by=-start_date&limit=${limit}`;
  return (await rest.get<{ readonly dag_runs: readonly DagRun[] }>(path)).dag_runs;
}

export async function listTasks(rest: Rest, run: DagRun): Promise<readonly TaskInstance[]> {
  const path = `${runPath(run)}/taskInstances?limit=1000`;
  return (await rest.get<{ readonly task_instances: readonly TaskInstance[] }>(path)).task_instances;
}

function runPath({ dag_id, dag_run_id }: DagRun): string {
  return `/dags/${dag_id}/dagRuns/${encodeURIComponent(dag_run_id)}`;
}

interface LogLine {
  readonly timestamp?: string;
  readonly level?: string;
  readonly event?: string;
}

/** The last lines of a task's log. */
export async function readLog(rest: Rest, run: DagRun, task: TaskInstance, lines = 15): Promise<string> {
  const { task_id, try_number, map_index } = task;
  const path = `${runPath(run)}/taskInstances/${task_id}/logs/${try_number}?map_index=${map_index}&full_content=true`;
  const { content } = await rest.get<{ readonly content: readonly (LogLine | string)[] }>(path);
  return (
    content
      .map((line) => (typeof line === "string" ? { event: line } : line))
      // Its pages fold what is in groups.
      .filter(({ event = "" }) => event !== "" && !event.startsWith("::"))
      .map(({ level = "", event = "" }: LogLine) => `${level} ${event}`.trim())
      .slice(-lines)
      .join("\n")
  );
}

interface AssetEvents {
  readonly asset_events: readonly { readonly extra: Readonly<Record<string, unknown>> | null }[];
}

type Counts = Readonly<Record<string, number>>;

/** A finished run in a line: how long it worked, without its wait for drops, what it loaded; undefined when it had nothing to do. */
export async function describeRun(rest: Rest, run: DagRun): Promise<string | undefined> {
  const { dag_id, dag_run_id, state, start_date, end_date } = run;
  const tasks = await listTasks(rest, run);
  const worked = tasks.filter((task) => task.state === "success" && task.task_id !== "wait_for_drop");
  if (state === "success" && worked.length === 0) return undefined;
  const events = await rest.get<AssetEvents>(
    `/assets/events?source_dag_id=${dag_id}&source_run_id=${encodeURIComponent(dag_run_id)}`,
  );
  const loaded = tasks.filter((task) => task.task_id === "load_drops" && task.rendered_map_index);
  const taken = tasks.filter((task) => task.task_id === "take_drops" && task.state === "success");
  const names = (loaded.length > 0 ? loaded : taken).map(({ rendered_map_index }) => rendered_map_index);
  const told = events.asset_events.flatMap(({ extra }) => [
    sayCounts("", extra?.files),
    sayCounts("rows ", extra?.rows),
  ]);
  const failed = tasks.filter(({ state: its }) => its === "failed").map(nameOf);
  const began = tasks.find(({ task_id }) => task_id === "wait_for_drop")?.end_date ?? start_date;
  const seconds = (Date.parse(end_date ?? "") - Date.parse(began ?? "")) / 1000;
  return [
    `${dag_id} ${state === "failed" ? `FAILED at ${failed.join(", ")}` : "done"} after ${seconds.toFixed(0)} s`,
    ...(names.length > 0 ? [names.join("; ")] : []),
    ...told.filter((one) => one !== ""),
  ].join(": ");
}

export function nameOf({ task_id, map_index, rendered_map_index }: TaskInstance): string {
  if (map_index < 0) return task_id;
  return `${task_id} [${rendered_map_index ?? map_index}]`;
}

function sayCounts(prefix: string, counts: unknown): string {
  if (typeof counts !== "object" || counts === null) return "";
  return Object.entries(counts as Counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${prefix}${name.replaceAll("_", " ")} ${count}`)
    .join(", ");
}

export interface Follower {
  /** Tells what has finished since it was last asked. */
  readonly look: () => Promise<void>;
}

/** Tells each run of any DAG when it has finished, once, if it finished after `since` and there is something to tell. */
export function followRuns(options: {
  readonly rest: Rest;
  readonly since: number;
  readonly onRun: (line: string, run: DagRun) => void;
}): Follower {
  const { rest, since, onRun } = options;
  const told = new Set<string>();
  return {
    look: async () => {
      for (const run of (await listRuns(rest, "~")).toReversed()) {
        const id = `${run.dag_id} ${run.dag_run_id}`;
        if (run.end_date === null || Date.parse(run.end_date) < since || told.has(id)) continue;
        const line = await describeRun(rest, run);
        told.add(id);
        if (line !== undefined) onRun(line, run);
      }
    },
  };
}
