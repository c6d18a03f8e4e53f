/** For tests of partitions: warehouses with some, and queries that return what does not fit together. */
import type pg from "pg";
import { expect, onTestFinished } from "vitest";
import { RollbookError } from "../errors.ts";
import { ensurePartitions } from "../partitions/create.ts";
import { createTestDatabase, type TestWarehouse } from "./database.ts";

/** Returns everything about partitions that does not fit together. No row is expected. */
const MISFITS = `
  with expected as (
    select t.parent, t.leaf, p.*
    from warehouse.partitions p
    cross join lateral (
      values ('invoices', invoices_table), ('venue_day_deltas', deltas_table), ('venue_day_rollup', rollup_table)
    ) as t (parent, leaf)
    where not (p.state = 'dropped' and t.parent = 'invoices')
  ),
  years as (
    select i.inhrelid as year, i.inhparent as parent
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid and c.relkind = 'p'
    where pg_get_expr(c.relpartbound, c.oid) = format(
      'FOR VALUES FROM (''%s-01-01'') TO (''%s-01-01'')',
      substring(c.relname from '_y(.*)'), lpad((substring(c.relname from '_y(.*)')::int + 1)::text, 4, '0'))
  ),
  leaves as (
    select c.relname as leaf, coalesce(y.parent, i.inhparent)::regclass::text as parent, i.inhdetachpending as halfway,
           pg_get_expr(c.relpartbound, c.oid) as bounds,
           (select count(*) from pg_index x join pg_inherits h on h.inhrelid = x.indexrelid where x.indrelid = c.oid) as indexes,
           (select string_agg(conname, ', ') from pg_constraint o
            where o.conrelid = c.oid and contype = 'c' and coninhcount = 0) as own_checks
    from pg_class c
    left join pg_inherits i on i.inhrelid = c.oid
    left join years y on y.year = i.inhparent
    where c.relnamespace = 'warehouse'::regnamespace and c.relkind = 'r'
      and c.relname ~ '^(invoices|venue_day_deltas|venue_day_rollup)_'
  )
  select coalesce(e.leaf, l.leaf) as leaf, e.state, l.parent, l.halfway, l.bounds, l.indexes, l.own_checks
  from expected e
  full join leaves l using (leaf)
  where e.leaf is null or l.leaf is null or l.halfway
     or (e.state = 'detached') <> (l.parent is null)
     or (e.state <> 'detached' and (
       l.parent <> 'warehouse.' || e.parent
       or l.bounds <> format('FOR VALUES FROM (%L) TO (%L)', e.lower, e.upper)
       or l.indexes <> 1
       or l.own_checks is not null))`;

export async function expectFitting(warehouse: TestWarehouse): Promise<void> {
  expect(await warehouse.query(MISFITS)).toEqual([]);
}

/** A session with an open transaction, in which a wait for a lock is an error instead of a hanging test. */
export async function openTransaction(
  warehouse: TestWarehouse,
  isolation = "read committed",
): Promise<pg.PoolClient> {
  const client = await warehouse.database.pool.connect();
  client.on("error", () => {});
  onTestFinished(async () => {
    await client.query("rollback").catch(() => {});
    client.release();
  });
  await client.query(`begin isolation level ${isolation}`);
  await client.query("set local lock_timeout = '10s'");
  return client;
}

export async function readAll(client: pg.PoolClient): Promise<unknown> {
  const result = await client.query(`
    select (select count(*) from warehouse.invoices) as invoices, (select count(*) from warehouse.venue_day_deltas) as deltas,
           (select count(*) from reports.venue_daily_totals) as groups`);
  return result.rows;
}

export async function errorOf(work: Promise<unknown>): Promise<RollbookError> {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (error instanceof RollbookError) return error;
  throw new Error("no RollbookError", { cause: error });
}

/** One invoice of one venue, with its delta and its rollup. */
export async function fill(client: Pick<pg.PoolClient, "query">, date: string): Promise<void> {
  await client.query(
    `with venue as (
       insert into warehouse.venues (venue_id) values ('venue-' || $1::date) returning venue_key
     ),
     invoice as (
       insert into warehouse.invoices (created_at, created_on, venue_key, load_id, synced_on, invoice_id, total)
       select $1::date, $1::date, venue_key, 1, $1::date, gen_random_uuid(), 10 from venue
     ),
     delta as (
       insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
       select 1, $1::date, venue_key, 1, 10 from venue
     )
     insert into warehouse.venue_day_rollup (created_on, venue_key, invoices, total)
     select $1::date, venue_key, 1, 10 from venue`,
    [date],
  );
}

/** A warehouse of three months with one invoice in each. */
export async function threeMonths(): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase();
  const dates = ["2026-01-05", "2026-02-05", "2026-03-05"];
  await ensurePartitions({ database: warehouse.database, granularity: "month", dates });
  for (const date of dates) await fill(warehouse.database.pool, date);
  return warehouse;
}

export async function datesIn(warehouse: TestWarehouse): Promise<readonly string[]> {
  const rows = await warehouse.query<{ date: string }>(
    "select distinct created_on::text as date from reports.venue_daily_totals order by 1",
  );
  return rows.map((row) => row.date);
}

/** What waits for a lock in this database, by statement. */
export async function waits(warehouse: TestWarehouse): Promise<readonly { pid: number; query: string }[]> {
  return warehouse.query(`
    select pid, query from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query !~ 'pg_stat_activity'`);
}
