/** Guesses how a file is laid out: delimiter, lines before the header, header, and the values of each column. */
import { DELIMITERS, type Delimiter } from "../../drop/cells.ts";
import { nameOf } from "../../drop/dialect.ts";
import type { ColumnRef } from "../../drop/form.ts";
import { trimBlanks } from "../../drop/value/text.ts";
import { readUuid } from "../../drop/value/uuid.ts";
import { findSeparator, type Sample, type SampleRecord, splitSample } from "./sample.ts";

export interface SampleColumn {
  /** As a source names it: by its name, or by its number where it has none of its own. */
  readonly ref: ColumnRef;
  /** Empty without a header. */
  readonly name: string;
  /** One for each record, without blanks around it. */
  readonly values: readonly string[];
  /** Those that are not blank, each once. */
  readonly distinct: readonly string[];
}

export interface Layout {
  readonly delimiter: Delimiter;
  /** Lines before the header, or before the first record. */
  readonly skip: number;
  readonly header: boolean;
  /** How many columns there are; of these the first ones are looked at. */
  readonly width: number;
  readonly columns: readonly SampleColumn[];
  /** How many records of the sample have these columns, and how many have others. */
  readonly records: number;
  readonly others: number;
}

/** So many of the values must be as a guess has it: a record may be broken, or be none. */
const LEAST_SHARE = 0.95;
/** Of so many values one may be otherwise in any case. */
const FEW = 10;

/** Whether all values, or nearly all, are so. */
export function isUsual(values: readonly string[], test: (value: string) => boolean): boolean {
  const allowed = Math.max(Math.floor(values.length * (1 - LEAST_SHARE)), values.length >= FEW ? 1 : 0);
  let failed = 0;
  return values.length > 0 && values.every((value) => test(value) || ++failed <= allowed);
}

/** So many columns are looked at. */
const MOST_COLUMNS = 1000;
/** The header is looked for in so many records. */
const HEADER_WITHIN = 40;

/** Undefined where nothing in the file looks like a table. */
export function guessLayout(sample: Sample): Layout | undefined {
  const separator = findSeparator(sample);
  const readings = (separator === undefined ? DELIMITERS : [separator])
    .map((delimiter) => readTable(sample, delimiter))
    .toSorted((one, other) => other.score - one.score);
  const [best] = readings;
  return best === undefined || best.width < 2 ? undefined : layOut(best);
}

interface Table {
  readonly delimiter: Delimiter;
  readonly records: readonly SampleRecord[];
  /** How many cells most records have. */
  readonly width: number;
  readonly score: number;
}

/** The more records have one number of cells, and the more cells these are, the better a delimiter fits. */
function readTable(sample: Sample, delimiter: Delimiter): Table {
  const records = splitSample(sample, delimiter);
  const counts = new Map<number, number>();
  for (const { cells } of records) counts.set(cells.length, (counts.get(cells.length) ?? 0) + 1);
  const scores = [...counts].map(([width, count]) => ({
    width,
    score: (count / records.length) * Math.sqrt(width - 1),
  }));
  const [best = { width: 0, score: 0 }] = scores.toSorted((one, other) => other.score - one.score);
  return { delimiter, records, ...best };
}

function layOut({ delimiter, records, width }: Table): Layout {
  const fitting = records.filter(({ cells }) => hasWidth(cells, width));
  const header = findHeader(fitting, width);
  const first = header ?? fitting.find(({ cells }) => cells.some(isValue)) ?? fitting[0];
  const start = first?.line ?? 1;
  const body = fitting.filter(({ line }) => (header === undefined ? line >= start : line > start));
  const before = records.some(({ line }) => line < start);
  const names = header?.cells.map(trimBlanks) ?? [];
  const uses = new Map<string, number>();
  for (const name of names.map(nameOf)) uses.set(name, (uses.get(name) ?? 0) + 1);
  const columns = Array.from({ length: Math.min(width, MOST_COLUMNS) }, (_, index): SampleColumn => {
    const name = names[index] ?? "";
    const isOwn = uses.get(nameOf(name)) === 1;
    const values = body.map(({ cells }) => trimBlanks(cells[index] ?? ""));
    return {
      // A source reads digits as a number.
      ref: name !== "" && isOwn && !/^\d{1,4}$/.test(name) ? name : index + 1,
      name,
      values,
      distinct: [...new Set(values)].filter((value) => value !== ""),
    };
  });
  const later = records.filter(({ line }) => line > start);
  return {
    delimiter,
    skip: before ? start - 1 : 0,
    header: header !== undefined,
    width,
    columns,
    records: body.length,
    others: later.length - later.filter(({ cells }) => hasWidth(cells, width)).length,
  };
}

function hasWidth(cells: readonly string[], width: number): boolean {
  return cells.length === width || (cells.length === width + 1 && cells[width] === "");
}

/** The first record of names alone, each once, with values in a record after it. */
function findHeader(records: readonly SampleRecord[], width: number): SampleRecord | undefined {
  const at = records.slice(0, HEADER_WITHIN).findIndex(({ cells }) => isHeader(cells, width));
  const hasValues = records.slice(at + 1).some(({ cells }) => cells.some(isValue));
  return at >= 0 && (hasValues || records.length === at + 1) ? records[at] : undefined;
}

function isHeader(cells: readonly string[], width: number): boolean {
  const names = cells.map(nameOf).filter((name) => name !== "");
  // Above it there may be a title, or a few cells of one.
  const enough = names.length >= Math.max(2, Math.ceil(width * 0.6));
  return enough && new Set(names).size >= names.length - 1 && !cells.some(isValue);
}

const NUMBER = /^[-+(]?[€$£]?\d[\d.,:/'\s-]*\)?(?:\s?(?:€|EUR|[AP]M))?$/i;
const DATE = /^\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?!\d)/;

/** Whether it is a number, a date, a time or a UUID, and so no name. */
function isValue(cell: string): boolean {
  const text = trimBlanks(cell);
  return NUMBER.test(text) || DATE.test(text) || readUuid(text) !== undefined;
}
