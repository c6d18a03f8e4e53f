/** Rejected lines that nobody has decided on, for people. */
import type { OpenRejects } from "../../db/schema.ts";
import { formatCount, formatEuros, shorten } from "./format.ts";
import { formatTable } from "./table.ts";

/** A table of them. */
export function formatOpenRejects(open: readonly OpenRejects[], width?: number): string {
  return formatTable(
    [
      { title: "load", align: "right" },
      { title: "drop" },
      { title: "synced on", leftOut: 2 },
      { title: "reason" },
      { title: "lines", align: "right" },
      { title: "total", align: "right" },
      { title: "first line", align: "right", leftOut: 3 },
      { title: "what stands there", leftOut: 1 },
    ],
    open.map((one) => [
      String(one.loadId),
      shorten(one.fileName),
      one.syncedOn ?? "",
      one.reason,
      formatCount(one.lines),
      one.total === null ? "" : formatEuros(one.total),
      formatCount(one.firstLine),
      shorten(one.firstCell ?? ""),
    ]),
    width,
  );
}
