/** The direct way against the careful one: the same drops must end in the same state, row for row. */
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { disagreements, startWorker } from "../../testing/warehouse.ts";
import { loadDrop } from "../load.ts";
import type { LoadReport } from "../report.ts";
import { MOST_GROUPS } from "./insert.ts";

interface Pair {
  readonly direct: TestWarehouse;
  readonly careful: TestWarehouse;
  readonly folder: string;
}

async function makePair(options: Parameters<typeof createTestDatabase>[0] = {}): Promise<Pair> {
  const [direct, careful] = await Promise.all([createTestDatabase(options), createTestDatabase(options)]);
  return { direct, careful, folder: makeFolder() };
}

/** Loads a drop of these lines both ways and compares all that the warehouses keep; returns the report of the direct one. */
async function loadBoth(
  pair: Pair,
  name: string,
  lines: readonly string[],
  options: { readonly chunkLines?: number; readonly maxRejects?: number } = {},
): Promise<LoadReport> {
  const path = join(pair.folder, name);
  writeFileSync(path, `${lines.join("\n")}\n`);
  const direct = await loadDrop({ ...pair.direct, ...options, path });
  const careful = await loadDrop({ ...pair.careful, ...options, path, careful: true });
  const { durationMs: _a, timings: _b, ...said } = direct;
  expect(said).toEqual({ ...careful, durationMs: undefined, timings: undefined });
  const [left, right] = await Promise.all([stateOf(pair.direct), stateOf(pair.careful)]);
  expect(left).toEqual(right);
  return direct;
}

async function stateOf(warehouse: TestWarehouse): Promise<unknown> {
  const grouped = (table: string, load: string) => `
    select ${load} created_on, venue_id, sum(invoices) as invoices, sum(total) as total
    from warehouse.${table} join warehouse.venues using (venue_key)
    group by ${load} created_on, venue_id
    having sum(invoices) <> 0 or sum(total) <> 0
    order by 1, 2, 3`;
  return {
    invoices: await warehouse.query(`
      select venue_id, invoice_id, created_on, extract(epoch from created_at) as created_at, total, load_id, synced_on
      from warehouse.invoices join warehouse.venues using (venue_key) order by 1, 2, 3`),
    deltas: await warehouse.query(grouped("venue_day_deltas", "load_id,")),
    pending: await warehouse.query(grouped("venue_day_pending", "")),
    corrections: await warehouse.query(`
      select venue_id, c.*, null as venue_key from warehouse.corrections c join warehouse.venues using (venue_key)
      order by load_id, venue_id, invoice_id`),
    rejects: await warehouse.query("select * from warehouse.rejects order by load_id, line"),
    loads: await warehouse.query(`
      select load_id, status, read, inserted, corrected, unchanged, superseded, rejected, skipped, summed, partitions, error_code,
             error_message, reasons
      from warehouse.loads order by load_id`),
    venues: await warehouse.query("select venue_id from warehouse.venues order by 1"),
    partitions: await warehouse.query("select partition, state from warehouse.partitions order by 1"),
  };
}

/** Whether all of a drop went the direct way, or but for odd lines. */
function wentDirectly(report: LoadReport): boolean {
  return report.timings.stage === undefined && report.timings.insert !== undefined;
}

/** A generator of numbers from 0 to below 1, the same for the same seed. Source: mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const TIMES = ["", "Z", ".5", ".123456Z", "+02:00", "-11:30", "+05:45", ".000001"];
const TOTALS = [
  "0.00",
  "0.01",
  "-0.01",
  "-12.50",
  "99.99",
  "100",
  "999999999999.99",
  "1e2",
  "12.3",
  "10000.00",
];
const VENUES = [
  "plain",
  "with blank",
  "naïve",
  "日本",
  '"quoted, with delimiter"',
  "back\\slash",
  "𝄞 astral",
];

/** A line of a random form, some of them wrong. Dates are within 120 days before the end of March 2026. */
function randomLine(random: () => number, invoice: string): string {
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;
  const day = new Date(Date.UTC(2026, 2, 30) - Math.floor(random() * 120) * 86_400_000)
    .toISOString()
    .slice(0, 10);
  const hour = String(Math.floor(random() * 24)).padStart(2, "0");
  const minute = String(Math.floor(random() * 60)).padStart(2, "0");
  const time = random() < 0.6 ? "" : pick(TIMES);
  const total = random() < 0.6 ? (random() * 500).toFixed(2) : pick(TOTALS);
  const wrong = random() < 0.005;
  const venue = random() < 0.8 ? `venue-${Math.floor(random() * 9)}` : pick(VENUES);
  return `${venue},${wrong ? "no-uuid" : invoice},${day}T${hour}:${minute}:07${time},${total}`;
}

