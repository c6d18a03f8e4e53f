/** Guesses which columns make an invoice, and writes them with the reasons. */
import type { ColumnRef } from "../../drop/form.ts";
import { guessInvoices, guessVenues, type InvoiceGuess, type Scored } from "./ids.ts";
import type { Layout, SampleColumn } from "./layout.ts";
import { saysNoSale, scoreName } from "./names.ts";
import { type DateHints, guessTimes, type TimeGuess } from "./times.ts";
import { guessTotals, type TotalGuess } from "./totals.ts";
import { writeComment, writeList, writeScalar } from "./yaml.ts";

/** Of each the best first. */
export interface ColumnGuesses {
  readonly layout: Layout;
  readonly venues: readonly Scored[];
  readonly invoices: readonly InvoiceGuess[];
  readonly times: readonly TimeGuess[];
  readonly totals: readonly TotalGuess[];
  /** Columns of which nothing is guessed but perhaps a total. */
  readonly free: readonly SampleColumn[];
}

export function guessColumns(layout: Layout, hints: DateHints): ColumnGuesses {
  const times = guessTimes(layout, hints);
  const used = new Set<SampleColumn>(times[0]?.columns);
  const [uuid] = guessInvoices(layout, { venue: undefined, day: undefined, used });
  if (uuid?.kind === "uuid") used.add(uuid.column);
  const venues = guessVenues(layout, used);
  const venue = venues[0]?.column;
  if (venue !== undefined) used.add(venue);
  const day = times[0]?.columns.length === 2 ? times[0].columns[0] : undefined;
  const others = new Set(used);
  if (uuid?.kind === "uuid") others.delete(uuid.column);
  const invoices = guessInvoices(layout, { venue, day, used: others });
  for (const column of columnsOf(invoices[0])) used.add(column);
  const free = layout.columns.filter((column) => !used.has(column));
  return { layout, times, venues, invoices, totals: guessTotals(free), free };
}

function columnsOf(guess: InvoiceGuess | undefined): readonly SampleColumn[] {
  if (guess === undefined) return [];
  return [guess.kind === "uuid" ? guess.column : guess.number];
}

/** The keys of a source, with comments. */
export function writeColumns(guesses: ColumnGuesses): readonly string[] {
  const parts = [writeVenue(guesses), writeInvoice(guesses), writeTime(guesses), writeTotal(guesses)];
  const columns = parts.flatMap(({ column }) => column);
  const hasKey = columns.some((line) => !line.trimStart().startsWith("#"));
  const indented = columns.map((line) => (hasKey ? `  ${line}` : line));
  return [
    ...(hasKey ? ["columns:"] : []),
    ...indented,
    ...parts.flatMap(({ keys }) => keys),
    ...writeConditions(guesses),
  ];
}

interface Part {
  /** Below the key `columns`. */
  readonly column: readonly string[];
  readonly keys: readonly string[];
}

const refsOf = (columns: readonly SampleColumn[]) => columns.map(({ ref }) => ref);
const show = (ref: ColumnRef) => (typeof ref === "number" ? `number ${ref}` : ref);

/** So many columns are listed. */
const MOST_ASKED = 25;

/** What cannot be found is for people to fill in. */
function ask(key: string, columns: readonly SampleColumn[]): string {
  const filled = columns.filter(({ distinct }) => distinct.length > 0);
  const asked = filled.length > 0 ? filled : columns;
  const more = asked.length > MOST_ASKED ? `, and ${asked.length - MOST_ASKED} more` : "";
  return writeComment(
    `${key}: ???  which of: ${refsOf(asked.slice(0, MOST_ASKED)).map(show).join(", ")}${more}`,
  );
}

function alternatives(columns: readonly SampleColumn[]): string {
  return columns.length === 0 ? "" : ` Others: ${refsOf(columns).map(show).join(", ")}.`;
}

/** Such as a value of a column. */
function example({ distinct }: SampleColumn): string {
  const [first = ""] = distinct;
  return JSON.stringify(first.length > 40 ? `${first.slice(0, 40)}...` : first);
}

const byName = ({ name }: SampleColumn) => (name === "" ? "by its values" : "by its name");

function writeVenue({ venues, free }: ColumnGuesses): Part {
  const [first, ...others] = venues;
  if (first === undefined) {
    const lines = [
      ask("venue_id", free),
      writeComment("Or, if all are of one venue: venue_id: {constant: NAME}"),
      writeComment(
        "Or, if a folder tells the venue, as a key of its own: venue_id: {from_path: '^([^/]+)/'}",
      ),
    ];
    return { column: lines, keys: [] };
  }
  const { column } = first;
  const why = `${byName(column)}; ${column.distinct.length} in the sample, such as ${example(column)}.`;
  return {
    column: [
      writeComment(`The venue, ${why}${alternatives(others.map((other) => other.column))}`),
      `venue_id: ${writeScalar(column.ref)}`,
    ],
    keys: [],
  };
}

