/** The arms of axis `reads`, measured on one clone, with the whole batch pending, or nothing. */
import { openDatabase } from "../../db/client.ts";
import { loadDrop } from "../../etl/load/load.ts";
import type { ArmResult, Sample, Verdict } from "../results.ts";
import type { CellOptions } from "./load_cell.ts";
import { measure } from "./sample.ts";
import { openSession, timePhase } from "./session.ts";
import { type Site, withSite } from "./site.ts";
import { compareTotals, recomputeTruth } from "./verdict.ts";

/** One question about a year, asked of the view and of the bare rollup. */
export interface ReadArm {
  readonly name: string;
  readonly title: string;
  readonly query: string;
  /** SQL for all totals that it reads from; left out: it may lag behind. */
  readonly totals?: string;
}

const YEAR = "created_on >= date '2025-10-01' and created_on < date '2026-10-01'";
const perMonth = (table: string) => `
  select date_trunc('month', created_on) as month, sum(invoices) as invoices, sum(total) as total
  from ${table}
  where ${YEAR}
  group by 1`;

export const READ_ARMS: readonly ReadArm[] = [
  {
    name: "view",
    title: "a year from reports.venue_daily_totals",
    query: perMonth("reports.venue_daily_totals"),
    totals: `
      select created_on, venue_key, invoices, total
      from reports.venue_daily_totals
      join warehouse.venues using (venue_id)`,
  },
  {
    name: "rollup_table",
    title: "a year from the bare rollup table",
    query: perMonth("warehouse.venue_day_rollup"),
  },
];

/** More than for a load, for a read takes little time. */
export const READ_REPETITIONS = 5;

/** Returns one result per query. Each runs once before, so that all find the same pages in memory. */
export async function measureReads(options: CellOptions): Promise<readonly ArmResult[]> {
  return withSite(options, async (site) => {
    await makePending(site);
    await recomputeTruth(site);
    const samples = new Map<ReadArm, Sample[]>(READ_ARMS.map((arm) => [arm, []]));
    const verdicts = new Map<ReadArm, Verdict>();
    for (const arm of READ_ARMS) if (arm.totals) verdicts.set(arm, await compareTotals(site, arm.totals));
    for (let repetition = 0; repetition < READ_REPETITIONS; repetition += 1) {
      for (const arm of READ_ARMS) {
        options.signal.throwIfAborted();
        options.onArm(arm.name, repetition);
        samples.get(arm)?.push(await measureRead(site, arm));
      }
    }
    return READ_ARMS.map((arm) => ({
      arm: arm.name,
      title: arm.title,
      group: "read" as const,
      samples: samples.get(arm) ?? [],
      verdict: verdicts.get(arm) ?? null,
    }));
  });
}

async function makePending(site: Site): Promise<void> {
  const { settings, batch } = site;
  if (site.cell.batch > 0) {
    const database = openDatabase({ connection: site.connection });
    try {
      for (const path of batch.drops) await loadDrop({ database, settings, path });
    } finally {
      await database.pool.end();
    }
  }
  // As autovacuum would leave it.
  await site.database.pool.query("vacuum (analyze) warehouse.venue_day_pending");
}

async function measureRead(site: Site, { query }: ReadArm): Promise<Sample> {
  const run = await openSession(site, {
    prepare: (client) => client.query(query),
    run: async (client) => ({ phases: [await timePhase("read", () => client.query(query))] }),
  });
  return (await measure(site, run)).sample;
}
