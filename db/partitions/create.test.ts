import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { openDatabase, withTransaction } from "../client.ts";
import { addDays } from "../dates.ts";
import { errorState } from "../errors.ts";
import { LOCK } from "../locks.ts";
import { GRANULARITIES, type Granularity, partitions } from "../schema.ts";
import { createTestDatabase, type TestWarehouse } from "../testing/database.ts";
import {
  datesIn,
  errorOf,
  expectFitting,
  fill,
  openTransaction,
  readAll,
  threeMonths,
  waits,
} from "../testing/partitions.ts";
import { announcePartitions } from "./announce.ts";
import { attachPartition } from "./attach.ts";
import { holdPartitions } from "./catalog.ts";
import { ensurePartitions } from "./create.ts";
import { intersects, type PartitionRange, partitionOf } from "./ranges.ts";
import { detachPartition } from "./remove.ts";
import { tablesOf } from "./tables.ts";

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

test.each(GRANULARITIES)(
  "the tables of each %s are called what the catalog calls them",
  async (granularity) => {
    const warehouse = await createTestDatabase({ granularity });
    await ensurePartitions({ database: warehouse.database, granularity, dates: ["2026-10-05"] });
    const { partition } = partitionOf(granularity, "2026-10-05");
    expect(await withTransaction(warehouse, ({ db }) => db.select().from(partitions))).toMatchObject([
      { partition, ...tablesOf(partition) },
    ]);
  },
);

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

test("a range that ends where a partition begins does not touch it", () => {
  const october = partitionOf("month", "2026-10-05");
  const touches = (from?: string, to?: string) => intersects(october, { from, to });
  expect([touches(), touches("2026-10-31"), touches(undefined, "2026-10-02")]).toEqual([true, true, true]);
  expect([touches("2026-11-01"), touches(undefined, "2026-10-01")]).toEqual([false, false]);
  expect([touches("2026-10-05", "2026-10-06"), touches("2026-09-01", "2026-10-01")]).toEqual([true, false]);
});

test("PostgreSQL gives the same names and bounds, for every date of thirty years", async () => {
  const warehouse = await createTestDatabase();
  const rows = await warehouse.query<{ granularity: Granularity; date: string } & PartitionRange>(
    `select granularity, day::date as date, r.*
     from generate_series(timestamp '1998-01-01', '2027-12-31', '1 day') day
     cross join unnest($1::text[]) granularity
     cross join lateral warehouse.partition_range(granularity, day::date) r`,
    [GRANULARITIES],
  );
  const offenders = rows.filter(({ granularity, date, partition, lower, upper }) => {
    const own = partitionOf(granularity, date);
    return own.partition !== partition || own.lower !== lower || own.upper !== upper;
  });
  expect(rows).toHaveLength(10_957 * GRANULARITIES.length);
  expect(offenders).toEqual([]);
});

test.each<[Granularity, string]>([
  ["day", "2026_10_05"],
  ["week", "2026_w41"],
  ["month", "2026_10"],
  ["quarter", "2026_q4"],
  ["year", "2026"],
])("the tables of a %s are named after it: invoices_%s", async (granularity, suffix) => {
  const warehouse = await createTestDatabase({ granularity });
  await ensurePartitions({ database: warehouse.database, granularity, dates: ["2026-10-05"] });
  const tables = await warehouse.query<{ leaf: string }>(
    "select relname as leaf from pg_class where relispartition and relkind = 'r' order by 1",
  );
  expect(tables.map(({ leaf }) => leaf)).toEqual([
    `invoices_${suffix}`,
    `venue_day_deltas_${suffix}`,
    `venue_day_rollup_${suffix}`,
  ]);
});

// How partitions come

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

test("a new partition is announced after the transaction that attached it, and usable after that", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-01"] });
  const steps = await warehouse.query<{ attached: number; told: number; usable: number }>(`
    select i.xmin::text::bigint::int as attached, a.xmin::text::bigint::int as told,
           p.xmin::text::bigint::int as usable
    from pg_inherits i
    join pg_attribute a on a.attrelid = i.inhparent and a.attname = 'created_on'
    cross join warehouse.partitions p
    join pg_class c on c.oid = i.inhparent and c.relkind = 'p' and c.relnamespace = 'warehouse'::regnamespace`);
  expect(steps).toHaveLength(3);
  expect(steps.filter(({ attached, told, usable }) => !(attached < told && told < usable))).toEqual([]);
});

