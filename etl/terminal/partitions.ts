/** Partitions, for people. */
import type { Freshness } from "../reports/status.ts";
import { countOf, formatCount, formatEuros, formatInstant } from "./format.ts";
import { formatTable } from "./table.ts";

/** A table of partitions. */
export function formatPartitions(partitions: readonly Freshness[], width?: number): string {
  return formatTable(
    [
      { title: "partition" },
      { title: "state" },
      { title: "from", leftOut: 2 },
      { title: "until", leftOut: 1 },
      { title: "invoices", align: "right" },
      { title: "total", align: "right" },
      { title: "pending", align: "right" },
      { title: "refreshed at", leftOut: 3 },
    ],
    partitions.map((p) => [
      p.partition,
      p.state,
      p.lower,
      p.upper,
      formatCount(p.rollupInvoices),
      formatEuros(p.rollupTotal),
      p.pendingChanges === 0 ? "" : formatCount(p.pendingChanges),
      p.refreshedAt === null ? "never" : formatInstant(p.refreshedAt),
    ]),
    width,
  );
}

/** How many partitions, and which. */
export function describePartitions(names: readonly string[]): string {
  if (names.length === 0) return "no total changed";
  const shown = names.length > 6 ? [...names.slice(0, 3), "...", ...names.slice(-2)] : names;
  return `${countOf(names.length, "partition")} (${shown.join(", ")})`;
}
