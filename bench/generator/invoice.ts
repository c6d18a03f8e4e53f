import { type CreatedDays, spreadOverDays } from "./lateness.ts";
import { hoursOf } from "./pattern.ts";
import { type FilePlan, MAX_GAP, type Plan } from "./plan.ts";
import { mix32 } from "./random.ts";
import { correctionBefore, invoiceOfStatement, roundOfStatement } from "./rounds.ts";

/** An invoice, computed from its file and number. One object is filled again and again. */
export interface Invoice {
  venue: number;
  /** `created_on`, in days since 1970-01-01. */
  day: number;
  /** Second of that day, 0 to 86399. */
  second: number;
  /** The total as first stated, in cents. */
  cents: number;
  /** 64 bits that stand for (file, number), one to one: the invoice id and all else is made of them. */
  high: number;
  low: number;
}

/** What a line says. */
export interface Statement extends Invoice {
  /** The total it states. */
  stated: number;
  /** The total known before, or `undefined` of a new invoice. */
  known: number | undefined;
}

export function createStatement(): Statement {
  return { venue: 0, day: 0, second: 0, cents: 0, high: 0, low: 0, stated: 0, known: undefined };
}

/** Computes invoices and statements from a plan. */
export interface Invoices {
  /** Fills in new invoice `number` of `file`. */
  fill(file: FilePlan, number: number, into: Invoice): void;
  /** Fills in content number `content` (0 to `valid - 1`) of `file`. */
  state(file: FilePlan, content: number, into: Statement): void;
}

/** Remembers only how the files that can still be repeated spread over days. Ask for files in order. */
export function createInvoices(plan: Plan): Invoices {
  const spreads = new Map<number, CreatedDays>();
  const spreadOf = (file: FilePlan): CreatedDays => {
    let spread = spreads.get(file.index);
    if (spread === undefined) {
      spread = spreadOverDays(file);
      spreads.set(file.index, spread);
      spreads.delete(file.index - MAX_GAP - 1);
    }
    return spread;
  };

  const fill = (file: FilePlan, number: number, into: Invoice): void => {
    identify(file, number, into);
    const { firstDay, starts } = spreadOf(file);
    const k = dayIndex(starts, number);
    const start = starts[k] as number;
    const first = (number - start + word(into, 1) / 2 ** 32) / ((starts[k + 1] as number) - start);
    into.day = firstDay + k;
    into.second = secondOf(file, into.day, first);
    into.venue = plan.venues.pick(word(into, 2), into.day);
    into.cents = totalOf(into, plan.venues.price[into.venue] as number, file.recipe.refunds);
  };

  return {
    fill,
    state: (file, content, into) => {
      if (content < file.fresh) {
        fill(file, content, into);
        into.stated = into.cents;
        into.known = undefined;
        return;
      }
      let offset = content - file.fresh;
      for (const repeat of file.repeats) {
        if (offset < repeat.count) {
          fillRepeat(fill, repeat.source, repeat.start + offset, repeat.corrects, into);
          return;
        }
        offset -= repeat.count;
      }
      throw new RangeError(`file ${file.index} has no line ${content}`);
    },
  };
}

function fillRepeat(
  fill: Invoices["fill"],
  source: FilePlan,
  statement: number,
  corrects: boolean,
  into: Statement,
): void {
  fill(source, invoiceOfStatement(source, statement), into);
  const earlier = correctionBefore(source, statement);
  into.known = earlier === undefined ? into.cents : correctedTotal(into, roundOfStatement(source, earlier));
  into.stated = corrects ? correctedTotal(into, roundOfStatement(source, statement)) : into.known;
}

/**
 * The total after a correction: each round moves it by one more step of the invoice's own, so that no two
 * rounds agree and a correction always corrects. One correction in 16 is a cancellation to 0.00.
 */
function correctedTotal(invoice: Invoice, round: number): number {
  const random = word(invoice, 5);
  if ((random & 15) === 0 && invoice.cents !== 0) return invoice.cents - invoice.cents * round;
  const step = 10 * (1 + ((random >>> 5) % 150));
  return invoice.cents + ((random & 16) === 0 ? step : -step) * round;
}

/** The total on the line that a later line of the same file replaces: in half of the cases the same. */
export function draftTotal(statement: Statement): number {
  const random = word(statement, 6);
  return (random & 1) === 0 ? statement.stated : statement.stated + 10 * (1 + ((random >>> 1) % 500));
}

/** A Feistel network over (file, number): distinct invoices get distinct bits, so no two ids are alike. */
function identify(file: FilePlan, number: number, into: Invoice): void {
  const keys = file.idKeys;
  let a = file.index;
  let b = number;
  a ^= mix32(b + (keys[0] as number));
  b ^= mix32(a + (keys[1] as number));
  a ^= mix32(b + (keys[2] as number));
  b ^= mix32(a + (keys[3] as number));
  into.high = a >>> 0;
  into.low = b >>> 0;
}

/** Random number `k` (32 bits) of an invoice. */
export function word(invoice: Invoice, k: number): number {
  return mix32((invoice.high + Math.imul(k, 0x9e3779b9)) ^ mix32(invoice.low + Math.imul(k, 0x85ebca6b)));
}

function dayIndex(starts: Uint32Array, number: number): number {
  let low = 0;
  let high = starts.length - 2;
  // Nine of ten invoices are of the last two days.
  if (number >= (starts[high - 1] as number)) low = high - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((starts[middle] as number) <= number) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The night of a date comes with its own file, the rest with the next day's; late rows are of all hours. */
function secondOf(file: FilePlan, day: number, q: number): number {
  const hours = hoursOf(day, file.recipe.hours);
  if (day === file.syncDay) return hours.secondAt(q * hours.nightShare);
  if (day === file.syncDay - 1) return hours.secondAt(hours.nightShare + q * (1 - hours.nightShare));
  return hours.secondAt(q);
}

/** A bill: about the venue's price, skewed to the right; one in 64 a large party; most in 10 cents. */
function totalOf(invoice: Invoice, price: number, refunds: number): number {
  const shape = word(invoice, 3);
  const kind = word(invoice, 4);
  const sum = (shape & 255) + ((shape >>> 8) & 255) + ((shape >>> 16) & 255) + (shape >>> 24);
  let cents = 100 + Math.floor((price * sum * sum) / 281_700);
  if ((kind & 63) === 0) cents *= 2 + ((kind >>> 6) & 7);
  if (((kind >>> 9) & 3) !== 0) cents -= cents % 10;
  return mix32(kind) < refunds * 2 ** 32 ? -cents : cents;
}
