/** Closings: what they certify, what restates them, and who would be found out. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { addDays } from "../../db/dates.ts";
import { attachPartition } from "../../db/partitions/attach.ts";
import { detachPartition } from "../../db/partitions/remove.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { errorOf, openTransaction, waits } from "../../db/testing/partitions.ts";
import { loginAs, refusalOf } from "../../db/testing/roles.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { jsonLines, rollbookHere } from "../testing/cli.ts";
import { HOSTILE_TEXTS } from "../testing/hostile.ts";
import { findDivergences, type Invoice, load, writeInvoices } from "../testing/invoices.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { disagreements, totalsOf } from "../testing/warehouse.ts";
import { undo } from "../undo/undo.ts";
import { verifyWarehouse } from "../verify/verify.ts";
import type { Closing, Group } from "./certificate.ts";
import { closePeriod } from "./close.ts";
import { parsePeriod } from "./period.ts";
import { readCertificate, readClosings } from "./read.ts";
import { type Restated, type RestatedBy, readRestated } from "./restated.ts";

function periodNamed(name: string) {
  const period = parsePeriod(name);
  if (period === undefined) throw new Error(`${name} is no period`);
  return period;
}

async function close(warehouse: TestWarehouse, name: string): Promise<Closing> {
  const { closing } = await closePeriod({ ...warehouse, period: periodNamed(name) });
  return closing;
}

/** Loads a drop of these invoices. */
const send = (warehouse: TestWarehouse, fileName: string, invoices: readonly Invoice[]) =>
  load(warehouse, writeInvoices(makeFolder(), fileName, invoices));

async function restatedOf(
  warehouse: TestWarehouse,
  name: string,
  by: RestatedBy = "group",
): Promise<readonly Restated[]> {
  const rows: Restated[] = [];
  await readRestated(
    { ...warehouse, period: periodNamed(name), by, onClosing: async () => {} },
    async (row) => {
      rows.push(row);
    },
  );
  return rows;
}

async function listOf(warehouse: TestWarehouse, closing: number) {
  const groups: Group[] = [];
  const genuine = await readCertificate({
    ...warehouse,
    closing,
    onClosing: async () => {},
    onGroup: async (group) => {
      groups.push(group);
    },
  });
  return { groups, genuine };
}

/** The digest, written anew from docs/closing.md. */
function digestOf(groups: readonly Group[], closing: Closing): string {
  const { period, from, to, knownAt, invoices, total, closedBy, closedAt, previousSha256 } = closing;
  const last = [closing.closing, period, from, to, knownAt, groups.length, invoices, total];
  const lines = [...groups, [...last, closedBy, closedAt, previousSha256]];
  const text = lines.map((values) => `${JSON.stringify(values)}\n`).join("");
  return createHash("sha256").update(text, "utf8").digest("hex");
}

const provenClosings = async (warehouse: TestWarehouse) => {
  const divergences = await findDivergences(warehouse, { closings: true });
  return divergences.filter(({ kind }) => kind === "closing");
};

const MARCH: readonly Invoice[] = [
  ["b", 1, "2026-03-01", "10.00"],
  ["b", 2, "2026-03-01", "0.50"],
  ["a", 3, "2026-03-31", "-3.25"],
  ["B", 4, "2026-03-02", "1.00"],
  ["a", 5, "2026-04-01", "99.00"],
  ["a", 6, "2026-02-28", "98.00"],
];

