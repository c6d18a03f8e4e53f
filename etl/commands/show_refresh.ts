/** Refreshes what was loaded, and shows it. */
import { ofRefresh } from "../lineage/outcome.ts";
import { writeLine } from "../output.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import type { RefreshReport } from "../refresh/report.ts";
import { countOf } from "../terminal/format.ts";
import { describePartitions } from "../terminal/partitions.ts";
import { openProgress } from "../terminal/progress.ts";
import type { Context } from "./context.ts";
import type { FollowedWarehouse } from "./open.ts";

/**
 * Refreshes what these loads made pending; also what an earlier run left, that was cut off between load and refresh.
 *
 * @param touched names of partitions; `pending`: all in which something is pending, whoever loaded it
 */
export async function refreshAndShow(
  context: Context,
  warehouse: FollowedWarehouse,
  touched: ReadonlySet<string> | "pending",
  json: boolean,
): Promise<readonly RefreshReport[]> {
  const partitions = touched === "pending" ? undefined : [...touched].sort();
  if (partitions?.length === 0) return [];
  const bar = openProgress(context);
  bar.update(
    0,
    partitions === undefined ? "refreshing" : `refreshing ${countOf(partitions.length, "partition")}`,
  );
  const refresh = () =>
    refreshPartitions({
      database: warehouse.database,
      partitions,
      signal: context.signal,
      onProgress: (done, of) =>
        bar.update(done / of, `refreshing, ${done} of ${countOf(of, "partition")} done`),
    });
  const refreshed = await warehouse.lineage.follow("refresh", refresh, ofRefresh).finally(() => bar.stop());
  const done = refreshed.filter((report) => report.method !== "none");
  if (!json && done.length > 0) await writeLine(context, describeRefresh(done));
  return refreshed;
}

/** What a refresh did, in a line. */
export function describeRefresh(reports: readonly RefreshReport[]): string {
  const groups = reports.reduce((sum, { groups: g }) => sum + g.inserted + g.updated + g.deleted, 0);
  const rebuilt = reports.filter((report) => report.method === "rebuild").map((report) => report.partition);
  const how = rebuilt.length === 0 ? "" : `, ${rebuilt.length} of them rebuilt`;
  return `refreshed ${describePartitions(reports.map((report) => report.partition))}${how}: ${countOf(groups, "group")} written`;
}
