import fc from "fast-check";
import { expect, test } from "vitest";
import { LOCK } from "../../db/locks.ts";
import { attachPartition } from "../../db/partitions/attach.ts";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { detachPartition, dropPartition } from "../../db/partitions/remove.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { openTransaction } from "../../db/testing/partitions.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { jsonLines, rollbookHere } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import type { Divergence } from "../verify/divergence.ts";
import { verifyWarehouse } from "../verify/verify.ts";
import { makeCheckpoints } from "./checkpoints.ts";

const MONTHS = ["2026-01", "2026-02", "2026-03"] as const;
const VENUES = 3;

/** A warehouse with partitions and venues, and ways to change it without files: entries of the ledger with their deltas. */
async function setScene() {
  const warehouse = await createTestDatabase({ timeZone: "America/New_York" });
  const { database, settings } = warehouse;
  await ensurePartitions({
    database,
    granularity: settings.granularity,
    dates: MONTHS.map((month) => `${month}-01`),
  });
  await warehouse.query(
    `insert into warehouse.venues (venue_id) select 'v' || n from generate_series(1, ${VENUES}) n`,
  );
  return { warehouse, checkpoint: () => makeCheckpoints({ database }) };
}

interface Delta {
  readonly month: number;
  readonly day: number;
  readonly venue: number;
  readonly invoices: number;
  readonly cents: number;
}

/** Gives an entry of the ledger deltas, and finishes it. */
async function enter(
  warehouse: TestWarehouse,
  deltas: readonly Delta[],
  isOpen: (month: number) => boolean = () => true,
): Promise<number> {
  const [entry] = await warehouse.query<{ load_id: number }>(
    "insert into warehouse.loads (file_name, status) values ('f', 'repair') returning load_id",
  );
  const loadId = entry?.load_id ?? 0;
  await insertDeltas(
    warehouse,
    loadId,
    deltas.filter(({ month }) => isOpen(month)),
  );
  await warehouse.query(
    "update warehouse.loads set finished_at = clock_timestamp() where load_id = $1 and finished_at is null",
    [loadId],
  );
  return loadId;
}

async function insertDeltas(
  warehouse: TestWarehouse,
  loadId: number,
  deltas: readonly Delta[],
): Promise<void> {
  const rows = deltas
    .filter(({ invoices, cents }) => invoices !== 0 || cents !== 0)
    .map(({ month, day, venue, invoices, cents }) => ({
      created_on: `${MONTHS[month]}-0${day}`,
      venue_key: venue,
      invoices,
      total: (cents / 100).toFixed(2),
    }));
  await warehouse.query(
    `insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
     select $1, created_on, venue_key, invoices, total
     from json_to_recordset($2) as given (created_on date, venue_key integer, invoices bigint, total numeric)`,
    [loadId, JSON.stringify(rows)],
  );
}

/** What is known up to a moment, as a plain sum of the deltas that are in the live tables. */
const PLAIN_SUM = `
  select v.venue_id, d.created_on, sum(d.invoices)::bigint as invoices, sum(d.total)::numeric(24, 2) as total
  from warehouse.venue_day_deltas d
  join warehouse.loads l on l.load_id = d.load_id
  left join warehouse.venues v on v.venue_key = d.venue_key
  where l.known_at <= m.at
  group by v.venue_id, d.created_on
  having sum(d.invoices) <> 0`;

/** Closes a partition, and ends before its tables are taken out. */
async function cutDetach(warehouse: TestWarehouse, partition: string): Promise<void> {
  const { database } = warehouse;
  const other = await openTransaction(warehouse);
  await other.query("select pg_advisory_xact_lock($1, 0)", [LOCK.removePartition]);
  const cut = new AbortController();
  const detached = detachPartition({ database, partition, signal: cut.signal });
  const isClosed = () =>
    warehouse.query("select from warehouse.partitions where partition = $1 and state = 'detached'", [
      partition,
    ]);
  await expect.poll(isClosed, { timeout: 10_000, interval: 20 }).toHaveLength(1);
  cut.abort();
  await expect(detached).rejects.toThrow();
  await other.query("rollback");
}

