/** The verbs close, closings, restated and verify --closings, as people and programs call them. */
import { expect, test } from "vitest";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { jsonLines, rollbookHere } from "../../testing/cli.ts";
import { type Invoice, writeInvoices } from "../../testing/invoices.ts";

async function makeRun() {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const send = (fileName: string, invoices: readonly Invoice[], ...flags: string[]) =>
    run("load", writeInvoices(folder, fileName, invoices), ...flags);
  return { warehouse, run, send };
}

/** Of what is in a text what changes from run to run. */
const fixed = (text: string) =>
  text
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\+00:00|Z)/g, "INSTANT")
    .replace(/[0-9a-f]{64}/g, "DIGEST")
    .split("\n");

test("a month is closed, shown, restated and proved", async () => {
  const { warehouse, run, send } = await makeRun();
  expect(await run("closings")).toEqual({ code: 0, stdout: "Nothing is closed.\n", stderr: "" });
  await send("a_2026-04-01.csv", [
    ["a", 1, "2026-03-01", "1000.00"],
    ["b", 2, "2026-03-01", "2.00"],
    ["b", 3, "2026-03-31", "0.50"],
  ]);
  const closed = await run("close", "2026-03");
  expect([closed.code, closed.stderr]).toEqual([0, ""]);
  const said = "Closing 1 of 2026-03: 3 invoices for 1,002.50 euros in 3 groups, as known at INSTANT.";
  expect(fixed(closed.stdout)).toEqual([
    said,
    "SHA-256 DIGEST. Keep the certificate where nobody can change it: rollbook closings show 1 --format json",
    "",
  ]);
  expect(fixed((await run("restated", "2026-03")).stdout)).toEqual([said, "Nothing has changed since.", ""]);
  const late = await send("late_2026-04-02.csv", [["b", 4, "2026-03-31", "1.25"]]);
  expect(late.stdout).toContain(
    "\n  2026-03 is closed (closing 1), and restated: 1 group, 1 invoice for 1.25 euros\n",
  );
  const corrected = await send("corrected_2026-04-03.csv", [["b", 2, "2026-03-01", "1.00"]], "--json");
  expect(jsonLines(corrected.stdout)[0]).toMatchObject({
    outcome: "loaded",
    restated: [{ closing: 1, period: "2026-03", groups: 1, invoices: 0, total: "-1.00" }],
  });
  const columns = (text: string) => fixed(text).map((line) => line.trim().split(/ {2,}/));
  expect(columns((await run("restated", "2026-03")).stdout)).toEqual([
    [said],
    ["venue", "date", "invoices then", "total then", "invoices now", "total now", "+ invoices", "+ total"],
    ["b", "2026-03-01", "1", "2.00", "1", "1.00", "0", "-1.00"],
    ["b", "2026-03-31", "1", "0.50", "2", "1.75", "1", "1.25"],
    [""],
  ]);
  expect(columns((await run("restated", "2026-03", "--by", "day")).stdout).slice(1)).toEqual([
    ["date", "groups", "+ invoices", "+ total"],
    ["2026-03-01", "1", "0", "-1.00"],
    ["2026-03-31", "1", "1", "1.25"],
    [""],
  ]);
  expect(columns((await run("restated", "2026-03", "--by", "drop")).stdout).slice(1)).toEqual([
    ["load", "drop", "synced on", "known at", "groups", "+ invoices", "+ total"],
    ["2", "late_2026-04-02.csv", "2026-04-02", "INSTANT", "1", "1", "1.25"],
    ["3", "corrected_2026-04-03.csv", "2026-04-03", "INSTANT", "1", "0", "-1.00"],
    [""],
  ]);
  const dates = ["--from", "2026-03-01", "--to", "2026-04-01"];
  expect(jsonLines((await run("restated", ...dates, "--by", "venue", "--json")).stdout)).toEqual([
    { closing: 1, period: "2026-03", venueId: "b", groups: 2, invoices: 1, total: "0.25" },
  ]);
  const [list] = jsonLines((await run("closings", "--json")).stdout);
  expect(list).toMatchObject({ closing: 1, period: "2026-03", groups: 3, invoices: 3, replacedBy: null });
  const shown = await run("closings", "show", "1", "--json");
  expect(shown.code).toBe(0);
  const { replacedBy: _, ...certified } = list ?? {};
  expect(jsonLines(shown.stdout)).toEqual([
    {
      ...certified,
      list: [
        ["a", "2026-03-01", 1, "1000.00"],
        ["b", "2026-03-01", 1, "2.00"],
        ["b", "2026-03-31", 1, "0.50"],
      ],
    },
  ]);
  expect((await run("closings", "show", "1", "--format", "json")).stdout).toBe(shown.stdout);
  expect(columns((await run("closings", "show", "1")).stdout).slice(4)).toEqual([
    ["venue", "date", "invoices", "total"],
    ["a", "2026-03-01", "1", "1,000.00"],
    ["b", "2026-03-01", "1", "2.00"],
    ["b", "2026-03-31", "1", "0.50"],
    [""],
  ]);
  const proved = await run("verify", "--closings");
  expect([proved.code, proved.stderr]).toEqual([0, ""]);
  expect(proved.stdout).toContain("Recomputed 1 closing from the deltas known then.\n");
  const [summary] = jsonLines((await run("verify", "--closings", "--json")).stdout);
  expect(summary).toMatchObject({ kind: "summary", closings: { recomputed: 1, unprovable: [] } });
  await warehouse.query(
    "update warehouse.venue_day_deltas set total = total + 1 where load_id = 1 and created_on = '2026-03-31'",
  );
  const found = await run("verify", "--closings");
  expect(found.code).toBe(1);
  expect(found.stdout).toContain("2026-03: b on 2026-03-31: invoices say 2 for 1.75");
  expect(found.stdout).toContain(
    "closing 1 (2026-03): the deltas that were known then do not add up to what was certified: certified 3 for 1,002.50 in 3 groups, deltas 3 for 1,003.50 in 3 groups\n",
  );
  const false_ = await run("closings", "show", "1", "--json");
  expect(false_.code).toBe(1);
  expect(false_.stderr).toContain("closing 1 is not what was certified");
});

