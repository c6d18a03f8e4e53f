/** What a run must not leave behind in the server. Each query returns offenders. */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Database } from "../../../db/client.ts";
import { STAGING_SLOTS } from "../../../db/schema.ts";

interface Check {
  readonly what: string;
  /** One row, a text, for each. */
  readonly query: string;
}

const LOCKS: Check = {
  what: "advisory locks",
  query: `
    select format('%s/%s of process %s', classid, objid, pid) as offender
    from pg_locks
    where locktype = 'advisory' and pid <> pg_backend_pid()
      and database = (select oid from pg_database where datname = current_database())`,
};

/** Of processes that have nothing to do, but are connected. */
const WHILE_IDLE: readonly Check[] = [
  {
    what: "open transactions",
    query: `
      select format('process %s is %s: %s', pid, state, left(query, 80)) as offender
      from pg_stat_activity
      where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
        and state is distinct from 'idle'`,
  },
  LOCKS,
];

/** When all but this process have left. */
const IN_THE_END: readonly Check[] = [
  {
    what: "connections",
    query: `
      select format('process %s, %s, %s: %s', pid, application_name, state, left(query, 80)) as offender
      from pg_stat_activity
      where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`,
  },
  LOCKS,
  { what: "prepared transactions", query: "select gid as offender from pg_prepared_xacts" },
  {
    what: "rows in staging",
    query: Array.from(
      { length: STAGING_SLOTS },
      (_, slot) => `
        select 'staging_${slot + 1}' as offender
        where exists (select from warehouse.staging_${slot + 1})
          or pg_relation_size('warehouse.staging_${slot + 1}') > 0`,
    ).join(" union all "),
  },
  { what: "temporary files", query: "select name as offender from pg_ls_tmpdir()" },
  {
    what: "loads that never ended",
    query: "select load_id::text as offender from warehouse.loads where finished_at is null",
  },
  {
    what: "tables that are not attached to their parent",
    query: `
      select c.relname as offender
      from pg_class c
      where c.relnamespace = 'warehouse'::regnamespace and c.relkind = 'r' and not c.relispartition
        and c.relname ~ '^(invoices|venue_day_deltas|venue_day_rollup)_'`,
  },
  {
    what: "pending changes after a refresh of all",
    query: "select created_on::text as offender from warehouse.venue_day_pending limit 3",
  },
];

/** What is gone shortly afterwards was not left. */
const PATIENCE_MS = 15_000;

export function findIdleLeaks(database: Database): Promise<readonly string[]> {
  return findLeaks(database, WHILE_IDLE);
}

export function findLastLeaks(database: Database): Promise<readonly string[]> {
  return findLeaks(database, IN_THE_END);
}

async function findLeaks({ pool }: Database, checks: readonly Check[]): Promise<readonly string[]> {
  // All in one session, which is the one that may be there.
  const client = await pool.connect();
  try {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = await runChecks(client, checks);
      if (found.length === 0 || Date.now() > deadline) return found;
      await sleep(250);
    }
  } finally {
    client.release();
  }
}

async function runChecks(client: pg.PoolClient, checks: readonly Check[]): Promise<string[]> {
  const found: string[] = [];
  for (const { what, query } of checks) {
    const { rows } = await client.query<{ offender: string }>(query);
    const shown = rows.slice(0, 3).map(({ offender }) => offender);
    if (rows.length > 0) found.push(`${what}: ${rows.length} (${shown.join("; ")})`);
  }
  return found;
}
