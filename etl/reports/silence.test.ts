/** Who is silent: by hand, and as an independent model says it from a plain list of what came. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { toDate, toDay } from "../../db/dates.ts";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { loadDrop } from "../load/load.ts";
import { detachRefreshed, dropVerified } from "../retire.ts";
import { rollbookHere } from "../testing/cli.ts";
import { type Line, uuidOf } from "../testing/drops.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { type ModelActivity, modelActivity, modelMissing, type News } from "../testing/models/silence.ts";
import { parseText } from "../testing/sources.ts";
import { readSilence } from "./silence.ts";

/** A zone in which it is about noon, so that no test meets a midnight. */
const OFFSET = 12 - new Date().getUTCHours();
const NOON = OFFSET === 0 ? "UTC" : `Etc/GMT${OFFSET > 0 ? "-" : "+"}${Math.abs(OFFSET)}`;
const TODAY = Math.floor((Date.now() + OFFSET * 3_600_000) / 86_400_000);

const makeWarehouse = (options: Parameters<typeof createTestDatabase>[0] = {}) =>
  createTestDatabase({ timeZone: NOON, ...options });

/** Enters what came without files: a load for each sync date, a delta for each piece of news, and the totals. */
async function enterNews({ database, settings, query }: TestWarehouse, news: readonly News[]): Promise<void> {
  await ensurePartitions({
    database,
    granularity: settings.granularity,
    dates: [...new Set(news.map((one) => toDate(one.createdOn)))],
  });
  await query(
    `with news as materialized (
       select venue, date '1970-01-01' + synced as synced_on, date '1970-01-01' + created as created_on
       from unnest($1::text[], $2::int[], $3::int[]) as n (venue, synced, created)
     ),
     loads as (
       insert into warehouse.loads (file_name, synced_on, status)
       select 'entered', synced_on, 'loaded' from news group by synced_on
       returning load_id, synced_on
     ),
     venues as (
       insert into warehouse.venues (venue_id) select distinct venue from news returning venue_key, venue_id
     ),
     deltas as (
       insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
       select l.load_id, n.created_on, v.venue_key, 1, 1
       from news n join loads l using (synced_on) join venues v on v.venue_id = n.venue
     )
     insert into warehouse.venue_day_rollup (created_on, venue_key, invoices, total)
     select n.created_on, v.venue_key, count(*), count(*)
     from news n join venues v on v.venue_id = n.venue
     group by n.created_on, v.venue_key`,
    [news.map((one) => one.venue), news.map((one) => one.syncedOn), news.map((one) => one.createdOn)],
  );
}

/** A drop of so many days ago, loaded. Lines: venue, number of the invoice, created days ago, total. */
async function load(
  warehouse: TestWarehouse,
  daysAgo: number,
  lines: readonly (readonly [venue: string, invoice: number, createdAgo: number, total?: string])[],
  options: Partial<Parameters<typeof loadDrop>[0]> = {},
): Promise<void> {
  const texts = lines.map(
    ([venue, invoice, createdAgo, total = "1.00"]) =>
      `${venue},${invoiceId(invoice)},${toDate(TODAY - createdAgo)},${total}`,
  );
  const syncedOn = toDate(TODAY - daysAgo);
  const path = writeDrop(makeFolder(), `a_${syncedOn}.csv`, texts);
  expect(await loadDrop({ ...warehouse, path, syncedOn, ...options })).toMatchObject({ outcome: "loaded" });
}

async function activityOf({ query }: TestWarehouse): Promise<ReadonlyMap<string, ModelActivity>> {
  const rows = await query<Record<string, string | number | boolean | null>>(
    `select venue_id, last_created_on, last_synced_on, sync_dates::int, typical_days, days_silent, silent_from, silent
     from reports.venue_activity`,
  );
  const day = (value: unknown) => (value === null ? null : toDay(String(value)));
  return new Map(
    rows.map((row) => {
      expect(row.silent).toBe(row.silent_from !== null && (day(row.silent_from) ?? 0) <= TODAY);
      const activity = {
        lastCreatedOn: toDay(String(row.last_created_on)),
        lastSyncedOn: day(row.last_synced_on),
        syncDates: row.sync_dates as number | null,
        typicalDays: row.typical_days === null ? null : Number(row.typical_days),
        daysSilent: row.days_silent as number | null,
        silentFrom: day(row.silent_from),
      };
      return [String(row.venue_id), activity];
    }),
  );
}

