import fc from "fast-check";
import type pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { LOCK, openDatabase, withTransaction } from "./client.ts";
import { RollbookError } from "./errors.ts";
import {
  addDays,
  attachPartition,
  detachPartition,
  dropPartition,
  ensurePartitions,
  holdPartitions,
  partitionOf,
} from "./partitions.ts";
import { GRANULARITIES, type Granularity } from "./schema.ts";
import { createTestDatabase, type TestWarehouse } from "./testing.ts";

const PARENTS = ["invoices", "venue_day_deltas", "venue_day_rollup"] as const;

// Which dates a partition holds

test.each<[Granularity, string, string, string, string]>([
  ["day", "2024-02-29", "2024-02-29", "2024-02-29", "2024-03-01"],
  ["day", "2023-12-31", "2023-12-31", "2023-12-31", "2024-01-01"],
  ["week", "2020-12-31", "2020-W53", "2020-12-28", "2021-01-04"],
  ["week", "2021-01-03", "2020-W53", "2020-12-28", "2021-01-04"],
  ["week", "2021-01-04", "2021-W01", "2021-01-04", "2021-01-11"],
  ["week", "2024-12-30", "2025-W01", "2024-12-30", "2025-01-06"],
  ["week", "2026-10-05", "2026-W41", "2026-10-05", "2026-10-12"],
  ["month", "2024-02-29", "2024-02", "2024-02-01", "2024-03-01"],
  ["month", "2000-02-29", "2000-02", "2000-02-01", "2000-03-01"],
  ["month", "2026-12-31", "2026-12", "2026-12-01", "2027-01-01"],
  ["quarter", "2026-10-05", "2026-Q4", "2026-10-01", "2027-01-01"],
  ["quarter", "2024-03-31", "2024-Q1", "2024-01-01", "2024-04-01"],
  ["year", "2024-12-31", "2024", "2024-01-01", "2025-01-01"],
  ["year", "0999-07-01", "0999", "0999-01-01", "1000-01-01"],
  ["month", "0099-12-01", "0099-12", "0099-12-01", "0100-01-01"],
])("the %s of %s is %s, from %s to before %s", (granularity, date, partition, lower, upper) => {
  expect(partitionOf(granularity, date)).toEqual({ partition, lower, upper });
});

test.each(GRANULARITIES)("over thirty years each date is in one %s, and they leave no gap", (granularity) => {
  const offenders: string[] = [];
  let range = partitionOf(granularity, "1998-01-01");
  const names = new Set([range.partition]);
  for (let date = range.lower; date < "2028-01-01"; date = addDays(date, 1)) {
    const own = partitionOf(granularity, date);
    if (date === range.upper) {
      if (own.lower !== date || names.has(own.partition)) offenders.push(date);
      names.add(own.partition);
      range = own;
    }
    if (own.partition !== range.partition || own.lower !== range.lower || own.upper !== range.upper) {
      offenders.push(date);
    }
  }
  expect(offenders).toEqual([]);
  expect(names.size).toBeGreaterThanOrEqual(30);
});

test("a partition holds its date, from its first date on, up to the next partition's", () => {
  const dates = fc
    .date({ min: new Date("0002-01-01"), max: new Date("9998-12-31"), noInvalidDate: true })
    .map((date) => date.toISOString().slice(0, 10));
  fc.assert(
    fc.property(fc.constantFrom(...GRANULARITIES), dates, (granularity, date) => {
      const range = partitionOf(granularity, date);
      expect(range.lower <= date && date < range.upper).toBe(true);
      expect(partitionOf(granularity, range.lower)).toEqual(range);
      expect(partitionOf(granularity, addDays(range.upper, -1))).toEqual(range);
      expect(partitionOf(granularity, range.upper).lower).toBe(range.upper);
    }),
    { numRuns: 2000 },
  );
});