test("a closing certifies what the reports show of its dates, by the bytes of the venues", async () => {
  const warehouse = await createTestDatabase({ timeZone: "Europe/Berlin" });
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  const closing = await close(warehouse, "2026-03");
  expect(closing).toMatchObject({ closing: 1, period: "2026-03", from: "2026-03-01", to: "2026-04-01" });
  expect(closing).toMatchObject({ groups: 3, invoices: 4, total: "8.25", previousSha256: null });
  const groups = [
    ["B", "2026-03-02", 1, "1.00"],
    ["a", "2026-03-31", 1, "-3.25"],
    ["b", "2026-03-01", 2, "10.50"],
  ] as const;
  expect(closing.sha256).toBe(digestOf(groups, closing));
  expect(await listOf(warehouse, 1)).toEqual({ groups, genuine: true });
  expect(await readClosings(warehouse)).toEqual([{ ...closing, replacedBy: null }]);
  const [known] = await warehouse.query(
    "select known_at = (select max(known_at) from warehouse.loads) as newest from reports.closings",
  );
  expect(known).toEqual({ newest: true });
  expect(await restatedOf(warehouse, "2026-03")).toEqual([]);
  expect(await provenClosings(warehouse)).toEqual([]);
});

test("hostile names of venues are certified to the letter, and in one order", async () => {
  const warehouse = await createTestDatabase();
  const names = HOSTILE_TEXTS.filter(({ venue }) => venue === "loaded").map(({ text }) => text);
  const lines = names.map(
    (name, index) => `"${name.replaceAll('"', '""')}",${invoiceId(index)},2026-03-01,1.00`,
  );
  await load(warehouse, writeDrop(makeFolder(), "a_2026-03-02.csv", lines));
  const closing = await close(warehouse, "2026-03");
  const sorted = names.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  const groups = sorted.map((name): Group => [name, "2026-03-01", 1, "1.00"]);
  expect((await listOf(warehouse, 1)).groups).toEqual(groups);
  expect(closing.sha256).toBe(digestOf(groups, closing));
});

test("a period without invoices can be closed, and its first invoice restates it", async () => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", [["a", 1, "2026-03-01", "1.00"]]);
  expect(await close(warehouse, "2025-12")).toMatchObject({ groups: 0, invoices: 0, total: "0.00" });
  await send(warehouse, "b_2026-04-02.csv", [["a", 2, "2025-12-31", "2.00"]]);
  expect(await restatedOf(warehouse, "2025-12")).toEqual([
    {
      venueId: "a",
      createdOn: "2025-12-31",
      thenInvoices: 0,
      thenTotal: "0.00",
      nowInvoices: 1,
      nowTotal: "2.00",
      invoices: 1,
      total: "2.00",
    },
  ]);
});

