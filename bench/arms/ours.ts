/** The product, through its own functions: a load, then a refresh by each strategy. */
import { openDatabase } from "../../db/client.ts";
import { refreshPartitions } from "../../etl/refresh/refresh.ts";
import type { RefreshReport } from "../../etl/refresh/report.ts";
import type { Strategy } from "../../etl/refresh/strategy.ts";
import { type Arm, countGroups, totalsOf } from "../run/arm.ts";
import type { Run } from "../run/sample.ts";
import { timePhase } from "../run/session.ts";
import type { Site } from "../run/site.ts";

export const auto = refreshArm("auto", "Rollbook, auto", "incremental");
export const partition = refreshArm("partition", "Rollbook, touched partitions rebuilt", "rebuild");
export const full = refreshArm("full", "Rollbook, all rebuilt", "rebuild");

function refreshArm(strategy: Strategy, title: string, group: Arm["group"]): Arm {
  return {
    name: strategy,
    title,
    group,
    site: "shared",
    loadedBy: "ours",
    open: (site) => openRefresh(site, strategy),
    totals: () => totalsOf("warehouse.venue_day_rollup"),
    restore: restorePending,
  };
}

const CONNECTIONS = 4;

async function openRefresh(site: Site, strategy: Strategy): Promise<Run> {
  const database = openDatabase({ connection: site.connection, max: CONNECTIONS });
  const { pool } = database;
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => pool.connect()));
  for (const client of clients) client.release();
  return {
    run: async () => {
      let reports: readonly RefreshReport[] = [];
      const phase = await timePhase("refresh", async () => {
        reports = await refreshPartitions({ database, strategy });
      });
      return { phases: [phase], groups: countGroups(reports) };
    },
    close: () => pool.end(),
  };
}

/** Takes the batch out of the rollup, by a refresh of its negated deltas, and queues them again. */
export async function restorePending({ database, lastLoad }: Site): Promise<void> {
  const queue = (sign: string) =>
    database.pool.query(
      `insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
       select created_on, venue_key, ${sign}invoices, ${sign}total
       from warehouse.venue_day_deltas
       where load_id > $1
       order by created_on, venue_key`,
      [lastLoad],
    );
  await queue("-");
  await refreshPartitions({ database, strategy: "delta", concurrency: 1 });
  await queue("");
  // As a load leaves it: what was deleted is not to be skipped over by the next arm.
  await database.pool.query("vacuum (analyze) warehouse.venue_day_pending");
}
