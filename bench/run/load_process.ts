/** Starts processes that load (loader.ts) and asks them. */
import { fileURLToPath } from "node:url";
import { startAskedProcess } from "../program/asked_process.ts";
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
  const { ask, close } = startAskedProcess<Order, Answer>(LOADER);
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
