/** Which server uses the data folder, as `postmaster.pid` says, and whether it runs. */
import { spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { errorState } from "../errors.ts";
import { failure, REMEDY, reason } from "./failure.ts";
import type { Place } from "./place.ts";

/** What `postmaster.pid` says. Source: PostgreSQL 18, src/include/utils/pidfile.h. */
export interface Postmaster {
  readonly pid: number;
  readonly data: string;
  readonly startedAt: string;
  readonly socketDir: string;
  readonly status: string;
}

/** Reads the file; undefined where there is none. */
export function readPostmaster(place: Place): Postmaster | undefined {
  let text: string;
  try {
    text = readFileSync(join(place.data, "postmaster.pid"), "utf8");
  } catch (error) {
    const state = errorState(error);
    if (state === "ENOENT" || state === "ENOTDIR") return undefined;
    throw failure(
      `Cannot read ${place.data}: ${reason(error)}. Work as the user that it belongs to, or set ROLLBOOK_HOME ` +
        `to another folder. ${REMEDY}`,
      error,
    );
  }
  const [pid = "", data = "", startedAt = "", , socketDir = "", , , status = ""] = text.split("\n");
  if (!/^-?\d+$/.test(pid)) return undefined;
  return { pid: Math.abs(Number(pid)), data, startedAt, socketDir, status: status.trim() };
}

/**
 * Whether `postmaster.pid` names a running PostgreSQL on this data folder. Process ids are used again, in
 * containers soon. So the file alone is not enough for waiting for the process or sending it a signal.
 */
export function isServerOf({ pid, data }: Postmaster, place: Place): boolean {
  if (!isAlive(pid)) return false;
  if (process.platform !== "linux") {
    const ps = spawnSync("ps", ["-o", "comm=", "-p", String(pid)], { encoding: "utf8" });
    return data === place.data && ps.stdout.trim().endsWith("postgres");
  }
  try {
    if (readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== "postgres") return false;
  } catch {
    return false;
  }
  try {
    // The same folder, under whatever path.
    const [its, ours] = [statSync(`/proc/${pid}/cwd`), statSync(place.data)];
    return its.dev === ours.dev && its.ino === ours.ino;
  } catch {
    // We may not look at it. That it is a PostgreSQL has to be enough.
    return true;
  }
}

/** Whether a process of that id runs; one that has ended and is not reaped does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return errorState(error) === "EPERM";
  }
  return processState(pid) !== "Z";
}

function processState(pid: number): string | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.charAt(0);
  } catch {
    return "Z";
  }
}