/** The tables that stand directly in `invoices`. */
async function inInvoices(warehouse: TestWarehouse): Promise<readonly string[]> {
  const rows = await warehouse.query<{ name: string }>(
    "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'warehouse.invoices'::regclass order by 1",
  );
  return rows.map(({ name }) => name.replace("warehouse.", ""));
}

test("days stand in a table of their year, and a year that has days beside it already stays as it is", async () => {
  const warehouse = await createTestDatabase({ granularity: "day" });
  const { database } = warehouse;
  // As an earlier version made them.
  await warehouse.query(
    "insert into warehouse.partitions (partition, lower, upper) values ('2025-06-01', '2025-06-01', '2025-06-02')",
  );
  for (const parent of ["invoices", "venue_day_deltas", "venue_day_rollup"]) {
    const leaf = `warehouse.${parent}_2025_06_01`;
    await warehouse.query(
      `create table ${leaf} (like warehouse.${parent} including defaults including constraints including indexes)`,
    );
    await warehouse.query(
      `alter table warehouse.${parent} attach partition ${leaf} for values from ('2025-06-01') to ('2025-06-02')`,
    );
  }
  const dates = ["2024-12-31", "2025-01-01", "2025-06-01", "2025-06-02", "2026-01-01", "2026-12-31"];
  await ensurePartitions({ database, granularity: "day", dates });
  expect(await namesOf(warehouse)).toEqual(dates);
  await expectFitting(warehouse);
  const days = ["invoices_2025_01_01", "invoices_2025_06_01", "invoices_2025_06_02"];
  expect(await inInvoices(warehouse)).toEqual([...days, "invoices_y2024", "invoices_y2026"]);
  for (const date of dates) await fill(database.pool, date);
  for (const partition of ["2025-06-02", "2026-01-01"]) {
    await detachPartition({ database, partition });
    await expectFitting(warehouse);
    await attachPartition({ database, partition });
    await expectFitting(warehouse);
  }
  expect(await datesIn(warehouse)).toEqual(dates);
});

test("a new day is announced to who has read the list of its year", async () => {
  const warehouse = await createTestDatabase({ granularity: "day" });
  const { database } = warehouse;
  for (const date of ["2026-01-01", "2026-01-02"]) {
    await ensurePartitions({ database, granularity: "day", dates: [date] });
  }
  const steps = await warehouse.query<{ attached: number; told: number; usable: number }>(`
    select i.xmin::text::bigint::int as attached, a.xmin::text::bigint::int as told,
           p.xmin::text::bigint::int as usable
    from pg_inherits i
    join pg_attribute a on a.attrelid = i.inhparent and a.attname = 'created_on'
    join warehouse.partitions p on p.partition = '2026-01-02'
    join pg_class c on c.oid = i.inhrelid
      and c.relname in (p.invoices_table, p.deltas_table, p.rollup_table)`);
  expect(steps).toHaveLength(3);
  expect(steps.filter(({ attached, told, usable }) => !(attached < told && told < usable))).toEqual([]);
});

test("a partition that nobody announced is not used before somebody did", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-01"] });
  // As where the process that made it was killed.
  await warehouse.query("select warehouse.open_partitions(array['2026-02-01'::date])");
  const held = () => withTransaction(warehouse, (tx) => holdPartitions(tx, ["2026-01", "2026-02"]));
  expect(await held()).toBeUndefined();
  expect(await ensurePartitions({ database, granularity: "month", dates: ["2026-02-28"] })).toEqual([]);
  expect(await held()).toHaveLength(2);
  await detachPartition({ database, partition: "2026-02" });
  await attachPartition({ database, partition: "2026-02" });
  expect(await warehouse.query("select announced from warehouse.partitions")).toEqual([
    { announced: true },
    { announced: true },
  ]);
});

