/** What a load does with a source: the ledger keeps which one it was, and it decides about dates and limits. */
import { createHash } from "node:crypto";
import { utimesSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import type { Form } from "../drop/form.ts";
import { FILE_DATE } from "../drop/name.ts";
import type { FileSource } from "../sources/source.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { DROP_FORM } from "../testing/sources.ts";
import { disagreements } from "../testing/warehouse.ts";
import { loadDrop } from "./load.ts";

const sourceOf = (text: string, source: Partial<FileSource> = {}): FileSource => ({
  name: "till",
  sha256: createHash("sha256").update(text).digest(),
  form: DROP_FORM,
  ...source,
});
const line = (number: number, created = "2026-01-01") => `v1,${invoiceId(number)},${created},1.00`;

test("the ledger keeps the source of a load, and shows that of the first when the drop comes again", async () => {
  const warehouse = await createTestDatabase();
  const path = writeDrop(makeFolder(), "a_2026-01-02.csv", [line(1)]);
  const source = sourceOf("one");
  const readBy = { name: "till", sha256: source.sha256.toString("hex") };
  expect(await loadDrop({ ...warehouse, path, source })).toMatchObject({ outcome: "loaded", source: readBy });
  const again = await loadDrop({ ...warehouse, path, source: sourceOf("another") });
  expect(again).toMatchObject({ outcome: "already_loaded", source: readBy });
  expect(
    await warehouse.query("select source, source_sha256, skipped, summed from reports.load_history"),
  ).toEqual([{ source: "till", source_sha256: readBy.sha256, skipped: "0", summed: "0" }]);
});

test("a drop that is rejected or fails has its source in the ledger, too; one without a source has none", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const source = sourceOf("one");
  const load = async (name: string, lines: readonly string[], given?: FileSource) => {
    const { outcome, source: found } = await loadDrop({
      ...warehouse,
      path: writeDrop(folder, name, lines),
      source: given,
    });
    return [outcome, found?.name];
  };
  await warehouse.query("alter table warehouse.venues add constraint boom check (venue_id <> 'boom')");
  expect(await load("bad_2026-01-02.csv", ["x"], source)).toEqual(["rejected", "till"]);
  expect(await load("undated.csv", [line(1)], source)).toEqual(["rejected", "till"]);
  expect(await load("fails_2026-01-02.csv", [line(1).replace("v1", "boom")], source)).toEqual([
    "failed",
    "till",
  ]);
  expect(await load("plain_2026-01-02.csv", [line(1)])).toEqual(["loaded", undefined]);
  expect(
    await warehouse.query(
      "select status, source, source_sha256 is null as without from reports.load_history order by load_id",
    ),
  ).toEqual([
    { status: "rejected", source: "till", without: false },
    { status: "rejected", source: "till", without: false },
    { status: "failed", source: "till", without: false },
    { status: "loaded", source: null, without: true },
  ]);
  await expect(
    warehouse.query("insert into warehouse.loads (file_name, status, source) values ('x', 'failed', 'till')"),
  ).rejects.toThrow("loads_source_check");
});

test("the sync date that somebody gives comes before that of the source, and that before the name's", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const source = sourceOf("one", { syncedOn: "2026-01-03" });
  const load = async (name: string, options: { source?: FileSource; syncedOn?: string }) => {
    const path = writeDrop(folder, name, [line(1)]);
    utimesSync(path, new Date("2026-01-05T12:00:00Z"), new Date("2026-01-05T12:00:00Z"));
    return (await loadDrop({ ...warehouse, path, ...options })).syncedOn;
  };
  expect(await load("a_2026-01-02.csv", {})).toBe("2026-01-02");
  expect(await load("a_2026-01-02.csv", { source: sourceOf("one") })).toBe("2026-01-02");
  expect(await load("a_2026-01-02.csv", { source })).toBe("2026-01-03");
  expect(await load("a_2026-01-02.csv", { source, syncedOn: "2026-01-04" })).toBe("2026-01-04");
  expect(await load("a_2026-01-02.csv", { source: { ...source, syncedOn: FILE_DATE } })).toBe("2026-01-05");
});

test("a file that a source reads may have any ending", async () => {
  const warehouse = await createTestDatabase();
  const path = writeDrop(makeFolder(), "a_2026-01-02.TXT", [line(1)]);
  expect(await loadDrop({ ...warehouse, path })).toMatchObject({
    outcome: "rejected",
    error: { code: "not_csv" },
  });
  expect(await loadDrop({ ...warehouse, path, source: sourceOf("one") })).toMatchObject({
    outcome: "loaded",
  });
});

test("what a source says of late lines and rejects counts, and not what the load says", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const late = writeDrop(folder, "late_2026-01-02.csv", [line(1, "2026-01-03")]);
  expect(await loadDrop({ ...warehouse, path: late, source: sourceOf("one") })).toMatchObject({
    outcome: "rejected",
    error: { message: expect.stringContaining("with --max-rejects.") },
  });
  expect(
    await loadDrop({ ...warehouse, path: late, source: sourceOf("one", { syncSlack: 1 }) }),
  ).toMatchObject({
    rows: { inserted: 1 },
  });
  const bad = writeDrop(folder, "bad_2026-01-02.csv", [line(2), "x,x,x,x"]);
  const lines = (lines: number) => sourceOf("one", { maxRejects: { share: 0, lines } });
  expect(await loadDrop({ ...warehouse, path: bad, source: lines(0), maxRejects: 1 })).toMatchObject({
    outcome: "rejected",
    error: { message: expect.stringContaining("with max_rejects in source till.") },
  });
  expect(await loadDrop({ ...warehouse, path: bad, source: lines(1), maxRejects: 0 })).toMatchObject({
    outcome: "loaded",
    rows: { inserted: 1, rejected: 1 },
  });
});

