/** Files with forms, of which each row is a part of an invoice, against the models of forms and of the warehouse. */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { loadDrop } from "../../load/load.ts";
import { createChoices } from "../forms/choices.ts";
import { type FormFile, makeFormFile } from "../forms/file.ts";
import { addRows, type FormDrop, readFormed } from "../models/form.ts";
import { euros } from "../models/money.ts";
import { createWarehouseModel } from "../models/warehouse.ts";
import { WORLDS } from "../models/worlds.ts";
import { disagreements } from "../warehouse.ts";

const FILES = 40;
const [WORLD] = WORLDS.filter(({ timeZone, decimalComma }) => timeZone === "Europe/Berlin" && !decimalComma);
if (WORLD === undefined) throw new Error("no world");

test("rows are added as the models add them, and a file with one reject is not loaded", async () => {
  const { timeZone, dayStarts, earliest, syncedOn } = WORLD;
  const warehouse = await createTestDatabase({ timeZone, dayStarts, earliest });
  const model = createWarehouseModel();
  const folder = makeFolder();
  const seen = { loaded: 0, rejected: 0, summed: 0 };
  for (const [index, file] of makeFiles().entries()) {
    const { form } = file;
    const bytes = Buffer.concat(file.lines);
    const path = join(folder, `file${index}_${syncedOn}.txt`);
    writeFileSync(path, bytes);
    const source = { name: "till", sha256: createHash("sha256").update(JSON.stringify(form)).digest(), form };
    const report = await loadDrop({ ...warehouse, path, source });
    const expected = readFormed(bytes, false, form, file.world);
    if (expected.refusal !== undefined || hasReject(expected)) {
      expect(report).toMatchObject({ outcome: "rejected" });
      seen.rejected++;
      continue;
    }
    if (report.outcome === "already_loaded") continue;
    const sums = addRows(expected.lines);
    const taken = expected.lines.filter(({ decision }) => decision.kind === "taken");
    const invoices = sums.map((invoice, at) => ({
      number: at + 1,
      from: 0,
      bytes: Buffer.alloc(0),
      decision: { kind: "taken", invoice } as const,
    }));
    const applied = model.apply({ loadId: Number(report.loadId), syncedOn }, invoices);
    const { removed, absent, voided, ...counts } = applied.counts;
    expect([removed, absent, voided]).toEqual([0, 0, 0]);
    const summed = taken.length - sums.length;
    const skipped = expected.lines.length - taken.length;
    expect(report).toMatchObject({
      outcome: "loaded",
      rows: { ...counts, read: taken.length, summed, skipped },
    });
    seen.loaded++;
    seen.summed += summed;
  }
  const wanted = model
    .invoices()
    .map(({ venue, uuid, createdOn, createdAt, cents, loadId }) => [
      createdOn,
      venue,
      uuid,
      String(createdAt),
      euros(cents),
      String(loadId),
    ]);
  expect((await warehouse.query(INVOICES)).map((row) => Object.values(row as object)).sort()).toEqual(
    wanted.sort(),
  );
  expect(await disagreements(warehouse)).toEqual([]);
  expect(seen.loaded).toBeGreaterThan(FILES / 4);
  expect(seen.rejected).toBeGreaterThan(0);
  expect(seen.summed).toBeGreaterThan(50);
});

const INVOICES = `
  select created_on::text, venue_id, invoice_id::text, (extract(epoch from created_at) * 1000000)::bigint::text,
         total::text, load_id::text
  from warehouse.invoices join warehouse.venues using (venue_key)`;

/** Files of one warehouse; most of them without the lines that would be rejected. */
function makeFiles(): readonly FormFile[] {
  const files: FormFile[] = [];
  for (let seed = 1; files.length < FILES; seed++) {
    const file = makeFormFile(createChoices(seed));
    if (file.world !== WORLD) continue;
    const summing = { ...file, form: { ...file.form, sumRows: true } };
    files.push(files.length % 8 === 0 ? summing : withoutRejects(summing));
  }
  return files;
}

function withoutRejects(file: FormFile): FormFile {
  const { lines: read } = readFormed(Buffer.concat(file.lines), false, file.form, file.world);
  const rejected = new Set(
    read.flatMap(({ number, decision }) => (decision.kind === "rejected" ? [number] : [])),
  );
  const bytesPerLine = file.form.encoding?.startsWith("utf-16") === true ? "utf16le" : "latin1";
  let number = 1;
  const kept = file.lines.filter((line) => {
    const first = number;
    number += line.toString(bytesPerLine).split("\n").length - 1;
    return !Array.from({ length: number - first }, (_, at) => first + at).some((each) => rejected.has(each));
  });
  return { ...file, lines: kept };
}

function hasReject({ lines }: FormDrop): boolean {
  return lines.some(({ decision }) => decision.kind === "rejected");
}