/** The model's, with a typical gap as the view rounds it. */
function expectedActivity(news: readonly News[]): ReadonlyMap<string, ModelActivity> {
  return new Map(
    [...modelActivity(news, TODAY)].map(([venue, one]) => [
      venue,
      { ...one, typicalDays: one.typicalDays && Math.round((one.typicalDays + 1e-9) * 10) / 10 },
    ]),
  );
}

const venuesOf = async (warehouse: TestWarehouse, options: { days?: number; forget?: number } = {}) =>
  (await readSilence({ ...warehouse, ...options })).venues.map(({ venueId }) => venueId);

/** News of a venue on these days ago, each of an invoice of the day before. */
const sent = (venue: string, ...daysAgo: readonly number[]): readonly News[] =>
  daysAgo.map((ago) => ({ venue, syncedOn: TODAY - ago, createdOn: TODAY - ago - 1 }));
const every = (step: number, from: number, to: number) =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);

test("a venue is silent beyond three times its own rhythm, and from the second day on", async () => {
  const warehouse = await makeWarehouse();
  await enterNews(warehouse, [
    ...sent("daily, 3 days", ...every(1, 3, 60)),
    ...sent("daily, 4 days", ...every(1, 4, 60)),
    ...sent("weekly, 21 days", ...every(7, 21, 80)),
    ...sent("weekly, 22 days", ...every(7, 22, 80)),
    ...sent("monthly, 90 days", 90, 120, 150),
    ...sent("monthly, 91 days", 91, 121, 151),
    // Friday to Sunday, silent from Monday to Thursday.
    ...sent("weekends", ...[0, 7, 14, 21, 28].flatMap((week) => [4 + week, 5 + week, 6 + week])),
    ...sent("irregular", 9, 10, 11, 20, 24),
    ...sent("irregular, too long", 12, 13, 14, 23, 27),
    ...sent("once", 300),
    ...sent("today", ...every(1, 0, 30)),
  ]);
  expect(await venuesOf(warehouse)).toEqual([
    "daily, 4 days",
    "irregular, too long",
    "weekly, 22 days",
    "monthly, 91 days",
  ]);
});

test("with days, venues that have been silent for at least so many are told, whatever their rhythm", async () => {
  const warehouse = await makeWarehouse();
  await enterNews(warehouse, [
    ...sent("a", 2),
    ...sent("b", 3, 10),
    ...sent("c", 400),
    ...sent("d", ...every(1, 0, 9)),
  ]);
  expect(await venuesOf(warehouse, { days: 3 })).toEqual(["b", "c"]);
  expect(await venuesOf(warehouse, { days: 4 })).toEqual(["c"]);
  expect(await venuesOf(warehouse, { days: 3, forget: 1 })).toEqual(["b"]);
  expect(await venuesOf(warehouse, { days: 0 })).toEqual(["d", "a", "b", "c"]);
});

test("a venue is forgotten after it was told for so many days", async () => {
  const warehouse = await makeWarehouse();
  await enterNews(warehouse, [
    ...sent("daily", ...every(1, 13, 40)),
    ...sent("daily, a day more", ...every(1, 14, 40)),
    ...sent("weekly", ...every(7, 31, 90)),
    ...sent("weekly, a day more", ...every(7, 32, 90)),
  ]);
  // From day 4, and from day 22, on.
  expect(await venuesOf(warehouse, { forget: 10 })).toEqual(["daily", "weekly"]);
});

