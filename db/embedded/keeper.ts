/**
 * The keeper of an embedded server: a process of its own that stops the server when no lease is left, which
 * only happens when every user was killed. Run by start.ts: `keeper.ts HOME STARTER-PID`.
 */
import { setTimeout as pause } from "node:timers/promises";
import { isConnectionLost } from "../errors.ts";
import { hasLeases, tryToBeLast } from "./lease.ts";
import { type Place, placeOf } from "./place.ts";
import { isAlive, isServerOf, readPostmaster } from "./postmaster.ts";
import { endSession, reachServer, type ServerSession } from "./session.ts";
import { stopServer } from "./stop.ts";

const POLL_MS = 500;
/** How long a server may take to show up: as long as its starter lives, and afterwards. */
const SHOW_UP_MS = 15_000;
const SHOW_UP_ALONE_MS = 5_000;
/** How long the first lease on a new or restarted server may take. */
const FIRST_LEASE_MS = 5_000;
const STOP_WITHIN_MS = 30_000;

async function keepServer(place: Place, starter: number): Promise<void> {
  let seen = false;
  let waitingSince = Date.now();
  for (;;) {
    const found = await reachServer(place, { as: "rollbook keeper" });
    if (typeof found === "object") {
      // After a restart, those who use the server come back, whether its starter lives or not.
      const expected = () => seen || isAlive(starter);
      if ((await watch(place, found, expected)) === "done") return;
      seen = true;
      // The session is lost. A server that restarts after a crash of one of its processes comes back soon.
    } else if (found === "busy") {
      waitingSince = Date.now();
    } else {
      const waited = Date.now() - waitingSince;
      if (seen || waited > SHOW_UP_MS || (waited > SHOW_UP_ALONE_MS && !isAlive(starter))) return;
    }
    await pause(seen ? 50 : 100);
  }
}

/** Watches until the server is stopped, by us or by somebody (`done`), or the session is lost. */
async function watch(
  place: Place,
  session: ServerSession,
  expected: () => boolean,
): Promise<"done" | "lost"> {
  const { client } = session;
  const lost = new AbortController();
  client.once("end", () => lost.abort());
  try {
    const since = Date.now();
    let leased = false;
    for (;;) {
      // Before its first lease the server belongs to those who are expected to take one.
      leased ||= !expected() || (await hasLeases(client)) || Date.now() - since > FIRST_LEASE_MS;
      if (leased && (await tryToBeLast(client))) {
        console.error(`${new Date().toISOString()} keeper: no user is left, stopping the server`);
        await stopServer(place, session, Date.now() + STOP_WITHIN_MS);
        return "done";
      }
      await pause(POLL_MS, undefined, { signal: lost.signal });
    }
  } catch (error) {
    if (!session.lost() && !isConnectionLost(error)) throw error;
    const left = readPostmaster(place);
    return left !== undefined && isServerOf(left, place) ? "lost" : "done";
  } finally {
    endSession(session);
  }
}

const [, , home, starter] = process.argv;
if (home === undefined) throw new Error("usage: keeper.ts HOME STARTER-PID");
await keepServer(placeOf(home), Number(starter));