/** Deterministic, so that a seed names the whole case. */
function uuid(random: () => number): string {
  const word = () =>
    Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, "0");
  return `${word()}${word()}${word()}${word()}`.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

test.each(
  Array.from({ length: 12 }, (_, seed) => ({
    seed,
    timeZone: ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"][seed % 4] as string,
    granularity: (["month", "day", "year"] as const)[seed % 3] as "month" | "day" | "year",
  })),
)("random drops, seed $seed, $timeZone, $granularity", async ({ seed, timeZone, granularity }) => {
  const pair = await makePair({ timeZone, granularity });
  const random = seeded(seed);
  const known: string[] = [];
  for (let drop = 0; drop < 5; drop++) {
    const repeats = random() < 0.5 ? 0 : 0.02;
    const lines = Array.from({ length: 400 }, () => {
      const again = known[Math.floor(random() * known.length)];
      if (again !== undefined && random() < repeats) {
        if (random() < 0.3) return again.replace(/^("[^"]*"|[^,]*)/, `venue-${Math.floor(random() * 9)}`);
        return random() < 0.5 ? again : again.replace(/[^,]*$/, (random() * 100).toFixed(2));
      }
      const line = randomLine(random, uuid(random));
      known.push(line);
      return line;
    });
    const chunkLines = [64, 150, 1000][Math.floor(random() * 3)] as number;
    await loadBoth(pair, `drop_2026-04-0${1 + drop}.csv`, lines, { chunkLines, maxRejects: 0.05 });
  }
  await refreshPartitions(pair.direct);
  expect(await disagreements(pair.direct)).toEqual([]);
});

function plainLines(
  count: number,
  options: { readonly day?: string; readonly venue?: string } = {},
): string[] {
  const { day = "2026-03-05", venue = "cafe" } = options;
  return Array.from(
    { length: count },
    (_, index) => `${venue}-${index % 5},${randomUUID()},${day}T10:00:00,${index}.50`,
  );
}

const PLACES = [
  { place: "first", at: 0 },
  { place: "middle", at: 50 },
  { place: "last", at: 99 },
];

describe.each([{ chunkLines: 30 }, { chunkLines: 1000 }])(
  "in chunks of $chunkLines lines",
  ({ chunkLines }) => {
    test("new invoices go the direct way", async () => {
      const pair = await makePair();
      await loadBoth(pair, "before_2026-03-06.csv", plainLines(100));
      expect(wentDirectly(await loadBoth(pair, "new_2026-03-07.csv", plainLines(100), { chunkLines }))).toBe(
        true,
      );
    });

    test("totals and sums of all sizes", async () => {
      const pair = await makePair();
      await loadBoth(pair, "before_2026-03-06.csv", plainLines(100));
      const sizes = [0, 1, 99, 100, 999_999, 1_000_000, 10 ** 10 - 1, 10 ** 10, 10 ** 14 - 100, 10 ** 14 - 1];
      const lines = sizes.flatMap((cents, index) =>
        ["", "-"].flatMap((sign) =>
          plainLines(15, { venue: `size-${index}${sign}` }).map((line) =>
            line.replace(/[^,]*$/, `${sign}${(cents / 100).toFixed(2)}`),
          ),
        ),
      );
      expect(wentDirectly(await loadBoth(pair, "sizes_2026-03-07.csv", lines, { chunkLines }))).toBe(true);
      await refreshPartitions(pair.direct);
      expect(await disagreements(pair.direct)).toEqual([]);
    });

    test.each(PLACES)("the $place line corrects an older load", async ({ at }) => {
      const pair = await makePair();
      const before = plainLines(100);
      await loadBoth(pair, "before_2026-03-06.csv", before);
      const lines = plainLines(100);
      lines[at] = (before[7] ?? "").replace(/[^,]*$/, "77.00");
      const report = await loadBoth(pair, "after_2026-03-07.csv", lines, { chunkLines });
      expect(report.rows).toMatchObject({ inserted: 99, corrected: 1 });
      await refreshPartitions(pair.direct);
      expect(await disagreements(pair.direct)).toEqual([]);
    });

    test.each(PLACES)("the $place line is there twice in its file: the later one counts", async ({ at }) => {
      const pair = await makePair();
      await loadBoth(pair, "before_2026-03-06.csv", plainLines(100));
      const lines = plainLines(100);
      lines.splice(60, 0, (lines[at] ?? "").replace(/[^,]*$/, "-3.25"));
      const report = await loadBoth(pair, "twice_2026-03-07.csv", lines, { chunkLines });
      expect(report.rows).toMatchObject({ inserted: 100, superseded: 1 });
    });

    test("ids under two keys are counted, wherever their lines are", async () => {
      const pair = await makePair({ timeZone: "Europe/Berlin" });
      await loadBoth(pair, "before_2026-03-31.csv", plainLines(100));
      const lines = plainLines(100);
      const again = (at: number, ...changes: readonly (readonly [RegExp, string])[]) =>
        changes.reduce((line, [from, to]) => line.replace(from, to), lines[at] ?? "");
      const moved = [
        again(3, [/^[^,]*/, "other"]),
        again(3, [/^[^,]*/, "third"]),
        again(3, [/^[^,]*/, "third"], [/[^,]*$/, "-1.00"]),
        again(50, [/2026-03-05/, "2026-03-04"]),
        // A new venue and a new partition, an escaped venue, and a date on which the clock changes.
        again(60, [/^[^,]*/, "new"], [/2026-03-05/, "2019-07-01"]),
        again(61, [/^[^,]*/, "back\\slash"]),
        again(97, [/2026-03-05/, "2026-03-29"]),
        again(98, [/2026-03-05/, "2026-03-29"], [/^[^,]*/, "odd"]),
        again(98, [/2026-03-05/, "2026-03-29"]),
      ];
      // These are no such ids: the same key again, with the same total, and with another.
      const repeated = [again(10), again(99, [/[^,]*$/, "5.00"])];
      const shuffled = [...lines.slice(0, 40), ...moved, ...repeated, ...lines.slice(40)];
      const report = await loadBoth(pair, "moved_2026-03-31.csv", shuffled, { chunkLines });
      expect(wentDirectly(report)).toBe(true);
      expect(report.idsUnderTwoKeys).toBe(6);
      const plain = await loadBoth(pair, "plain_2026-03-31.csv", plainLines(100), { chunkLines });
      expect(plain).not.toHaveProperty("idsUnderTwoKeys");
    });

    test("ids under two keys are told apart by business days", async () => {
      const pair = await makePair({ timeZone: "Europe/Berlin", dayStarts: "04:00" });
      const at = (line: string, time: string) => line.replace(/\d{4}-\d\d-\d\dT[^,]*/, time);
      const [one = "", two = "", three = ""] = plainLines(3);
      const lines = [
        at(one, "2026-03-05T03:59:59"),
        at(one, "2026-03-05T04:00:00"),
        // These are of one day.
        at(two, "2026-03-05T23:00:00"),
        at(two, "2026-03-06T01:00:00"),
        // On this day the clock changes.
        at(three, "2026-03-29T03:30:00"),
        at(three, "2026-03-29T05:00:00"),
      ];
      const report = await loadBoth(pair, "night_2026-03-31.csv", lines, { chunkLines });
      expect(report.idsUnderTwoKeys).toBe(2);
      expect(report.rows).toMatchObject({ inserted: 5, superseded: 1 });
    });

    test("new venues and partitions", async () => {
      const pair = await makePair();
      await loadBoth(pair, "before_2026-03-06.csv", plainLines(100));
      const lines = plainLines(100);
      lines[40] = plainLines(1, { venue: "new" })[0] ?? "";
      lines[95] = plainLines(1, { day: "2019-07-01" })[0] ?? "";
      const report = await loadBoth(pair, "new_2026-03-07.csv", lines, { chunkLines });
      expect(wentDirectly(report)).toBe(true);
      expect(report.partitions).toEqual(["2019-07", "2026-03"]);
    });

    test("too many rejects leave nothing but the ledger and the quarantine", async () => {
      const pair = await makePair();
      await loadBoth(pair, "before_2026-03-06.csv", plainLines(100));
      const lines = [
        ...plainLines(95, { venue: "unheard of", day: "2018-01-01" }),
        ...Array(5).fill("a,b,c,d"),
      ];
      expect((await loadBoth(pair, "bad_2026-03-07.csv", lines, { chunkLines })).outcome).toBe("rejected");
    });

    test("an empty drop, and one of rejects that are allowed", async () => {
      const pair = await makePair();
      await loadBoth(pair, "empty_2026-03-06.csv", [""], { chunkLines });
      await loadBoth(pair, "bad_2026-03-07.csv", ["a,b,c,d"], { chunkLines, maxRejects: 1 });
    });
  },
);

test("two loads at once that conflict end as the greater load says, and nothing twice", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const workers = [startWorker(), startWorker()];
  const connection = {
    host: warehouse.environment.PGHOST ?? "",
    port: Number(warehouse.environment.PGPORT),
    user: warehouse.environment.PGUSER ?? "",
    database: warehouse.environment.PGDATABASE ?? "",
    ssl: false,
  };
  try {
    for (let round = 0; round < 5; round++) {
      const lines = plainLines(4000, { venue: `round-${round}` });
      const paths = workers.map((_, index) =>
        join(folder, `round${round}${index}_2026-03-0${6 + index}.csv`),
      );
      writeFileSync(paths[0] ?? "", `${lines.join("\n")}\n`);
      // The same invoices from the other end, with other totals.
      writeFileSync(
        paths[1] ?? "",
        `${[...lines]
          .reverse()
          .map((line) => line.replace(/[^,]*$/, "1.00"))
          .join("\n")}\n`,
      );
      const results = await Promise.all(
        workers.map((worker, index) =>
          worker.run({ connection, settings: warehouse.settings, path: paths[index] ?? "" }),
        ),
      );
      for (const result of results) expect(result).toMatchObject({ load: { outcome: "loaded" } });
      const [row] = await warehouse.query<{ invoices: string; total: string }>(
        `select count(*) as invoices, sum(total) as total
         from warehouse.invoices join warehouse.venues using (venue_key) where venue_id like $1`,
        [`round-${round}-%`],
      );
      expect(row).toEqual({ invoices: "4000", total: "4000.00" });
    }
    await refreshPartitions(warehouse);
    expect(await disagreements(warehouse)).toEqual([]);
  } finally {
    for (const worker of workers) worker.kill();
  }
});

