/** The product as it is meant to be used: load, then apply what is pending. */
import type { LoadReport } from "../../etl/load/report.ts";
import { type Arm, countGroups, totalsOf } from "../run/arm.ts";
import type { LoadProcess } from "../run/load_process.ts";
import type { Run, Work } from "../run/sample.ts";
import type { Site } from "../run/site.ts";
import { restorePending } from "./ours.ts";

export const delta: Arm = {
  name: "delta",
  title: "Rollbook, delta",
  group: "incremental",
  site: "batch",
  open: (site) => openLoad(site, site.batch.drops),
  totals: () => totalsOf("warehouse.venue_day_rollup"),
  restore: restorePending,
};

/** What many drops are compared with. */
export const deltaSingle: Arm = {
  name: "delta_one_file",
  title: "Rollbook, delta, the same rows in one drop",
  group: "incremental",
  site: "own",
  appliesTo: ({ files, loaders }) => files > 1 && loaders === 1,
  open: (site) => openLoad(site, [site.batch.single]),
  totals: () => totalsOf("warehouse.venue_day_rollup"),
};

async function openLoad(site: Site, drops: readonly string[]): Promise<Run> {
  const processes = await site.processes.connect(site, site.cell.loaders);
  return {
    run: (lap) => loadAndRefresh(processes, drops, lap),
    close: async () => {
      await Promise.all(processes.map(({ ask }) => ask({ kind: "leave" }, "left")));
    },
  };
}

async function loadAndRefresh(
  processes: readonly LoadProcess[],
  drops: readonly string[],
  lap: () => Promise<void>,
): Promise<Work> {
  const [first] = processes;
  if (first === undefined) throw new Error("nobody loads");
  const shareOf = (k: number) => drops.filter((_, index) => index % processes.length === k);
  const started = performance.now();
  const loads = await Promise.all(
    processes.map(({ ask }, k) => ask({ kind: "load", drops: shareOf(k) }, "loaded")),
  );
  const ms = performance.now() - started;
  await lap();
  const refreshed = await first.ask({ kind: "refresh" }, "refreshed");
  const reports = loads.flatMap((load) => load.reports);
  return {
    phases: [
      ...(processes.length === 1 ? phasesOf(reports, loads[0]?.ms ?? ms) : [{ name: "load", ms }]),
      { name: "refresh", ms: refreshed.ms },
    ],
    rows: reports.reduce((sum, { rows }) => sum + rows.inserted + rows.corrected, 0),
    groups: countGroups(refreshed.reports),
    nodePeakBytes: Math.max(refreshed.peakBytes, ...loads.map((load) => load.peakBytes)),
  };
}

/** The steps of all loads together; what lies between them is `other`. */
function phasesOf(reports: readonly LoadReport[], ms: number): Work["phases"] {
  const steps = new Map<string, number>();
  for (const { timings } of reports) {
    for (const [step, took] of Object.entries(timings)) steps.set(step, (steps.get(step) ?? 0) + took);
  }
  const phases = [...steps].filter(([, took]) => took > 0).map(([name, took]) => ({ name, ms: took }));
  const rest = ms - phases.reduce((sum, phase) => sum + phase.ms, 0);
  return rest > 0 ? [...phases, { name: "other", ms: rest }] : phases;
}
