import { randomInt } from "node:crypto";
import { expect, test } from "vitest";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { readUuid } from "../../../etl/testing/models/values.ts";
import { WORLDS } from "../../../etl/testing/models/worlds.ts";
import { createRandom } from "../../generator/choices.ts";
import { compareDrop } from "./agree.ts";
import { createCells } from "./cells.ts";
import { makeFormed } from "./forms.ts";
import { type MadeDrop, makeFile, makeLines } from "./mutants.ts";
import { openProduct, type Product } from "./product.ts";
import { type FuzzReport, runFuzz } from "./search.ts";
import { shrinkDrop } from "./shrink.ts";

interface Counts {
  readonly lines: number;
  readonly files: number;
  readonly sources: number;
}

async function fuzz(from: number, counts: Counts): Promise<FuzzReport> {
  const { database } = await createTestDatabase();
  const report = await runFuzz({ database, ...counts, from });
  expect(
    report.difference,
    `again: npm run fuzz -- --from ${report.difference?.seed ?? from}`,
  ).toBeUndefined();
  return report;
}

test("product and model agree on mutated lines and files of fixed seeds", { timeout: 600_000 }, async () => {
  const report = await fuzz(1, { lines: 150_000, files: 300, sources: 300 });
  // The lines are of all kinds: each reason, and every way to be taken.
  const reasons = [
    "bad_encoding",
    "broken_quotes",
    "wrong_column_count",
    "missing_venue",
    "venue_too_long",
    "bad_uuid",
  ];
  const more = [
    "bad_timestamp",
    "bad_total",
    "ambiguous_total",
    "sub_cent_total",
    "created_before_earliest",
    "created_after_sync",
    "partition_closed",
    "period_closed",
  ];
  expect(Object.keys(report.reasons).sort()).toEqual([...reasons, ...more].sort());
  expect(Math.min(...Object.values(report.reasons))).toBeGreaterThan(500);
  expect(Object.keys(report.refusals).sort()).toEqual([
    "bad_container",
    "bad_encoding",
    "bad_header",
    "line_too_long",
    "truncated",
  ]);
  expect(report.recognised).toBeGreaterThan(report.taken / 4);
  expect(report.taken - report.recognised).toBeGreaterThan(report.taken / 4);
  expect(report.skipped).toBeGreaterThan(500);
  expect(report.keyed).toBeGreaterThan(report.taken / 2);
});

test("product and model agree on mutated lines and files of a new seed", { timeout: 600_000 }, async () => {
  const seed = randomInt(2 ** 31);
  console.log(`seed ${seed}: npm run fuzz -- --from ${seed} --lines 50k --files 100 --sources 200`);
  await fuzz(seed, { lines: 50_000, files: 100, sources: 200 });
});

test("a seed makes the same drop every time, and another one another", () => {
  for (const make of [makeLines, makeFile, makeFormed]) {
    const [drop, again, other] = [make(7), make(7), make(8)];
    expect({ ...again, bytes: again.bytes.equals(drop.bytes) }).toEqual({ ...drop, bytes: true });
    expect(other.bytes.equals(drop.bytes)).toBe(false);
  }
});

const UUID = "a2b4c6d8-1111-4111-8111-00000000000f";
const [world] = WORLDS;
if (world === undefined) throw new Error("no world");
const dropOf = (text: string): MadeDrop => ({ world, bytes: Buffer.from(text), isNamedGz: false, cuts: [] });
const GOOD = `v,${UUID},2018-06-01T12:00:00Z,1.00`;

test("what the product says otherwise than the model is found and made small", {
  timeout: 300_000,
}, async () => {
  const { database } = await createTestDatabase();
  const product = openProduct(database);
  const drop = dropOf(`${GOOD}\n${GOOD.replace("v", "bad,")}\n${GOOD.replace("1.00", "-1.5")}\n${GOOD}\n`);
  expect(await compareDrop(product, drop)).toMatchObject({ kind: "same", lines: 4, taken: 3, recognised: 2 });
  const lying = lie(product, (row) => row.replace("-1.50", "1.50"));
  const found = await compareDrop(lying, drop);
  expect(found).toMatchObject({ kind: "different", what: "values", line: { number: 3 } });
  const differs = async (tried: MadeDrop) => (await compareDrop(lying, tried)).kind === "different";
  const small = (await shrinkDrop(drop, differs)).bytes.toString();
  expect(small).toMatch(/^v,[0-9a-f]{32},2018-06-01[T0-9:Z]*,-1.5$/);
});

/** A product whose database says something else of each row. */
function lie(product: Product, about: (row: string) => string): Product {
  return {
    ...product,
    readRows: async (...given) => {
      const found = await product.readRows(...given);
      return { ...found, stored: found.stored.map(about) };
    },
  };
}

test("a product that breaks down is a difference", async () => {
  const { database } = await createTestDatabase();
  const broken: Product = {
    ...openProduct(database),
    readRows: () => Promise.reject(new Error("out of order")),
  };
  const found = await compareDrop(broken, dropOf(`${GOOD}\n`));
  expect(found).toMatchObject({ kind: "different", what: "the product broke down" });
});

test("what the model takes for a UUID is what PostgreSQL takes", { timeout: 300_000 }, async () => {
  const { query } = await createTestDatabase();
  const cells = createCells(createRandom(11, 0), world);
  // PostgreSQL's texts hold no null character.
  const texts = Array.from({ length: 20_000 }, () => cells.odd("invoice_id")).filter(
    (text) => !text.includes("\0"),
  );
  const rows = await query<{ uuid: string | null }>(
    `select case when pg_input_is_valid(t, 'uuid') then t::uuid::text end as uuid
     from unnest($1::text[]) with ordinality as given (t, n) order by n`,
    [texts],
  );
  const other = texts.filter((text, index) => (rows[index]?.uuid ?? undefined) !== readUuid(text));
  expect(other).toEqual([]);
  expect(rows.filter(({ uuid }) => uuid === null).length).toBeGreaterThan(2000);
});