test("a rhythm is that of the last 90 days before the silence, however long that is", async () => {
  const warehouse = await makeWarehouse();
  // Weekly long ago, then daily.
  await enterNews(warehouse, [...sent("a", ...every(1, 500, 589), ...every(7, 590, 800))]);
  const row = (await activityOf(warehouse)).get("a");
  expect(row).toMatchObject({ syncDates: 90, typicalDays: 1, daysSilent: 500, silentFrom: TODAY - 496 });
  expect(await venuesOf(warehouse)).toEqual(["a"]);
});

test("sync dates after today count when their day has come, so a wrong name hides no silence", async () => {
  const warehouse = await makeWarehouse();
  await load(warehouse, 6, [["a", 1, 7]]);
  await load(warehouse, 5, [["a", 2, 6]]);
  await load(warehouse, -400, [
    ["a", 3, 5],
    ["only then", 4, 5],
  ]);
  expect(await venuesOf(warehouse)).toEqual(["a"]);
  const [a, then] = [(await activityOf(warehouse)).get("a"), (await activityOf(warehouse)).get("only then")];
  expect(a).toMatchObject({ lastSyncedOn: TODAY - 5, daysSilent: 5, lastCreatedOn: TODAY - 5 });
  expect(then).toMatchObject({ lastSyncedOn: null, daysSilent: null, silentFrom: null });
});

test("late invoices and corrections are news; a drop that only confirms is none, but is shown", async () => {
  const warehouse = await makeWarehouse();
  const lastDates = async () =>
    warehouse.query(
      `select venue_id, last_created_on - date '1970-01-01' - ${TODAY} as created, last_synced_on - date '1970-01-01' - ${TODAY} as synced,
              last_seen_on - date '1970-01-01' - ${TODAY} as seen
       from reports.venue_activity order by 1`,
    );
  await load(warehouse, 9, [
    ["confirmed", 1, 10],
    ["corrected", 2, 10],
    ["late", 3, 10],
  ]);
  await load(warehouse, 4, [
    ["confirmed", 1, 10],
    ["corrected", 2, 10, "2.00"],
    ["late", 4, 700],
  ]);
  // An older drop that comes later is not the last one.
  await load(warehouse, 20, [["late", 5, 21]]);
  expect(await lastDates()).toEqual([
    { venue_id: "confirmed", created: -10, synced: -9, seen: -4 },
    { venue_id: "corrected", created: -10, synced: -4, seen: -4 },
    { venue_id: "late", created: -10, synced: -4, seen: -4 },
  ]);
});

test("a drop whose source gives its venue is seen, whatever it confirms", async () => {
  const warehouse = await makeWarehouse();
  const source = (venue: string) => {
    const { name, sha256, form } = parseText(
      `files: a\nheader: false\ncolumns: {venue_id: {constant: ${venue}}, invoice_id: 2, datetime_created: 3, total: 4}`,
    );
    return { source: { name, sha256, form } };
  };
  await load(warehouse, 9, [["", 1, 20]], source("v1"));
  await load(warehouse, 8, [["", 2, 10]], source("v1"));
  await load(warehouse, 7, [["", 3, 10]], source("v2"));
  // Not the invoice of the last creation date.
  await load(warehouse, 4, [["", 1, 20]], source("v1"));
  await load(warehouse, -3, [["", 1, 20]], source("v1"));
  // Empty: it names nobody's invoices.
  await load(warehouse, 3, [], source("v2"));
  expect(
    await warehouse.query(
      `select venue_id, ${TODAY} + date '1970-01-01' - last_synced_on as synced, ${TODAY} + date '1970-01-01' - last_seen_on as seen
       from reports.venue_activity order by 1`,
    ),
  ).toEqual([
    { venue_id: "v1", synced: 8, seen: 4 },
    { venue_id: "v2", synced: 7, seen: 7 },
  ]);
});