test("names and bounds are those that PostgreSQL's calendar gives, for every date of thirty years", async () => {
  const warehouse = await createTestDatabase();
  const rows = await warehouse.query<Record<Granularity | "date", string>>(`
    select to_char(day, 'YYYY-MM-DD') as date,
           concat_ws(' ', to_char(day, 'YYYY-MM-DD'), day::date, day::date + 1) as day,
           concat_ws(' ', to_char(day, 'IYYY-"W"IW'), date_trunc('week', day)::date, (date_trunc('week', day) + interval '7 days')::date) as week,
           concat_ws(' ', to_char(day, 'YYYY-MM'), date_trunc('month', day)::date, (date_trunc('month', day) + interval '1 month')::date) as month,
           concat_ws(' ', to_char(day, 'YYYY-"Q"Q'), date_trunc('quarter', day)::date, (date_trunc('quarter', day) + interval '3 months')::date) as quarter,
           concat_ws(' ', to_char(day, 'YYYY'), date_trunc('year', day)::date, (date_trunc('year', day) + interval '1 year')::date) as year
    from generate_series(timestamp '1998-01-01', '2027-12-31', '1 day') day`);
  const offenders = rows.flatMap(({ date, ...expected }) =>
    GRANULARITIES.filter((granularity) => {
      const { partition, lower, upper } = partitionOf(granularity, date);
      return expected[granularity] !== `${partition} ${lower} ${upper}`;
    }).map((granularity) => `${granularity} of ${date}`),
  );
  expect(rows).toHaveLength(10_957);
  expect(offenders).toEqual([]);
});

// How partitions come

/** Everything about partitions that does not fit together: none is expected. */
const MISFITS = `
  with expected as (
    select parent, parent || '_' || lower(replace(partition, '-', '_')) as leaf, p.*
    from warehouse.partitions p
    cross join unnest(array['invoices', 'venue_day_deltas', 'venue_day_rollup']) as parent
    where not (p.state = 'dropped' and parent = 'invoices')
  ),
  leaves as (
    select c.relname as leaf, i.inhparent::regclass::text as parent, i.inhdetachpending as halfway,
           pg_get_expr(c.relpartbound, c.oid) as bounds,
           (select count(*) from pg_index x join pg_inherits h on h.inhrelid = x.indexrelid where x.indrelid = c.oid) as indexes,
           (select string_agg(conname, ', ') from pg_constraint o
            where o.conrelid = c.oid and contype = 'c' and coninhcount = 0) as own_checks
    from pg_class c
    left join pg_inherits i on i.inhrelid = c.oid
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
       or l.indexes <> (e.parent <> 'venue_day_deltas')::int
       or l.own_checks is not null))`;

async function expectFitting(warehouse: TestWarehouse): Promise<void> {
  expect(await warehouse.query(MISFITS)).toEqual([]);
}

async function namesOf(warehouse: TestWarehouse): Promise<readonly string[]> {
  const rows = await warehouse.query<{ partition: string }>(
    "select partition from warehouse.partitions order by lower",
  );
  return rows.map((row) => row.partition);
}

function datesFrom(date: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => addDays(date, index));
}

test.each(GRANULARITIES)("partitions of a %s are made for the dates alone", async (granularity) => {
  const warehouse = await createTestDatabase({ granularity });
  const { database } = warehouse;
  const dates = ["2024-12-30", "2024-12-31", "2020-12-31", "2020-02-29", "2024-12-30"];
  const wanted = [...new Set(dates.toSorted().map((date) => partitionOf(granularity, date).partition))];
  expect(await ensurePartitions({ database, granularity, dates })).toEqual(wanted);
  expect(await ensurePartitions({ database, granularity, dates })).toEqual([]);
  expect(await namesOf(warehouse)).toEqual(wanted);
  await expectFitting(warehouse);
});

test("no dates, no partitions", async () => {
  const { database } = await createTestDatabase();
  expect(await ensurePartitions({ database, granularity: "month", dates: [] })).toEqual([]);
});

test("sessions that make overlapping partitions at once make each of them once", async () => {
  const warehouse = await createTestDatabase({ granularity: "day" });
  const { host, port, user, database: name } = warehouse.database.pool.options;
  const made = await Promise.all(
    Array.from({ length: 6 }, async (_, index) => {
      const connection = { host, port, user, database: name, ssl: false };
      const database = openDatabase({ connection, max: 2 });
      onTestFinished(() => database.pool.end());
      const dates = datesFrom(addDays("2026-01-01", index * 5), 30);
      return ensurePartitions({
        database,
        granularity: "day",
        dates: index % 2 ? dates.toReversed() : dates,
      });
    }),
  );
  expect(made.flat().toSorted()).toEqual(datesFrom("2026-01-01", 55));
  expect(await namesOf(warehouse)).toEqual(datesFrom("2026-01-01", 55));
  await expectFitting(warehouse);
});

