/** Undo of loads that are older than the statements that are kept: what others said is read from their files. */
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { detachPartition } from "../../db/partitions/remove.ts";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { type LoadOptions, loadDrop } from "../load/load.ts";
import { retryRejects } from "../load/retry_rejects.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { rollbookHere } from "../testing/cli.ts";
import { findDivergences } from "../testing/invoices.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { parseText } from "../testing/sources.ts";
import { disagreements } from "../testing/warehouse.ts";
import { pruneStatements } from "./prune.ts";
import { type UndoOptions, type UndoReport, undo } from "./undo.ts";

const HISTORIES = Number(process.env.ROLLBOOK_HISTORIES ?? 10);
const DAY = "2026-01-01";
const line = (invoice: number, total: string, createdOn = DAY) =>
  `v,${invoiceId(invoice)},${createdOn}T12:00:00,${total}`;

async function load(
  warehouse: TestWarehouse,
  path: string,
  options: Partial<LoadOptions> = {},
): Promise<number> {
  const report = await loadDrop({ ...warehouse, path, maxRejects: 1, ...options });
  expect(report).toMatchObject({ outcome: "loaded" });
  return report.loadId ?? 0;
}

/** All loads so far grow older than the statements that are kept. */
async function forget(warehouse: TestWarehouse): Promise<void> {
  await warehouse.query("update warehouse.loads set known_at = known_at - interval '401 days'");
  await pruneStatements(warehouse);
}

function undoFrom(
  warehouse: TestWarehouse,
  folder: string,
  loadId: number,
  options: Partial<UndoOptions> = {},
): Promise<UndoReport> {
  return undo({ ...warehouse, loadId, because: "a test", archive: { folder, sources: [] }, ...options });
}

/** Each invoice, with the file whose statement stands; nothing may disagree with them. */
async function standing(warehouse: TestWarehouse): Promise<readonly string[]> {
  expect(await disagreements(warehouse)).toEqual([]);
  expect(await findDivergences(warehouse)).toEqual([]);
  const rows = await warehouse.query<{ text: string }>(`
    select concat_ws(' ', right(invoice_id::text, 12)::integer, created_on, total, file_name) as text
    from warehouse.invoices join warehouse.loads using (load_id)
    order by 1`);
  return rows.map(({ text }) => text);
}

const anyDrop = fc.record({
  lines: fc.array(fc.record({ invoice: fc.nat(5), day: fc.nat(1), cents: fc.nat(1) }), {
    minLength: 1,
    maxLength: 6,
  }),
  syncDay: fc.integer({ min: 3, max: 6 }),
  /** It has a decimal comma; it is all there is for its venues and days. */
  comma: fc.boolean(),
  isSnapshot: fc.oneof(
    { weight: 3, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) },
  ),
});
const anyHistory = fc.noBias(
  fc.record({
    forgotten: fc.array(anyDrop, { minLength: 2, maxLength: 6 }),
    later: fc.array(anyDrop, { maxLength: 3 }),
    undone: fc.nat(),
    undoneBefore: fc.option(fc.nat()),
  }),
);

test("the undo of a load whose statements were forgotten leaves what is there without it", {
  timeout: 600_000,
}, async () => {
  const lives = fc.asyncProperty(anyHistory, async ({ forgotten, later, undone, undoneBefore }) => {
    const folder = makeFolder();
    const drops = [...forgotten, ...later].map(({ lines, syncDay, comma, isSnapshot }, index) => ({
      path: writeDrop(folder, `drop${index}_2026-01-0${syncDay}.csv`, [
        // No drop is the same as another.
        line(100 + index, "1"),
        ...lines.map(({ invoice, day, cents }) =>
          line(invoice, comma ? `"${cents},50"` : `${cents}.50`, day === 0 ? DAY : "2025-12-31"),
        ),
      ]),
      decimalComma: comma,
      replaceVenueDays: isSnapshot,
    }));
    const target = undone % forgotten.length;
    const other = undoneBefore === null ? -1 : undoneBefore % forgotten.length;
    const [warehouse, without] = [await createTestDatabase(), await createTestDatabase()];
    const numbers: number[] = [];
    for (const [index, { path, ...options }] of drops.entries()) {
      if (index === forgotten.length) {
        if (other !== -1 && other !== target) {
          await undo({ ...warehouse, loadId: numbers[other] ?? 0, because: "before" });
        }
        await forget(warehouse);
      }
      numbers.push(await load(warehouse, path, options));
      if (index !== target && index !== other) await load(without, path, options);
    }
    if (later.length === 0) await forget(warehouse);
    const snapshot = await warehouse.query(
      "select from warehouse.absences where load_id = $1 and invoice_ids is null",
      [numbers[target]],
    );
    if (snapshot.length > 0) {
      const refused = { code: "statements_pruned", message: expect.stringContaining("holds all invoices") };
      await expect(undoFrom(warehouse, folder, numbers[target] ?? 0)).rejects.toMatchObject(refused);
      return;
    }
    await undoFrom(warehouse, folder, numbers[target] ?? 0);
    if (later.length === 0 && other !== -1 && other !== target) {
      await load(without, drops[other]?.path ?? "", drops[other]);
    }
    expect(await standing(warehouse)).toEqual(await standing(without));
  });
  await fc.assert(lives, { seed: Number(process.env.ROLLBOOK_SEED ?? 1), numRuns: HISTORIES });
});