test("retried lines are news of their drop's date; a repair is none", async () => {
  const warehouse = await makeWarehouse();
  const folder = makeFolder();
  const run = async (...args: string[]) => {
    const done = await rollbookHere(args, { environment: warehouse.environment, folder });
    expect([done.code, done.stderr]).toEqual([0, ""]);
  };
  const name = `a_${toDate(TODAY - 8)}.csv`;
  const path = writeDrop(folder, name, [
    `a,${invoiceId(1)},${toDate(TODAY - 9)},1.00`,
    `b,${invoiceId(2)},${toDate(TODAY - 9)},"2,00"`,
    `b,${invoiceId(3)},${toDate(TODAY - 9)},"2,00"`,
  ]);
  expect(await loadDrop({ ...warehouse, path, maxRejects: 1 })).toMatchObject({ outcome: "loaded" });
  await load(warehouse, 7, [["b", 4, 8]]);
  expect((await activityOf(warehouse)).get("b")).toMatchObject({ syncDates: 1, lastSyncedOn: TODAY - 7 });
  await run("rejects", "retry", path, "--load", "1", "--decimal-comma");
  expect((await activityOf(warehouse)).get("b")).toMatchObject({ syncDates: 2, lastSyncedOn: TODAY - 7 });
  // The same invoice under another date: the older statement is taken out, which is an entry of today.
  await load(warehouse, 6, [["a", 1, 7]]);
  const before = await activityOf(warehouse);
  await run("verify", "--identity", "--repair", "newest");
  const repairs = await warehouse.query("select from warehouse.loads where status = 'repair'");
  expect(repairs).toHaveLength(1);
  expect(await activityOf(warehouse)).toEqual(before);
  expect(before.get("a")).toMatchObject({ syncDates: 2, lastSyncedOn: TODAY - 6 });
});

test("what was lost and loaded again keeps its sync dates", async () => {
  const warehouse = await makeWarehouse();
  await load(warehouse, 8, [["a", 1, 9]]);
  await load(warehouse, 7, [["a", 2, 8]]);
  const before = await activityOf(warehouse);
  // The deltas stay under an entry that says now that it failed; all lines are known.
  await load(warehouse, 7, [["a", 2, 8]], { again: true });
  expect(await warehouse.query("select from warehouse.loads where status = 'failed'")).toHaveLength(1);
  expect(await activityOf(warehouse)).toEqual(before);
});

test("a venue whose invoices were all taken out is not looked at", async () => {
  const warehouse = await makeWarehouse();
  await load(warehouse, 8, [["wrong name", 1, 9]]);
  await load(warehouse, 7, [["right name", 1, 9]]);
  await rollbookHere(["verify", "--identity", "--repair", "newest"], {
    environment: warehouse.environment,
    folder: makeFolder(),
  });
  expect([...(await activityOf(warehouse)).keys()]).toEqual(["right name"]);
});

test("what was dropped still tells of its venues; what is detached is not looked at", async () => {
  const warehouse = await makeWarehouse({ granularity: "day" });
  const [old, older] = [toDate(TODAY - 41), toDate(TODAY - 51)];
  await load(warehouse, 50, [
    ["a", 1, 51],
    ["b", 2, 51],
  ]);
  await load(warehouse, 40, [["a", 3, 41]]);
  await dropVerified({ ...warehouse, partition: old });
  expect((await activityOf(warehouse)).get("a")).toMatchObject({
    syncDates: 2,
    lastSyncedOn: TODAY - 40,
    lastCreatedOn: TODAY - 41,
  });
  expect(
    await warehouse.query(
      "select venue_id, last_seen_on = last_synced_on as same from reports.venue_activity order by 1",
    ),
  ).toEqual([
    { venue_id: "a", same: true },
    { venue_id: "b", same: true },
  ]);
  await detachRefreshed({ ...warehouse, partition: older });
  const found = await activityOf(warehouse);
  expect([...found.keys()]).toEqual(["a"]);
  expect(found.get("a")).toMatchObject({ syncDates: 1, lastSyncedOn: TODAY - 40 });
});

test("a warehouse without loads has nobody who is silent, and no sync date that is missing", async () => {
  const warehouse = await makeWarehouse();
  expect(await readSilence({ ...warehouse })).toEqual({ venues: [], missing: [] });
  expect(await readSilence({ ...warehouse, days: 0 })).toEqual({ venues: [], missing: [] });
});