/** The moments at which the reports do not show the plain sum. None is expected. */
function wrongMoments(warehouse: TestWarehouse): Promise<unknown[]> {
  return warehouse.query(`
    with moments as (
      select l.known_at + shift as at
      from warehouse.loads l
      cross join unnest(array[interval '-1 microsecond', '0', '1 microsecond']) as shift
      where l.known_at is not null
      union
      select known_at + (next - known_at) / 2
      from (select known_at, lead(known_at) over (order by known_at) as next from warehouse.loads) l
      where next is not null
      union
      values ('-infinity'::timestamptz), ('infinity'), (now())
    )
    select m.at::text, shown.groups as shown, summed.groups as summed
    from moments m
    cross join lateral (
      select coalesce(json_agg(t order by created_on, venue_id), '[]')::text as groups
      from reports.venue_daily_totals_as_known_on(m.at) t
    ) shown
    cross join lateral (
      select coalesce(json_agg(t order by created_on, venue_id), '[]')::text as groups from (${PLAIN_SUM}) t
    ) summed
    where shown.groups <> summed.groups
    order by m.at`);
}

async function divergencesOf(
  { database, settings }: TestWarehouse,
  repair = false,
): Promise<readonly Divergence[]> {
  const found: Divergence[] = [];
  await verifyWarehouse({ database, settings, repair, onDivergence: (one) => found.push(one) });
  return found.filter(({ kind }) => kind === "checkpoint");
}

const anyDelta = fc.record({
  month: fc.nat(MONTHS.length - 1),
  day: fc.integer({ min: 1, max: 2 }),
  venue: fc.integer({ min: 1, max: VENUES }),
  invoices: fc.integer({ min: -2, max: 3 }),
  cents: fc.integer({ min: -3, max: 3 }),
});
const anyDeltas = fc.array(anyDelta, { maxLength: 5 });
const anyAct = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("load" as const), deltas: anyDeltas }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("checkpoint" as const) }) },
  // What an entry brought is taken back under another entry.
  { weight: 2, arbitrary: fc.record({ do: fc.constant("undo" as const), entry: fc.nat() }) },
  // Deltas of a load that the ledger does not know, which a repair enters later under the old number.
  { weight: 1, arbitrary: fc.record({ do: fc.constant("unknown" as const), deltas: anyDeltas }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("acknowledge" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("detach" as const), month: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("half detach" as const), month: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("attach" as const) }) },
);