/** Three files with one invoice, and one that only brought another elsewhere; all are forgotten. */
async function setScene() {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const paths = [
    writeDrop(folder, "a_2026-01-02.csv", [line(1, "1.00"), line(2, "2.00")]),
    writeDrop(folder, "b_2026-01-03.csv", [line(1, "1.00"), line(2, "2.00")]),
    writeDrop(folder, "c_2026-01-04.csv", [line(1, "1.00"), line(2, "9.00")]),
    writeDrop(folder, "d_2025-11-02.csv", [line(4, "4.00", "2025-11-01")]),
  ] as const;
  const numbers: number[] = [];
  for (const path of paths) numbers.push(await load(warehouse, path));
  await forget(warehouse);
  const [, , third = 0] = numbers;
  return { warehouse, folder, paths, numbers, third };
}
const WITHOUT_C = [
  "1 2026-01-01 1.00 b_2026-01-03.csv",
  "2 2026-01-01 2.00 b_2026-01-03.csv",
  "4 2025-11-01 4.00 d_2025-11-02.csv",
];

test("files are found under any name, in any folder, and one of a load that brought only other dates is not needed", async () => {
  const { warehouse, folder, paths, third } = await setScene();
  mkdirSync(join(folder, "2026"));
  renameSync(paths[1], join(folder, "2026", "renamed.txt"));
  writeFileSync(join(folder, "b_2026-01-03.csv"), readFileSync(paths[0]));
  rmSync(paths[3]);
  const planned = await undoFrom(warehouse, folder, third, { dryRun: true });
  expect(planned.rows).toEqual({ removed: 0, corrected: 1, unchanged: 1, inserted: 0 });
  expect(await undoFrom(warehouse, folder, third)).toMatchObject({ rows: planned.rows, total: "-7.00" });
  expect(await standing(warehouse)).toEqual(WITHOUT_C);
});

test("without an archive the refusal names this way out; files that are missing or changed are all named", async () => {
  const { warehouse, folder, paths, numbers, third } = await setScene();
  await expect(undo({ ...warehouse, loadId: third, because: "a test" })).rejects.toMatchObject({
    code: "statements_pruned",
    message: expect.stringContaining(`rollbook undo ${third} --from-archive FOLDER`),
  });
  writeFileSync(paths[0], `${line(1, "1.00")}\n${line(2, "3.00")}\n`);
  rmSync(paths[1]);
  const before = await standing(warehouse);
  const [first, second] = numbers;
  const missing = (name: string, loadId = 0) =>
    expect.stringMatching(new RegExp(`${name} \\(load ${loadId}, SHA-256 [0-9a-f]{64}\\)`));
  for (const message of [
    missing("a_2026-01-02.csv", first),
    missing("b_2026-01-03.csv", second),
    expect.not.stringContaining("c_2026"),
    expect.not.stringContaining("d_2025"),
  ]) {
    await expect(undoFrom(warehouse, folder, third)).rejects.toMatchObject({ code: "not_found", message });
  }
  rmSync(paths[2]);
  for (const message of [missing("a_2026-01-02.csv", first), missing("c_2026-01-04.csv", third)]) {
    await expect(undoFrom(warehouse, folder, third)).rejects.toMatchObject({ code: "not_found", message });
  }
  await expect(undoFrom(warehouse, join(folder, "x"), third)).rejects.toThrow("there is no folder");
  expect(await standing(warehouse)).toEqual(before);
});