test("of a drop whose rows are added up no line may be rejected, whatever the load allows", async () => {
  const warehouse = await createTestDatabase();
  const path = writeDrop(makeFolder(), "a_2026-01-02.csv", [
    ...Array.from({ length: 200 }, (_, n) => line(n)),
    "x",
  ]);
  const source = sourceOf("one", {
    form: { ...DROP_FORM, sumRows: true },
    maxRejects: { share: 1, lines: 9 },
  });
  const report = await loadDrop({ ...warehouse, path, source, maxRejects: 1, maxRejectedLines: 9 });
  expect(report).toMatchObject({
    outcome: "rejected",
    error: {
      code: "too_many_rejects",
      message: expect.stringContaining("source till adds up rows (sum_rows)"),
    },
  });
  expect(report.error?.message).not.toContain("--max-rejects");
  expect(await warehouse.query("select from warehouse.invoices")).toEqual([]);
});

/** The sum of lines by invoice, date and venue; the time is the earliest. */
function addUp(lines: readonly Line[]): readonly Line[] {
  const sums = new Map<string, Line>();
  for (const one of lines) {
    const key = `${one.venue} ${one.id} ${one.created.slice(0, 10)}`;
    const known = sums.get(key);
    sums.set(key, {
      ...one,
      cents: one.cents + (known?.cents ?? 0),
      created: known !== undefined && known.created < one.created ? known.created : one.created,
    });
  }
  return [...sums.values()];
}

interface Line {
  readonly venue: string;
  readonly id: number;
  readonly created: string;
  readonly cents: number;
}

const anyLine: fc.Arbitrary<Line> = fc.record({
  venue: fc.constantFrom("v1", "v2"),
  id: fc.integer({ min: 1, max: 12 }),
  created: fc
    .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 10, max: 23 }))
    .map(([day, hour]) => `2026-01-0${day}T${hour}:00:00`),
  cents: fc.integer({ min: -50_000, max: 50_000 }),
});

const textOf = ({ venue, id, created, cents }: Line) =>
  `${venue},${invoiceId(id)},${created},${(cents / 100).toFixed(2)}`;

test("rows of one key are added, wherever they stand, in any drop, as adding them up beforehand would", async () => {
  const drops = fc.sample(fc.array(anyLine, { minLength: 1, maxLength: 60 }), { numRuns: 25, seed: 7 });
  const [summing, summed] = [await createTestDatabase(), await createTestDatabase()];
  const folder = makeFolder();
  const source = sourceOf("one", { form: { ...DROP_FORM, sumRows: true } });
  for (const [index, lines] of drops.entries()) {
    const sums = addUp(lines);
    const name = `drop${index}_2026-01-${String(5 + (index % 7)).padStart(2, "0")}.csv`;
    const path = writeDrop(folder, name, lines.map(textOf));
    const { rows } = await loadDrop({ ...summing, path, source });
    const other = await loadDrop({ ...summed, path: writeDrop(folder, name, sums.map(textOf)) });
    expect(rows).toEqual({ ...other.rows, read: lines.length, summed: lines.length - sums.length });
  }
  const invoices = `select created_on::text, venue_id, invoice_id, load_id, synced_on::text, created_at::text, total
                    from warehouse.invoices join warehouse.venues using (venue_key) order by 1, 2, 3`;
  expect(await summing.query(invoices)).toEqual(await summed.query(invoices));
  expect(await disagreements(summing)).toEqual([]);
});

test("a drop is rejected when rows of one invoice add up to more than a total can be: no retry would help", async () => {
  const warehouse = await createTestDatabase();
  const large = `v1,${invoiceId(1)},2026-01-01,999999999999.99`;
  const path = writeDrop(makeFolder(), "a_2026-01-02.csv", [large, large]);
  const report = await loadDrop({
    ...warehouse,
    path,
    source: sourceOf("one", { form: { ...DROP_FORM, sumRows: true } }),
  });
  expect(report).toMatchObject({
    outcome: "rejected",
    rows: { read: 2, inserted: 0, rejected: 0 },
    error: { code: "sum_too_large", message: expect.stringContaining("is that of a single invoice") },
  });
  expect(await warehouse.query("select from warehouse.invoices")).toEqual([]);
});

test.each([true, false])(
  "records that the source leaves out are counted, and not read (careful: %s)",
  async (careful) => {
    const warehouse = await createTestDatabase();
    const lines = [line(1), `${line(2)},`, line(3).replace("v1", "void"), line(4).replace("v1", "void")];
    const form: Form = { ...DROP_FORM, conditions: [{ column: 1, values: ["void"], effect: "skip" }] };
    const path = writeDrop(makeFolder(), "a_2026-01-02.csv", lines);
    expect(await loadDrop({ ...warehouse, path, careful, source: sourceOf("one", { form }) })).toMatchObject({
      outcome: "loaded",
      rows: { read: 2, inserted: 2, skipped: 2, rejected: 0 },
    });
    expect(await warehouse.query("select read, skipped from reports.load_history")).toEqual([
      { read: "2", skipped: "2" },
    ]);
  },
);
