/** The processes that load in a cell (loader.ts). */
import { fileURLToPath } from "node:url";
import { type AskedProcess, startAskedProcess } from "../program/asked_process.ts";
import type { Answer, Order, Place } from "./loader.ts";

const LOADER = fileURLToPath(new URL("./loader.ts", import.meta.url));

export type LoadProcess = AskedProcess<Order, Answer>;

/** They are kept for all repetitions of a cell, as `rollbook watch` is: only at the first they are new. */
export interface LoadProcesses {
  /** Gives so many of them, each connected to the place. */
  readonly connect: (place: Place, count: number) => Promise<readonly LoadProcess[]>;
  readonly close: () => Promise<void>;
}

export function createLoadProcesses(): LoadProcesses {
  const processes: LoadProcess[] = [];
  return {
    connect: async ({ connection, settings }, count) => {
      while (processes.length < count) processes.push(startAskedProcess<Order, Answer>(LOADER));
      const wanted = processes.slice(0, count);
      for (const { ask } of wanted) await ask({ kind: "connect", connection, settings }, "connected");
      return wanted;
    },
    close: async () => {
      await Promise.all(processes.map((process) => process.close()));
    },
  };
}