test("late drops, corrections and undos are restatements, told by group, venue, day and drop", async () => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  const closing = await close(warehouse, "2026-03");
  const late = await send(warehouse, "late_2026-04-05.csv", [
    ["c", 7, "2026-03-31", "5.00"],
    ["a", 8, "2026-03-31", "1.00"],
    ["a", 9, "2026-04-02", "1.00"],
  ]);
  const corrected = await send(warehouse, "corrected_2026-04-06.csv", [
    ["b", 1, "2026-03-01", "12.00"],
    ["b", 2, "2026-03-01", "0.50"],
  ]);
  expect(late.restated).toEqual([{ closing: 1, period: "2026-03", groups: 2, invoices: 2, total: "6.00" }]);
  expect(corrected.restated).toEqual([
    { closing: 1, period: "2026-03", groups: 1, invoices: 0, total: "2.00" },
  ]);
  const changed = (
    venueId: string,
    createdOn: string,
    then: [number, string],
    now: [number, string],
    by: [number, string],
  ) => ({
    venueId,
    createdOn,
    thenInvoices: then[0],
    thenTotal: then[1],
    nowInvoices: now[0],
    nowTotal: now[1],
    invoices: by[0],
    total: by[1],
  });
  expect(await restatedOf(warehouse, "2026-03")).toEqual([
    changed("a", "2026-03-31", [1, "-3.25"], [2, "-2.25"], [1, "1.00"]),
    changed("b", "2026-03-01", [2, "10.50"], [2, "12.50"], [0, "2.00"]),
    changed("c", "2026-03-31", [0, "0.00"], [1, "5.00"], [1, "5.00"]),
  ]);
  expect(await restatedOf(warehouse, "2026-03", "venue")).toEqual([
    { venueId: "a", groups: 1, invoices: 1, total: "1.00" },
    { venueId: "b", groups: 1, invoices: 0, total: "2.00" },
    { venueId: "c", groups: 1, invoices: 1, total: "5.00" },
  ]);
  expect(await restatedOf(warehouse, "2026-03", "day")).toEqual([
    { createdOn: "2026-03-01", groups: 1, invoices: 0, total: "2.00" },
    { createdOn: "2026-03-31", groups: 2, invoices: 2, total: "6.00" },
  ]);
  expect(await restatedOf(warehouse, "2026-03", "drop")).toMatchObject([
    {
      loadId: 2,
      fileName: "late_2026-04-05.csv",
      syncedOn: "2026-04-05",
      groups: 2,
      invoices: 2,
      total: "6.00",
    },
    { loadId: 3, fileName: "corrected_2026-04-06.csv", groups: 1, invoices: 0, total: "2.00" },
  ]);
  const taken = { closing: 1, period: "2026-03", groups: 2, invoices: -2, total: "-6.00" };
  for (const dryRun of [true, false]) {
    expect(await undo({ ...warehouse, loadId: 2, because: "a test", dryRun })).toMatchObject({
      restated: [taken],
    });
  }
  expect(await restatedOf(warehouse, "2026-03")).toEqual([
    changed("b", "2026-03-01", [2, "10.50"], [2, "12.50"], [0, "2.00"]),
  ]);
  expect(await restatedOf(warehouse, "2026-03", "drop")).toMatchObject([
    { loadId: 2 },
    { loadId: 3 },
    {
      fileName: "undo 2 (late_2026-04-05.csv)",
      syncedOn: null,
      groups: 2,
      invoices: -2,
      total: "-6.00",
    },
  ]);
  // What was loaded before the closing can be undone, too.
  await undo({ ...warehouse, loadId: 1, because: "a test" });
  expect(await restatedOf(warehouse, "2026-03", "day")).toEqual([
    { createdOn: "2026-03-01", groups: 1, invoices: 0, total: "2.00" },
    { createdOn: "2026-03-02", groups: 1, invoices: -1, total: "-1.00" },
    { createdOn: "2026-03-31", groups: 1, invoices: -1, total: "3.25" },
  ]);
  expect((await listOf(warehouse, 1)).genuine).toBe(true);
  expect(await readClosings(warehouse)).toEqual([{ ...closing, replacedBy: null }]);
  expect(await provenClosings(warehouse)).toEqual([]);
});

test("a period is closed again: the newer closing counts, each of another range by itself", async () => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  const first = await close(warehouse, "2026-03");
  await send(warehouse, "b_2026-04-02.csv", [["a", 10, "2026-03-05", "1.00"]]);
  const second = await close(warehouse, "2026-Q1");
  const third = await close(warehouse, "2026-03");
  expect(second).toMatchObject({ closing: 2, previousSha256: first.sha256, invoices: 6, total: "107.25" });
  expect(third).toMatchObject({ closing: 3, previousSha256: second.sha256, invoices: 5, total: "9.25" });
  expect(second.sha256).toBe(digestOf((await listOf(warehouse, 2)).groups, second));
  const replaced = (await readClosings(warehouse)).map(({ replacedBy }) => replacedBy);
  expect(replaced).toEqual([3, null, null]);
  expect(await restatedOf(warehouse, "2026-03")).toEqual([]);
  const late = await send(warehouse, "c_2026-04-03.csv", [["a", 11, "2026-03-06", "7.00"]]);
  expect(late.restated).toEqual([
    { closing: 2, period: "2026-Q1", groups: 1, invoices: 1, total: "7.00" },
    { closing: 3, period: "2026-03", groups: 1, invoices: 1, total: "7.00" },
  ]);
  expect(await restatedOf(warehouse, "2026-Q1")).toHaveLength(1);
  expect(await restatedOf(warehouse, "2026-03")).toHaveLength(1);
  expect(await listOf(warehouse, 1)).toMatchObject({ genuine: true });
  expect(await provenClosings(warehouse)).toEqual([]);
});

