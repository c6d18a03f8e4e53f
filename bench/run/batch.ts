/** What arrives in a cell, as files: drops, and the same rows with their keys for bare COPY. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Invoice } from "../generator/invoice.ts";
import { HEADER, LONGEST_LINE, writeCanonical } from "../generator/line.ts";
import { writeFileWhole } from "../generator/sink.ts";
import type { Cell } from "../results.ts";
import { createInvoice, fillBatch, fillHistory, type Part, type Scale, SYNCED_ON } from "./scale.ts";

/** A load number that no load of ours has. */
const FOREIGN_LOAD = 1_000_000_000;
const PAGE_BYTES = 1 << 20;
/** Above so many rows no sorted file is made: it is sorted in memory. */
export const MOST_SORTED = 2_000_000;

export interface Batch {
  /** The drops, in the order of their names. */
  readonly drops: readonly string[];
  /** All rows in one drop, where there are several. */
  readonly single: string;
  /** CSV for `copy warehouse.invoices (KEYED_COLUMNS)`, in the order of the drops. */
  readonly keyed: string;
  /** The same by key; null where it is too large to be sorted in memory. */
  readonly keyedSorted: string | null;
  readonly rows: number;
}

export const KEYED_COLUMNS = "created_on, venue_key, invoice_id, created_at, load_id, synced_on, total";

/** The key of a venue: every warehouse of the benchmark makes its venues in the order of their names. */
export const keyOfVenue = (venue: number) => venue + 1;

/** Writes the files of a cell's batch into `folder`, which is emptied before. */
export async function writeBatch(scale: Scale, cell: Cell, folder: string): Promise<Batch> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const fill = (number: number, into: Invoice) => fillBatch(scale, cell, number, into);
  const write = (name: string, first: number, end: number) =>
    writeLines(join(folder, name), scale, { first, end, fill });
  const drops: string[] = [];
  for (let file = 0; file < cell.files; file += 1) {
    const start = (index: number) => Math.floor((index * cell.batch) / cell.files);
    const name = `part${String(file).padStart(4, "0")}_${SYNCED_ON}.csv`;
    drops.push(await write(name, start(file), start(file + 1)));
  }
  const single = cell.files === 1 ? (drops[0] as string) : await write(`all_${SYNCED_ON}.csv`, 0, cell.batch);
  const keyed = join(folder, "keyed.csv");
  await writeFileWhole({ path: keyed, pages: keyedPages(scale, cell), gzip: false });
  return { drops, single, keyed, keyedSorted: await writeSorted(scale, cell, folder), rows: cell.batch };
}

/** Writes the drop of a part of a history; returns its path. */
export function writePart(scale: Scale, part: Part, path: string): Promise<string> {
  const fill = (number: number, into: Invoice) => fillHistory(scale, part, number, into);
  return writeLines(path, scale, { first: 0, end: part.rows, fill });
}

interface Lines {
  readonly first: number;
  readonly end: number;
  readonly fill: (number: number, into: Invoice) => void;
}

async function writeLines(path: string, scale: Scale, lines: Lines): Promise<string> {
  await writeFileWhole({ path, pages: linePages(scale, lines), gzip: false });
  return path;
}

function* linePages({ style }: Scale, { first, end, fill }: Lines): Generator<Buffer> {
  yield Buffer.from(HEADER);
  const invoice = createInvoice();
  let page = { bytes: Buffer.allocUnsafe(PAGE_BYTES), at: 0 };
  for (let number = first; number < end; number += 1) {
    fill(number, invoice);
    writeCanonical(page, style, invoice, invoice.cents);
    if (page.at < PAGE_BYTES - LONGEST_LINE) continue;
    yield page.bytes.subarray(0, page.at);
    page = { bytes: Buffer.allocUnsafe(PAGE_BYTES), at: 0 };
  }
  yield page.bytes.subarray(0, page.at);
}

/** Keys are padded with zeros, so that the order of the lines' bytes is that of the key. */
function* keyedLines(scale: Scale, cell: Cell): Generator<string> {
  const { style, venues } = scale;
  const invoice = createInvoice();
  const scratch = { bytes: Buffer.alloc(LONGEST_LINE), at: 0 };
  for (let number = 0; number < cell.batch; number += 1) {
    fillBatch(scale, cell, number, invoice);
    scratch.at = 0;
    writeCanonical(scratch, style, invoice, invoice.cents);
    const text = scratch.bytes.toString("latin1", venues.nameLength + 1, scratch.at - 1);
    const [id = "", created = "", total = ""] = text.split(",");
    const key = String(keyOfVenue(invoice.venue)).padStart(6, "0");
    yield `${created.slice(0, 10)},${key},${id},${created}Z,${FOREIGN_LOAD},${SYNCED_ON},${total}\n`;
  }
}

function* keyedPages(scale: Scale, cell: Cell): Generator<Buffer> {
  yield* pagesOf(keyedLines(scale, cell));
}

async function writeSorted(scale: Scale, cell: Cell, folder: string): Promise<string | null> {
  if (cell.batch > MOST_SORTED) return null;
  const path = join(folder, "keyed_sorted.csv");
  const lines = [...keyedLines(scale, cell)].sort();
  await writeFileWhole({ path, pages: pagesOf(lines), gzip: false });
  return path;
}

function* pagesOf(lines: Iterable<string>): Generator<Buffer> {
  let page: string[] = [];
  for (const line of lines) {
    page.push(line);
    if (page.length < 10_000) continue;
    yield Buffer.from(page.join(""));
    page = [];
  }
  yield Buffer.from(page.join(""));
}