test("today is the date in the zone of the warehouse", async () => {
  const zones = ["Pacific/Kiritimati", "Pacific/Pago_Pago"];
  const dateIn = (timeZone: string) => new Intl.DateTimeFormat("en-CA", { timeZone }).format(new Date());
  const today = async (timeZone: string) => {
    const warehouse = await createTestDatabase({ timeZone });
    await enterNews(warehouse, sent("a", ...every(1, 30, 120)));
    const [row] = await warehouse.query<{ days: number }>(
      "select days_silent as days from reports.venue_activity",
    );
    return toDate(TODAY - 30 + (row?.days ?? 0));
  };
  for (const zone of zones) {
    const before = dateIn(zone);
    const found = await today(zone);
    expect([before, dateIn(zone)]).toContain(found);
  }
});

const someDays = (least: number, most: number) =>
  fc.uniqueArray(fc.integer({ min: -3, max: 420 }), { minLength: least, maxLength: most });
const someRhythm = fc.oneof(
  someDays(1, 12),
  fc
    .tuple(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: -1, max: 200 }),
      fc.integer({ min: 1, max: 60 }),
    )
    .map(([step, last, count]) => every(step, last, last + step * (count - 1))),
  fc
    .tuple(fc.integer({ min: 0, max: 30 }), fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 60 }))
    .map(([last, gaps]) => {
      const days = [last];
      for (const gap of gaps) days.push((days.at(-1) ?? 0) + gap);
      return days;
    }),
);
const someNews = fc
  .array(fc.tuple(someRhythm, fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 5 })), {
    minLength: 1,
    maxLength: 40,
  })
  .map((venues) =>
    venues.flatMap(([days, lateness], venue) =>
      days.map((ago, index): News => {
        const syncedOn = TODAY - ago;
        return {
          venue: `v${venue}`,
          syncedOn,
          createdOn: syncedOn - (lateness[index % lateness.length] ?? 0),
        };
      }),
    ),
  );

