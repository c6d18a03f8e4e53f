/** Loads of the ledger, for people. */
import type { ReportedLoad } from "../../db/schema.ts";
import { formatCount, formatInstant, shorten } from "./format.ts";
import { formatTable } from "./table.ts";

/** A table of loads. */
export function formatLoads(found: readonly ReportedLoad[]): string {
  const counts = ["read", "inserted", "corrected", "unchanged", "superseded", "rejected"] as const;
  return formatTable(
    [
      { title: "load", align: "right" },
      { title: "drop" },
      { title: "synced on" },
      { title: "status" },
      ...counts.map((title) => ({ title, align: "right" as const })),
      { title: "finished at" },
      { title: "error" },
    ],
    found.map((load) => [
      String(load.loadId),
      shorten(load.fileName),
      load.syncedOn ?? "",
      load.status,
      ...counts.map((name) => formatCount(load[name])),
      formatInstant(load.finishedAt),
      load.errorCode ?? "",
    ]),
  );
}