describe("a drop of many chunks whose venues and partitions are all new", () => {
  const manyNew = Array.from({ length: 30 }, (_, month) =>
    plainLines(100, {
      venue: `opened-${month}`,
      day: `${2022 + Math.floor(month / 12)}-${String((month % 12) + 1).padStart(2, "0")}-05`,
    }),
  ).flat();

  test("is surveyed, and goes in directly", async () => {
    const pair = await makePair();
    const report = await loadBoth(pair, "all_2026-03-06.csv", manyNew, { chunkLines: 1100 });
    expect(wentDirectly(report)).toBe(true);
    expect(report.rows).toMatchObject({ read: 3000, inserted: 3000 });
    expect(report.partitions).toHaveLength(30);
  });

  test("is surveyed only as far as it is sound: one with too many rejects makes nothing", async () => {
    const pair = await makePair();
    const lines = [...manyNew, ...Array(900).fill("a,b,c,d")];
    expect((await loadBoth(pair, "bad_2026-03-06.csv", lines, { chunkLines: 1100 })).outcome).toBe(
      "rejected",
    );
    expect(await pair.direct.query("select 1 from warehouse.venues")).toEqual([]);
  });

  test("goes the careful way when it may have more groups than are counted in memory", async () => {
    const pair = await makePair();
    const lines = Array.from({ length: 1200 }, (_, index) => {
      const day = new Date(Date.UTC(2023, 0, 1 + (index % 1000))).toISOString().slice(0, 10);
      return plainLines(1, { venue: `wide-${index}`, day });
    }).flat();
    const report = await loadBoth(pair, "wide_2026-03-06.csv", lines, { chunkLines: 1100 });
    expect(wentDirectly(report)).toBe(false);
    expect(report.rows).toMatchObject({ read: 1200, inserted: 1200 });
  });

  test("goes the careful way when lines of it are there already", async () => {
    const pair = await makePair();
    const again = manyNew.slice(2900);
    await loadBoth(pair, "before_2026-03-06.csv", again);
    const report = await loadBoth(pair, "all_2026-03-07.csv", manyNew, { chunkLines: 1100 });
    expect(wentDirectly(report)).toBe(false);
    expect(report.rows).toMatchObject({ inserted: 2900, unchanged: 100 });
  });
});