test("a load that changes nothing of a closed period says nothing of it", async () => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  await close(warehouse, "2026-03");
  const confirming = await send(warehouse, "b_2026-04-02.csv", MARCH.slice(0, 3));
  const beside = await send(warehouse, "c_2026-04-03.csv", [["a", 12, "2026-04-03", "1.00"]]);
  // 3 days of a partition that is closed for the first two of them.
  await close(warehouse, "2026-04-01");
  const sameMonth = await send(warehouse, "d_2026-04-04.csv", [["a", 13, "2026-04-02", "1.00"]]);
  for (const report of [confirming, beside, sameMonth]) expect(report).not.toHaveProperty("restated");
});

test("rejected lines that come in later restate, and so does a file that replaces another", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const lines = [`a,${invoiceId(1)},2026-03-01,1.00`, `a,${invoiceId(2)},2026-03-02,"2,50"`];
  const path = writeDrop(folder, "a_2026-04-01.csv", lines);
  expect(await load(warehouse, path)).toMatchObject({ rows: { inserted: 1, rejected: 1 } });
  await close(warehouse, "2026-03");
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const retried = await run("rejects", "retry", "--load", "1", "--decimal-comma", path, "--json");
  expect(jsonLines(retried.stdout)[0]).toMatchObject({
    outcome: "taken_in",
    restated: [{ closing: 1, period: "2026-03", groups: 1, invoices: 1, total: "2.50" }],
  });
  const other = writeDrop(folder, "b_2026-04-01.csv", [`a,${invoiceId(1)},2026-03-01,7.00`]);
  const { stdout } = await run("load", other, "--replace", "1", "--because", "a test");
  expect(stdout.match(/2026-03 is closed .*/g)).toEqual([
    "2026-03 is closed (closing 1), and restated: 2 groups, -2 invoices for -3.50 euros",
    "2026-03 is closed (closing 1), and restated: 1 group, 1 invoice for 7.00 euros",
  ]);
  expect(await restatedOf(warehouse, "2026-03", "venue")).toEqual([
    { venueId: "a", groups: 1, invoices: 0, total: "6.00" },
  ]);
  expect(await provenClosings(warehouse)).toEqual([]);
});

test("a load tells the same by both ways, in any granularity", async () => {
  for (const granularity of ["day", "quarter"] as const) {
    const warehouse = await createTestDatabase({ granularity });
    await send(warehouse, "a_2026-04-01.csv", MARCH);
    await close(warehouse, "2026-03");
    await close(warehouse, "2026-02-28");
    const lines = (from: number): readonly Invoice[] => [
      ["a", from, "2026-03-31", "1.00"],
      ["z", from + 1, "2026-02-28", "2.00"],
    ];
    const direct = await send(warehouse, "b_2026-04-02.csv", lines(20));
    // The first line is known, so the careful way loads the drop.
    const careful = await send(warehouse, "c_2026-04-03.csv", [...lines(20), ...lines(30)]);
    const expected = [
      { closing: 1, period: "2026-03", groups: 1, invoices: 1, total: "1.00" },
      { closing: 2, period: "2026-02-28", groups: 1, invoices: 1, total: "2.00" },
    ];
    expect(direct.restated).toEqual(expected);
    expect(careful).toMatchObject({ rows: { inserted: 2, unchanged: 2 }, restated: expected });
  }
});

// What is refused

