/** What became of a drop: for people in a line, for programs as an object. */
import { printable } from "../escape.ts";
import { describeReason } from "../load/reasons.ts";
import type { LoadReport } from "../load/report.ts";
import { countOf, formatCount, formatDuration } from "./format.ts";
import { describePartitions } from "./partitions.ts";

export function jsonReport(report: LoadReport): unknown {
  const { file, outcome, loadId, syncedOn, rows, reasons, suspicious, partitions, durationMs } = report;
  const { error, idsUnderTwoKeys } = report;
  return {
    file,
    outcome,
    loadId,
    syncedOn,
    rows,
    reasons,
    suspicious,
    partitions,
    durationMs,
    ...(error && { error }),
    ...(idsUnderTwoKeys !== undefined && { idsUnderTwoKeys }),
  };
}

/** For people: a line, and one below it for each reason to reject lines of a drop that is loaded. */
export function describeReport(report: LoadReport): string {
  const { rows } = report;
  const file = printable(report.file);
  const number = report.loadId === null ? "" : ` (load ${report.loadId})`;
  switch (report.outcome) {
    case "loaded": {
      const counts = (["inserted", "corrected", "unchanged", "superseded", "rejected"] as const)
        .filter((name) => rows[name] > 0)
        .map((name) => `${formatCount(rows[name])} ${name}`);
      const lines = `${countOf(rows.read, "line")}${counts.length > 0 ? `: ${counts.join(", ")}` : ""}`;
      const where = describePartitions(report.partitions);
      const moved = describeMoved(report.idsUnderTwoKeys ?? 0);
      const loaded = `${file}: loaded${number}, ${lines}; ${where}; ${formatDuration(report.durationMs)}${moved}`;
      return [loaded, ...report.reasons.map((reason) => `  ${describeReason(reason)}`)].join("\n");
    }
    case "already_loaded":
      return `${file}: was loaded already${number}, nothing changed`;
    default:
      return `${file}: ${report.outcome}${number}: ${report.error?.code}: ${printable(report.error?.message ?? "")}`;
  }
}

function describeMoved(ids: number): string {
  if (ids === 0) return "";
  return `; ${countOf(ids, "invoice id")} with several venues or dates, each counted several times: rollbook verify --identity names them`;
}
