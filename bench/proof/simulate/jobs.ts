/** The acts that run in processes of their own, loads, retries, undos and refreshes, and the faults in them. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { stateOf } from "../../../db/testing/own_server.ts";
import { isWhole } from "./content.ts";
import type { Act, Content, LoadFault, RetryFault, UndoFault } from "./history.ts";
import { startProxy } from "./proxy.ts";
import type { Reading } from "./reading.ts";
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

/** How a load, a retry or an undo ended, as its process said. */
export interface FaultyEnd {
  readonly end: JobEnd;
  /** Whether its fault may have kept it from being done. */
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

/**
 * Loads a drop in a process of its own.
 *
 * @param replaces the load that it replaces
 */
export async function runLoad(
  stage: Stage,
  act: Act & { do: "load" },
  {
    file,
    reading,
    replaces,
  }: { readonly file: DropFile; readonly reading: Reading; readonly replaces: number | undefined },
): Promise<FaultyEnd> {
  const { site, warehouse } = stage;
  const placed = placeDrop(site.folder, file);
  const { fault } = act;
  try {
    return await runWithFault(stage, { what: "load", fault }, (connection) =>
      site.workers.start({
        kind: "load",
        connection,
        settings: warehouse.settings,
        path: placed.path,
        careful: act.careful,
        maxRejects: act.strict ? 0 : 1,
        chunkLines: act.chunkLines,
        reading,
        replaces: replaces ?? null,
        interference: fault?.kind === "file" ? changeOf(fault, file) : interferenceOf(fault),
      }),
    );
  } finally {
    placed.remove();
  }
}

/** Undoes an entry of the ledger in a process of its own. */
export function runUndo(stage: Stage, act: Act & { do: "undo" }, loadId: number): Promise<FaultyEnd> {
  const { site, warehouse } = stage;
  const { fault } = act;
  return runWithFault(stage, { what: "undo", fault }, (connection) =>
    site.workers.start({
      kind: "undo",
      connection,
      settings: warehouse.settings,
      loadId,
      interference: interferenceOf(fault),
    }),
  );
}

/** Reads the open lines of a load again, in a process of its own. */
export async function runRetry(
  stage: Stage,
  act: Act & { do: "retry" },
  { root, file, reading }: { readonly root: number; readonly file: DropFile; readonly reading: Reading },
): Promise<FaultyEnd> {
  const { site, warehouse } = stage;
  const placed = placeDrop(site.folder, file);
  const { fault } = act;
  try {
    return await runWithFault(stage, { what: "retry", fault }, (connection) =>
      site.workers.start({
        kind: "retry",
        connection,
        settings: warehouse.settings,
        loadId: root,
        path: placed.path,
        reading,
        interference: interferenceOf(fault),
      }),
    );
  } finally {
    placed.remove();
  }
}

let jobs = 0;

/** Starts a job by a connection, and does to it what its fault says. */
async function runWithFault(
  stage: Stage,
  {
    what,
    fault,
  }: { readonly what: "load" | "retry" | "undo"; readonly fault: LoadFault | RetryFault | UndoFault | null },
  start: (connection: pg.ClientConfig) => RunningJob,
): Promise<FaultyEnd> {
  const { site, warehouse } = stage;
  jobs += 1;
  const name = `${what} ${jobs}`;
  const connection = { ...warehouse.connection, application_name: name };
  const isCut = fault?.kind === "cut" || fault?.kind === "swallow";
  const proxy = isCut ? await startProxy({ connection, cut: fault, folder: site.folder }) : undefined;
  try {
    const job = start(proxy?.connection ?? connection);
    let struck = false;
    if (fault?.kind === "terminate" || fault?.kind === "crash") {
      struck = await strikeWhenStopped(stage, job, fault.kind, name);
    }
    const end = await job.end;
    if (proxy !== undefined) struck = proxy.cuts() > 0;
    if (fault?.kind === "kill") struck = end.kind === "ended";
    if (fault?.kind === "abort") struck = end.kind === "error";
    if (fault?.kind === "file") struck = end.kind === "load" && end.report.outcome === "failed";
    if (struck && fault !== null) stage.onFault(`${what}: ${faultName(fault)}`);
    return { end, struck };
  } finally {
    proxy?.close();
  }
}

function faultName(fault: LoadFault | RetryFault | UndoFault): string {
  const where = "at" in fault ? ` at ${fault.at}` : "";
  return fault.kind === "file" ? `file: ${fault.change}${where}` : `${fault.kind}${where}`;
}

function changeOf({ at, change }: LoadFault & { kind: "file" }, file: DropFile): Interference {
  return {
    kind: "file",
    at,
    change: change === "append" || change === "truncate" ? "rewrite" : change,
    bytes: file.changed.toString("base64"),
  };
}

function interferenceOf(
  fault: Exclude<LoadFault, { kind: "file" }> | RetryFault | UndoFault | null,
): Interference | null {
  switch (fault?.kind) {
    case "kill":
    case "abort":
    case "pause":
      return fault;
    case "terminate":
    case "crash":
      return { kind: "stop", at: fault.at };
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
  { file, content }: { readonly file: DropFile; readonly content: Content },
): Promise<FaultyEnd> {
  const { site, warehouse } = stage;
  const placed = placeDrop(site.folder, file);
  const whole = isWhole(content) ? ["--replace-venue-days"] : [];
  const { host, port, user, database } = warehouse.connection;
  try {
    const job = site.workers.startCommand(
      ["load", "--json", "--max-rejects", "1", ...whole, "--", placed.path],
      {
        PGHOST: host ?? "",
        PGPORT: String(port),
        PGUSER: user ?? "",
        PGDATABASE: database ?? "",
        PGSSLMODE: "disable",
      },
    );
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
  jobs += 1;
  const name = `refresh ${jobs}`;
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
