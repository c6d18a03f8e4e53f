/** Guesses which columns hold the venue and the id of an invoice. */

import { ROW } from "../../drop/row.ts";
import { checkText } from "../../drop/value/text.ts";
import { readUuid } from "../../drop/value/uuid.ts";
import { isUsual, type Layout, type SampleColumn } from "./layout.ts";
import { scoreName } from "./names.ts";

export interface Scored {
  readonly column: SampleColumn;
  readonly score: number;
}

const best = (scored: readonly Scored[]) => scored.toSorted((one, other) => other.score - one.score);

/** The columns that may hold the venue, the best first: by name, or, without names, by values that come again. */
export function guessVenues({ columns }: Layout, used: ReadonlySet<SampleColumn>): readonly Scored[] {
  const readable = columns.filter(
    (column) =>
      !used.has(column) && isUsual(column.distinct, (value) => checkText(value, ROW.venue_id) === undefined),
  );
  const named = readable
    .map((column) => ({ column, score: scoreName(column.name, "venue") }))
    .filter(({ score }) => score > 0);
  if (named.length > 0 || columns.some(({ name }) => name !== "")) return best(named);
  const repeating = readable.filter(
    ({ distinct, values }) => values.length > 2 * distinct.length || values.length < 10,
  );
  return repeating.map((column) => ({ column, score: 1 }));
}

export type InvoiceGuess =
  | { readonly kind: "uuid"; readonly column: SampleColumn }
  | {
      readonly kind: "receipt";
      /** Of the receipt. */
      readonly number: SampleColumn;
      /** That, and before it what tells equal numbers apart. */
      readonly columns: readonly SampleColumn[];
      /** How many records of the sample have an id that another one has, too. */
      readonly repeated: number;
    };

/** The ids of invoices, the best first: UUIDs before numbers of receipts. */
export function guessInvoices(
  { columns }: Layout,
  known: {
    readonly venue: SampleColumn | undefined;
    /** Numbers of receipts may begin again each day. */
    readonly day: SampleColumn | undefined;
    readonly used: ReadonlySet<SampleColumn>;
  },
): readonly InvoiceGuess[] {
  const free = columns.filter((column) => !known.used.has(column) && column.distinct.length > 0);
  const scored = free.map((column) => ({ column, score: scoreName(column.name, "invoice") }));
  // Numbers of receipts are no UUIDs even now and then.
  const isUuids = ({ distinct }: SampleColumn) =>
    2 * distinct.filter((value) => readUuid(value) !== undefined).length > distinct.length;
  const uuids = scored
    .filter(({ column }) => isUuids(column))
    // Without a name that says so: the more of them differ, the better.
    .map(({ column, score }) => ({ column, score: score + column.distinct.length / column.values.length }));
  const receipts = scored.filter(
    ({ column, score }) => !isUuids(column) && (score > 0 || isNumbered(column)),
  );
  return [
    ...best(uuids).map(({ column }) => ({ kind: "uuid" as const, column })),
    ...best(receipts).map(({ column }) => combine(column, known, free)),
  ];
}

/** Of files without names: numbers that do not come again. */
function isNumbered({ name, distinct, values }: SampleColumn): boolean {
  return (
    name === "" &&
    distinct.length === values.length &&
    values.every((value) => /\d/.test(value) && !/[.,:]/.test(value))
  );
}

/** With the venue; and with what else tells receipts apart that have one number. */
function combine(
  column: SampleColumn,
  { venue, day }: { readonly venue: SampleColumn | undefined; readonly day: SampleColumn | undefined },
  free: readonly SampleColumn[],
): InvoiceGuess {
  const usual = venue === undefined ? [column] : [venue, column];
  const repeated = countRepeated(usual);
  const more = [
    ...(day === undefined ? [] : [day]),
    ...free.filter((one) => one !== column && scoreName(one.name, "sequence") > 0),
  ];
  const better = repeated === 0 ? undefined : more.find((one) => countRepeated([one, ...usual]) === 0);
  return better === undefined
    ? { kind: "receipt", number: column, columns: usual, repeated }
    : { kind: "receipt", number: column, columns: [...usual.slice(0, -1), better, column], repeated: 0 };
}

function countRepeated(columns: readonly SampleColumn[]): number {
  const [first] = columns;
  const records = first?.values.flatMap((_, index) =>
    JSON.stringify(columns.map(({ values }) => values[index])),
  );
  return (records?.length ?? 0) - new Set(records).size;
}
