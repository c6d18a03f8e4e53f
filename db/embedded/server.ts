/**
 * The embedded PostgreSQL. It is started on demand, shared by any number of processes, and stopped in order
 * by the last of them.
 *
 * - PostgreSQL's own lock file (`postmaster.pid`) decides which process starts it. The same file says where
 *   the server listens and whether it is ready.
 * - A **lease** is a session on database `postgres` that holds a shared advisory lock. A process that leaves
 *   gives its lease back and tries to get the lock exclusively. If it does, it is the last one: it stops the
 *   server, and newcomers wait for the lock.
 * - The **keeper** (keeper.ts), a small process of its own, does the same when every user was killed.
 *
 * There is no TCP. Whoever can enter the socket's folder (mode 0700) is trusted, so that folder alone
 * protects the server.
 */

import { DATABASE, PORT, USER } from "./address.ts";
import { aborted } from "./failure.ts";
import { giveUpLease, takeLease } from "./lease.ts";
import { makeHome } from "./place.ts";
import type { StartOptions } from "./start.ts";

export interface EmbeddedServer {
  /** The folder of the Unix socket: what `pg` takes as `host`. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /**
   * Gives the lease back; the last to leave stops the server and returns when it is gone. Further calls
   * return the first one's promise.
   * - `withinMs`: how long an orderly stop may take before the server is stopped at once (which is
   *   crash-safe; the next start recovers). Default 30 s.
   */
  release(options?: { readonly withinMs?: number }): Promise<void>;
}

export interface OpenOptions extends StartOptions {
  /** The folder of everything the server keeps (`ROLLBOOK_HOME`); made if it is not there. */
  readonly home: string;
}

const RELEASE_WITHIN_MS = 30_000;

/**
 * Opens the embedded server of `home`: creates and starts it where needed, and holds a lease on it until
 * `release`. If the server crashes meanwhile, it is started again in the background, so that a retry
 * succeeds.
 *
 * @throws RollbookError `embedded_server` (with the end of the log where there is one), or `aborted`.
 */
export async function openEmbeddedServer(options: OpenOptions): Promise<EmbeddedServer> {
  if (options.signal?.aborted) throw aborted(options.signal.reason);
  const place = makeHome(options.home);
  const leaving = new AbortController();
  let lease = await takeLease(place, options);
  let renewal: Promise<void> = Promise.resolve();
  let released: Promise<void> | undefined;

  const watchLease = () => {
    // A process that forgets its lease must still be able to end. The keeper cleans up after it.
    lease.session.socket.unref();
    lease.session.client.once("end", () => {
      if (!leaving.signal.aborted) renewal = renewLease();
    });
  };
  const renewLease = async () => {
    try {
      lease = await takeLease(place, { ...options, signal: leaving.signal });
      watchLease();
    } catch {
      // The caller's next statement fails then, and says why.
    }
  };
  const leave = async (withinMs: number) => {
    leaving.abort();
    await renewal;
    await giveUpLease(place, lease, withinMs);
  };

  watchLease();
  return {
    host: lease.session.socketDir,
    port: PORT,
    user: USER,
    database: DATABASE,
    release: (release = {}) => {
      released ??= leave(release.withinMs ?? RELEASE_WITHIN_MS);
      return released;
    },
  };
}