test("whatever happens between checkpoints, the totals as known at every moment are the sum of the deltas", {
  timeout: 600_000,
}, async () => {
  const histories = fc.asyncProperty(fc.array(anyAct, { minLength: 8, maxLength: 24 }), async (acts) => {
    const { warehouse, checkpoint } = await setScene();
    const { database } = warehouse;
    const left = new Set<number>();
    const isOpen = (month: number) => !left.has(month);
    for (const act of acts) {
      switch (act.do) {
        case "load":
          await enter(warehouse, act.deltas, isOpen);
          break;
        case "checkpoint":
          await checkpoint();
          break;
        case "undo": {
          const taken = await warehouse.query<Delta>(
            `select extract(month from created_on)::int - 1 as month, extract(day from created_on)::int as day,
                    venue_key as venue, -invoices::int as invoices, (-total * 100)::int as cents
             from warehouse.venue_day_deltas
             where load_id = (select load_id from warehouse.loads order by load_id offset $1 limit 1)`,
            [act.entry % 5],
          );
          await enter(warehouse, taken, isOpen);
          break;
        }
        case "unknown":
          await insertDeltas(
            warehouse,
            1_000_000 + acts.indexOf(act),
            act.deltas.filter(({ month }) => isOpen(month)),
          );
          break;
        case "acknowledge":
          await warehouse.query(
            `with entered as (
               insert into warehouse.loads (load_id, file_name, status)
               select distinct load_id, 'f', 'repair' from warehouse.venue_day_deltas d
               where not exists (select from warehouse.loads l where l.load_id = d.load_id)
               returning load_id)
             select from entered`,
          );
          await warehouse.query("update warehouse.loads set finished_at = now() where finished_at is null");
          break;
        case "detach":
        case "half detach": {
          if (left.has(act.month)) break;
          const partition = MONTHS[act.month] ?? "";
          if (act.do === "detach") await detachPartition({ database, partition });
          else await cutDetach(warehouse, partition);
          left.add(act.month);
          break;
        }
        case "attach": {
          const [month] = left;
          if (month === undefined) break;
          await attachPartition({ database, partition: MONTHS[month] ?? "" });
          left.delete(month);
          break;
        }
      }
      expect(await wrongMoments(warehouse)).toEqual([]);
      expect(await divergencesOf(warehouse)).toEqual([]);
    }
  });
  await fc.assert(histories, {
    numRuns: Number(process.env.ROLLBOOK_HISTORIES ?? 12),
    seed: Number(process.env.ROLLBOOK_SEED ?? 1),
  });
});

/** Entries that each change two groups of some of a hundred. */
async function enterMany(warehouse: TestWarehouse, entries: number): Promise<void> {
  await warehouse.query(
    `with entered as (
       insert into warehouse.loads (file_name, status)
       select 'f', 'repair' from generate_series(1, $1) returning load_id)
     insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
     select load_id, date '2026-02-01' + load_id % 20, 1 + (load_id + n) % ${VENUES}, 1, 0.50
     from entered, generate_series(0, 1) n`,
    [entries],
  );
  await warehouse.query(
    "update warehouse.loads set finished_at = clock_timestamp() where finished_at is null",
  );
  await warehouse.query("analyze");
}

interface Plan {
  readonly "Node Type": string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly "Rows Removed by Join Filter"?: number;
  readonly Plans?: readonly Plan[];
}

