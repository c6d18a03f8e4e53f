/** Loads of the ledger, for people. */
import type { ReportedLoad } from "../../db/schema.ts";
import { formatCount, formatInstant, shorten } from "./format.ts";
import { formatTable } from "./table.ts";

/** `read` and `rejected` are what matters most. */
const LEFT_OUT = {
  summed: 1,
  skipped: 2,
  superseded: 1,
  unchanged: 2,
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
  const counts = [...COUNTS, ...(bySource ? OF_SOURCES : [])] as const;
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