function writeInvoice({ invoices, free }: ColumnGuesses): Part {
  const [first, ...others] = invoices;
  const rest = alternatives(others.flatMap(columnsOf));
  if (first === undefined) return { column: [ask("invoice_id", free)], keys: [] };
  if (first.kind === "uuid") {
    const { column } = first;
    const why = writeComment(`The invoice, because these are UUIDs.${rest}`);
    return { column: [why, `invoice_id: ${writeScalar(column.ref)}`], keys: [] };
  }
  const { repeated, columns, number } = first;
  const lines = [
    writeComment(
      `The invoice: no UUIDs, but numbers of receipts, such as ${example(number)}. These columns together must tell every`,
    ),
    writeComment(`invoice from all others, also of other days and venues.${rest}`),
  ];
  if (repeated > 0) {
    lines.push(
      writeComment(
        `Records of the sample whose id an earlier one has: ${repeated}. Of these the last counts. If an invoice has a`,
      ),
      writeComment(
        "row per item: total: {sum_rows: true}. If numbers begin again: add the column that tells them apart.",
      ),
    );
  }
  const key = ["invoice_id:", `  uuid5_of: ${writeList(refsOf(columns))}`];
  return { column: [], keys: [...lines, ...key] };
}

function writeTime({ times, free }: ColumnGuesses): Part {
  const [first, ...others] = times;
  if (first === undefined) {
    const named = free.filter(({ name }) => scoreName(name, "time") > 0);
    const lines = [ask("datetime_created", named.length > 0 ? named : free)];
    for (const column of named.slice(0, 3)) {
      lines.push(
        writeComment(
          `How is it written? ${show(column.ref)} holds ${example(column)}: datetime_created: {format: ...}`,
        ),
      );
    }
    return { column: lines, keys: [] };
  }
  const { columns, timed } = first;
  const values = columns.map((column) => example(column)).join(" and ");
  const rest = alternatives(others.flatMap((other) => other.columns).filter((one) => !columns.includes(one)));
  const column = [
    writeComment(
      `When it was created, by trying: such as ${values}.${timed ? "" : " There is no time of day."}${rest}`,
    ),
    `datetime_created: ${writeList(refsOf(columns))}`,
  ];
  return { column, keys: writeTimeForm(first) };
}

const ZONE = "Times without an offset are in the zone of the warehouse. If they are not:";

function writeTimeForm({ timed, epoch, format, undecided }: TimeGuess): readonly string[] {
  if (epoch !== undefined) {
    return [writeComment(`Numbers of ${epoch} since 1970.`), "datetime_created:", `  epoch_${epoch}: true`];
  }
  if (format === undefined) {
    return timed ? [writeComment(`${ZONE} datetime_created: {zone: Europe/Berlin}`)] : [];
  }
  const why =
    undecided === undefined
      ? "By trying it on the sample."
      : `UNDECIDED: ${undecided} reads the sample, too. Which is the day, and which the month?`;
  return [
    writeComment(why),
    "datetime_created:",
    `  format: ${writeScalar(format)}`,
    ...(timed ? [writeComment(`${ZONE} zone: Europe/Berlin`, "  ")] : []),
  ];
}

function writeTotal({ totals, free }: ColumnGuesses): Part {
  const [first, ...others] = totals;
  const likely = totals.filter(({ score }) => score >= 2);
  const isClear = first !== undefined && (first.score >= 2 || others.length === 0);
  if (!isClear || (first.column.name === "" && likely.length > 1)) {
    const candidates = totals.length > 0 ? totals.map(({ column }) => column) : free;
    return {
      column: [
        ask("total", candidates),
        writeComment("Or a sum of several, as a key of its own: total: {sum_of: [A, B]}"),
      ],
      keys: [],
    };
  }
  const { column, notation, whole } = first;
  const { decimal, thousands, cents } = notation;
  const why = `${byName(column)}: numbers, such as ${example(column)}.`;
  const lines = [
    writeComment(
      `The total, ${why}${alternatives(others.filter(({ score }) => score > 0).map((other) => other.column))}`,
    ),
    `total: ${writeScalar(column.ref)}`,
  ];
  if (whole && cents !== true)
    lines.push(
      writeComment("They are whole numbers. If they are cents, as a key of its own: total: {cents: true}"),
    );
  return {
    column: lines,
    keys: [
      "total:",
      `  decimal: ${JSON.stringify(decimal)}`,
      ...(thousands === undefined ? [] : [`  thousands: ${writeScalar(thousands)}`]),
      ...(cents === true ? [writeComment("By its name.", "  "), "  cents: true"] : []),
    ],
  };
}

/** Records that may be no sales: by a status, or because they have no total. */
function writeConditions({ layout, free, totals }: ColumnGuesses): readonly string[] {
  const lines: string[] = [];
  const blank = totals[0]?.column.values.filter((value) => value === "").length ?? 0;
  if (totals[0] !== undefined && blank > 0) {
    const records = `${blank} of ${layout.records} records have no total.`;
    const key = writeScalar(totals[0].column.ref);
    lines.push(writeComment(`${records} If they are no invoices: skip_when: {${key}: ""}`));
  }
  const found = free.filter(
    ({ name, distinct }) => scoreName(name, "status") > 0 && distinct.length >= 2 && distinct.length <= 12,
  );
  for (const { ref, values, distinct } of found.slice(0, 3)) {
    const counts = distinct.map((value) => `${value} (${values.filter((one) => one === value).length})`);
    const example = distinct.find(saysNoSale) ?? distinct.at(-1) ?? "";
    lines.push(
      writeComment(`Are all of these sales? ${show(ref)}: ${counts.join(", ")}. If not, leave some out:`),
      writeComment(`skip_when: {${writeScalar(ref)}: ${writeScalar(example)}}`),
    );
  }
  return lines;
}
