/**
 * For tests: processes that load and refresh, and queries of a warehouse, among them one that returns what is
 * wrong.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { expect, inject, onTestFinished } from "vitest";
import type { TestWarehouse } from "../../db/testing/database.ts";
import { until } from "../../db/testing/own_server.ts";
import { readTotals, type Total } from "../reports/totals.ts";
import type { Job, JobResult } from "./worker.ts";

/** A process that does one job at a time; `kill` ends it. */
export interface Worker {
  readonly run: (job: Job) => Promise<JobResult>;
  readonly kill: () => void;
  readonly pid: number;
}

export function startWorker(): Worker {
  const child: ChildProcess = fork(inject("worker"), { execArgv: [], stdio: "inherit" });
  return {
    run: async (job) => {
      const settled = new AbortController();
      const { signal } = settled;
      const exited = once(child, "exit", { signal }).then(([code, killedBy]) => ({
        error: `the worker ended: ${killedBy ?? code}`,
      }));
      const answered = once(child, "message", { signal }).then(([result]) => result as JobResult);
      child.send(job);
      const result = await Promise.race([answered, exited]);
      Promise.allSettled([answered, exited]);
      settled.abort();
      return result;
    },
    kill: () => child.kill("SIGKILL"),
    pid: child.pid ?? 0,
  };
}

/** What a worker needs to work on a warehouse. */
export function jobOn(warehouse: TestWarehouse): Job {
  const { host, port, user, database } = warehouse.database.pool.options;
  return { connection: { host, port, user, database, ssl: false }, settings: warehouse.settings };
}

/** A worker that ends with the test. */
export function startOwnWorker(): Worker {
  const worker = startWorker();
  onTestFinished(() => worker.kill());
  return worker;
}

/** Sessions of rollbook on this warehouse but this one. */
export const SESSIONS =
  "application_name = 'rollbook' and datname = current_database() and pid <> pg_backend_pid()";

/** Waits until the server has noticed that a process is gone: no transaction of its is left, and no lock. */
export async function expectNothingHeld(warehouse: TestWarehouse): Promise<void> {
  await until("no session has a transaction open", async () => {
    const open = await warehouse.query(
      `select from pg_stat_activity where ${SESSIONS} and state <> 'idle' and backend_type = 'client backend'`,
    );
    return open.length === 0;
  });
  const locks = await warehouse.query(
    "select * from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
  );
  expect(locks).toEqual([]);
}

/** All totals by venue and day, as the reports show them. */
export async function totalsOf(warehouse: TestWarehouse, asKnownOn?: string): Promise<readonly Total[]> {
  const rows: Total[] = [];
  const { database, settings } = warehouse;
  await readTotals({ database, settings, by: "venue,day", asKnownOn }, async (row) => {
    rows.push(row);
  });
  return rows;
}

/**
 * Every group for which the reports, rollup + pending, the deltas and a recompute do not agree; none is
 * expected. In one snapshot, and without anything of `verify`.
 */
export function disagreements(warehouse: TestWarehouse): Promise<unknown[]> {
  return warehouse.query(`
    select venue_id, created_on::text, source, invoices, total from (
      select *, count(*) over (partition by venue_id, created_on, invoices, total) as agreeing from (
        select 'invoices' as source, v.venue_id, i.created_on,
               count(*)::bigint as invoices, sum(i.total) as total
        from warehouse.invoices i join warehouse.venues v using (venue_key) group by 2, 3
        union all
        select 'deltas', v.venue_id, d.created_on, sum(d.invoices)::bigint, sum(d.total)
        from warehouse.venue_day_deltas d join warehouse.venues v using (venue_key) group by 2, 3
        having sum(d.invoices) <> 0 or sum(d.total) <> 0
        union all
        select 'rollup + pending', v.venue_id, r.created_on, sum(r.invoices)::bigint, sum(r.total)
        from (
          select created_on, venue_key, invoices, total from warehouse.venue_day_rollup
          union all select created_on, venue_key, invoices, total from warehouse.venue_day_pending
        ) r join warehouse.venues v using (venue_key) group by 2, 3
        having sum(r.invoices) <> 0 or sum(r.total) <> 0
        union all
        select 'reports', venue_id, created_on, invoices, total from reports.venue_daily_totals
      ) sources
    ) compared
    where agreeing <> 4
    order by 1, 2, 3`);
}
