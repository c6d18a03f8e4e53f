/** What a sample counts besides time. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Phase, Sample } from "../results.ts";
import type { Site } from "./site.ts";

/** What an arm says of one execution. */
export interface Work {
  readonly phases: readonly Phase[];
  /** Rows of invoices and groups of totals that were written; left out where the arm does not know. */
  readonly rows?: number;
  readonly groups?: number;
  readonly nodePeakBytes?: number;
  /** Growth of a file beside PostgreSQL, in bytes: then what PostgreSQL wrote says nothing of the arm. */
  readonly fileBytes?: number;
}

/** An arm that is ready: connected, with everything in place that is not measured. */
export interface Run {
  /** `lap` is to be awaited where the load ends and the refresh begins, if both are in one execution. */
  readonly run: (lap: () => Promise<void>) => Promise<Work>;
  /** Ends connections and processes, so that PostgreSQL counts what they did. */
  readonly close: () => Promise<void>;
}

interface Counters {
  readonly wal: bigint;
  readonly temp: bigint;
  readonly heap: bigint;
  readonly index: bigint;
}

export interface Measured {
  readonly sample: Sample;
  /** The part of it before the lap. */
  readonly load?: Sample;
}

/** Measures one execution, after a checkpoint: so for all arms a page's first change is logged whole. */
export async function measure(site: Site, { run, close }: Run): Promise<Measured> {
  let work: Work;
  let before: Counters;
  let atLap: Counters | undefined;
  try {
    await site.database.pool.query("checkpoint");
    before = await readCounters(site);
    work = await run(async () => {
      atLap = await readCounters(site);
    });
  } finally {
    await close();
  }
  await othersLeft(site);
  const after = await readCounters(site);
  const sample = sampleOf(work, before, after);
  if (atLap === undefined) return { sample };
  const phases = work.phases.filter(({ name }) => name !== "refresh");
  // The backends of a load count their temporary files at their end.
  const loaded = { ...atLap, temp: after.temp };
  return { sample, load: { ...sampleOf({ ...work, phases }, before, loaded), groups: null } };
}

function sampleOf(work: Work, before: Counters, after: Counters): Sample {
  const { phases, rows = null, groups = null, nodePeakBytes = null, fileBytes } = work;
  const grown = (name: keyof Counters) => Number(after[name] - before[name]);
  const elsewhere = fileBytes !== undefined;
  return {
    wallMs: phases.reduce((sum, { ms }) => sum + ms, 0),
    phases,
    walBytes: elsewhere ? null : grown("wal"),
    tempBytes: elsewhere ? null : grown("temp"),
    heapBytes: elsewhere ? fileBytes : grown("heap"),
    indexBytes: elsewhere ? null : grown("index"),
    nodePeakBytes,
    rows,
    groups,
  };
}

/** A backend counts its temporary files at its end, which comes shortly after its client's. */
async function othersLeft({ database }: Site): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const { rowCount } = await database.pool.query(`
      select from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`);
    if (rowCount === 0) return;
    await sleep(10);
  }
}

/** WAL is the server's: nothing else may run on it. The rest is the clone's. */
async function readCounters({ database }: Site): Promise<Counters> {
  const { rows } = await database.pool.query(`
    select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text as wal,
           (select temp_bytes from pg_stat_database where datname = current_database())::text as temp,
           coalesce(sum(pg_table_size(c.oid)), 0)::text as heap,
           coalesce(sum(pg_indexes_size(c.oid)), 0)::text as index
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('warehouse', 'bench') and c.relkind in ('r', 'm')`);
  const [{ wal, temp, heap, index }] = rows;
  return { wal: BigInt(wal), temp: BigInt(temp), heap: BigInt(heap), index: BigInt(index) };
}
