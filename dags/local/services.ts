/** Keeps Airflow's services up: starts them, starts again what ends by itself, and ends them in order. */
import type { ChildProcess } from "node:child_process";
import { AirflowError } from "./errors.ts";
import {
  ended,
  endMarked,
  findMarked,
  hasEnded,
  killMarked,
  type Mark,
  markOf,
  sendSignal,
  tailOf,
} from "./processes.ts";

/** Kept up; in the order of their start. */
export const SERVICES = [
  "airflow-apiserver",
  "airflow-scheduler",
  "airflow-dag-processor",
  "airflow-triggerer",
] as const;

export type ServiceName = (typeof SERVICES)[number];

/** A service that ends so often before all are healthy will not do any better. */
const FAILED_STARTS = 3;
const PATIENCE = { leadersMs: 2_000, allMs: 2_000 } as const;
const LAST_PATIENCE = { leadersMs: 1_500, allMs: 500 } as const;

export interface Services {
  /** Starts all; does not wait until they are healthy. */
  readonly start: () => void;
  /** Throws AirflowError `service_failed` when one has ended too often. */
  readonly requireStarts: () => void;
  /** Main processes of the services that now run. */
  readonly pids: () => Readonly<Partial<Record<ServiceName, number>>>;
  /** All processes of a service. */
  readonly processes: (service: ServiceName) => readonly number[];
  /**
   * SIGKILL to a service, which then stays down.
   * - `all`: to what it has started, too (default), or to its main process alone, as a crash does.
   */
  readonly kill: (service: ServiceName, options?: { readonly all?: boolean }) => Promise<void>;
  /** Starts a service again, in the same environment; what is left of it runs on. Does not wait until it is healthy. */
  readonly restart: (service: ServiceName) => void;
  /** Ends all, and whatever else has the run's mark. */
  readonly end: () => Promise<void>;
}

export function superviseServices(options: {
  /** Starts a service's process. `append`: its log goes on. */
  readonly launch: (name: ServiceName, append: boolean) => ChildProcess;
  readonly logOf: (name: ServiceName) => string;
  /** What marks the processes, but for the service. */
  readonly mark: Pick<Mark, "home" | "run">;
  readonly onLog?: ((message: string) => void) | undefined;
}): Services {
  const { launch, logOf, mark, onLog } = options;
  const children = new Map<ServiceName, ChildProcess>();
  const down = new Set<ServiceName>();
  const ends = new Map<ServiceName, number>();
  let stopping = false;

  const beginningOf = (service: ServiceName) => markOf({ ...mark, service });
  const isCurrent = (name: ServiceName, child: ChildProcess) =>
    !stopping && !down.has(name) && children.get(name) === child;
  const leaders = (names: readonly ServiceName[]) =>
    names.flatMap((name) => {
      const child = children.get(name);
      return child?.pid === undefined || hasEnded(child) ? [] : [child.pid];
    });

  const startService = (name: ServiceName, append: boolean) => {
    const child = launch(name, append);
    children.set(name, child);
    child.once("error", (error) => onLog?.(`${name} cannot be started: ${error.message}`));
    child.once("exit", (code, exitSignal) => {
      if (!isCurrent(name, child)) return;
      // As `restart: unless-stopped` does it: soon, and less soon each time.
      const count = (ends.get(name) ?? 0) + 1;
      ends.set(name, count);
      onLog?.(
        `${name} ended (${exitSignal ?? `exit code ${code}`}) and is started again; log: ${logOf(name)}`,
      );
      const again = () => {
        if (isCurrent(name, child)) startService(name, true);
      };
      setTimeout(again, Math.min(500 * 2 ** count, 30_000)).unref();
    });
  };

  return {
    start: () => {
      for (const name of SERVICES) startService(name, false);
    },
    requireStarts: () => {
      for (const [name, count] of ends) {
        if (count >= FAILED_STARTS) throw serviceFailed(name, logOf(name));
      }
    },
    pids: () =>
      Object.fromEntries(SERVICES.flatMap((name) => leaders([name]).map((pid) => [name, pid] as const))),
    processes: (name) => findMarked(beginningOf(name)),
    kill: async (name, { all = true } = {}) => {
      down.add(name);
      const child = children.get(name);
      const gone = child === undefined || hasEnded(child) ? undefined : ended(child);
      if (all) await killMarked(beginningOf(name));
      else for (const pid of leaders([name])) sendSignal(pid, "SIGKILL");
      await gone;
    },
    restart: (name) => {
      const child = children.get(name);
      if (child !== undefined && !hasEnded(child)) throw new Error(`${name} still runs`);
      down.delete(name);
      startService(name, true);
    },
    end: async () => {
      stopping = true;
      // The API server last: tasks tell it how they ended.
      const others = SERVICES.filter((name) => name !== "airflow-apiserver");
      await Promise.all(
        others.map((name) =>
          endMarked({ beginning: beginningOf(name), leaders: leaders([name]), patience: PATIENCE }),
        ),
      );
      await endMarked({
        beginning: markOf({ ...mark, service: "" }),
        leaders: leaders(SERVICES),
        patience: LAST_PATIENCE,
      });
    },
  };
}

export function serviceFailed(name: string, log: string): AirflowError {
  return new AirflowError({
    code: "service_failed",
    message: `${name} failed. The end of ${log}:\n${tailOf(log)}`,
  });
}