/** A session with an open transaction, in which a wait for a lock is an error instead of a hanging test. */
async function openTransaction(
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

async function readAll(client: pg.PoolClient): Promise<unknown> {
  const result = await client.query(`
    select (select count(*) from warehouse.invoices) as invoices, (select count(*) from warehouse.venue_day_deltas) as deltas,
           (select count(*) from reports.venue_daily_totals) as groups`);
  return result.rows;
}

test("partitions are made beside a reader and a writer with open transactions, who go on", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-01"] });
  const reader = await openTransaction(warehouse, "repeatable read");
  const seen = await readAll(reader);
  const writer = await openTransaction(warehouse);
  await fill(writer, "2026-01-05");
  const dates = ["2026-02-01", "2026-03-01"];
  expect(await ensurePartitions({ database, granularity: "month", dates })).toEqual(["2026-02", "2026-03"]);
  expect(await readAll(reader)).toEqual(seen);
  await fill(writer, "2026-03-05");
  await writer.query("commit");
  expect(await warehouse.query("select count(*)::int as count from warehouse.invoices")).toEqual([
    { count: 2 },
  ]);
});

test("who keeps a parent locked is named as the obstacle, and nothing is half made", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  const ensure = () =>
    ensurePartitions({ database, granularity: "month", dates: ["2026-01-01"], lockTimeoutMs: 50 });
  const holder = await openTransaction(warehouse);
  // The last of the three that a partition is attached to.
  await holder.query("lock table warehouse.venue_day_rollup in access exclusive mode");
  const error = await errorOf(ensure());
  expect(error.code).toBe("partition_busy");
  expect(error.message).toMatch(/another session .* locked .* pg_locks/s);
  await holder.query("rollback");
  expect(await namesOf(warehouse)).toEqual([]);
  await expectFitting(warehouse);
  expect(await ensure()).toEqual(["2026-01"]);
  await expectFitting(warehouse);
});

test("a lock that is given back in time is waited for", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  const holder = await openTransaction(warehouse);
  await holder.query("lock table warehouse.invoices in access exclusive mode");
  const made = ensurePartitions({
    database,
    granularity: "month",
    dates: ["2026-01-01"],
    lockTimeoutMs: 100,
  });
  await expect.poll(() => waits(warehouse), { timeout: 10_000 }).not.toEqual([]);
  await holder.query("commit");
  expect(await made).toEqual(["2026-01"]);
});

// How they leave

async function errorOf(work: Promise<unknown>): Promise<RollbookError> {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (error instanceof RollbookError) return error;
  throw new Error("no RollbookError", { cause: error });
}

/** One invoice of one venue, with its delta and its rollup. */
async function fill(client: Pick<pg.PoolClient, "query">, date: string): Promise<void> {
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
async function threeMonths(): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase();
  const dates = ["2026-01-05", "2026-02-05", "2026-03-05"];
  await ensurePartitions({ database: warehouse.database, granularity: "month", dates });
  for (const date of dates) await fill(warehouse.database.pool, date);
  return warehouse;
}

async function datesIn(warehouse: TestWarehouse): Promise<readonly string[]> {
  const rows = await warehouse.query<{ date: string }>(
    "select distinct created_on::text as date from reports.venue_daily_totals order by 1",
  );
  return rows.map((row) => row.date);
}

/** What waits for a lock in this database, by statement. */
async function waits(warehouse: TestWarehouse): Promise<readonly { pid: number; query: string }[]> {
  return warehouse.query(`
    select pid, query from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query !~ 'pg_stat_activity'`);
}

test("a partition is detached, attached and dropped, and all of it fits together after each step", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  const all = ["2026-01-05", "2026-02-05", "2026-03-05"];
  for (let round = 0; round < 3; round += 1) {
    await detachPartition({ database, partition: "2026-02" });
    expect(await datesIn(warehouse)).toEqual(["2026-01-05", "2026-03-05"]);
    await expectFitting(warehouse);
    await attachPartition({ database, partition: "2026-02" });
    expect(await datesIn(warehouse)).toEqual(all);
    await expectFitting(warehouse);
  }
  await dropPartition({ database, partition: "2026-02" });
  expect(await datesIn(warehouse)).toEqual(all);
  expect(await warehouse.query("select created_on::text as date from warehouse.invoices order by 1")).toEqual(
    [{ date: "2026-01-05" }, { date: "2026-03-05" }],
  );
  await expectFitting(warehouse);
  expect(await ensurePartitions({ database, granularity: "month", dates: all })).toEqual([]);
  await expectFitting(warehouse);
});

