/** Loads of the ledger, for people. */
import type { ReportedLoad } from "../../db/schema.ts";
import { printable } from "../escape.ts";
import type { ListedLoad } from "../reports/loads.ts";
import { formatCount, formatInstant, shorten } from "./format.ts";
import { formatTable } from "./table.ts";

/** `read` and `rejected` are what matters most. */
const LEFT_OUT = {
  summed: 1,
  skipped: 2,
  superseded: 1,
  unchanged: 2,
  removed: 2,
  voided: 1,
  absent: 2,
  corrected: 3,
  inserted: 5,
  read: 8,
  rejected: 9,
} as const;

const COUNTS = ["read", "inserted", "corrected", "unchanged", "superseded", "rejected"] as const;
const OF_SOURCES = ["summed", "skipped"] as const;

/** A table of loads. */
export function formatLoads(found: readonly ReportedLoad[], width?: number): string {
  // Only a source skips or adds up lines.
  const bySource = found.some(({ source }) => source !== null);
  const removes = found.some(({ removed }) => removed > 0);
  const voids = found.some(({ voided }) => voided > 0);
  const takesOut = found.some(({ absent }) => absent > 0);
  const counts = [
    ...COUNTS,
    ...(removes ? (["removed"] as const) : []),
    ...(voids ? (["voided"] as const) : []),
    ...(takesOut ? (["absent"] as const) : []),
    ...(bySource ? OF_SOURCES : []),
  ] as const;
  return formatTable(
    [
      { title: "load", align: "right" },
      { title: "drop" },
      { title: "synced on", leftOut: 6 },
      ...(bySource ? [{ title: "source", leftOut: 7 }] : []),
      { title: "status" },
      ...counts.map((title) => ({ title, align: "right" as const, leftOut: LEFT_OUT[title] })),
      { title: "finished at", leftOut: 4 },
      { title: "error" },
    ],
    found.map((load) => [
      String(load.loadId),
      shorten(load.fileName),
      load.syncedOn ?? "",
      ...(bySource ? [shorten(load.source ?? "")] : []),
      load.suspicious.length > 0 ? `${load.status}, suspicious` : load.status,
      ...counts.map((name) => formatCount(load[name])),
      formatInstant(load.finishedAt),
      load.errorCode ?? "",
    ]),
    width,
  );
}

/** What there is to say of a load beside its row: why it was refused, what it undid, and what undid it. */
export function describeEntry(load: ListedLoad): readonly string[] {
  const { loadId, errorMessage, undoOf, because, decidedBy, undoneBy } = load;
  return [
    errorMessage ?? undefined,
    undoOf === null ? undefined : `undid ${undoOf}${why(because, decidedBy)}`,
    undoneBy === null
      ? undefined
      : `undone by ${undoneBy.loadId}${why(undoneBy.because, undoneBy.decidedBy)}`,
  ]
    .filter((said) => said !== undefined)
    .map((said) => `load ${loadId}: ${printable(said)}`);
}

function why(because: string | null, decidedBy: string | null): string {
  return `: ${because ?? ""} (${decidedBy ?? ""})`;
}
