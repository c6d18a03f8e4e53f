/** Counts what became of the drops, and names what should not have happened to them. */
import { basename } from "node:path";
import { SQLSTATE } from "../../../db/errors.ts";
import type { Strategy } from "../../../etl/refresh/strategy.ts";
import type { Truth } from "./invoices.ts";
import type { Loaded } from "./loader.ts";
import type { Loads } from "./results.ts";
import type { EndureDrop } from "./supply.ts";

export interface Tally {
  readonly add: (drop: EndureDrop, strategy: Strategy, loaded: Loaded) => void;
  readonly loads: (seconds: number) => Loads;
  /** Milliseconds, by what took them. */
  readonly times: ReadonlyMap<string, readonly number[]>;
  readonly rows: () => number;
  readonly count: () => number;
  /** Of the drops that were sent several times for one sync date, those that did not load exactly once. */
  readonly unsettled: () => readonly string[];
}

export function createTally(
  truth: Truth,
  onDifference: (message: string) => void,
  onFailure: (message: string) => void,
): Tally {
  const counts = { loaded: 0, alreadyLoaded: 0, rejected: 0, failed: 0, deadlocked: 0, rows: 0 };
  const retried: Record<string, number> = {};
  const refreshed: Record<string, number> = {};
  const times = new Map<string, number[]>();
  /** The load of each content and sync date, once known, and the loads that repetitions of it were reported as. */
  const settled = new Map<string, { loadId: number | null; readonly reported: Set<number | null> }>();
  const time = (what: string, ms: number) => {
    const measured = times.get(what);
    if (measured === undefined) times.set(what, [ms]);
    else measured.push(ms);
  };

  const settle = (drop: EndureDrop, { report }: Loaded) => {
    const key = `${drop.content} ${drop.syncDay}`;
    const entry = settled.get(key) ?? { loadId: null, reported: new Set() };
    settled.set(key, entry);
    if (report.outcome === "already_loaded") {
      entry.reported.add(report.loadId);
      return;
    }
    if (entry.loadId !== null)
      onDifference(`${basename(drop.path)} was loaded twice, as load ${entry.loadId} and ${report.loadId}`);
    entry.loadId = report.loadId;
    if (report.loadId !== null) truth.take({ loadId: report.loadId, syncDay: drop.syncDay }, drop.statements);
  };

  return {
    add: (drop, strategy, loaded) => {
      const { report, commitMs, refreshMs, retries } = loaded;
      const { outcome, rows, error } = report;
      for (const state of retries) retried[state] = (retried[state] ?? 0) + 1;
      for (const method of loaded.refreshed) {
        const how = `${strategy}: ${method}`;
        refreshed[how] = (refreshed[how] ?? 0) + 1;
      }
      if (refreshMs !== null) time("refresh after a load", refreshMs);
      const name = basename(drop.path);
      if (outcome === "failed") {
        counts.failed += 1;
        // The report has the SQLSTATE in the message only, in brackets.
        if (error?.message.includes(`(${SQLSTATE.deadlockDetected})`) === true) counts.deadlocked += 1;
        onFailure(`${name} failed: ${error?.code}: ${error?.message}`);
        return;
      }
      if (outcome === "rejected" || drop.refusal !== null) {
        counts.rejected += 1;
        if ((error?.code ?? null) !== drop.refusal)
          onDifference(`${name} ended as ${outcome} (${error?.code}), not as ${drop.refusal ?? "loaded"}`);
        return;
      }
      settle(drop, loaded);
      if (outcome === "already_loaded") {
        counts.alreadyLoaded += 1;
        return;
      }
      counts.loaded += 1;
      counts.rows += rows.read;
      time(drop.large ? "commit of a large drop" : "commit of a drop", commitMs);
      const sum =
        rows.inserted + rows.corrected + rows.unchanged + rows.superseded + rows.rejected + rows.summed;
      if (rows.read !== drop.lines || sum !== drop.lines || rows.rejected !== drop.bad)
        onDifference(
          `${name} has ${drop.lines} lines, ${drop.bad} of them bad; its load says ${JSON.stringify(rows)}`,
        );
    },
    loads: (seconds) => ({
      ...counts,
      retried,
      refreshed: Object.fromEntries(Object.entries(refreshed).sort()),
      rowsPerSecond: Math.round(counts.rows / seconds),
      loadsPerSecond: Math.round((100 * counts.loaded) / seconds) / 100,
    }),
    times,
    rows: () => counts.rows,
    count: () => counts.loaded,
    unsettled: () =>
      [...settled]
        .filter(([, { loadId, reported }]) => loadId === null || [...reported].some((id) => id !== loadId))
        .map(
          ([key, { loadId, reported }]) =>
            `drop ${key}: loaded as ${loadId}, others are reported as ${[...reported]}`,
        ),
  };
}
