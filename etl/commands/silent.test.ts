import { expect, test } from "vitest";
import { addDays } from "../../db/dates.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { jsonLines, rollbookHere } from "../testing/cli.ts";
import { HOSTILE_TEXTS, unsafeIn } from "../testing/hostile.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";

/** The date so many days ago, where the warehouse is. */
async function daysAgo({ query }: TestWarehouse) {
  const [row] = await query<{ today: string }>(
    "select (now() at time zone (select time_zone from reports.warehouse_settings))::date::text as today",
  );
  return (days: number) => addDays(row?.today ?? "", -days);
}

async function makeRun() {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  return { warehouse, folder, run, ago: await daysAgo(warehouse) };
}

test("when nobody is silent it says so, and --fail does not fail", async () => {
  const { run } = await makeRun();
  const nothing = { code: 0, stdout: "No venue is silent.\nNo sync date is missing.\n", stderr: "" };
  expect(await run("silent")).toEqual(nothing);
  expect(await run("silent", "--fail", "--days", "0")).toEqual(nothing);
  expect(await run("silent", "--fail", "--json")).toEqual({ code: 0, stdout: "", stderr: "" });
});

test("silent venues and missing dates are told in tables, or each in a line of its own kind", async () => {
  const { warehouse, folder, run, ago } = await makeRun();
  const files = [60, 40, 39, 38].map((days) =>
    writeDrop(folder, `a_${ago(days)}.csv`, [`v1,${invoiceId(days)},${ago(days + 1)},1.00`]),
  );
  expect((await run("load", ...files)).code).toBe(0);
  await warehouse.query(
    `insert into warehouse.loads (file_name, synced_on, status, source, source_sha256)
     select 'entered', current_date - ago, 'loaded', 'till', '\\x00'
     from generate_series(0, 40) ago where ago not in (1, 10)`,
  );
  const venue = {
    kind: "silent_venue",
    venueId: "v1",
    lastCreatedOn: ago(39),
    lastSyncedOn: ago(38),
    lastSeenOn: ago(38),
    syncDates: 4,
    typicalDays: 7.3,
    daysSilent: 38,
    silentFrom: ago(15),
  };
  const dates = [10, 1].map((days) => ({
    kind: "missing_sync_date",
    source: "till",
    syncedOn: ago(days),
    daysMissing: days,
  }));
  const told = async (...flags: string[]) => {
    const { code, stdout } = await run("silent", "--json", ...flags);
    return [code, jsonLines(stdout)];
  };
  expect(await told()).toEqual([0, [venue, ...dates]]);
  expect(await told("--fail")).toEqual([1, [venue, ...dates]]);
  expect(await told("--fail", "--forget", "5")).toEqual([1, dates.slice(1)]);
  expect(await told("--fail", "--days", "39")).toEqual([1, dates]);
  const { stdout } = await run("silent");
  expect(stdout.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
    ["silent venue", "days", "last synced on", "typical days", "last seen on", "last created on"],
    ["v1", `38`, ago(38), "7.3", ago(38), ago(39)].map(String),
    [""],
    ["no file of", "days ago", "source"],
    [ago(10), "10", "till"],
    [ago(1), "1", "till"],
    [""],
  ]);
});

test("a wrong flag is refused", async () => {
  const { run } = await makeRun();
  for (const flags of [["--days", "x"], ["--days", "-1"], ["--forget", "0"], ["more"]]) {
    expect((await run("silent", ...flags)).code).toBe(2);
  }
});

test("hostile names are kept to the letter in JSON, and harmless in tables", async () => {
  const { warehouse, folder, run, ago } = await makeRun();
  const names = HOSTILE_TEXTS.filter(({ venue }) => venue === "loaded").map(({ text }) => text);
  const path = writeDrop(
    folder,
    `a_${ago(9)}.csv`,
    names.map((name, index) => `"${name.replaceAll('"', '""')}",${invoiceId(index)},${ago(10)},1.00`),
  );
  expect((await run("load", path)).code).toBe(0);
  await warehouse.query(
    `insert into warehouse.loads (file_name, synced_on, status, source, source_sha256)
     select 'entered', current_date - ago, 'loaded', $1, '\\x00' from generate_series(1, 40) ago where ago <> 20`,
    ["\u001b]0;owned\u0007"],
  );
  const { code, stdout } = await run("silent", "--days", "3", "--json");
  expect([code, unsafeIn(stdout)]).toEqual([0, []]);
  const [told, missing] = [jsonLines(stdout).slice(0, -1), jsonLines(stdout).at(-1)];
  expect(new Set(told.map(({ venueId }) => venueId))).toEqual(new Set(names));
  expect(missing).toMatchObject({ kind: "missing_sync_date", source: "\u001b]0;owned\u0007" });
  expect(unsafeIn((await run("silent", "--days", "3")).stdout)).toEqual([]);
});
