/**
 * What a login of each role may try on the tables that it may write to: each attempt is refused, changes nothing, or is
 * named by verify and can be taken back. What it has no right to at all: db/roles/grant.test.ts.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { detachPartition } from "../../../db/partitions/remove.ts";
import { STAGING_SLOTS } from "../../../db/schema.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { loginAs } from "../../../db/testing/roles.ts";
import { closePeriod } from "../../closings/close.ts";
import { periodOf } from "../../closings/period.ts";
import { dismissRejects } from "../../load/dismiss.ts";
import { loadDrop } from "../../load/load.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { dropVerified } from "../../retire.ts";
import { undo } from "../../undo/undo.ts";
import { findDivergences } from "../invoices.ts";
import { chooseFor, type It, LIES, type Lie, namedBy, STEWARD_LIES, takeBack, tellLie } from "../lies.ts";
import { invoiceId, writeDrop } from "../lines.ts";

const FORMAT = "venue_id,invoice_id,datetime_created,total";
const line = (venue: string, id: number, day: string, total: string) =>
  `${venue},${invoiceId(id)},${day}T12:00:00,${total}`;

/** One with all that there is, and a drop that is still to come. */
async function makePlace() {
  const warehouse = await createTestDatabase({ roles: true });
  const { settings, database } = warehouse;
  const loader = await loginAs(warehouse, "loader");
  const steward = await loginAs(warehouse, "steward");
  const folder = makeFolder();
  const write = (name: string, lines: readonly string[]) => writeDrop(folder, name, [FORMAT, ...lines]);
  const load = (path: string, more = {}) =>
    loadDrop({ database: loader.database, settings, path, maxRejects: 1, ...more });
  const drops = [
    write("a_2026-03-30.csv", [
      line("v", 1, "2026-03-01", "1.00"),
      line("v", 2, "2026-03-01", "2.00"),
      line("w", 3, "2026-02-01", "3.00"),
      line("v", 4, "2026-01-01", "4.00"),
      line("v", 5, "2025-12-01", "5.00"),
    ]),
    write("b_2026-03-31.csv", [
      line("v", 1, "2026-03-01", "1.50"),
      line("v", 2, "2026-03-01", "2.00"),
      "bad",
    ]),
    write("c_2026-03-31.csv", [line("w", 6, "2026-02-02", "6.00"), `w,${invoiceId(9)},never,1.00`]),
    write("d_2026-04-01.csv", [line("w", 7, "2026-02-01", "7.00")]),
  ];
  for (const path of drops) expect(await load(path)).toMatchObject({ outcome: "loaded" });
  // All that there is for its venue and date: invoice 2 is absent.
  const whole = write("e_2026-04-02.csv", [line("v", 1, "2026-03-01", "1.50")]);
  expect(await load(whole, { replaceVenueDays: true })).toMatchObject({ rows: { absent: 1 } });
  await undo({ database: steward.database, settings, loadId: 4, because: "a test" });
  const period = periodOf({ from: "2026-02-01", to: "2026-03-01" });
  await closePeriod({ database: steward.database, settings, period });
  await dismissRejects({ database: loader.database, loadId: 2, because: "a test" });
  await refreshPartitions({ database });
  await detachPartition({ database, partition: "2025-12" });
  await dropVerified({ database, settings, partition: "2026-01" });
  expect(await load(write("f_2026-04-02.csv", [line("v", 8, "2026-03-02", "8.00")]))).toMatchObject({
    outcome: "loaded",
  });
  const toCome = write("g_2026-04-03.csv", [line("v", 10, "2026-03-02", "9.00")]);
  expect(await findDivergences(warehouse, { closings: true })).toEqual([]);
  return { warehouse, loader, steward, toCome, load };
}

/** What the reports show, and what stands behind it. */
async function fingerprint({ query }: TestWarehouse): Promise<string> {
  const texts = [
    "warehouse.invoices",
    "warehouse.corrections",
    "warehouse.venue_day_deltas",
    "reports.venue_daily_totals",
    "reports.venue_daily_totals_as_known_on(now())",
    "reports.closings",
    "reports.restatements",
    "(select * from reports.load_history where known_at is not null)",
  ].map((from) => `(select coalesce(string_agg(t::text, E'\\n' order by t::text), '') from ${from} t)`);
  const [row] = await query<{ text: string }>(`select concat_ws(E'\\n\\n', ${texts.join(", ")}) as text`);
  return row?.text ?? "";
}

async function tellAll(
  place: Awaited<ReturnType<typeof makePlace>>,
  login: TestWarehouse,
  lies: Readonly<Record<string, Lie>>,
): Promise<void> {
  const { warehouse, toCome } = place;
  const sha256 = createHash("sha256").update(readFileSync(toCome)).digest("hex");
  for (const [name, lie] of Object.entries(lies)) {
    const before = await fingerprint(warehouse);
    const able = await chooseFor(lie, warehouse.query, [{ sha256, synced_on: "2026-04-03" }]);
    expect(able, name).not.toEqual([]);
    const told = await tellLie({ database: login.database, lie, about: able[0] as It });
    const { must } = lie;
    if (told.kind === "refused") {
      expect({ be: "refused", state: told.state }, `${name}: ${told.message}`).toEqual(must);
    } else if (must.be === "named") {
      const found = await findDivergences(warehouse, { identity: true, closings: true });
      expect(namedBy(found, lie, told.it).toSorted(), name).toEqual(
        [...new Set(must.as(told.it))].toSorted(),
      );
      const bySlices = await findDivergences(warehouse, { sliceMs: 1e9, closings: true });
      expect(namedBy(bySlices, lie, told.it), `${name}, by slices`).toEqual(namedBy(found, lie, told.it));
      await takeBack(warehouse, lie, told.it);
    } else {
      expect(must.be, name).toBe("nothing");
    }
    expect(await fingerprint(warehouse), name).toBe(before);
    expect(await findDivergences(warehouse, { closings: true }), name).toEqual([]);
  }
}