test("a period must have ended where the warehouse is", async () => {
  const [east, west] = [
    await createTestDatabase({ timeZone: "Etc/GMT-14" }),
    await createTestDatabase({ timeZone: "Etc/GMT+12" }),
  ];
  for (const warehouse of [east, west]) {
    await send(warehouse, "a_2026-04-01.csv", [["a", 1, "2026-03-01", "1.00"]]);
  }
  const [row] = await west.query<{ today: string }>(
    "select (now() at time zone 'Etc/GMT+12')::date::text as today",
  );
  const today = row?.today ?? "";
  // Where the date is later, the day is over.
  expect(await close(east, today)).toMatchObject({ period: today });
  const error = await errorOf(close(west, today));
  expect(error.code).toBe("usage");
  expect(error.message).toContain(`${today} has not ended: in the warehouse it is ${today}`);
  expect(await close(west, addDays(today, -1))).toMatchObject({ closing: 1 });
});

/** A zone in which it is about noon, so that no test meets a midnight. */
const OFFSET = 12 - new Date().getUTCHours();
const NOON = OFFSET === 0 ? "UTC" : `Etc/GMT${OFFSET > 0 ? "-" : "+"}${Math.abs(OFFSET)}`;

test("a date ends when the next business day starts, and sales after midnight are in it", async () => {
  const warehouse = await createTestDatabase({ timeZone: NOON, dayStarts: "18:00" });
  const lines = [
    `a,${invoiceId(1)},2026-04-01T17:59:59,1.00`,
    `a,${invoiceId(2)},2026-04-01T18:00:00,2.00`,
    `a,${invoiceId(3)},2026-03-01T17:00:00,4.00`,
  ];
  await load(warehouse, writeDrop(makeFolder(), "a_2026-04-02.csv", lines));
  expect(await close(warehouse, "2026-03")).toMatchObject({ invoices: 1, total: "1.00" });
  const [row] = await warehouse.query<{ today: string }>(
    `select (now() at time zone '${NOON}')::date::text as today`,
  );
  const yesterday = addDays(row?.today ?? "", -1);
  expect((await errorOf(close(warehouse, yesterday))).message).toContain(`it is ${yesterday}`);
  expect(await close(warehouse, addDays(yesterday, -1))).toMatchObject({ closing: 2 });
});

test("what cannot be closed is refused with a reason, and leaves nothing", async () => {
  const warehouse = await createTestDatabase({ earliest: "2026-01-01" });
  expect((await errorOf(close(warehouse, "2026-03"))).message).toContain("nothing was loaded yet");
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  expect((await errorOf(close(warehouse, "2025-12"))).message).toContain("from 2026-01-01 on");
  const ahead = await errorOf(close(warehouse, "9998"));
  expect([ahead.code, ahead.message]).toEqual(["usage", expect.stringContaining("has not ended")]);
  await refreshPartitions(warehouse);
  await detachPartition({ ...warehouse, partition: "2026-02" });
  const detached = await errorOf(close(warehouse, "2026-Q1"));
  expect(detached.code).toBe("partition_closed");
  expect(detached.message).toContain("rollbook partitions attach 2026-02");
  expect(await close(warehouse, "2026-03")).toMatchObject({ closing: 1 });
  await warehouse.query("drop table warehouse.venue_day_deltas_2026_03");
  expect((await errorOf(close(warehouse, "2026-03"))).code).toBe("table_missing");
  expect(await readClosings(warehouse)).toHaveLength(1);
  expect((await errorOf(restatedOf(warehouse, "2026-04"))).code).toBe("not_found");
  expect((await errorOf(listOf(warehouse, 7))).code).toBe("not_found");
});

