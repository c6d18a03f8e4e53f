/**
 * The invoices of the benchmark: each is a pure function of its series and its number, so that a batch can
 * correct one of the history.
 */

import { toDay } from "../../db/dates.ts";
import { type Invoice, word } from "../generator/invoice.ts";
import { createLineStyle, type LineStyle } from "../generator/line.ts";
import { deriveKey, mix32 } from "../generator/random.ts";
import { createVenues, type Venues } from "../generator/venues.ts";
import type { Cell, Lateness } from "../results.ts";

/** The last creation date of every history; a batch is synced on the day after. */
export const HISTORY_END = "2026-09-30";
export const SYNCED_ON = "2026-10-01";
const SEED = 2026;
/** Series of the batches begin here; below are the parts of the histories. */
const BATCH_SERIES = 10_000;

/** Everything about a history that its size decides. */
export interface Scale {
  readonly venues: Venues;
  /** First creation date, in days since 1970-01-01. */
  readonly firstDay: number;
  /** The last one. */
  readonly lastDay: number;
  readonly parts: readonly Part[];
  readonly style: LineStyle;
}

/** One drop of a history: the invoices of one month. */
export interface Part {
  readonly series: number;
  readonly rows: number;
  readonly firstDay: number;
  readonly days: number;
}

/**
 * From 1 million on three years and 4,000 venues, so that only the number of invoices varies; less for the
 * small ones of `smoke`.
 */
export function scaleOf(history: number): Scale {
  const small = history < 1_000_000;
  const span = small ? (history < 100_000 ? 2 : 6) : 36;
  const lastDay = toDay(HISTORY_END);
  const [lastYear = 0, lastMonth = 0] = HISTORY_END.split("-").map(Number);
  const months = Array.from({ length: span }, (_, index, back = span - 1 - index) => {
    const start = (shift: number) => Date.UTC(lastYear, lastMonth - 1 - back + shift, 1) / 86_400_000;
    return { firstDay: start(0), days: start(1) - start(0) };
  });
  const parts = months.map((month, series) => {
    const rows =
      Math.floor(((series + 1) * history) / months.length) - Math.floor((series * history) / months.length);
    return { ...month, series, rows };
  });
  const firstDay = months[0]?.firstDay ?? lastDay;
  const venues = createVenues({ seed: SEED, venues: small ? 400 : 4000, newVenues: 0, firstDay, lastDay });
  return { venues, firstDay, lastDay, parts, style: createLineStyle(venues, firstDay, lastDay + 3) };
}

export function createInvoice(): Invoice {
  return { venue: 0, day: 0, second: 0, cents: 0, high: 0, low: 0 };
}

/** Fills in what all invoices have: identity, venue, time of day and total. */
function fill(scale: Scale, series: number, number: number, into: Invoice): void {
  const key = deriveKey(SEED, 100 + series);
  into.high = mix32(key + number);
  into.low = mix32(Math.imul(number, 0x9e3779b1) ^ mix32(key));
  into.venue = scale.venues.pick(word(into, 2), scale.lastDay);
  into.second = 8 * 3600 + (word(into, 3) % (16 * 3600));
  into.cents = 100 + (word(into, 4) % (2 * (scale.venues.price[into.venue] as number)));
}

/** Invoice `number` of a part of the history. */
export function fillHistory(scale: Scale, part: Part, number: number, into: Invoice): void {
  fill(scale, part.series, number, into);
  into.day = part.firstDay + (word(into, 1) % part.days);
}

/**
 * Line `number` of a cell's batch: a new invoice, or a correction of one of the history by 1 to 50 euros.
 * Which lines correct is even over the batch, and which invoices even over the history; none twice.
 */
export function fillBatch(scale: Scale, cell: Cell, number: number, into: Invoice): void {
  const before = Math.floor(number * cell.corrections);
  const corrects = Math.floor((number + 1) * cell.corrections) > before;
  if (corrects) {
    fillCorrection(scale, before, into, Math.ceil(cell.batch * cell.corrections));
    return;
  }
  fill(scale, BATCH_SERIES, number, into);
  into.day = cell.history === 0 ? anyDay(scale, into) : dayOf(scale, cell.lateness, into);
}

function fillCorrection(scale: Scale, which: number, into: Invoice, corrections: number): void {
  const part = scale.parts[which % scale.parts.length] as Part;
  const perPart = Math.ceil(corrections / scale.parts.length);
  const stride = Math.max(1, Math.floor(part.rows / perPart));
  fillHistory(scale, part, Math.floor(which / scale.parts.length) * stride, into);
  into.cents += 100 + (word(into, 5) % 4900);
}

const LATE_SHARE: Readonly<Record<Lateness, number>> = { none: 0, "10%": 0.1, "50%": 0.5, even: 1 };

/**
 * Of the late ones nine in ten are within 60 days, most of them within two weeks; the tenth lies anywhere in
 * the history.
 */
function dayOf(scale: Scale, lateness: Lateness, invoice: Invoice): number {
  if (lateness === "even") return anyDay(scale, invoice);
  const synced = scale.lastDay + 1;
  if (word(invoice, 10) / 2 ** 32 >= LATE_SHARE[lateness]) return synced - (word(invoice, 1) & 1);
  if (word(invoice, 11) % 10 === 0) return Math.min(anyDay(scale, invoice), synced - 2);
  const share = word(invoice, 1) / 2 ** 32;
  return Math.max(scale.firstDay, synced - 2 - Math.floor(share * share * 58));
}

function anyDay(scale: Scale, invoice: Invoice): number {
  return scale.firstDay + (word(invoice, 1) % (scale.lastDay + 1 - scale.firstDay));
}
