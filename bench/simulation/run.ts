/** Lives through the histories of many seeds, several at a time, and makes a failing one smaller. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { Figures } from "./figures.ts";
import { anyHistory, type History } from "./history.ts";
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
  /** Statements that are run in each new warehouse: with a defect in them, the simulation itself can be tested. */
  readonly sabotage?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onLived: (lived: Lived) => Promise<void>;
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
  const { signal, sabotage } = options;
  const queue = options.seeds[Symbol.iterator]();
  await atSites(options.sites, async (whole) => {
    const site = sabotage === undefined ? whole : sabotaged(whole, sabotage);
    for (let next = queue.next(); !next.done && !signal?.aborted; next = queue.next()) {
      await options.onLived({ seed: next.value, outcome: await liveSeed(site, next.value, options) });
    }
  });
}

/** Lives through one history that is given as it is. */
export async function replay(history: History): Promise<Figures> {
  let figures: Figures | undefined;
  await atSites(1, async (site) => {
    figures = await liveThrough(history, site);
  });
  if (figures === undefined) throw new Error("the history was not lived through");
  return figures;
}

function sabotaged(site: Site, statements: string): Site {
  return {
    ...site,
    makeWarehouse: async (options) => {
      const warehouse = await site.makeWarehouse(options);
      await warehouse.query(statements);
      return warehouse;
    },
  };
}

async function atSites(count: number, work: (site: Site) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(
    Array.from({ length: count }, async () => {
      // A short path, for the sockets in it.
      const site = await openSite({ folder: mkdtempSync(join(tmpdir(), "sim-")) });
      try {
        await work(site);
      } finally {
        await site.close();
      }
    }),
  );
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

async function liveSeed(site: Site, seed: number, options: SimulationOptions): Promise<Lived["outcome"]> {
  const history = historyOf(seed);
  try {
    return await liveThrough(history, site);
  } catch (error) {
    const message = error instanceof Error ? messageOf(error) : String(error);
    options.onNote?.(`Seed ${seed} failed: ${message}`);
    const smaller = await shrink(site, seed, options);
    mkdirSync(options.failures, { recursive: true });
    const kept = join(options.failures, `seed-${seed}.json`);
    const told = smaller ?? { history, message };
    writeFileSync(kept, `${JSON.stringify(told.history, null, 1)}\n`);
    return { seed, message: told.message, kept, steps: told.history.steps.length };
  }
}

/** What a difference says is all there is to it; of other errors it matters where they come from. */
function messageOf(error: Error): string {
  return error.name === "Difference" ? error.message : (error.stack ?? error.message);
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
        await liveThrough(history, site);
      } catch (error) {
        message = error instanceof Error ? messageOf(error) : String(error);
        throw error;
      }
    }),
    { seed, numRuns: 1, endOnFailure: false },
  );
  const [history] = check.counterexample ?? [];
  return history && { history, message };
}
