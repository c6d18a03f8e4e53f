/**
 * Watches sizes while the run goes on: the memory of the server's backends, what is pending, and the rollup.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Database } from "../../../db/client.ts";
import type { TableState } from "./results.ts";
import type { SizeSample } from "./trends.ts";

export interface Watch {
  /** By what is watched. */
  readonly samples: ReadonlyMap<string, readonly SizeSample[]>;
  readonly add: (what: string, bytes: number) => void;
  /** Ends with the last sample. */
  readonly stop: () => Promise<void>;
}

const EVERY_MS = 2000;
export const BACKENDS = "all backends together, what is theirs alone";
export const PENDING = "pending: table and index";

/** @param options.onFailure a sample that could not be taken */
export function startWatch(options: {
  readonly database: Database;
  readonly onFailure: (message: string) => void;
}): Watch {
  const { database, onFailure } = options;
  const samples = new Map<string, SizeSample[]>();
  const started = performance.now();
  const stopping = new AbortController();
  const add = (what: string, bytes: number) => {
    const series = samples.get(what) ?? [];
    samples.set(what, series);
    const at = performance.now() - started;
    // Processes tell their size with each answer; one sample a second is enough.
    if (at - (series.at(-1)?.at ?? -1000) >= 1000) series.push({ at, bytes });
  };
  const sample = async () => {
    const { rows } = await database.pool.query(`
      select (select array_agg(pid) from pg_stat_activity
              where datname = current_database() and backend_type = 'client backend') as pids,
             pg_total_relation_size('warehouse.venue_day_pending') as pending`);
    const [{ pids, pending }] = rows as [{ pids: number[]; pending: string }];
    add(PENDING, Number(pending));
    const own = pids.map(privateBytes).filter((bytes) => bytes !== undefined);
    if (own.length > 0)
      add(
        BACKENDS,
        own.reduce((sum, bytes) => sum + bytes, 0),
      );
  };
  const watching = (async () => {
    while (!stopping.signal.aborted) {
      await sample().catch((error: unknown) => onFailure(`sizes could not be read: ${String(error)}`));
      await sleep(EVERY_MS, undefined, { signal: stopping.signal }).catch(() => {});
    }
  })();
  return {
    samples,
    add,
    stop: async () => {
      stopping.abort();
      await watching;
    },
  };
}

/**
 * Memory of a process that it shares with nobody. Undefined where nothing says it: not on Linux, or it is
 * gone.
 */
function privateBytes(pid: number): number | undefined {
  try {
    const [, kibibytes] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}

/** The tables that are written all the time, as autovacuum left them. */
export async function readTables({ pool }: Database): Promise<readonly TableState[]> {
  const { rows } = await pool.query(`
    select case when c.relname like 'venue_day_rollup_%' then 'venue_day_rollup'
                when c.relname like 'venue_day_deltas_%' then 'venue_day_deltas'
                when c.relname like 'invoices_%' then 'invoices'
                when c.relname like 'staging_%' then 'staging'
                else c.relname end as "table",
           count(*)::float8 as parts,
           sum(pg_total_relation_size(c.oid))::float8 as bytes,
           sum(s.n_live_tup)::float8 as rows,
           sum(s.n_dead_tup)::float8 as "deadRows",
           sum(s.autovacuum_count)::float8 as autovacuums
    from pg_class c
    join pg_stat_all_tables s on s.relid = c.oid
    where c.relnamespace = 'warehouse'::regnamespace and c.relkind = 'r'
    group by 1
    having sum(pg_total_relation_size(c.oid)) > 100000
    order by bytes desc`);
  return rows;
}

/** What a row of the rollup and its index entry need, and what a partition of it has at least, in bytes. */
const ROW_BYTES = 120;
const PART_BYTES = 65_536;
/** As often as that it may be written between two visits of the autovacuum. */
const MOST_VERSIONS = 4;

/** A rollup that is larger than it need be by far: the autovacuum does not keep up. */
export function findBloat(tables: readonly TableState[]): readonly string[] {
  return tables
    .filter(({ table }) => table === "venue_day_rollup")
    .filter(({ bytes, rows, parts }) => bytes > MOST_VERSIONS * (rows * ROW_BYTES + parts * PART_BYTES))
    .map(({ table, bytes, rows, deadRows }) => `${table}: ${bytes} bytes for ${rows} rows, ${deadRows} dead`);
}