test("what somebody else has announced meanwhile, and a load holds, is not waited for", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  await warehouse.query("select warehouse.open_partitions(array['2026-02-01'::date])");
  const announcer = await openTransaction(warehouse);
  await announcer.query("select pg_advisory_xact_lock($1, 0)", [LOCK.ensurePartitions]);
  // As a load does that needs another partition, too.
  const late = announcePartitions({ database, partitions: ["2026-02"] });
  await expect.poll(() => waits(warehouse), { timeout: 10_000 }).toHaveLength(1);
  await warehouse.query("update warehouse.partitions set announced = true");
  await withTransaction(warehouse, async (tx) => {
    await holdPartitions(tx, ["2026-02"], { alone: true });
    await announcer.query("commit");
    await late;
  });
});

test("an announcement waits for statements that are using the tables, and not for ever", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  const reader = await openTransaction(warehouse);
  const reading = reader.query("select count(*), pg_sleep(60) from warehouse.invoices");
  const ended = reading.catch((error: unknown) => errorState(error));
  await expect.poll(() => sleepers(warehouse), { timeout: 10_000 }).toHaveLength(1);
  expect(await ensurePartitions({ database, granularity: "month", dates: ["2026-01-01"] })).toEqual([
    "2026-01",
  ]);
  const [sleeper] = await sleepers(warehouse);
  await warehouse.query("select pg_cancel_backend($1)", [sleeper?.pid]);
  expect(await ended).toBe("57014");
});

function sleepers(warehouse: TestWarehouse): Promise<readonly { pid: number }[]> {
  return warehouse.query(
    "select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'",
  );
}

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
  expect((await Promise.all(loads)).flat().map((partition) => partition?.state)).toEqual([
    "open",
    "open",
    "open",
    "open",
  ]);
  await closed;
  expect(await late).toEqual([
    { partition: "2026-02", state: "detached", absentUntil: null },
    { partition: "2026-03", state: "open", absentUntil: null },
  ]);
  const left = await warehouse.query(
    "select * from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
  );
  expect(left).toEqual([]);
});

test("who holds a partition alone waits for loads in it, and new ones wait behind", async () => {
  const warehouse = await threeMonths();
  const ended: string[] = [];
  const others: Promise<void>[] = [];
  const hold = (name: string, partition: string, alone: boolean, work = async () => {}) =>
    withTransaction(warehouse, async (tx) => {
      await holdPartitions(tx, [partition], { alone });
      await work();
      ended.push(name);
    });
  await hold("first load", "2026-01", false, async () => {
    const waiting = hold("alone", "2026-01", true);
    await expect.poll(() => waits(warehouse), { timeout: 10_000 }).toHaveLength(1);
    const late = hold("late load", "2026-01", false);
    await expect.poll(() => waits(warehouse), { timeout: 10_000 }).toHaveLength(2);
    await hold("elsewhere", "2026-02", false);
    others.push(waiting, late);
  });
  await Promise.all(others);
  expect(ended).toEqual(["elsewhere", "first load", "alone", "late load"]);
});

test("where a partition is missing, none is held", async () => {
  const warehouse = await threeMonths();
  await withTransaction(warehouse, async (tx) => {
    expect(await holdPartitions(tx, ["2026-01", "2026-07"])).toBeUndefined();
    await warehouse.query("select from warehouse.partitions for update nowait");
    expect(await holdPartitions(tx, [])).toEqual([]);
    expect(await holdPartitions(tx, ["2026-01", "2026-01"])).toHaveLength(1);
    await expect(
      warehouse.query("select from warehouse.partitions where partition = '2026-01' for update nowait"),
    ).rejects.toThrow();
  });
});

test("partitions that are made while somebody waits to hold others are not taken for held", async () => {
  const warehouse = await threeMonths();
  const { database } = warehouse;
  let holding = Promise.resolve<unknown>(undefined);
  await withTransaction(warehouse, async (tx) => {
    await holdPartitions(tx, ["2026-01"], { alone: true });
    holding = withTransaction(warehouse, (other) => holdPartitions(other, ["2026-01", "2026-07"]));
    await expect.poll(() => waits(warehouse), { timeout: 10_000 }).toHaveLength(1);
    await ensurePartitions({ database, granularity: "month", dates: ["2026-07-01"] });
  });
  expect(await holding).toBeUndefined();
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
