/** Leases on the server. Taking one starts the server where needed; giving up the last one stops it. */
import type { ChildProcess } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { errorState, isConnectionLost, RollbookError, SQLSTATE } from "../errors.ts";
import { DATABASE } from "./address.ts";
import { aborted, failure, REMEDY, reason } from "./failure.ts";
import { lastLines, readLog } from "./log.ts";
import type { Place } from "./place.ts";
import { readPostmaster } from "./postmaster.ts";
import { endSession, reachServer, type ServerSession } from "./session.ts";
import { type Start, type StartOptions, startServer } from "./start.ts";
import { stopServer, untilGone } from "./stop.ts";

/** The two-part key of the advisory lock that a lease is, in database `postgres`. */
const LEASE = [0x726f6c6c, 1] as const;

const LEASES = `select from pg_locks
    where locktype = 'advisory'
      and database = (select oid from pg_database where datname = current_database())
      and classid::bigint = $1 and objid::bigint = $2 and objsubid = 2`;

const OPEN_TIMEOUT_MS = 60_000;

export interface Lease {
  readonly session: ServerSession;
  /** The keeper, if it was this process that started the server. */
  readonly keeper: ChildProcess | undefined;
}

/** Takes a lease on the server of `place`, making and starting it where needed. */
export async function takeLease(place: Place, options: StartOptions): Promise<Lease> {
  const { signal, onProgress } = options;
  let began = Date.now();
  let start: Start | undefined;
  let failures = 0;
  let reported = false;
  try {
    for (;;) {
      if (signal?.aborted) throw aborted(signal.reason);
      const found = await reachServer(place, { as: "rollbook lease", signal });
      if (typeof found === "object") {
        if (await claimLease(found, signal)) return { session: found, keeper: start?.keeper };
      } else if (found === "absent") {
        const outcome = start?.outcome();
        if (outcome === "failed") failures += 1;
        // One or two failures may have another cause: the process that stops the last server may remove what
        // the next one needs.
        if (failures > 2) throw didNotStart(place, start);
        if (outcome !== "runs") {
          await pause(failures * 100 + (outcome === "locked" ? 200 : 0), undefined, { signal });
          start = await startServer(place, options);
          if (start.created) began = Date.now();
        }
      }
      const waited = Date.now() - began;
      if (waited > OPEN_TIMEOUT_MS) throw tookTooLong(place, start);
      if (!reported && waited > 3_000) {
        reported = true;
        onProgress?.(`waiting for the embedded PostgreSQL (it may be recovering; log: ${place.log})`);
      }
      // Wait shortly at first, because a start takes a tenth of a second, and longer when the server
      // recovers.
      await pause(Math.min(3 + waited / 50, 250), undefined, { signal });
    }
  } catch (error) {
    throw signal?.aborted && !(error instanceof RollbookError) ? aborted(error) : error;
  }
}

/**
 * True when the session now holds a lease on a server that has its database. If false, the session has ended.
 */
async function claimLease(session: ServerSession, signal: AbortSignal | undefined): Promise<boolean> {
  const stop = () => session.socket.destroy();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const { rows } = await session.client.query<{ claimed: boolean; complete: boolean }>(
      `select pg_try_advisory_lock_shared($1, $2) as claimed,
              exists (select from pg_database where datname = $3) as complete`,
      [...LEASE, DATABASE],
    );
    if (rows[0]?.claimed !== true) {
      // Somebody is stopping the server.
      endSession(session);
      return false;
    }
    if (!rows[0].complete) await createDatabase(session.client);
    return true;
  } catch (error) {
    session.socket.destroy();
    if (signal?.aborted) throw aborted(error);
    if (isConnectionLost(error) || session.lost()) return false;
    throw failure(`The embedded PostgreSQL refused a lease: ${reason(error)}. ${REMEDY}`, error);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

async function createDatabase(client: Client): Promise<void> {
  try {
    await client.query(`create database "${DATABASE}" template template0`);
  } catch (error) {
    const state = errorState(error);
    // Another first command has made it meanwhile.
    if (state !== SQLSTATE.duplicateDatabase && state !== SQLSTATE.uniqueViolation) throw error;
  }
}

/**
 * Gives a lease up. The last one to leave stops the server in order, and at once when `withinMs` are over.
 * Others that leave while it is being stopped wait for that.
 */
export async function giveUpLease(place: Place, lease: Lease, withinMs: number): Promise<void> {
  const { session } = lease;
  const deadline = Date.now() + withinMs;
  session.socket.ref();
  // A server that no longer answers cannot say who is the last: then the session just ends.
  const timer = setTimeout(() => session.socket.destroy(), Math.max(withinMs, 1_000));
  try {
    const standing = await leaveOrBeLast(place, session).finally(() => clearTimeout(timer));
    if (standing === "last") {
      // Just before the stop, so that no running server is left without a keeper.
      lease.keeper?.kill();
      await stopServer(place, session, deadline);
    } else if (standing === "stopping") {
      await untilGone(place, session.postmaster, deadline);
    }
  } finally {
    endSession(session);
  }
}

type Standing = "last" | "others" | "stopping";

async function leaveOrBeLast(place: Place, { client, lost }: ServerSession): Promise<Standing> {
  try {
    // Give the lease back first: of two that leave at once and still hold theirs, neither would be the last.
    await client.query("select pg_advisory_unlock_shared($1, $2)", [...LEASE]);
    if (await tryToBeLast(client)) return "last";
    const { rows } = await client.query<{ stopping: boolean }>(
      `select exists (${LEASES} and granted and mode = 'ExclusiveLock') as stopping`,
      [...LEASE],
    );
    return rows[0]?.stopping === true ? "stopping" : "others";
  } catch (error) {
    if (!isConnectionLost(error) && !lost()) throw error;
    // Otherwise the server restarts after a crash of one of its processes, or is gone. The keeper does the
    // rest.
    return readPostmaster(place)?.status === "stopping" ? "stopping" : "others";
  }
}

/**
 * True when nobody holds a lease. From then on nobody gets one, so the session must stop the server, or end.
 */
export async function tryToBeLast(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ last: boolean }>("select pg_try_advisory_lock($1, $2) as last", [
    ...LEASE,
  ]);
  return rows[0]?.last === true;
}

/** Whether somebody holds a lease. Takes no lock, so it disturbs nobody who is coming or leaving. */
export async function hasLeases(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ leased: boolean }>(`select exists (${LEASES}) as leased`, [...LEASE]);
  return rows[0]?.leased === true;
}

function didNotStart(place: Place, start: Start | undefined): RollbookError {
  return failure(
    `The embedded PostgreSQL in ${place.data} does not start. ${REMEDY} The end of ${place.log}:\n` +
      lastLines(start?.log() ?? "", 12),
  );
}

function tookTooLong(place: Place, start: Start | undefined): RollbookError {
  return failure(
    `The embedded PostgreSQL in ${place.data} was not ready within ${OPEN_TIMEOUT_MS / 1000} s. If it is recovering ` +
      `from a crash, try again later. ${REMEDY} The end of ${place.log}:\n` +
      lastLines(start?.log() ?? readLog(place, 0), 12),
  );
}
