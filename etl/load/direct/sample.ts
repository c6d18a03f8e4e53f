/** A sample of a chunk's lines, to look up whether a drop sends invoices again. */
import { sql } from "drizzle-orm";
import type { Transaction } from "../../../db/client.ts";
import { COLUMNS, type CopyLayout, ROW } from "../../drop/row.ts";
import { sampleIsKnown } from "../sample.ts";
import type { Chunk } from "./chunk.ts";
import type { KeyMaps } from "./keys.ts";
import { writeLine } from "./pack.ts";

/**
 * One line of so many is looked up, at most so many lines. The reader hands over the first lines of a drop
 * together.
 */
const LINES_PER_SAMPLE = 4;
const SAMPLE_LINES = 500;
const LAYOUT: CopyLayout = { delimiter: "\t", columns: COLUMNS };

/** Whether the warehouse has any invoice of a sample of the lines. */
export async function chunkSampleIsKnown(
  tx: Transaction,
  { texts, settings }: KeyMaps,
  chunk: Chunk,
): Promise<boolean> {
  const step = Math.max(LINES_PER_SAMPLE, Math.ceil(chunk.lines / SAMPLE_LINES));
  const rows: string[][] = [];
  for (let line = 0; line < chunk.lines; line += step) {
    rows.push(writeLine(chunk, texts, LAYOUT, line).trimEnd().split(LAYOUT.delimiter));
  }
  const arrays = COLUMNS.map((column, index) => {
    const values = rows.map((cells) => cells[index]);
    return sql`${sql.param(values)}::${sql.raw(ROW[column].type)}[]`;
  });
  const names = COLUMNS.map((column) => sql.identifier(column));
  const sample = sql`unnest(${sql.join(arrays, sql`, `)}) as sample (${sql.join(names, sql`, `)})`;
  return sampleIsKnown(tx, sample, settings);
}