test("groups that do not all fit in memory are entered once, those before and those after", async () => {
  const { database, settings, query } = await createTestDatabase({ granularity: "year" });
  const folder = makeFolder();
  const venues = 300;
  const dates = Math.ceil((MOST_GROUPS + 10_000) / venues);
  const lineOf = (group: number) => {
    const day = new Date(Date.UTC(2023, 0, 1 + Math.floor(group / venues))).toISOString().slice(0, 10);
    return `venue-${group % venues},${randomUUID()},${day},1.25`;
  };
  const write = (name: string, groups: readonly number[]) => {
    const path = join(folder, name);
    writeFileSync(path, groups.map((group) => `${lineOf(group)}\n`).join(""));
    return path;
  };
  // It makes the venues and the partitions, so that the next drop needs no survey.
  const first = [...Array(venues).keys(), ...[365, 731].map((date) => date * venues)];
  await loadDrop({ database, settings, path: write("first_2026-03-01.csv", first) });
  const groups = [...Array(dates * venues).keys()];
  const path = write("wide_2026-03-02.csv", groups);
  const report = await loadDrop({ database, settings, path, chunkLines: 60_000 });
  expect(wentDirectly(report)).toBe(true);
  const summed = await query(`
    select 'deltas' as of, count(*)::int as groups, sum(invoices)::int as invoices, sum(total) as total
    from warehouse.venue_day_deltas where load_id = ${report.loadId}
    union all
    select 'pending', count(*)::int - ${first.length}, sum(invoices)::int - ${first.length}, sum(total) - 1.25 * ${first.length}
    from warehouse.venue_day_pending
    order by 1`);
  const [invoices, total] = [groups.length, (groups.length * 1.25).toFixed(2)];
  expect(summed).toEqual(["deltas", "pending"].map((of) => ({ of, groups: invoices, invoices, total })));
});

