/** Starts processes that load (loader.ts) and asks them. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Answer, Order } from "./loader.ts";
import type { Site } from "./site.ts";

const LOADER = fileURLToPath(new URL("./loader.ts", import.meta.url));

type Told<Kind extends Answer["kind"]> = Extract<Answer, { readonly kind: Kind }>;

export interface LoadProcess {
  /** Leaves the site before, if there was one, and connects. */
  readonly connect: (site: Site) => Promise<void>;
  readonly load: (drops: readonly string[]) => Promise<Told<"loaded">>;
  /** Refreshes by delta. */
  readonly refresh: () => Promise<Told<"refreshed">>;
  /** Leaves the site. */
  readonly leave: () => Promise<void>;
  /** Ends the process. */
  readonly close: () => Promise<void>;
}

/** The processes of a cell. They are kept for all its repetitions, as `rollbook watch` is kept: only the first repetition is that of new ones. */
export interface LoadProcesses {
  /** So many of them, connected to the site. */
  readonly connect: (site: Site, count: number) => Promise<readonly LoadProcess[]>;
  readonly close: () => Promise<void>;
}

export function createLoadProcesses(): LoadProcesses {
  const processes: LoadProcess[] = [];
  return {
    connect: async (site, count) => {
      while (processes.length < count) processes.push(startLoadProcess());
      const wanted = processes.slice(0, count);
      for (const process of wanted) await process.connect(site);
      return wanted;
    },
    close: async () => {
      await Promise.all(processes.map((process) => process.close()));
    },
  };
}

/** Starts a process. What it is asked for rejects with what went wrong there. */
function startLoadProcess(): LoadProcess {
  const child = fork(LOADER, {
    execArgv: ["--import", import.meta.resolve("tsx")],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const ask = async <Kind extends Answer["kind"]>(order: Order, kind: Kind): Promise<Told<Kind>> => {
    const settled = new AbortController();
    const { signal } = settled;
    try {
      const answered = once(child, "message", { signal }).then(([answer]) => answer as Answer);
      const gone = once(child, "exit", { signal }).then(
        ([code, by]): Answer => ({ kind: "failed", message: `the loading process ended: ${by ?? code}` }),
      );
      // The one that is not waited for is aborted, which nobody needs to hear.
      for (const promise of [answered, gone]) promise.catch(() => {});
      child.send(order);
      const answer = await Promise.race([answered, gone]);
      if (answer.kind === kind) return answer as Told<Kind>;
      throw new Error(
        answer.kind === "failed" ? answer.message : `${answer.kind} is no answer to ${order.kind}`,
      );
    } finally {
      settled.abort();
    }
  };
  const close = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  };
  const connect = async ({ connection, settings }: Site) => {
    await ask({ kind: "connect", connection, settings }, "connected");
  };
  const leave = async () => {
    await ask({ kind: "leave" }, "left");
  };
  return {
    connect,
    leave,
    load: (drops) => ask({ kind: "load", drops }, "loaded"),
    refresh: () => ask({ kind: "refresh" }, "refreshed"),
    close,
  };
}