test("what is done already is no error, what cannot be done is", async () => {
  const { database } = await threeMonths();
  const [january, february] = [
    { database, partition: "2026-01" },
    { database, partition: "2026-02" },
  ];
  await detachPartition(january);
  await detachPartition(january);
  await dropPartition(february);
  await dropPartition(february);
  expect(await errorOf(dropPartition(january))).toMatchObject({ code: "usage", message: /detached.*Attach/ });
  expect(await errorOf(detachPartition(february))).toMatchObject({ code: "usage", message: /dropped.*gone/ });
  expect(await errorOf(attachPartition(february))).toMatchObject({ code: "usage", message: /dropped/ });
  const missing = { database, partition: "2031-01" };
  for (const change of [detachPartition, attachPartition, dropPartition]) {
    expect(await errorOf(change(missing))).toMatchObject({ code: "not_found", message: /"2031-01".*list/ });
  }
});

test.each(["pending", "stale"])("a partition that is %s is not closed", async (what) => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  const outdate = {
    pending: `insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
              select created_on, venue_key, 1, 5 from warehouse.venue_day_rollup where created_on = '2026-02-05'`,
    stale: "update warehouse.partitions set state = 'stale' where partition = '2026-02'",
  }[what];
  await warehouse.query(outdate ?? "");
  for (const change of [detachPartition, dropPartition]) {
    const error = await errorOf(change({ database, partition: "2026-02" }));
    expect(error).toMatchObject({ code: "partition_busy", message: /rollbook refresh --partition 2026-02/ });
  }
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toHaveLength(3);
  await detachPartition({ database, partition: "2026-03" });
});

test("what fails before the closing leaves the partition as it is", async () => {
  const warehouse = await threeMonths();
  const beforeClosing = async () => {
    throw new RollbookError({ code: "usage", message: "no" });
  };
  for (const change of [detachPartition, dropPartition]) {
    const error = await errorOf(
      change({ database: warehouse.database, partition: "2026-02", beforeClosing }),
    );
    expect(error.message).toBe("no");
  }
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toHaveLength(3);
});

test("a detach waits for open readers and blocks none, old or new", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  const old = await openTransaction(warehouse, "repeatable read");
  const seen = await readAll(old);
  const detached = detachPartition({ database, partition: "2026-02" });
  await expect
    .poll(() => waits(warehouse), { timeout: 10_000 })
    .toMatchObject([{ query: expect.stringContaining("concurrently") }]);
  for (let round = 0; round < 3; round += 1) {
    expect(await readAll(old)).toEqual(seen);
    const another = await openTransaction(warehouse);
    expect(await readAll(another)).not.toEqual(seen);
    await another.query("commit");
  }
  expect(await ensurePartitions({ database, granularity: "month", dates: ["2026-04-01"] })).toEqual([
    "2026-04",
  ]);
  await old.query("commit");
  await detached;
  await expectFitting(warehouse);
});

/** Detaches 2026-02 and ends the server's process of it while it waits: behind a reader, or for the lock after the change of state. */
async function cutDetach(
  warehouse: TestWarehouse,
  where: (typeof PARENTS)[number] | "state",
): Promise<pg.PoolClient> {
  const { database } = warehouse;
  const reader = await openTransaction(warehouse, "repeatable read");
  if (where === "state") await reader.query("select pg_advisory_xact_lock($1, 0)", [LOCK.removePartition]);
  else await reader.query(`select count(*) from warehouse.${where}`);
  const detached = detachPartition({ database, partition: "2026-02" }).then(
    () => "done",
    () => "cut",
  );
  const waiting = where === "state" ? "pg_advisory_lock" : `${where} detach`;
  await expect
    .poll(() => waits(warehouse), { timeout: 10_000 })
    .toMatchObject([{ query: expect.stringContaining(waiting) }]);
  for (const { pid } of await waits(warehouse))
    await warehouse.query("select pg_terminate_backend($1)", [pid]);
  expect(await detached).toBe("cut");
  return reader;
}

test.each([...PARENTS, "state" as const])(
  "a detach cut off at %s is finished by the same call",
  async (where) => {
    const warehouse = await threeMonths();
    const { database } = warehouse;
    const reader = await cutDetach(warehouse, where);
    const state = await warehouse.query("select state from warehouse.partitions where partition = '2026-02'");
    expect(state).toEqual([{ state: "detached" }]);
    await reader.query("rollback");
    await detachPartition({ database, partition: "2026-02" });
    await expectFitting(warehouse);
    expect(await datesIn(warehouse)).toEqual(["2026-01-05", "2026-03-05"]);
    await attachPartition({ database, partition: "2026-02" });
    await expectFitting(warehouse);
    expect(await datesIn(warehouse)).toHaveLength(3);
  },
);

