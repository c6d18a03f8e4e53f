/** The acts that run in processes of their own, loads and refreshes, and the faults in them. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stateOf } from "../../../db/testing/own_server.ts";
import type { Act, LoadFault } from "./history.ts";
import { startProxy } from "./proxy.ts";
import type { SimulatedWarehouse, Site } from "./site.ts";
import type { Interference } from "./worker.ts";
import type { JobEnd, RunningJob } from "./workers.ts";

/** A drop's file, before it is written. */
export interface DropFile {
  readonly name: string;
  readonly bytes: Buffer;
  /** What it holds after it has been changed. */
  readonly changed: Buffer;
}

export interface Stage {
  readonly site: Site;
  readonly warehouse: SimulatedWarehouse;
  /** Told of each fault that struck. */
  readonly onFault: (kind: string) => void;
}

/** How a load ended, as its process said. */
export interface LoadEnd {
  readonly end: JobEnd;
  /** Whether its fault may have kept the load from being done. */
  readonly struck: boolean;
}

let files = 0;

/** Writes a drop into a folder of its own, so that nothing but its own load is in its way. */
export function placeDrop(folder: string, { name, bytes }: DropFile): { path: string; remove: () => void } {
  files += 1;
  const own = join(folder, `d${files}`);
  mkdirSync(own);
  const path = join(own, name);
  writeFileSync(path, bytes);
  return { path, remove: () => rmSync(own, { recursive: true, force: true }) };
}

/** Loads a drop in a process of its own. */
export async function runLoad(stage: Stage, act: Act & { do: "load" }, file: DropFile): Promise<LoadEnd> {
  const { site, warehouse } = stage;
  const placed = placeDrop(site.folder, file);
  const { fault } = act;
  const name = `load ${files}`;
  const connection = { ...warehouse.connection, application_name: name };
  const isCut = fault?.kind === "cut" || fault?.kind === "swallow";
  const proxy = isCut ? await startProxy({ connection, cut: fault, folder: site.folder }) : undefined;
  try {
    const job = site.workers.start({
      kind: "load",
      connection: proxy?.connection ?? connection,
      settings: warehouse.settings,
      path: placed.path,
      careful: act.careful,
      maxRejects: act.strict ? 0 : 1,
      chunkLines: act.chunkLines,
      interference: interferenceOf(fault, file),
    });
    let struck = false;
    if (fault?.kind === "terminate" || fault?.kind === "crash") {
      struck = await strikeWhenStopped(stage, job, fault.kind, name);
    }
    const end = await job.end;
    if (proxy !== undefined) struck = proxy.cuts() > 0;
    if (fault?.kind === "kill") struck = end.kind === "ended";
    if (fault?.kind === "abort") struck = end.kind === "error";
    if (fault?.kind === "file") struck = end.kind === "load" && end.report.outcome === "failed";
    if (struck && fault !== null) stage.onFault(faultName(fault));
    return { end, struck };
  } finally {
    proxy?.close();
    placed.remove();
  }
}

function faultName(fault: LoadFault): string {
  const where = "at" in fault ? ` at ${fault.at}` : "";
  return fault.kind === "file" ? `load: file: ${fault.change}${where}` : `load: ${fault.kind}${where}`;
}

function interferenceOf(fault: LoadFault | null, file: DropFile): Interference | null {
  switch (fault?.kind) {
    case "kill":
    case "abort":
    case "pause":
      return fault;
    case "terminate":
    case "crash":
      return { kind: "stop", at: fault.at };
    case "file":
      return {
        kind: "file",
        at: fault.at,
        change: fault.change === "append" || fault.change === "truncate" ? "rewrite" : fault.change,
        bytes: file.changed.toString("base64"),
      };
    default:
      return null;
  }
}

/**
 * Waits until the process stops itself, does it to the server, and lets the process go on. False when it
 * never stopped.
 */
async function strikeWhenStopped(
  { site, warehouse }: Stage,
  job: RunningJob,
  kind: "terminate" | "crash",
  name: string,
): Promise<boolean> {
  let over = false;
  job.end.then(() => {
    over = true;
  });
  while (!over && stateOf(job.pid) !== "T") await sleep(2);
  if (over) return false;
  try {
    if (kind === "crash") {
      site.crash();
    } else {
      await warehouse.query(
        `select pg_terminate_backend(pid, 5000) from pg_stat_activity
         where application_name = $1 and datname = current_database()`,
        [name],
      );
    }
  } catch {
    // The server is down: another act killed it.
  } finally {
    job.kill("SIGCONT");
  }
  return true;
}

/** Loads a drop by the command line. */
export async function runCommand(
  stage: Stage,
  act: Act & { do: "command" },
  file: DropFile,
): Promise<LoadEnd> {
  const { site, warehouse } = stage;
  const placed = placeDrop(site.folder, file);
  const { host, port, user, database } = warehouse.connection;
  try {
    const job = site.workers.startCommand(["load", "--json", "--max-rejects", "1", "--", placed.path], {
      PGHOST: host ?? "",
      PGPORT: String(port),
      PGUSER: user ?? "",
      PGDATABASE: database ?? "",
      PGSSLMODE: "disable",
    });
    const { signal } = act;
    const timer = signal && setTimeout(() => job.kill(signal), act.afterMs);
    const end = await job.end;
    if (timer !== null) clearTimeout(timer);
    const struck = end.kind === "ended" && (end.signal !== null || (end.code ?? 0) > 100);
    if (struck) stage.onFault(`command: ${signal}`);
    return { end, struck };
  } finally {
    placed.remove();
  }
}

/** Refreshes in a process of its own; returns the error, if any. */
export async function runRefresh(
  stage: Stage,
  act: Act & { do: "refresh" },
): Promise<{ readonly error: string | undefined; readonly struck: boolean }> {
  files += 1;
  const name = `refresh ${files}`;
  const { fault, strategy } = act;
  const job = stage.site.workers.start({
    kind: "refresh",
    connection: { ...stage.warehouse.connection, application_name: name },
    strategy,
    interference: fault && { kind: fault.kind === "kill" ? "kill" : "stop", at: "refresh" },
  });
  let struck = false;
  if (fault !== null && fault.kind !== "kill") struck = await strikeWhenStopped(stage, job, fault.kind, name);
  const end = await job.end;
  if (fault?.kind === "kill") struck = end.kind === "ended";
  if (struck && fault !== null) stage.onFault(`refresh: ${fault.kind}`);
  if (end.kind === "error") return { error: end.message, struck };
  return { error: end.kind === "ended" ? `the process ended: ${end.signal ?? end.code}` : undefined, struck };
}
