/** What a load does with a source: the ledger keeps which one it was, and it decides about dates and limits. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import type { Form } from "../drop/form.ts";
import type { FileSource } from "../sources/source.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { loadDrop } from "./load.ts";

/** The form of the drop format. */
const FORM: Form = {
  skip: 0,
  header: false,
  venueId: { column: 1 },
  invoiceId: { column: 2 },
  created: { columns: [3] },
  total: { columns: [4] },
  conditions: [],
  sumRows: false,
};
const sourceOf = (text: string, source: Partial<FileSource> = {}): FileSource => ({
  name: "till",
  sha256: createHash("sha256").update(text).digest(),
  form: FORM,
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
