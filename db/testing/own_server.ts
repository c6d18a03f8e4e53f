/** For tests that kill or fill a server: one of their own, durable as a real one. */

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { openDatabase } from "../client.ts";
import type { EmbeddedServer } from "../embedded/server.ts";
import { initWarehouse } from "../migrate.ts";
import type { TestWarehouse } from "./database.ts";
import { environmentOf } from "./environment.ts";
import { makeServerHome } from "./home.ts";
import { openTestServer } from "./server.ts";

export interface OwnServer {
  readonly home: string;
  readonly server: EmbeddedServer;
  /** Makes a database with a new warehouse in it. */
  readonly makeWarehouse: () => Promise<TestWarehouse>;
  /** Kills the server and all its processes at once. The lease brings it back in the background. */
  readonly kill: () => void;
  readonly close: () => Promise<void>;
}

/**
 * @param given the home; default: a temporary folder, which `close` removes
 * @param open what opens the server; default: what tests use
 */
export async function openOwnServer(given?: string, open = openTestServer): Promise<OwnServer> {
  const home = given ?? makeServerHome();
  const server = await open({ home });
  const warehouses: TestWarehouse[] = [];
  return {
    home,
    server,
    makeWarehouse: async () => {
      const name = `test_${warehouses.length}`;
      const { host, port, user } = server;
      const connection = { host, port, user, ssl: false };
      const make = async (made: string, template: string) => {
        const client = new pg.Client({ ...connection, database: "postgres" });
        await client.connect();
        await client.query(`create database ${made} template ${template} strategy file_copy`);
        await client.end();
        return openDatabase({ connection: { ...connection, database: made }, max: 10 });
      };
      // The migrations run once.
      if (warehouses.length === 0) {
        const template = await make("migrated", "template0");
        await initWarehouse({ database: template });
        await template.pool.end();
      }
      const database = await make(name, "migrated");
      const { settings } = await initWarehouse({ database });
      const warehouse: TestWarehouse = {
        database,
        settings,
        environment: environmentOf({ host, port, user, database: name }),
        query: async (text, values) => (await database.pool.query(text, values && [...values])).rows,
      };
      warehouses.push(warehouse);
      return warehouse;
    },
    kill: () => killServer(home),
    close: async () => {
      for (const { database } of warehouses) await database.pool.end();
      await server.release({ withinMs: 5000 });
      if (given === undefined) rmSync(home, { recursive: true, force: true });
    },
  };
}

/** The postmaster of a home, or undefined where none left its file. */
export function postmasterOf(home: string): number | undefined {
  try {
    return Number(readFileSync(join(home, "data", "postmaster.pid"), "utf8").split("\n")[0]);
  } catch {
    return undefined;
  }
}

/**
 * Kills the postmaster and all its processes with SIGKILL. The postmaster is stopped first, so that it starts
 * no further process: one that survived would wait for ever for a lock of the dead ones, and no server can
 * start before it is gone.
 */
export function killServer(home: string): void {
  const postmaster = postmasterOf(home);
  if (postmaster === undefined) throw new Error(`no server runs in ${home}`);
  send(postmaster, "SIGSTOP");
  while (isRunning(postmaster) && stateOf(postmaster) !== "T");
  for (const pid of [postmaster, ...childrenOf(postmaster)]) send(pid, "SIGKILL");
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone already.
  }
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  /** `T`: stopped; `Z`: ended and not reaped. */
  readonly state: string;
}

function childrenOf(parent: number): readonly number[] {
  return listProcesses()
    .filter((process) => process.parent === parent)
    .map(({ pid }) => pid);
}

function listProcesses(): readonly Process[] {
  if (process.platform === "linux") {
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return pids.map((pid) => readProcess(Number(pid))).filter((found) => found !== undefined);
  }
  const ps = spawnSync("ps", ["-A", "-o", "pid=,ppid=,state="], { encoding: "utf8" });
  return ps.stdout
    .trim()
    .split("\n")
    .map((line) => {
      const [pid, parent, state = ""] = line.trim().split(/\s+/);
      return { pid: Number(pid), parent: Number(parent), state: state.charAt(0) };
    });
}

/** A process, or undefined when it is gone. */
export function readProcess(pid: number): Process | undefined {
  if (process.platform !== "linux") return listProcesses().find((found) => found.pid === pid);
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [state = "", parent] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { pid, parent: Number(parent), state };
  } catch {
    return undefined;
  }
}

/** The state of a process (`T`: stopped), or undefined when it is gone. */
export function stateOf(pid: number): string | undefined {
  return readProcess(pid)?.state;
}

/** Whether a process runs, or is stopped; one that has ended and is not reaped does not. */
export function isRunning(pid: number): boolean {
  const state = stateOf(pid);
  return state !== undefined && state !== "Z";
}

/** Asks until the answer is yes. The deadline is far longer than that takes. */
export async function until(
  what: string,
  ask: () => boolean | Promise<boolean>,
  withinMs = 60_000,
): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await ask())) {
    if (Date.now() > deadline) throw new Error(`still not so after ${withinMs / 1000} s: ${what}`);
    await sleep(25);
  }
}