test("to close is for stewards and the owner; the loader proves closings, and the reader reads them", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  const [owner, steward, loader, reader] = [
    await loginAs(warehouse, "owner"),
    await loginAs(warehouse, "steward"),
    await loginAs(warehouse, "loader"),
    await loginAs(warehouse, "reader"),
  ];
  expect(await close(steward, "2026-Q1")).toMatchObject({ closing: 1, closedBy: "test steward" });
  expect(await close(owner, "2026-03")).toMatchObject({ closing: 2, closedBy: "test owner" });
  const entry =
    "insert into warehouse.closings select 3, period, first_date, date_after, known_at, groups, invoices, total, 'x', sha256";
  expect(await refusalOf(steward, `${entry}, 'somebody' from warehouse.closings where closing_id = 2`)).toBe(
    "42501",
  );
  for (const forbidden of ["delete from warehouse.closings", "update warehouse.closings set total = 0"]) {
    expect(await refusalOf(steward, forbidden)).toBe("42501");
  }
  for (const guest of [loader, reader]) {
    const error = await errorOf(close(guest, "2026-03"));
    expect([error.code, error.message]).toEqual([
      "permission",
      expect.stringContaining("may not close periods"),
    ]);
    expect(await restatedOf(guest, "2026-03", "drop")).toEqual([]);
    expect(await listOf(guest, 1)).toMatchObject({ genuine: true });
    expect(await refusalOf(guest, `${entry} from warehouse.closings where closing_id = 2`)).toBe("42501");
  }
  expect(await send(loader, "b_2026-04-02.csv", [["a", 10, "2026-03-05", "1.00"]])).toMatchObject({
    restated: [{ period: "2026-Q1" }, { period: "2026-03" }],
  });
  expect(await provenClosings(loader)).toEqual([]);
});

// Who is found out

test("a delta that was changed by hand is found, with the closing and the group", async () => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  await close(warehouse, "2026-03");
  await close(warehouse, "2026-02");
  await warehouse.query("update warehouse.venue_day_deltas set total = 11 where created_on = '2026-03-01'");
  const certified = { groups: 3, invoices: 4, total: "8.25" };
  const found = await findDivergences(warehouse, { closings: true });
  expect(found).toMatchObject([
    { kind: "group", venueId: "b", createdOn: "2026-03-01", deltas: { total: "11.00" } },
    {
      kind: "closing",
      closing: 1,
      period: "2026-03",
      certified,
      recomputed: { ...certified, total: "8.75" },
    },
  ]);
  expect((await listOf(warehouse, 1)).genuine).toBe(false);
  // The repair makes the totals right by a new entry; what was known then is changed all the same.
  await verifyWarehouse({ ...warehouse, repair: true });
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await provenClosings(warehouse)).toMatchObject([{ closing: 1 }]);
});

test.each([
  [
    "money moved from one group to another",
    "update warehouse.venue_day_deltas set total = total + case venue_key when (select venue_key from warehouse.venues where venue_id = 'b') then 1 else -1 end where created_on in ('2026-03-01', '2026-03-02')",
  ],
  ["a venue that was renamed", "update warehouse.venues set venue_id = 'bb' where venue_id = 'b'"],
  [
    "an older load that became known later",
    "update warehouse.loads set known_at = known_at + interval '1 day'",
  ],
  ["another user", "update warehouse.closings set closed_by = 'somebody' where closing_id = 1"],
  ["another total", "update warehouse.closings set total = total + 1 where closing_id = 1"],
  [
    "another moment",
    "update warehouse.closings set known_at = known_at + interval '1 microsecond' where closing_id = 1",
  ],
  [
    "another period",
    "update warehouse.closings set date_after = '2026-03-31', period = 'March' where closing_id = 1",
  ],
])("found out: %s", async (_, statement) => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  await close(warehouse, "2026-03");
  await warehouse.query(statement);
  expect(await provenClosings(warehouse)).toMatchObject([{ closing: 1 }]);
});