test.each([...PARENTS, "state" as const])("a detach cut off at %s is taken back by attach", async (where) => {
  const warehouse = await threeMonths();
  const reader = await cutDetach(warehouse, where);
  await reader.query("rollback");
  await attachPartition({ database: warehouse.database, partition: "2026-02" });
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toHaveLength(3);
});

test("a detach that was cut off does not keep other partitions from leaving", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  await (await cutDetach(warehouse, "invoices")).query("rollback");
  await dropPartition({ database, partition: "2026-01" });
  await detachPartition({ database, partition: "2026-03" });
  await detachPartition({ database, partition: "2026-02" });
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toEqual(["2026-01-05"]);
});

test("a drop cut off behind a reader is finished by the same call", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  const reader = await openTransaction(warehouse, "repeatable read");
  await reader.query("select count(*) from warehouse.invoices");
  const dropped = dropPartition({ database, partition: "2026-02" }).then(
    () => "done",
    () => "cut",
  );
  await expect.poll(() => waits(warehouse), { timeout: 10_000 }).toHaveLength(1);
  for (const { pid } of await waits(warehouse))
    await warehouse.query("select pg_terminate_backend($1)", [pid]);
  expect(await dropped).toBe("cut");
  await reader.query("rollback");
  await dropPartition({ database, partition: "2026-02" });
  await expectFitting(warehouse);
  expect(await datesIn(warehouse)).toHaveLength(3);
});

// How loads hold them

test("loads hold a partition together; who closes it waits for them, and new ones wait behind", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  const hold = (names: readonly string[], work = async () => {}) =>
    withTransaction({ database }, async (tx) => {
      const held = await holdPartitions(tx, names);
      await work();
      return held;
    });
  let leave = () => {};
  const inside = new Promise<void>((resolve) => {
    leave = resolve;
  });
  let entered = () => {};
  const bothInside = Promise.all(
    [0, 1].map(
      () =>
        new Promise<void>((resolve) => {
          const before = entered;
          entered = () => {
            entered = before;
            resolve();
          };
        }),
    ),
  );
  const loads = [0, 1].map(() =>
    hold(["2026-01", "2026-02"], () => {
      entered();
      return inside;
    }),
  );
  await bothInside;
  const closed = detachPartition({ database, partition: "2026-02" });
  await expect.poll(() => waits(warehouse), { timeout: 10_000 }).toHaveLength(1);
  const late = hold(["2026-02", "2026-03"]);
  await expect.poll(() => waits(warehouse), { timeout: 10_000 }).toHaveLength(2);
  // Other partitions are not held up, and neither is a load that holds nothing yet.
  expect(await hold(["2026-01", "2026-03"])).toHaveLength(2);
  leave();
  expect((await Promise.all(loads)).flat().map(({ state }) => state)).toEqual([
    "open",
    "open",
    "open",
    "open",
  ]);
  await closed;
  expect(await late).toEqual([
    { partition: "2026-02", state: "detached" },
    { partition: "2026-03", state: "open" },
  ]);
  const left = await warehouse.query(
    "select * from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
  );
  expect(left).toEqual([]);
});

test("where a partition is missing, none is held", async () => {
  const warehouse = await threeMonths();
  await withTransaction(warehouse, async (tx) => {
    expect(await holdPartitions(tx, ["2026-01", "2026-07"])).toEqual([
      { partition: "2026-01", state: "open" },
    ]);
    await warehouse.query("select from warehouse.partitions for update nowait");
    expect(await holdPartitions(tx, [])).toEqual([]);
    expect(await holdPartitions(tx, ["2026-01", "2026-01"])).toHaveLength(1);
    await expect(
      warehouse.query("select from warehouse.partitions where partition = '2026-01' for update nowait"),
    ).rejects.toThrow();
  });
});

test("a partition can be held while a refresh writes its control totals", async () => {
  const warehouse = await threeMonths();
  await withTransaction(warehouse, async (tx) => {
    await holdPartitions(tx, ["2026-01"]);
    const writer = await openTransaction(warehouse);
    await writer.query(
      "update warehouse.partitions set rollup_total = 1, refreshed_at = now(), state = 'stale'",
    );
    await writer.query("rollback");
  });
});
