/** For tests: generated drops, and the totals that a warehouse must show after it loaded them. */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { addDays } from "../../db/dates.ts";
import type { Total } from "../reports/totals.ts";

export interface Line {
  readonly venue: string;
  /** A line with the same number, venue and date is a statement about the same invoice. */
  readonly invoice: number;
  /** `YYYY-MM-DD`; the time of day follows from the invoice number. */
  readonly createdOn: string;
  readonly cents: number;
}

export interface MadeDrop {
  readonly path: string;
  readonly syncedOn: string;
  readonly lines: readonly Line[];
}

/** The UUID of an invoice number. */
export function uuidOf(invoice: number): string {
  const hex = createHash("md5").update(String(invoice)).digest("hex");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

function euros(cents: number): string {
  const digits = String(Math.abs(cents)).padStart(3, "0");
  return `${cents < 0 ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

function formatLine({ venue, invoice, createdOn, cents }: Line): string {
  const time = new Date((invoice % 86_400) * 1000).toISOString().slice(11, 19);
  return `${venue},${uuidOf(invoice)},${createdOn}T${time},${euros(cents)}\n`;
}

/**
 * Writes a drop of the invoices `first` to `first + rows - 1`, over seven venues and four months. An invoice
 * of the same number has the same key in every drop; its total depends on `version`.
 */
export async function makeDrop(options: {
  readonly folder: string;
  readonly syncedOn: string;
  readonly rows: number;
  readonly first?: number;
  readonly version?: number;
}): Promise<MadeDrop> {
  const { folder, syncedOn, rows, first = 0, version = 0 } = options;
  const lines = Array.from({ length: rows }, (_, index): Line => {
    const invoice = first + index;
    return {
      venue: `venue-${invoice % 7}`,
      invoice,
      createdOn: addDays("2026-04-01", -1 - ((invoice * 37) % 115)),
      cents: ((invoice * 7919 + version * 104_729) % 100_000) - 2000,
    };
  });
  const path = join(folder, `drop${first}-${version}_${syncedOn}.csv`);
  await writeFile(path, `venue_id,invoice_id,datetime_created,total\n${lines.map(formatLine).join("")}`);
  return { path, syncedOn, lines };
}

/**
 * Totals by venue and day after these drops were loaded in this order. For each invoice the newest sync date
 * counts, and of that the last line.
 */
export function expectedTotals(drops: readonly MadeDrop[]): readonly Total[] {
  const newest = new Map<string, { readonly syncedOn: string; readonly line: Line }>();
  for (const { syncedOn, lines } of drops) {
    for (const line of lines) {
      const key = `${line.createdOn} ${line.venue} ${line.invoice}`;
      const known = newest.get(key);
      if (known === undefined || known.syncedOn <= syncedOn) newest.set(key, { syncedOn, line });
    }
  }
  const groups = new Map<string, { venue_id: string; created_on: string; invoices: number; cents: number }>();
  for (const { line } of newest.values()) {
    const key = `${line.venue} ${line.createdOn}`;
    const group = groups.get(key) ?? {
      venue_id: line.venue,
      created_on: line.createdOn,
      invoices: 0,
      cents: 0,
    };
    group.invoices += 1;
    group.cents += line.cents;
    groups.set(key, group);
  }
  return [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { cents, ...group }]) => ({ ...group, total: euros(cents) }));
}

/**
 * Writes a drop of any size in constant memory: canonical lines, all dates in one month, few venues.
 *
 * @param options.distinct number of different invoices; they repeat after that; default: all are different
 * @param options.badEvery one of so many lines is bad; default: none
 */
export async function writeLargeDrop(options: {
  readonly path: string;
  readonly rows: number;
  readonly distinct?: number;
  readonly badEvery?: number;
}): Promise<void> {
  const { path, rows, distinct = rows, badEvery = 0 } = options;
  const file = createWriteStream(path);
  file.write("venue_id,invoice_id,datetime_created,total\n");
  let text = "";
  for (let row = 0; row < rows; row += 1) {
    const invoice = row % distinct;
    const id = invoice.toString(16).padStart(12, "0");
    const day = String(1 + (invoice % 28)).padStart(2, "0");
    const total = badEvery > 0 && row % badEvery === 0 ? "much" : `${invoice % 1000}.25`;
    text += `venue-${invoice % 20},00000000-0000-4000-8000-${id},2026-03-${day}T12:30:00,${total}\n`;
    if (text.length < 1 << 20) continue;
    if (!file.write(text)) await new Promise<void>((resolve) => file.once("drain", resolve));
    text = "";
  }
  file.end(text);
  await finished(file);
}