test("a closing that others follow cannot be taken out, and one that is forged is found", async () => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  for (const name of ["2026-02", "2026-03", "2026-Q1"]) await close(warehouse, name);
  const refused = (statement: string) =>
    warehouse.query(statement).then(
      () => undefined,
      (error: { code?: string }) => error.code,
    );
  expect(await refused("delete from warehouse.closings where closing_id = 2")).toBe("23503");
  expect(await refused("update warehouse.closings set sha256 = 'x' where closing_id = 1")).toBe("23503");
  expect(
    await refused(
      "update warehouse.closings set previous_sha256 = (select sha256 from warehouse.closings where closing_id = 1) where closing_id = 3",
    ),
  ).toBe("23505");
  // Who is the owner can take the constraint away, and the digests tell.
  await warehouse.query("alter table warehouse.closings drop constraint closings_previous_sha256_fkey");
  await warehouse.query("delete from warehouse.closings where closing_id = 2");
  expect(await provenClosings(warehouse)).toMatchObject([
    { closing: 3, message: "closing 2 before it is gone" },
  ]);
  await warehouse.query("update warehouse.closings set closing_id = 2 where closing_id = 3");
  expect(await provenClosings(warehouse)).toMatchObject([
    { closing: 2, message: "it does not hold the digest of the closing before it" },
    { closing: 2 },
  ]);
});

test("closings are proved from deltas that are detached; of archived ones it is said that they are not", async () => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  for (const name of ["2026-02", "2026-03", "2026-Q1"]) await close(warehouse, name);
  await refreshPartitions(warehouse);
  const { database } = warehouse;
  await detachPartition({ database, partition: "2026-03" });
  const verified = () => verifyWarehouse({ ...warehouse, closings: true });
  expect(await verified()).toMatchObject({ divergences: 0, closings: { recomputed: 3, unprovable: [] } });
  expect((await errorOf(listOf(warehouse, 2))).message).toContain("partitions attach 2026-03");
  await warehouse.query("update warehouse.venue_day_deltas_2026_03 set total = total + 1");
  expect(await provenClosings(warehouse)).toMatchObject([{ closing: 2 }, { closing: 3 }]);
  await warehouse.query("update warehouse.venue_day_deltas_2026_03 set total = total - 1");
  await warehouse.query("alter table warehouse.venue_day_deltas_2026_03 set schema public");
  expect(await verified()).toMatchObject({
    divergences: 0,
    closings: {
      recomputed: 1,
      unprovable: [
        { closing: 2, period: "2026-03", partitions: ["2026-03"] },
        { closing: 3, period: "2026-Q1", partitions: ["2026-03"] },
      ],
    },
  });
  await warehouse.query("alter table public.venue_day_deltas_2026_03 set schema warehouse");
  await attachPartition({ database, partition: "2026-03" });
  expect(await verified()).toMatchObject({ divergences: 0, closings: { recomputed: 3 } });
  expect(await listOf(warehouse, 2)).toMatchObject({ genuine: true });
});

// At once

test("--last-month closes the month before today's once, and --once leaves what is closed alone", async () => {
  const warehouse = await createTestDatabase({ timeZone: "Pacific/Kiritimati" });
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  const [month] = await warehouse.query<{ name: string }>(
    "select to_char(now() at time zone 'Pacific/Kiritimati' - interval '1 month', 'YYYY-MM') as name",
  );
  const run = async (...args: string[]) =>
    rollbookHere(["close", ...args], { environment: warehouse.environment, folder: makeFolder() });
  const first = await run("--last-month", "--once", "--json");
  expect(jsonLines(first.stdout)).toMatchObject([{ outcome: "closed", closing: 1, period: month?.name }]);
  const again = await run("--last-month", "--once", "--json");
  expect(jsonLines(again.stdout)).toMatchObject([
    { outcome: "already_closed", closing: 1, sha256: jsonLines(first.stdout)[0]?.sha256 },
  ]);
  expect(await run("2026-03", "--once")).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("SHA-256"),
  });
  expect(await run("2026-03", "--once")).toMatchObject({
    code: 0,
    stdout: "2026-03 is closed already (closing 2).\n",
  });
  expect(await run("2026-03", "--json")).toMatchObject({ code: 0 });
  expect((await readClosings(warehouse)).map(({ replacedBy }) => replacedBy)).toEqual([null, 3, null]);
  for (const more of [["2026-03"], ["--from", "2026-03-01"]]) {
    expect(await run("--last-month", ...more)).toMatchObject({ code: 2 });
  }
  const at = (name: string) => closePeriod({ ...warehouse, period: periodNamed(name), once: true });
  const together = await Promise.all(["2026-02", "2026-02", "2026-02"].map(at));
  expect(together.map(({ outcome }) => outcome).toSorted()).toEqual([
    "already_closed",
    "already_closed",
    "closed",
  ]);
});