/** How many rows a statement reads, and lets go again. */
async function rowsRead(warehouse: TestWarehouse, text: string): Promise<number> {
  const [row] = await warehouse.query<{ "QUERY PLAN": readonly { readonly Plan: Plan }[] }>(
    `explain (analyze, timing off, format json) ${text}`,
  );
  const plan = row?.["QUERY PLAN"][0]?.Plan;
  if (plan === undefined) throw new Error("explain returned no plan");
  const read = ({ Plans = [], ...node }: Plan): number => {
    const removed = (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Join Filter"] ?? 0);
    return (
      node["Actual Loops"] * (node["Actual Rows"] + removed) +
      Plans.reduce((sum, child) => sum + read(child), 0)
    );
  };
  return read(plan);
}

test("what a question as known on a moment reads does not grow with the loads, and leaves other months alone", async () => {
  const { warehouse, checkpoint } = await setScene();
  const ask = (moment: string, where: string) =>
    `select * from reports.venue_daily_totals_as_known_on(${moment}) where ${where}`;
  const month = "created_on >= date '2026-02-01' and created_on < date '2026-03-01'";
  const halfway = async () => {
    const [row] = await warehouse.query<{ at: string }>(
      "select known_at::text as at from warehouse.loads order by known_at offset (select count(*) / 2 from warehouse.loads) limit 1",
    );
    return `timestamptz '${row?.at}'`;
  };
  const read = async () => ({
    now: await rowsRead(warehouse, ask("now()", month)),
    on: await rowsRead(warehouse, ask("current_date + 1", month)),
    earlier: await rowsRead(warehouse, ask(await halfway(), month)),
    venue: await rowsRead(warehouse, ask("now()", `${month} and venue_id = 'v1'`)),
  });
  await enterMany(warehouse, 2000);
  expect(await checkpoint()).toEqual({ checkpoints: 9, loads: 2000, partitions: [] });
  const few = await read();
  await enterMany(warehouse, 8000);
  const uncovered = await rowsRead(warehouse, ask("now()", month));
  expect(await checkpoint()).toEqual({ checkpoints: 34, loads: 8000, partitions: [] });
  await warehouse.query("analyze");
  const many = await read();
  // Some windows of loads are longer than others; and the planner may choose another way for other statistics.
  for (const question of ["now", "on", "earlier", "venue"] as const) {
    expect(many[question], question).toBeLessThan(2 * few[question] + 1000);
    expect(many[question], question).toBeLessThan(uncovered / 4);
  }
  expect(many.venue).toBeLessThan(many.now);
  const plan = await warehouse.query<{ "QUERY PLAN": string }>(`explain ${ask("now()", month)}`);
  const text = plan.map((row) => row["QUERY PLAN"]).join("\n");
  expect(text).toContain("venue_day_deltas_2026_02");
  expect(text).not.toMatch(/venue_day_deltas_2026_0[13]|Function Scan/);
});

test("checkpoints keep no more groups than twice the deltas", async () => {
  const { warehouse, checkpoint } = await setScene();
  for (let round = 0; round < 30; round += 1) {
    // A date that many change, and one that few change.
    await enter(warehouse, [
      ...[1, 2, 3].map((venue) => ({ month: 0, day: 1, venue, invoices: round === 0 ? 5 : 0, cents: 5 })),
      { month: 1, day: 1, venue: 1 + (round % 3), invoices: 1, cents: 1 },
    ]);
    await checkpoint();
  }
  const [size] = await warehouse.query(
    `select (select count(*) from warehouse.checkpoint_groups) <= 2 * (select count(*) from warehouse.venue_day_deltas) as small,
            (select max(changes) from (
               select count(*) filter (where checkpoint_id > list_id) as changes
               from warehouse.checkpoint_groups group by created_on, list_id) l) < ${VENUES} as short`,
  );
  expect(size).toEqual({ small: true, short: true });
  expect(await wrongMoments(warehouse)).toEqual([]);
});

test("two that make checkpoints at once share the work, beside loads", async () => {
  const { warehouse, checkpoint } = await setScene();
  await enterMany(warehouse, 1000);
  const deltas = [{ month: 2, day: 1, venue: 1, invoices: 1, cents: 1 }];
  const beside = Array.from({ length: 5 }, () => enter(warehouse, deltas));
  const made = await Promise.all([checkpoint(), checkpoint(), ...beside]);
  expect(made).toHaveLength(7);
  await checkpoint();
  expect(await checkpoint()).toEqual({ checkpoints: 0, loads: 0, partitions: [] });
  expect(await divergencesOf(warehouse)).toEqual([]);
  const [covered] = await warehouse.query(
    "select max(known_at) = (select max(known_at) from warehouse.loads) as all from reports.checkpoints",
  );
  expect(covered).toEqual({ all: true });
});

test("a checkpoint waits for a partition that is just being closed, and does not hold it", async () => {
  const { warehouse, checkpoint } = await setScene();
  const { database } = warehouse;
  const deltas = [0, 1].map((month) => ({ month, day: 1, venue: 1, invoices: 1, cents: 1 }));
  await enter(warehouse, deltas);
  let made: Promise<unknown> | undefined;
  await detachPartition({
    database,
    partition: "2026-02",
    beforeClosing: async () => {
      made = checkpoint();
      const waits = () =>
        warehouse.query(
          "select from pg_stat_activity where wait_event = 'advisory' and query ~ 'make_checkpoint'",
        );
      await expect.poll(waits, { timeout: 10_000 }).toHaveLength(1);
    },
  });
  await made;
  const held = () =>
    warehouse.query(
      "select distinct to_char(created_on, 'YYYY-MM') as month from warehouse.checkpoint_groups order by 1",
    );
  expect(await held()).toEqual([{ month: "2026-01" }]);
  expect(await wrongMoments(warehouse)).toEqual([]);
  await attachPartition({ database, partition: "2026-02" });
  expect(await wrongMoments(warehouse)).toEqual([]);
  expect(await checkpoint()).toEqual({ checkpoints: 0, loads: 0, partitions: ["2026-02"] });
  expect(await held()).toEqual([{ month: "2026-01" }, { month: "2026-02" }]);
  expect(await wrongMoments(warehouse)).toEqual([]);
  // What is dropped is still in the reports.
  await dropPartition({ database, partition: "2026-01" });
  expect(await held()).toEqual([{ month: "2026-01" }, { month: "2026-02" }]);
  expect(await wrongMoments(warehouse)).toEqual([]);
});

const A = "created_on = '2026-01-01' and venue_key = 1";
const TAMPERED: readonly { readonly how: string; readonly sql: string; readonly named: object }[] = [
  {
    how: "a group of the newest checkpoint",
    sql: `update warehouse.checkpoint_groups set total = total + 1 where ${A} and checkpoint_id = 4`,
    named: { createdOn: "2026-01-01", venueId: "v1", lacking: { invoices: 0, total: "-1.00" } },
  },
  {
    how: "a group of an old one",
    sql: `update warehouse.checkpoint_groups set invoices = invoices - 1 where ${A} and checkpoint_id = 1`,
    named: { createdOn: "2026-01-01", venueId: "v1", lacking: { invoices: 1, total: "0.00" } },
  },
  {
    how: "a group is gone",
    sql: `delete from warehouse.checkpoint_groups where ${A} and checkpoint_id = 2`,
    named: { createdOn: "2026-01-01", venueId: "v1" },
  },
  {
    how: "all groups of a date are gone",
    sql: "delete from warehouse.checkpoint_groups where created_on = '2026-01-01'",
    named: { createdOn: "2026-01-01", venueId: "v1" },
  },
  {
    how: "a group too many",
    sql: "insert into warehouse.checkpoint_groups values ('2026-03-01', 2, 2, 1, 1, 1)",
    named: { createdOn: "2026-03-01", venueId: "v1", lacking: { invoices: -1, total: "-1.00" } },
  },
  {
    how: "a date is gone",
    sql: "delete from warehouse.checkpoint_dates where created_on = '2026-01-01'",
    named: { createdOn: "2026-01-01", message: expect.stringContaining("checkpoint_dates") },
  },
  {
    how: "a change as if it were all groups",
    sql: "update warehouse.checkpoint_groups set list_id = checkpoint_id where checkpoint_id > list_id",
    named: { createdOn: "2026-01-01" },
  },
  {
    how: "a checkpoint is gone",
    sql: "delete from warehouse.checkpoints where checkpoint_id = 2",
    named: { message: expect.stringContaining("checkpoint before") },
  },
  {
    how: "the first checkpoint is gone",
    sql: "delete from warehouse.checkpoints where checkpoint_id = 0",
    named: {},
  },
  {
    how: "a moment at which nothing became known",
    sql: "update warehouse.checkpoints set known_at = known_at + interval '1 microsecond' where checkpoint_id = 4",
    named: { message: expect.stringContaining("nothing became known") },
  },
  {
    how: "a moment",
    sql: "update warehouse.checkpoints set known_at = (select max(known_at) from warehouse.loads) where checkpoint_id = 4",
    named: { createdOn: "2026-02-01" },
  },
  {
    how: "a delta of before",
    sql: `update warehouse.venue_day_deltas set total = total + 1 where load_id = 2 and ${A}`,
    named: { createdOn: "2026-01-01", venueId: "v1", lacking: { invoices: 0, total: "1.00" } },
  },
];

test.each(TAMPERED)(
  "verify names what somebody has changed: $how; a repair makes it anew",
  async ({ sql, named }) => {
    const { warehouse, checkpoint } = await setScene();
    for (let round = 1; round <= 5; round += 1) {
      await enter(warehouse, [
        { month: 0, day: 1, venue: 1, invoices: 1, cents: 100 },
        { month: 0, day: 1, venue: 2, invoices: round === 1 ? 3 : 0, cents: 0 },
        { month: 0, day: 1, venue: 3, invoices: round === 1 ? 3 : 0, cents: 0 },
        { month: 1, day: 1, venue: 1, invoices: round, cents: 0 },
      ]);
      if (round < 5) await checkpoint();
    }
    expect(await divergencesOf(warehouse)).toEqual([]);
    await warehouse.query(sql);
    const found = await divergencesOf(warehouse);
    expect(found).toContainEqual(expect.objectContaining({ kind: "checkpoint", ...named }));
    // The deltas have no invoices here, so a repair enters adjustments, too.
    await divergencesOf(warehouse, true);
    expect(await divergencesOf(warehouse)).toEqual([]);
    expect(await wrongMoments(warehouse)).toEqual([]);
  },
);

test("rollbook checkpoint says what it made; run again, it has nothing to do", async () => {
  const { warehouse, run } = await setFolder();
  expect((await run("checkpoint")).stdout).toBe("1 checkpoint made, of 2 loads.\n");
  expect((await run("checkpoint")).stdout).toBe("Nothing was loaded since the last checkpoint.\n");
  expect(jsonLines((await run("checkpoint", "--json")).stdout)).toEqual([
    { checkpoints: 0, loads: 0, partitions: [] },
  ]);
  await run("partitions", "detach", "2026-01");
  await run("partitions", "attach", "2026-01");
  expect((await run("checkpoint")).stdout).toBe(
    "Nothing was loaded since the last checkpoint; 2026-01 added to all checkpoints.\n",
  );
  expect((await run("verify")).code).toBe(0);
  await warehouse.query("update warehouse.checkpoint_groups set total = total + 1");
  const { code, stdout } = await run("verify");
  expect(code).toBe(1);
  expect(stdout).toMatch(/^checkpoint 2\S+: v1 on 2026-01-01: it lacks what the deltas have: 0 for -1\.00/);
  expect(stdout).toContain("make the checkpoints anew: rollbook verify --repair");
  expect((await run("verify", "--repair")).code).toBe(0);
});

async function setFolder() {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  for (const [n, name] of ["a_2026-01-02.csv", "b_2026-01-03.csv"].entries()) {
    expect((await run("load", writeDrop(folder, name, [`v1,${invoiceId(n)},2026-01-01,1.00`]))).code).toBe(0);
  }
  return { warehouse, run };
}

test("a refresh makes the next checkpoint as soon as it is full", async () => {
  const { warehouse } = await setScene();
  const { database } = warehouse;
  const enterMany = (entries: number) =>
    warehouse.query(
      `with begun as (
         insert into warehouse.loads (file_name, status) select 'f', 'repair' from generate_series(1, $1::integer)
         returning load_id
       )
       select count(*) from begun`,
      [entries],
    );
  const finish = () =>
    warehouse.query("update warehouse.loads set finished_at = clock_timestamp() where finished_at is null");
  const made = () => warehouse.query("select known_at from reports.checkpoints where checkpoint > 0");
  await enterMany(239);
  await finish();
  await refreshPartitions({ database });
  expect(await made()).toEqual([]);
  const loadId = await enter(warehouse, [{ month: 0, day: 1, venue: 1, invoices: 1, cents: 100 }]);
  await refreshPartitions({ database });
  expect(await made()).toEqual(
    await warehouse.query("select known_at from warehouse.loads where load_id = $1", [loadId]),
  );
  await refreshPartitions({ database });
  expect(await made()).toHaveLength(1);
  expect(await wrongMoments(warehouse)).toEqual([]);
});
