/**
 * Reports when a session of ours waits long for a lock. Nothing is asked of the server, and no connection is
 * made, before a session has been in use for some seconds.
 */
import pg from "pg";
import { describeHolders, describeWait } from "./describe.ts";
import { findHolders, findWaits, type SeenWait, type Wait } from "./look.ts";

/** A wait that lasts so long is reported. */
export const REPORT_AFTER_MS = 5000;
/** And again each time after so long. */
const REPORT_AGAIN_MS = 60_000;
/** The look itself may not take longer. */
const LOOK_MS = 5000;

/** A wait, and the sentences that say it. */
export type ReportedWait = Wait & { readonly message: string };

export type WaitListener = (wait: ReportedWait) => void;

export interface Waits {
  /**
   * Runs work that gives a wait up after a while and begins it anew: all of it counts as one wait, from the
   * first time on that it `gave up`.
   */
  readonly acrossAttempts: <T>(work: (gaveUp: () => void) => Promise<T>) => Promise<T>;
  /** Runs work that tries again and again to get one of several advisory locks. */
  readonly whilePolling: <T>(polled: Polled, work: () => Promise<T>) => Promise<T>;
  /** Who held what at the last report; undefined where nothing was reported. */
  readonly lastHolders: () => string | undefined;
}

export interface Polled {
  /** The number that they share. */
  readonly lock: number;
  /** What they stand for. */
  readonly what: string;
}

/**
 * Watches the sessions of a pool.
 *
 * @param options.connection how to make the connection that looks. The pool may be exhausted just then
 * @param options.processOf the server's process of a client
 */
export function watchWaits(options: {
  readonly pool: pg.Pool;
  readonly connection: pg.ClientConfig;
  readonly processOf: (client: pg.ClientBase) => number | undefined;
  readonly afterMs?: number | undefined;
  readonly onWait?: WaitListener | undefined;
}): Waits {
  const { pool, connection, processOf, afterMs = REPORT_AFTER_MS, onWait } = options;
  const inUse = new Map<pg.ClientBase, number>();
  const polls = new Set<Polled & { readonly since: number }>();
  const attempts = new Set<{ gaveUpAt: number | undefined }>();
  const toldAt = new Map<string, number>();
  let lastHolders: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let looking = false;

  const wakeIn = (ms: number) => {
    clearTimeout(timer);
    timer = setTimeout(wake, ms).unref();
  };
  const wake = () => {
    timer = undefined;
    if (inUse.size === 0 || pool.ending) return;
    const oldest = Math.min(...inUse.values());
    const age = performance.now() - oldest;
    if (age < patience()) return wakeIn(patience() - age);
    looking = true;
    look()
      // Nothing depends on it: the login may have no connection left, or the server may be away.
      .catch(() => afterMs)
      .then((nextMs) => {
        looking = false;
        wakeIn(nextMs);
      });
  };
  /** Where a wait was given up already, the next one is looked at soon. */
  const waitedBefore = () =>
    Math.min(...[...attempts].map(({ gaveUpAt }) => gaveUpAt ?? Number.POSITIVE_INFINITY));
  const patience = () => (waitedBefore() < performance.now() ? afterMs / 5 : afterMs);

  /** @returns in how many milliseconds to look again */
  const look = async (): Promise<number> => {
    const pids = [...inUse.keys()].map(processOf).filter((pid) => pid !== undefined);
    const seen = await withClient(connection, async (client) => [
      ...(await findWaits(client, pids)),
      ...(await findPolled(client)),
    ]);
    const now = performance.now();
    const goesOn = Math.max(now - waitedBefore(), 0);
    let nextMs = patience();
    for (const wait of seen) {
      const waitedMs = Math.max(wait.waitedMs, goesOn);
      if (waitedMs < afterMs) nextMs = Math.min(nextMs, afterMs - waitedMs);
      else tell({ ...wait, waitedMs }, goesOn > 0 ? wait.what : `${wait.what}, since ${wait.since}`, now);
    }
    return nextMs;
  };
  const findPolled = async (client: pg.Client): Promise<readonly SeenWait[]> => {
    const seen: SeenWait[] = [];
    for (const { lock, what, since } of polls) {
      const waitedMs = performance.now() - since;
      seen.push({ what, since: String(since), waitedMs, holders: await findHolders(client, { lock }) });
    }
    return seen;
  };
  const tell = (wait: SeenWait, key: string, now: number) => {
    lastHolders = describeHolders(wait.holders);
    for (const [told, at] of toldAt) if (now - at >= REPORT_AGAIN_MS) toldAt.delete(told);
    if (toldAt.has(key)) return;
    toldAt.set(key, now);
    const { what, waitedMs, holders } = wait;
    if (!pool.ending) onWait?.({ what, waitedMs, holders, message: describeWait(wait) });
  };

  pool.on("acquire", (client) => {
    inUse.set(client, performance.now());
    if (timer === undefined && !looking) wakeIn(patience());
  });
  pool.on("release", (_error, client) => inUse.delete(client));
  return {
    acrossAttempts: async (work) => {
      const attempt: { gaveUpAt: number | undefined } = { gaveUpAt: undefined };
      attempts.add(attempt);
      const began = performance.now();
      try {
        return await work(() => {
          attempt.gaveUpAt ??= began;
          if (!looking) wakeIn(patience());
        });
      } finally {
        attempts.delete(attempt);
      }
    },
    whilePolling: async (polled, work) => {
      const poll = { ...polled, since: performance.now() };
      polls.add(poll);
      return work().finally(() => polls.delete(poll));
    },
    lastHolders: () => lastHolders,
  };
}

/** Runs `work` on a connection of its own, which neither waits long nor keeps the process alive. */
async function withClient<T>(
  connection: pg.ClientConfig,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: LOOK_MS, query_timeout: LOOK_MS });
  // A connection that breaks emits this event, too; the statement rejects, and that is what counts.
  client.on("error", () => {});
  try {
    await client.connect();
    // The driver has it, and its types do not.
    (client as pg.Client & { readonly unref: () => void }).unref();
    await client.query(
      `select set_config('search_path', 'pg_catalog', false), set_config('quote_all_identifiers', 'off', false),
              set_config('lock_timeout', '1s', false),
              set_config('statement_timeout', '${LOOK_MS}', false)`,
    );
    return await work(client);
  } finally {
    await client.end();
  }
}
