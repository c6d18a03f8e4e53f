/** Makes the drops of a run one after the other, each when a loader asks for it. */
import { link, mkdir, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { toDate } from "../../../db/dates.ts";
import type { Statements } from "../../../etl/testing/models/standing.ts";
import { createRandom, type Random } from "../../generator/choices.ts";
import { PAGE_BYTES } from "../../generator/drop_lines.ts";
import type { Invoice } from "../../generator/invoice.ts";
import { HEADER, LONGEST_LINE, type Page, writeCanonical } from "../../generator/line.ts";
import { writeBad, writeOdd } from "../../generator/odd_lines.ts";
import { mix32 } from "../../generator/random.ts";
import { writeFileWhole } from "../../generator/sink.ts";
import { createInvoice } from "../../run/scale.ts";
import { FIRST_SYNC_DAY, type InvoiceBook } from "./invoices.ts";

export interface EndureDrop {
  readonly index: number;
  readonly path: string;
  readonly syncDay: number;
  /** Drops of the same bytes have the same. */
  readonly content: number;
  readonly statements: Statements;
  /** Data lines, and how many of them are bad. */
  readonly lines: number;
  readonly bad: number;
  /** The error code with which it must be rejected; null when it must load. */
  readonly refusal: string | null;
  readonly large: boolean;
}

export interface DropMaker {
  readonly make: () => Promise<EndureDrop>;
  /** Nobody reads the drop any more; it may be sent again, for a while. */
  readonly done: (drop: EndureDrop) => void;
  /** The sync day of the newest drop. */
  readonly today: () => number;
}

/** So many drops have one sync date, more or less: dates come out of order. */
const DROPS_PER_DAY = 8;
/** A file is kept until so many others were made after it, to be sent again. */
const KEPT = 48;
const LEAST_LINES = 1000;
const MOST_LINES = 20_000;
/** Every so many drops a large one, after one for each loader early on. */
const LARGE_EVERY = 60;
/** Of the drops that load: share that brings only new invoices; the others correct and repeat some. */
const ONLY_NEW = 0.5;
/**
 * Share that corrects and repeats what came with the drops just before, which are still being loaded; the
 * others take older ones.
 */
const HOT = 0.1;
const RECENT_DROPS = 120;
/** Shares of the lines: a second one for an invoice, another total for one, one as it was first stated. */
const TWICE = 0.002;
const CORRECTED = 0.03;
const SENT_AGAIN = 0.015;

export interface DropMakerOptions {
  readonly folder: string;
  readonly seed: number;
  readonly book: InvoiceBook;
  /** Lines of a large drop; no other has more either. */
  readonly largest: number;
  readonly loaders: number;
}

/** The invoices, by number, that a drop corrects and repeats some of: from `from` on, below `to`. */
interface Repeats {
  readonly from: number;
  readonly to: number;
}

const NO_REPEATS: Repeats = { from: 0, to: 0 };

/** The same seed gives the same drops in the same order, whoever loads them. */
export function createDropMaker(options: DropMakerOptions): DropMaker {
  const { seed, loaders } = options;
  const kept: { readonly drop: EndureDrop; done: boolean }[] = [];
  let made = 0;
  let today = FIRST_SYNC_DAY;
  let making: Promise<unknown> = Promise.resolve();
  /** How many invoices there were before each drop. */
  const before: number[] = [];
  const beforeDrop = (index: number) => before[Math.max(0, index)] ?? 0;
  const chooseRepeats = (index: number, random: Random): Repeats => {
    const kind = random.next();
    if (kind < HOT) return { from: beforeDrop(index - 2 * loaders), to: options.book.count() };
    if (kind < HOT + ONLY_NEW) return NO_REPEATS;
    const from = random.next() < 0.8 ? beforeDrop(index - RECENT_DROPS) : 0;
    return { from, to: beforeDrop(index - 3 * loaders) };
  };
  const makeNext = async (): Promise<EndureDrop> => {
    const index = made;
    made += 1;
    before.push(options.book.count());
    const random = createRandom(seed, 1000 + index);
    // Of every day's drops some come days after the others.
    const syncDay = FIRST_SYNC_DAY + Math.floor(index / DROPS_PER_DAY) + 4 - random.below(5);
    today = Math.max(today, syncDay);
    const kind = random.next();
    const sources = kept.map(({ drop }) => drop).filter(({ refusal }) => refusal === null);
    const source = sources[random.below(sources.length)];
    // One for each loader early on, so that its memory is then what it will be.
    const large = (index >= 3 * loaders && index < 4 * loaders) || index % LARGE_EVERY === LARGE_EVERY - 1;
    let drop: EndureDrop;
    if (large || kind >= 0.09 || source === undefined) {
      const repeats = chooseRepeats(index, random);
      drop = await writeDrop(options, { index, syncDay, large, repeats, random });
    } else if (kind < 0.06) {
      drop = await sendAgain(options, { index, source, later: kind < 0.03 ? 0 : 1 + random.below(3) });
      today = Math.max(today, drop.syncDay);
    } else {
      drop = await writeRefused(options, { index, syncDay, random });
    }
    kept.push({ drop, done: false });
    while (kept.length > KEPT && kept[0]?.done === true) {
      const oldest = kept.shift();
      if (oldest !== undefined) await rm(oldest.drop.path, { force: true });
    }
    return drop;
  };
  return {
    make: () => {
      const drop = making.then(makeNext);
      making = drop.catch(() => {});
      return drop;
    },
    done: (drop) => {
      const entry = kept.find((candidate) => candidate.drop === drop);
      if (entry !== undefined) entry.done = true;
    },
    today: () => today,
  };
}

/** An empty folder for the drops. */
export async function clearDrops(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
}

function nameDrop(folder: string, index: number, syncDay: number, ending: string): string {
  return join(folder, `shop${index % 40}_${toDate(syncDay)}_${String(index).padStart(6, "0")}${ending}`);
}

/** The same bytes under another name; `later`: and another sync date. */
async function sendAgain(
  { folder }: DropMakerOptions,
  { index, source, later }: { index: number; source: EndureDrop; later: number },
): Promise<EndureDrop> {
  const syncDay = source.syncDay + later;
  const path = nameDrop(folder, index, syncDay, source.path.endsWith(".gz") ? ".csv.gz" : ".csv");
  await link(source.path, path);
  return { ...source, index, path, syncDay };
}

interface DropPlan {
  readonly index: number;
  readonly syncDay: number;
  readonly random: Random;
}

async function writeDrop(
  options: DropMakerOptions,
  {
    index,
    syncDay,
    large,
    repeats,
    random,
  }: DropPlan & {
    readonly large: boolean;
    readonly repeats: Repeats;
  },
): Promise<EndureDrop> {
  const most = Math.min(options.largest, MOST_LINES);
  const least = Math.min(LEAST_LINES, most);
  // Many small ones, few of the most.
  const lines = large ? options.largest : least + Math.floor((most - least) * random.next() ** 2);
  const gzip = random.below(10) === 0;
  const path = nameDrop(options.folder, index, syncDay, gzip ? ".csv.gz" : ".csv");
  const writer = createWriter(options.book, { syncDay, lines, repeats, random, badShare: 0.001 });
  await writeFileWhole({ path, pages: writer.pages(), gzip });
  const { statements, bad } = writer.written();
  return { index, path, syncDay, content: index, statements, lines, bad, refusal: null, large };
}

/** A drop that must be refused as a whole. Nothing that it says counts. */
async function writeRefused(
  options: DropMakerOptions,
  { index, syncDay, random }: DropPlan,
): Promise<EndureDrop> {
  const refusal = ["too_many_rejects", "bad_header", "truncated"][random.below(3)] as string;
  const gzip = refusal === "truncated";
  const path = nameDrop(options.folder, index, syncDay, gzip ? ".csv.gz" : ".csv");
  const lines = Math.min(2000, options.largest);
  const badShare = refusal === "too_many_rejects" ? 0.05 : 0;
  const header = refusal === "bad_header" ? HEADER.replace("total", "amount") : HEADER;
  const writer = createWriter(options.book, { syncDay, lines, random, badShare, header });
  const { bytes } = await writeFileWhole({ path, pages: writer.pages(), gzip });
  if (gzip) await truncate(path, Math.floor(bytes * 0.9));
  const { bad } = writer.written();
  const statements = { invoices: new Uint32Array(), cents: new Int32Array() };
  return { index, path, syncDay, content: index, statements, lines, bad, refusal, large: false };
}

/**
 * Writes lines in random order: most bring new invoices, some correct one of `repeats`, which may not be
 * loaded yet, some send one again as it was first stated, some say two things of one invoice, a few are bad.
 */
function createWriter(
  book: InvoiceBook,
  plan: {
    readonly syncDay: number;
    readonly lines: number;
    readonly repeats?: Repeats;
    readonly random: Random;
    readonly badShare: number;
    readonly header?: string;
  },
) {
  const { syncDay, lines, repeats = NO_REPEATS, random, badShare, header = HEADER } = plan;
  const invoices = new Uint32Array(lines);
  const cents = new Int32Array(lines);
  // A drop that must load may have one bad line in a hundred.
  const mostBad = badShare > 0.01 ? lines : Math.floor(lines / 100);
  let good = 0;
  let bad = 0;
  const invoice = createInvoice();
  const choose = (): { number: number; cents: number } => {
    const kind = random.next();
    if (kind < TWICE && good > 0) {
      const number = invoices[random.below(good)] as number;
      book.fill(number, invoice);
      return { number, cents: otherTotal(invoice, random) };
    }
    const repeated = kind < TWICE + CORRECTED + SENT_AGAIN;
    const earlier = repeated ? findEarlier(book, { ...repeats, syncDay, random, into: invoice }) : undefined;
    if (earlier !== undefined) {
      return {
        number: earlier,
        cents: kind < TWICE + CORRECTED ? otherTotal(invoice, random) : invoice.cents,
      };
    }
    const number = book.begin(syncDay);
    book.fill(number, invoice);
    return { number, cents: invoice.cents };
  };
  const writeLine = (page: Page) => {
    const isBad = random.next() < badShare && bad < mostBad && good > 0;
    if (isBad) {
      book.fill(invoices[random.below(good)] as number, invoice);
      writeBad(page, book.style, invoice, mix32(random.below(2 ** 31)));
      bad += 1;
      return;
    }
    const said = choose();
    invoices[good] = said.number;
    cents[good] = said.cents;
    good += 1;
    if (random.next() < 0.005) writeOdd(page, book.style, invoice, said.cents, random.below(2 ** 31));
    else writeCanonical(page, book.style, invoice, said.cents);
  };
  return {
    pages: function* (): Generator<Buffer> {
      let [page, other]: Page[] = [0, 0].map((at) => ({ bytes: Buffer.allocUnsafe(PAGE_BYTES), at })) as [
        Page,
        Page,
      ];
      page.at = page.bytes.write(header, "latin1");
      for (let line = 0; line < lines; line += 1) {
        if (page.at > PAGE_BYTES - LONGEST_LINE) {
          yield page.bytes.subarray(0, page.at);
          [page, other] = [other, page];
          page.at = 0;
        }
        writeLine(page);
      }
      yield page.bytes.subarray(0, page.at);
    },
    written: () => ({
      statements: { invoices: invoices.slice(0, good), cents: cents.slice(0, good) },
      bad,
    }),
  };
}

/** An invoice of those, filled in; none that was created after the sync date. */
function findEarlier(
  book: InvoiceBook,
  plan: Repeats & { readonly syncDay: number; readonly random: Random; readonly into: Invoice },
): number | undefined {
  const { from, to, syncDay, random, into } = plan;
  for (let attempt = 0; attempt < 4 && to > from; attempt += 1) {
    const number = from + random.below(to - from);
    book.fill(number, into);
    if (into.day <= syncDay) return number;
  }
  return undefined;
}

/** One correction in 16 cancels the invoice. */
function otherTotal(invoice: Invoice, random: Random): number {
  if (random.below(16) === 0) return 0;
  return invoice.cents + (random.below(2) === 0 ? 1 : -1) * (10 + random.below(5000));
}
