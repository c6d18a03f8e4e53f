/** The table that a run ends with, on a terminal. */
import { formatTable } from "../../etl/terminal/table.ts";
import type { ArmResult, CellResult, Results } from "../results.ts";
import { formatBytes, formatMs, formatRatio } from "./format.ts";
import { describeStanding, measureArm, referenceArm, type Spread, spread, standing } from "./measures.ts";

/** One table per cell: times, ratios to ours (or to the bare table), WAL, and whether totals are exact. */
export function formatSummary(results: Results): string {
  return results.cells.map(formatCell).join("\n\n");
}

function formatCell(result: CellResult): string {
  const { cell, arms } = result;
  const numbers = [cell.axis === "reads" ? "query" : "file to totals", "min", "max", "ratio", "refresh"];
  const columns = [
    { title: "arm" },
    ...[...numbers, "ratio", "WAL"].map((title) => ({ title, align: "right" as const })),
    { title: "totals" },
  ];
  const reference = referenceArm(result);
  return `${cell.axis}: ${cell.id}\n${formatTable(
    columns,
    arms.map((arm) => rowOf(arm, reference)),
  )}`;
}

function rowOf(arm: ArmResult, reference: ArmResult | undefined): string[] {
  const time = measureArm(arm, "refreshed");
  if (time === null) return [arm.arm, arm.unavailable ?? "not measured", "", "", "", "", "", "", ""];
  const refresh = measureArm(arm, "refresh");
  const wal = spread(arm.samples.flatMap(({ walBytes }) => walBytes ?? []));
  const against = (some: Spread | null, measure: "refreshed" | "refresh") => {
    const base = reference && measureArm(reference, measure);
    return some && base ? formatRatio(some.median / base.median) : "";
  };
  return [
    arm.arm,
    formatMs(time.median),
    formatMs(time.min),
    formatMs(time.max),
    against(time, "refreshed"),
    refresh ? formatMs(refresh.median) : "",
    against(refresh, "refresh"),
    wal ? formatBytes(wal.median) : "",
    describeTotals(arm),
  ];
}

function describeTotals(arm: ArmResult): string {
  if (arm.verdict === null) return arm.group === "floor" ? "none kept" : "";
  return standing(arm) === "wrong" ? describeStanding(arm) : "exact";
}