test("closings are listed with the one that counts", async () => {
  const { run, send } = await makeRun();
  await send("a_2026-04-01.csv", [["a", 1, "2026-03-01", "1.00"]]);
  const period = ["--from", "2026-03-01", "--to", "2026-03-03"];
  for (const args of [["2026-03"], period, ["2026-03"]]) {
    const [closing] = jsonLines((await run("close", ...args, "--json")).stdout);
    expect(closing).toMatchObject({ from: "2026-03-01", invoices: 1, total: "1.00" });
  }
  const { stdout } = await run("closings", "list");
  expect(stdout.split("\n").map((line) => line.trim().split(/ {2,}/).slice(0, 4))).toEqual([
    ["closing", "period", "invoices", "total"],
    ["1", "2026-03", "1", "1.00"],
    ["2", "from 2026-03-01 to 2026-03-03", "1", "1.00"],
    ["3", "2026-03", "1", "1.00"],
    [""],
  ]);
});

test("wrong periods and flags are refused, with what to give", async () => {
  const { run } = await makeRun();
  const refused = async (...args: string[]) => {
    const { code, stderr } = await run(...args);
    expect(code).toBe(2);
    return stderr;
  };
  for (const verb of ["close", "restated"]) {
    expect(await refused(verb)).toContain("which period?");
    expect(await refused(verb, "--from", "2026-03-01")).toContain("which period?");
    expect(await refused(verb, "2026-13")).toContain("2026-13 is no period");
    expect(await refused(verb, "2026-03", "--from", "2026-03-01")).toContain("Give one of them");
    expect(await refused(verb, "--from", "2026-03-02", "--to", "2026-03-02")).toContain("is not before");
  }
  expect(await refused("close", "9998-12")).toContain("9998-12 has not ended");
  expect(await refused("restated", "2026-03")).toContain("2026-03 is not closed");
  expect(await refused("closings", "show", "1")).toContain("there is no closing 1");
  expect(await refused("closings", "show", "x")).toContain("Give a whole number");
  expect(await refused("verify", "--closings", "--partition", "2026-03")).toContain("leave out --partition");
});
