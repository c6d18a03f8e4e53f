/** A look beforehand whether a drop sends invoices again. */
import type { Transaction } from "../../../db/client.ts";
import type { CopyLayout } from "../../drop/row.ts";
import { type Chunk, type Venues, writeRow } from "./chunk.ts";

/** Lines looked up: of the first, which the reader hands over together, one of so many, at most so many. */
const LINES_PER_SAMPLE = 4;
const SAMPLE_LINES = 500;
const LAYOUT: CopyLayout = {
  delimiter: "\t",
  columns: ["venue_id", "invoice_id", "datetime_created", "total"],
};

/** Whether the warehouse has any invoice of a sample of the lines. The probe is lateral, so that each goes by the key. */
export async function sampleIsKnown(tx: Transaction, venues: Venues, chunk: Chunk): Promise<boolean> {
  const step = Math.max(LINES_PER_SAMPLE, Math.ceil(chunk.lines / SAMPLE_LINES));
  const rows: string[][] = [];
  for (let line = 0; line < chunk.lines; line += step) {
    rows.push(writeRow(chunk, venues, LAYOUT, line).trimEnd().split(LAYOUT.delimiter));
  }
  const column = (index: number) => rows.map((cells) => cells[index]);
  const result = await tx.client.query<{ known: boolean }>(
    `select exists (
       select
       from unnest($1::text[], $2::uuid[], $3::timestamptz[]) as sample (venue_id, invoice_id, created_at)
       join warehouse.venues v on v.venue_id = sample.venue_id
       cross join lateral (
         select
         from warehouse.invoices i
         where i.created_on = sample.created_at::date and i.venue_key = v.venue_key and i.invoice_id = sample.invoice_id
         limit 1
       ) stored
     ) as known`,
    [column(0), column(1), column(2)],
  );
  return result.rows[0]?.known === true;
}
