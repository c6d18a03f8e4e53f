/** Lives through the histories of many seeds, several at a time, and makes a failing one smaller. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { anyHistory } from "./any_history.ts";
import type { Figures } from "./figures.ts";
import type { History } from "./history.ts";
import { liveThrough } from "./live.ts";
import type { Failure } from "./record.ts";
import { openSite, type Site } from "./site.ts";

/** A seed and what came of it; `kept` is the file with the failing history. */
export interface Lived {
  readonly seed: number;
  readonly outcome: Figures | (Failure & { readonly kept: string; readonly steps: number });
}

export interface SimulationOptions {
  readonly seeds: Iterable<number>;
  /** Histories at a time, each with a server of its own. */
  readonly sites: number;
  /** Where the histories that fail are kept. */
  readonly failures: string;
  /** How long a failing history is made smaller, in milliseconds; 0 leaves it as it is. */
  readonly shrinkMs: number;
  /**
   * Statements that are run in each new warehouse: with a defect in them, the simulation itself can be
   * tested.
   */
  readonly sabotage?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onLived: (lived: Lived) => void;
  readonly onNote?: ((note: string) => void) | undefined;
}

/** The history of a seed: the same on every machine. */
export function historyOf(seed: number): History {
  const [history] = fc.sample(anyHistory, { seed, numRuns: 1 });
  if (history === undefined) throw new Error("no history was made");
  return history;
}

/** Lives through the histories of all seeds, or until the signal aborts. */
export async function simulate(options: SimulationOptions): Promise<void> {
  const queue = options.seeds[Symbol.iterator]();
  const results = await Promise.allSettled(
    Array.from({ length: options.sites }, () => liveFrom(queue, options)),
  );
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

/** Lives through one seed of the queue after the other. */
async function liveFrom(queue: Iterator<number>, options: SimulationOptions): Promise<void> {
  const { signal, sabotage } = options;
  let site = await openOwnSite(sabotage);
  try {
    for (let next = queue.next(); !next.done && !signal?.aborted; next = queue.next()) {
      const outcome = await liveSeed(site, next.value, options);
      options.onLived({ seed: next.value, outcome });
      if (!("message" in outcome)) continue;
      // What hangs there may wake up, and its server may be gone for good.
      await site.close();
      site = await openOwnSite(sabotage);
    }
  } finally {
    await site.close();
  }
}

/** Lives through one history that is given as it is. */
export async function replay(history: History): Promise<Figures> {
  const site = await openOwnSite();
  try {
    return await liveWithin(history, site);
  } finally {
    await site.close();
  }
}

/** In a folder with a short path, for the sockets in it. */
async function openOwnSite(sabotage?: string): Promise<Site> {
  const site = await openSite({ folder: mkdtempSync(join(tmpdir(), "sim-")) });
  if (sabotage === undefined) return site;
  return {
    ...site,
    makeWarehouse: async (options) => {
      const warehouse = await site.makeWarehouse(options);
      await warehouse.query(sabotage);
      return warehouse;
    },
  };
}

/** Far more than any history takes. */
const ENDS_WITHIN_MS = 300_000;

/** It has not ended, and never will. */
class Hanging extends Error {
  constructor() {
    super(`it did not end within ${ENDS_WITHIN_MS / 1000} s`);
    this.name = "Hanging";
  }
}

/** @throws Difference; Hanging when something waits for ever: then the site is of no use any more */
async function liveWithin(history: History, site: Site): Promise<Figures> {
  const ended = new AbortController();
  const hanging = sleep(ENDS_WITHIN_MS, undefined, { signal: ended.signal, ref: false }).then(() => {
    throw new Hanging();
  });
  hanging.catch(() => {});
  try {
    return await Promise.race([liveThrough(history, site), hanging]);
  } finally {
    ended.abort();
  }
}

async function liveSeed(site: Site, seed: number, options: SimulationOptions): Promise<Lived["outcome"]> {
  const history = historyOf(seed);
  try {
    return await liveWithin(history, site);
  } catch (error) {
    const hangs = error instanceof Hanging;
    const message = error instanceof Error ? messageOf(error) : String(error);
    options.onNote?.(`Seed ${seed} failed: ${message}`);
    const smaller = hangs ? undefined : await shrink(site, seed, options);
    mkdirSync(options.failures, { recursive: true });
    const kept = join(options.failures, `seed-${seed}.json`);
    const shown = smaller ?? { history, message };
    writeFileSync(kept, `${JSON.stringify(shown.history, null, 1)}\n`);
    return { seed, message: shown.message, kept, steps: shown.history.steps.length };
  }
}

/** What a difference says is all there is to it; of other errors it matters where they come from. */
function messageOf(error: Error): string {
  return error.name === "Difference" || error instanceof Hanging
    ? error.message
    : (error.stack ?? error.message);
}

/** The smallest history that was seen to fail; undefined when it did not fail again. */
async function shrink(
  site: Site,
  seed: number,
  { shrinkMs, signal, onNote }: SimulationOptions,
): Promise<{ readonly history: History; readonly message: string } | undefined> {
  if (shrinkMs === 0 || signal?.aborted) return undefined;
  onNote?.(`Making the history of seed ${seed} smaller, for at most ${Math.round(shrinkMs / 60_000)} min.`);
  let message = "";
  // Not fast-check's own limit, which goes on while the last history is still being lived through.
  const until = performance.now() + shrinkMs;
  const check = await fc.check(
    fc.asyncProperty(anyHistory, async (history) => {
      if (performance.now() > until || signal?.aborted) return;
      try {
        await liveWithin(history, site);
      } catch (error) {
        // The next would meet it on its site.
        if (error instanceof Hanging) return;
        message = error instanceof Error ? messageOf(error) : String(error);
        throw error;
      }
    }),
    { seed, numRuns: 1, endOnFailure: false },
  );
  const [history] = check.counterexample ?? [];
  return history && { history, message };
}