// What mends the others empties the queue.
const { "queue: deleted": QUEUE, ...OTHERS } = LIES;

/** Each lie is looked for twice in the whole warehouse. */
const LONG = { timeout: 600_000 };

test("what a loader may try is refused, changes nothing, or is named", LONG, async () => {
  const place = await makePlace();
  await tellAll(place, place.loader, { "queue: deleted": QUEUE, ...OTHERS });
  // And all goes on, whatever somebody has left in staging.
  for (let slot = 1; slot <= STAGING_SLOTS; slot += 1) {
    await place.loader.query(
      `insert into warehouse.staging_${slot} values ('forged', gen_random_uuid(), '2026-03-02', 1)`,
    );
  }
  expect(await place.load(place.toCome)).toMatchObject({ outcome: "loaded", rows: { inserted: 1 } });
  expect(await findDivergences(place.warehouse, { closings: true })).toEqual([]);
});

test("what a steward may try beside that is refused, or is named", LONG, async () => {
  const place = await makePlace();
  await tellAll(place, place.steward, STEWARD_LIES);
  expect(await place.load(place.toCome)).toMatchObject({ outcome: "loaded", rows: { inserted: 1 } });
});

/** A right, as the list of db/roles has it: `rollbook_loader update(total): warehouse.invoices`. */
interface Right {
  readonly role: string;
  readonly verb: string;
  readonly column: string | undefined;
  readonly object: string;
}

function readRights(): readonly Right[] {
  const text = readFileSync(new URL("../../../db/roles/rights.txt", import.meta.url), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .flatMap((row) => {
      const [, role = "", verb = "", column, objects = ""] =
        /^(\w+) (\w+)(?:\((\w+)\))?: (.+)$/.exec(row) ?? [];
      // The types of a function stand in brackets.
      return (objects.match(/[\w.]+(\([^)]*\))?/g) ?? []).map((object) => ({ role, verb, column, object }));
    });
}

/** Whether an attempt uses a right. A partition's own table is written like its parent. */
function uses(statement: string, { verb, column, object }: Right): boolean {
  const name = object
    .replace(/^warehouse\.staging_N$/, "warehouse.staging_1")
    .replace(/_2026_N$/, "")
    .replace(/\(.*/, "(");
  const at = statement.indexOf(name);
  if (at === -1) return false;
  const before = statement.slice(0, at);
  const after = statement.slice(at + name.length);
  if (/^\w/.test(after) && !name.endsWith("(")) return false;
  const names = column === undefined || new RegExp(`\\b${column}\\b`).test(after);
  switch (verb) {
    case "insert":
      return /insert into $/.test(before) && names;
    case "update":
      return (
        /update $/.test(before) &&
        (column === undefined || new RegExp(`\\b${column} =`).test(after.split(" where ")[0] ?? ""))
      );
    case "delete":
      return /delete from $/.test(before);
    case "truncate":
      return /truncate [^;]*$/.test(before);
    case "maintain":
      return /lock table $/.test(before) && after.includes("access exclusive");
    case "execute":
      return /select [^;]*$/.test(before);
    default:
      return false;
  }
}

test("no right to write or to call is granted that no attempt uses", () => {
  const rights = readRights();
  expect(rights.length).toBeGreaterThan(200);
  const attempts: Readonly<Record<string, readonly Lie[]>> = {
    rollbook_loader: Object.values(LIES),
    rollbook_steward: [...Object.values(LIES), ...Object.values(STEWARD_LIES)],
    rollbook_reader: READING.map((tell) => ({ about: "", tell: [tell], must: { be: "nothing" } })),
  };
  const unused = rights.filter((right) => {
    if (right.verb === "select" || right.verb === "usage") return false;
    const statements = (attempts[right.role] ?? []).flatMap(({ tell }) => tell);
    return !statements.some((statement) => uses(statement, right));
  });
  expect(unused.map(({ role, verb, column, object }) => `${role} ${verb} ${column ?? ""} ${object}`)).toEqual(
    [],
  );
});

/** What a reader may call. */
const READING = [
  "select count(*) from reports.venue_daily_totals_as_known_on('infinity'::timestamptz)",
  "select count(*) from reports.venue_daily_totals_as_known_on('-infinity'::timestamptz)",
  "select count(*) from reports.venue_daily_totals_as_known_on(date '4000-01-01')",
];

test("a reader asks whatever it likes, and changes nothing", async () => {
  const { warehouse } = await makePlace();
  const reader = await loginAs(warehouse, "reader");
  const before = await fingerprint(warehouse);
  for (const statement of READING) expect(await reader.query(statement), statement).toHaveLength(1);
  expect(await fingerprint(warehouse)).toBe(before);
});