test("property: activity and silence are what a model says of the plain list", {
  timeout: 120_000,
}, async () => {
  const warehouse = await makeWarehouse({ granularity: "year" });
  await fc.assert(
    fc.asyncProperty(
      someNews,
      fc.integer({ min: 0, max: 30 }),
      fc.integer({ min: 1, max: 60 }),
      async (news, days, forget) => {
        await warehouse.query(
          "truncate warehouse.loads, warehouse.venues, warehouse.venue_day_deltas, warehouse.venue_day_rollup",
        );
        await enterNews(warehouse, news);
        const expected = expectedActivity(news);
        expect(await activityOf(warehouse)).toEqual(expected);
        const told = (isTold: (one: ModelActivity) => boolean) =>
          [...expected]
            .filter(([, one]) => isTold(one))
            .map(([venue]) => venue)
            .toSorted();
        const found = async (options: { days?: number; forget?: number }) =>
          (await venuesOf(warehouse, options)).toSorted();
        const rhythmic = ({ silentFrom }: ModelActivity) => silentFrom !== null && silentFrom <= TODAY;
        expect(await found({})).toEqual(told(rhythmic));
        expect(await found({ forget })).toEqual(
          told((one) => rhythmic(one) && TODAY - (one.silentFrom ?? 0) < forget),
        );
        expect(await found({ days })).toEqual(told(({ daysSilent }) => (daysSilent ?? -1) >= days));
        expect(await found({ days, forget })).toEqual(
          told(({ daysSilent }) => (daysSilent ?? -1) >= days && (daysSilent ?? 0) - days < forget),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test("3,000 venues, each with a rhythm of its own, are what the model says", async () => {
  const warehouse = await makeWarehouse({ granularity: "quarter" });
  const news = Array.from({ length: 3000 }, (_, venue) =>
    every(1 + (venue % 11), venue % 29, 60 + (venue % 200)).map((ago): News => {
      const syncedOn = TODAY - ago - ((ago * venue) % 3);
      return { venue: `v${venue}`, syncedOn, createdOn: syncedOn - ((ago * 31 + venue) % 40) };
    }),
  ).flat();
  await enterNews(warehouse, news);
  expect(await activityOf(warehouse)).toEqual(expectedActivity(news));
});

/** What the loads of these drops, in this order, bring: news by venue, sync date and creation date, and the sync dates that stand. */
function modelLoads(drops: readonly { readonly syncedOn: number; readonly lines: readonly Line[] }[]) {
  const standing = new Map<string, { readonly line: Line; readonly syncedOn: number }>();
  const news: News[] = [];
  for (const { syncedOn, lines } of drops) {
    const last = new Map(lines.map((line) => [`${line.venue} ${line.createdOn} ${line.invoice}`, line]));
    const net = new Map<string, { readonly line: Line; invoices: number; cents: number }>();
    for (const [key, line] of last) {
      const known = standing.get(key);
      if (known !== undefined && known.syncedOn > syncedOn) continue;
      standing.set(key, { line, syncedOn });
      const place = `${line.venue} ${line.createdOn}`;
      const group = net.get(place) ?? { line, invoices: 0, cents: 0 };
      group.invoices += known === undefined ? 1 : 0;
      group.cents += line.cents - (known?.line.cents ?? 0);
      net.set(place, group);
    }
    for (const { line, invoices, cents } of net.values()) {
      if (invoices === 0 && cents === 0) continue;
      news.push({ venue: line.venue, syncedOn, createdOn: toDay(line.createdOn) });
    }
  }
  return { news, standing: [...standing.values()] };
}

const someDrops = fc.array(
  fc.record({
    syncedOn: fc.integer({ min: TODAY - 30, max: TODAY }),
    lines: fc.array(
      fc.record({
        venue: fc.constantFrom("a", "b", "c"),
        invoice: fc.integer({ min: 0, max: 5 }),
        createdOn: fc.integer({ min: 31, max: 34 }).map((ago) => toDate(TODAY - ago)),
        cents: fc.constantFrom(100, 200),
      }),
      { minLength: 1, maxLength: 6 },
    ),
  }),
  { minLength: 1, maxLength: 14 },
);

test("property: after real loads, with corrections and confirmations, too", {
  timeout: 120_000,
}, async () => {
  const warehouse = await makeWarehouse();
  await fc.assert(
    fc.asyncProperty(someDrops, fc.boolean(), async (drops, refreshed) => {
      await warehouse.query(
        "truncate warehouse.loads, warehouse.venues, warehouse.invoices, warehouse.corrections, warehouse.venue_day_deltas, warehouse.venue_day_pending, warehouse.venue_day_rollup",
      );
      const folder = makeFolder();
      for (const [index, { syncedOn, lines }] of drops.entries()) {
        const texts = lines.map(
          ({ venue, invoice, createdOn, cents }) =>
            `${venue},${uuidOf(invoice)},${createdOn},${cents / 100}.00`,
        );
        const path = writeDrop(folder, `${index}_${toDate(syncedOn)}.csv`, [...texts, ",".repeat(3)]);
        await loadDrop({ ...warehouse, path });
      }
      if (refreshed) await rollbookHere(["refresh"], { environment: warehouse.environment, folder });
      const { news, standing } = modelLoads(drops);
      const expected = expectedActivity(news);
      expect(await activityOf(warehouse)).toEqual(expected);
      const confirmed = await warehouse.query<{ venue: string; day: number }>(
        "select venue_id as venue, last_seen_on - date '1970-01-01' as day from reports.venue_activity",
      );
      for (const { venue, day } of confirmed) {
        const createdOn = toDate(expected.get(venue)?.lastCreatedOn ?? 0);
        const days = standing
          .filter(({ line }) => line.venue === venue && line.createdOn === createdOn)
          .map(({ syncedOn }) => syncedOn);
        expect(day).toBe(Math.max(...days, expected.get(venue)?.lastSyncedOn ?? 0));
      }
    }),
    { numRuns: 25 },
  );
});

/** Loads of a source on so many days ago, as the ledger has them. */
async function enterDates(
  { query }: TestWarehouse,
  source: string | null,
  daysAgo: readonly number[],
  status = "loaded",
): Promise<void> {
  await query(
    `insert into warehouse.loads (file_name, sha256, synced_on, status, source, source_sha256)
     select 'entered', sha256(gen_random_uuid()::text::bytea), date '1970-01-01' + ${TODAY} - ago, $2, $1::text,
            case when $1::text is not null then '\\x00'::bytea end
     from unnest($3::int[]) ago`,
    [source, status, daysAgo],
  );
}

const missingOf = async (warehouse: TestWarehouse, options: { forget?: number } = {}) =>
  (await readSilence({ ...warehouse, ...options })).missing.map(({ source, daysMissing }) => [
    source,
    daysMissing,
  ]);
const without = (days: readonly number[], ...left: readonly number[]) =>
  days.filter((day) => !left.includes(day));

test("a date without a file is missing where a source else comes daily", async () => {
  const warehouse = await makeWarehouse();
  await enterDates(warehouse, null, without(every(1, 1, 60), 1, 7, 30));
  await enterDates(warehouse, "till", without(every(1, 0, 200), 1, 40, 150));
  // Its drop of 5 days ago was refused, and then nothing came; of yesterday and today nothing is due yet.
  await enterDates(warehouse, "stopped", every(1, 6, 60));
  await enterDates(warehouse, "stopped", [5], "rejected");
  // Twice on one date, and lines that were read again.
  await enterDates(warehouse, "till", [3, 3]);
  await enterDates(
    warehouse,
    "sundays off",
    every(1, 0, 80).filter((ago) => ago % 7 !== 3),
  );
  await enterDates(warehouse, "weekly", every(7, 0, 80));
  await enterDates(warehouse, "new", without(every(1, 0, 20), 4));
  expect(await missingOf(warehouse)).toEqual([
    ["stopped", 5],
    ["stopped", 4],
    ["stopped", 3],
    ["stopped", 2],
    ["till", 40],
    ["till", 1],
    [null, 30],
    [null, 7],
  ]);
  expect(await missingOf(warehouse, { forget: 4 })).toEqual([
    ["stopped", 4],
    ["stopped", 3],
    ["stopped", 2],
    ["till", 1],
  ]);
});

test("a drop that only confirms invoices is a file of its date", async () => {
  const warehouse = await makeWarehouse();
  await enterDates(warehouse, null, without(every(1, 0, 60), 5));
  expect(await missingOf(warehouse)).toEqual([[null, 5]]);
  await load(warehouse, 20, [["a", 1, 30]]);
  await load(warehouse, 5, [["a", 1, 30]]);
  expect(await missingOf(warehouse)).toEqual([]);
});

test("property: missing sync dates are what a model says of the plain list, across changes of the clock", {
  timeout: 120_000,
}, async () => {
  const warehouse = await makeWarehouse();
  const zones = ["Europe/Berlin", "America/New_York", "Australia/Sydney", "UTC"];
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: -2, max: 20 }),
      fc.integer({ min: 5, max: 120 }),
      fc.array(fc.integer({ min: 0, max: 110 }), { maxLength: 14 }),
      fc.constantFrom(...zones),
      fc.constantFrom(null, "till"),
      async (last, count, left, zone, source) => {
        const days = without(every(1, last, last + count), ...left);
        await warehouse.query("truncate warehouse.loads");
        await enterDates(warehouse, source, days);
        const client = await warehouse.database.pool.connect();
        await client.query(`set timezone = '${zone}'`);
        const { rows } = await client.query(
          "select source, synced_on - date '1970-01-01' as day, days_missing from reports.missing_sync_dates order by 2",
        );
        await client.query("reset timezone");
        client.release();
        const expected = modelMissing(
          days.map((ago) => TODAY - ago),
          TODAY,
        );
        expect(rows).toEqual(expected.map((day) => ({ source, day, days_missing: TODAY - day })));
      },
    ),
    { numRuns: 200 },
  );
});