test("a drop that is refused after chunks of it were written leaves none of them", async () => {
  const warehouse = await createTestDatabase();
  const { database, settings } = warehouse;
  const path = join(makeFolder(), "refused_2026-04-02.csv");
  const lines = Array.from({ length: 40 }, (_, index) => {
    const id = String(index).padStart(12, "0");
    return `v,00000000-0000-4000-8000-${id},2026-03-0${1 + (index % 9)}T12:00:00Z,1.00\n`;
  });
  // The first load makes the venue and the partition, so that chunks of the next are written before its end is read.
  writeFileSync(
    path.replace("04-02", "04-01"),
    lines.slice(0, 9).join("").replaceAll("0000-4000", "0000-5000"),
  );
  await loadDrop({ database, settings, path: path.replace("04-02", "04-01") });
  writeFileSync(path, `${lines.join("")}v,no uuid,2026-03-01T12:00:00Z,1.00\n`);
  const report = await loadDrop({ database, settings, path, chunkLines: 5, maxRejects: 0 });
  expect(report).toMatchObject({ outcome: "rejected", error: { code: "too_many_rejects" } });
  expect(await warehouse.query("select distinct load_id from warehouse.invoices")).toEqual([{ load_id: 1 }]);
  expect(await disagreements(warehouse)).toEqual([]);
});