test("closes at once form one chain", async () => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  const names = ["2026-03", "2026-Q1", "2026-03", "2026-02", "2026-03"];
  await Promise.all(names.map((name) => close(warehouse, name)));
  const closings = await readClosings(warehouse);
  expect(closings.map(({ closing }) => closing)).toEqual([1, 2, 3, 4, 5]);
  expect(closings.map(({ period }) => period).toSorted()).toEqual(names.toSorted());
  expect(await provenClosings(warehouse)).toEqual([]);
});

test("a load that commits before the moment counts, and one that commits after it restates", async () => {
  const warehouse = await createTestDatabase();
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  const holder = await openTransaction(warehouse);
  // The closing has read what is known, and cannot be entered yet.
  await holder.query("lock table warehouse.closings in share mode");
  const closing = close(warehouse, "2026-03");
  await expect.poll(() => waits(warehouse), { timeout: 20_000 }).toHaveLength(1);
  await send(warehouse, "b_2026-04-02.csv", [["a", 10, "2026-03-05", "1.00"]]);
  await holder.query("commit");
  expect(await closing).toMatchObject({ invoices: 4, total: "8.25" });
  expect(await restatedOf(warehouse, "2026-03", "drop")).toMatchObject([
    { fileName: "b_2026-04-02.csv", invoices: 1, total: "1.00" },
  ]);
  expect(await provenClosings(warehouse)).toEqual([]);
});

test("beside loads that commit all the while each closing and its restatements add up to what is", async () => {
  const warehouse = await createTestDatabase({ connections: 20 });
  await send(warehouse, "a_2026-04-01.csv", MARCH);
  let next = 100;
  const sender = async (name: string) => {
    for (let drop = 0; drop < 12; drop += 1) {
      const invoices = Array.from({ length: 20 }, (_, index): Invoice => {
        next += 1;
        return [`v${index % 3}`, next, `2026-03-${String(1 + (next % 31)).padStart(2, "0")}`, "1.01"];
      });
      await send(warehouse, `${name}${drop}_2026-04-01.csv`, invoices);
    }
  };
  const closer = async (names: readonly string[]) => {
    for (const name of names) await close(warehouse, name);
  };
  await Promise.all([
    sender("x"),
    sender("y"),
    sender("z"),
    closer(["2026-03-05", "2026-03", "2026-03-06", "2026-W11"]),
    closer(["2026-Q1", "2026-03-07", "2026-03-08", "2026-W12"]),
  ]);
  const totals = await totalsOf(warehouse);
  const cents = (total: string) => Number(total.replace(".", ""));
  for (const closing of await readClosings(warehouse)) {
    const restated = await restatedOf(warehouse, closing.period);
    const within = totals.filter(
      ({ created_on = "" }) => created_on >= closing.from && created_on < closing.to,
    );
    const sum = (rows: readonly { invoices: number; total: string }[]) => [
      rows.reduce((all, { invoices }) => all + invoices, 0),
      rows.reduce((all, { total }) => all + cents(total), 0),
    ];
    expect(sum([closing, ...restated]), closing.period).toEqual(sum(within));
    expect(sum(await restatedOf(warehouse, closing.period, "drop"))).toEqual(sum(restated));
  }
  expect(await provenClosings(warehouse)).toEqual([]);
});
