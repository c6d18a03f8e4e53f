/** Stops the server, and waits until it is gone. */
import { setTimeout as pause } from "node:timers/promises";
import { errorState } from "../errors.ts";
import { failure, reason } from "./failure.ts";
import { type Place, removeSocketDir } from "./place.ts";
import { isAlive, isServerOf, type Postmaster, readPostmaster } from "./postmaster.ts";
import type { ServerSession } from "./session.ts";

const IMMEDIATE_STOP_MS = 15_000;

/**
 * Stops the server in order (SIGINT: a fast shutdown). After `deadline` it is stopped at once (SIGQUIT: it
 * recovers at the next start, and nothing that was committed is lost). The caller holds the exclusive lock
 * through `session`.
 */
export async function stopServer(place: Place, session: ServerSession, deadline: number): Promise<void> {
  // The session works, so the file belongs to the running server.
  const postmaster = readPostmaster(place) ?? session.postmaster;
  // In a container that shares the folder with another one, the process id means nothing here. The keeper in
  // the other one stops the server.
  if (!isServerOf(postmaster, place)) return;
  sendSignal(postmaster.pid, "SIGINT");
  if (!(await untilGone(place, postmaster, deadline))) {
    if (isServerOf(postmaster, place)) sendSignal(postmaster.pid, "SIGQUIT");
    if (!(await untilGone(place, postmaster, Date.now() + IMMEDIATE_STOP_MS))) {
      throw failure(
        `The embedded PostgreSQL (process ${postmaster.pid}) does not stop. See ${place.log}. It can be ended by: ` +
          `kill -QUIT ${postmaster.pid}`,
      );
    }
  }
  removeSocketDir(place, session.socketDir);
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errorState(error) === "ESRCH") return;
    throw failure(`Cannot stop the embedded PostgreSQL (process ${pid}): ${reason(error)}.`, error);
  }
}

/** Waits until the server is gone; false when it is not by `deadline`. */
export async function untilGone(place: Place, postmaster: Postmaster, deadline: number): Promise<boolean> {
  let unlinkedAt: number | undefined;
  for (;;) {
    if (!isAlive(postmaster.pid)) return true;
    const now = readPostmaster(place);
    if (now?.pid !== postmaster.pid || now.startedAt !== postmaster.startedAt) {
      unlinkedAt ??= Date.now();
      // The server removes the file last. Only on Linux one can see that the process has ended and waits to
      // be reaped.
      if (Date.now() - unlinkedAt > 500 && (process.platform !== "linux" || !isServerOf(postmaster, place))) {
        return true;
      }
    }
    if (Date.now() > deadline) return false;
    await pause(5);
  }
}
