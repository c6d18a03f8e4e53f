/** The table that a run ends with. */
import Table from "cli-table3";
import { type ArmResult, type CellResult, median, type Results, type Sample } from "../results.ts";

/**
 * One table per cell: times, ratios to `delta` (of `reads`: to the bare table), WAL, and whether the totals
 * are exact.
 */
export function formatSummary(results: Results): string {
  return results.cells.map(formatCell).join("\n\n");
}

function formatCell({ cell, arms }: CellResult): string {
  const base = arms.find(({ arm }) => arm === "delta" || arm === "rollup_table");
  const table = new Table({
    head: [
      "arm",
      cell.axis === "reads" ? "query" : "file to totals",
      "min",
      "max",
      "ratio",
      "refresh",
      "ratio",
      "WAL",
      "totals",
    ],
    colAligns: ["left", "right", "right", "right", "right", "right", "right", "right", "left"],
    style: { head: [], border: [], compact: true },
  });
  for (const arm of arms) table.push(rowOf(arm, base));
  return `${cell.axis}: ${cell.id}\n${table.toString()}`;
}

function rowOf(arm: ArmResult, base: ArmResult | undefined): string[] {
  const { samples, unavailable } = arm;
  if (samples.length === 0) return [arm.arm, unavailable ?? "not measured", "", "", "", "", "", "", ""];
  const walls = samples.map(({ wallMs }) => wallMs);
  const refresh = timeOf(samples, refreshOf);
  const wal = samples.map(({ walBytes }) => walBytes).filter((bytes) => bytes !== null);
  return [
    arm.arm,
    formatMs(median(walls)),
    formatMs(Math.min(...walls)),
    formatMs(Math.max(...walls)),
    formatRatio(median(walls), base && timeOf(base.samples, ({ wallMs }) => wallMs)),
    refresh === undefined ? "" : formatMs(refresh),
    formatRatio(refresh, base && timeOf(base.samples, refreshOf)),
    wal.length === 0 ? "" : `${(median(wal) / 1e6).toFixed(1)} MB`,
    formatVerdict(arm),
  ];
}

function refreshOf({ phases }: Sample): number | undefined {
  return phases.find(({ name }) => name === "refresh")?.ms;
}

function timeOf(samples: readonly Sample[], of: (sample: Sample) => number | undefined): number | undefined {
  const times = samples.map(of).filter((ms) => ms !== undefined);
  return times.length === 0 ? undefined : median(times);
}

function formatRatio(ms: number | undefined, base: number | undefined): string {
  return ms === undefined || base === undefined ? "" : (ms / base).toFixed(2);
}

function formatMs(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function formatVerdict({ verdict, group }: ArmResult): string {
  if (verdict === null) return group === "floor" ? "none kept" : "";
  if (verdict.exact) return "exact";
  return `WRONG in ${verdict.groups} groups, by ${verdict.cents} cents`;
}
