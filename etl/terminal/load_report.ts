/** What became of a drop: for people in a line, for programs as an object. */

import { printable } from "../escape.ts";
import { describeReason } from "../load/reasons.ts";
import type { LineCounts, LoadReport, ReadBy } from "../load/report.ts";
import { describeRestated } from "./closings.ts";
import { countOf, formatCount, formatDuration } from "./format.ts";
import { describePartitions } from "./partitions.ts";

/**
 * Only a source skips lines, adds them up or calls them void, so only where there is one these counts are among the
 * others; and invoices that are absent only where there is one, or any.
 */
export function jsonReport(report: LoadReport): object {
  const { file, outcome, loadId, syncedOn, source, reasons, suspicious, partitions, durationMs } = report;
  const { skipped, summed, voided, absent, ...rows } = report.rows;
  const { error, idsUnderTwoKeys, restated } = report;
  return {
    file,
    outcome,
    loadId,
    syncedOn,
    source,
    rows: {
      ...rows,
      ...(source !== null && { skipped, summed, voided }),
      ...((source !== null || absent > 0) && { absent }),
    },
    reasons,
    suspicious,
    partitions,
    durationMs,
    ...(error && { error }),
    ...(idsUnderTwoKeys !== undefined && { idsUnderTwoKeys }),
    ...(restated !== undefined && { restated }),
  };
}

/**
 * For people: a line, and one below it for each reason to reject lines of a drop that is loaded, and for each
 * closed period that it restates.
 *
 * @param today the source that reads the drop today, where somebody may want it to be read anew; null: none does
 */
export function describeReport(report: LoadReport, today: ReadBy | null = report.source): string {
  const { rows, source } = report;
  const file = printable(report.file);
  const number = report.loadId === null ? "" : ` (load ${report.loadId})`;
  switch (report.outcome) {
    case "loaded": {
      const lines = `${describeCounts(rows)}${describeSource(report)}`;
      const where = describePartitions(report.partitions);
      const moved = describeMoved(report.idsUnderTwoKeys ?? 0);
      const loaded = `${file}: loaded${number}, ${lines}; ${where}; ${formatDuration(report.durationMs)}${moved}`;
      const more = [...report.reasons.map(describeReason), ...describeRestated(report.restated)];
      return [loaded, ...more.map((line) => `  ${line}`)].join("\n");
    }
    case "already_loaded":
      return `${file}: was loaded already${number}, nothing changed${describeMended(report, today)}`;
    default: {
      const by = source === null ? "" : `, read by source ${printable(source.name)}`;
      return `${file}: ${report.outcome}${number}${by}: ${report.error?.code}: ${printable(report.error?.message ?? "")}`;
    }
  }
}

/** Whoever mends a source and loads its file again would wait for the totals to change. */
function describeMended({ source: then, loadId }: LoadReport, today: ReadBy | null): string {
  if (then?.name === today?.name && then?.sha256 === today?.sha256) return "";
  const by = then === null ? "without a source" : `by source ${printable(then.name)} as it was then`;
  return `: it was read ${by}. With --replace ${loadId} it is read as today's sources say`;
}

/** How many lines were read, and what became of them. */
export function describeCounts(rows: LineCounts): string {
  const counts = (
    ["inserted", "corrected", "unchanged", "superseded", "rejected", "summed", "voided"] as const
  )
    .filter((name) => rows[name] > 0)
    .map((name) => `${formatCount(rows[name])} ${name}`);
  const absent = rows.absent > 0 ? `; ${countOf(rows.absent, "invoice")} taken out` : "";
  return `${countOf(rows.read, "line")}${counts.length > 0 ? `: ${counts.join(", ")}` : ""}${absent}`;
}

function describeSource({ source, rows }: LoadReport): string {
  if (source === null) return "";
  const skipped = rows.skipped === 0 ? "read" : `${formatCount(rows.skipped)} skipped`;
  return `, ${skipped} by source ${printable(source.name)}`;
}

function describeMoved(ids: number): string {
  if (ids === 0) return "";
  return `; ${countOf(ids, "invoice id")} with several venues or dates, each counted several times: rollbook verify --identity names them`;
}