test("lines that were rejected then say nothing, also if they could be read now; a gzip file and a decimal comma are read as then", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  await load(warehouse, writeDrop(folder, "z_2025-12-02.csv", [line(9, "9.00", "2025-11-30")]));
  await refreshPartitions({ ...warehouse });
  await detachPartition({ ...warehouse, partition: "2025-11" });
  const lines = [line(1, '"1,00"'), line(9, '"7,00"', "2025-11-30"), line(1, "x"), line(2, '"2,00"')];
  const path = join(folder, "a_2026-01-02.csv.gz");
  writeFileSync(path, gzipSync(`${lines.join("\n")}\n`));
  await load(warehouse, path, { decimalComma: true });
  const second = await load(
    warehouse,
    writeDrop(folder, "b_2026-01-03.csv", [line(1, "1.00"), line(2, "3.00")]),
  );
  await forget(warehouse);
  const { rows } = await undoFrom(warehouse, folder, second);
  expect(rows).toEqual({ removed: 0, corrected: 1, unchanged: 1, inserted: 0 });
  expect(await standing(warehouse)).toEqual([
    "1 2026-01-01 1.00 a_2026-01-02.csv.gz",
    "2 2026-01-01 2.00 a_2026-01-02.csv.gz",
  ]);
});

test("a source must be what it was", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const text =
    "files: '*.csv'\ncolumns:\n  venue_id: shop\n  invoice_id: id\n  datetime_created: at\n  total: euros\n";
  const source = parseText(text);
  const header = "shop,id,at,euros";
  const write = (name: string, total: string) => writeDrop(folder, name, [header, line(1, total)]);
  const options = { source: { name: source.name, sha256: source.sha256, form: source.form } };
  await load(warehouse, write("a_2026-01-02.csv", "1.00"), options);
  const second = await load(warehouse, write("b_2026-01-03.csv", "2.00"), options);
  await forget(warehouse);
  const run = (sources: readonly (typeof source)[]) =>
    undoFrom(warehouse, folder, second, { archive: { folder, sources } });
  await expect(run([])).rejects.toMatchObject({
    code: "configuration",
    message: expect.stringContaining("no such source"),
  });
  await expect(run([parseText(`${text}# changed\n`)])).rejects.toMatchObject({
    code: "configuration",
    message: expect.stringContaining("has another text now"),
  });
  await run([source]);
  expect(await standing(warehouse)).toEqual(["1 2026-01-01 1.00 a_2026-01-02.csv"]);
});

test("what an archive cannot say is refused: lines that were read again, lines that are not read any more, and the undo of an undo", async () => {
  const { warehouse, folder, third } = await setScene();
  const path = writeDrop(folder, "e_2026-01-05.csv", [line(1, '"5,00"'), line(3, "3.00")]);
  const fifth = await load(warehouse, path);
  const findFile = async () => ({ path, follow: false });
  await retryRejects({ ...warehouse, loadId: fifth, findFile, decimalComma: true });
  const copy = makeFolder();
  await forget(warehouse);
  await expect(undoFrom(warehouse, folder, third)).rejects.toMatchObject({
    code: "statements_pruned",
    message: expect.stringContaining(`rejected lines of load ${fifth} were read again`),
  });
  await warehouse.query("delete from warehouse.rejects");
  await warehouse.query("update warehouse.loads set read = 0, rejected = 0 where status = 'retry'");
  copyFileSync(path, join(copy, "copy.csv"));
  await expect(undoFrom(warehouse, folder, third)).rejects.toMatchObject({
    code: "statements_pruned",
    message: expect.stringContaining("of 1 lines that it took only 2"),
  });
});

test("an undo of an undo that is forgotten is refused, with what to do instead; so are sources without an archive", async () => {
  const { warehouse, folder, third } = await setScene();
  const { loadId } = await undoFrom(warehouse, folder, third);
  await expect(undoFrom(warehouse, folder, loadId ?? 0)).rejects.toMatchObject({
    code: "statements_pruned",
    message: expect.stringContaining("rollbook load FILE"),
  });
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  expect(await run("undo", "1", "--sources", "x", "--because", "a test")).toMatchObject({ code: 2 });
});

test("the command reads the archive of an inbox", async () => {
  const { warehouse, folder, third } = await setScene();
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const args = ["undo", String(third), "--because", "a test"];
  expect(await run(...args)).toMatchObject({ code: 2, stderr: expect.stringContaining("--from-archive") });
  expect(await run(...args, "--from-archive", ".")).toMatchObject({ code: 0, stderr: "" });
  expect(await standing(warehouse)).toEqual(WITHOUT_C);
});
