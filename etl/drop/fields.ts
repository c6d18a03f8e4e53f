/**
 * How the cells of a record make a row. In the drop format each column has a cell of its own, in the forms that
 * the format allows. A form (form.ts) may take a column from several cells, or from none, and read it otherwise.
 */
import type { Condition } from "./form.ts";
import { COLUMNS, type Column } from "./row.ts";
import type { LineRules } from "./rules.ts";
import { makeUuid, PART_SEPARATOR } from "./value/name_based_uuid.ts";
import { trimBlanks } from "./value/text.ts";
import type { TimeReader } from "./value/time_reader.ts";
import { readTimestamp } from "./value/timestamp.ts";
import {
  BAD_TOTALS,
  type BadTotal,
  COMMA_NOTATION,
  type Notation,
  POINT_NOTATION,
  readTotal,
  sumTotals,
  type TotalResult,
} from "./value/total.ts";
import { readUuid } from "./value/uuid.ts";

/** What a form says, with the columns found in a file: indexes of cells, from 0. */
export interface Fields {
  readonly venueId: readonly number[];
  /** In place of a cell. */
  readonly venueConstant: string | undefined;
  readonly invoiceId: readonly number[];
  /** Whether the invoice's id is made of its cells. */
  readonly makesUuid: boolean;
  readonly created: readonly number[];
  readonly readTime: (rules: LineRules) => TimeReader;
  readonly total: readonly number[];
  readonly notation: Partial<Notation>;
  readonly conditions: readonly (Omit<Condition, "column"> & { readonly at: number })[];
}

/** Reads the columns of the records of one drop. */
export interface FieldReaders {
  /** What a record has of a column: the text of its cell, or of its cells, with a separator between them. */
  readonly textOf: (cells: readonly string[], column: Column) => string;
  /** The indexes of the cells that are read. */
  readonly named: ReadonlySet<number>;
  readonly uuid: (text: string) => string | undefined;
  readonly time: TimeReader;
  readonly total: (text: string) => TotalResult;
  /** Whether a record counts for nothing, because of the values that it has. */
  readonly leavesOut: (cells: readonly string[]) => boolean;
  /** Whether a record says that its invoice is void. */
  readonly isVoid: (cells: readonly string[]) => boolean;
}

/** @param positions the cell of each column, where there are no `fields` */
export function createFieldReaders(options: {
  readonly positions: Readonly<Record<Column, number>>;
  readonly fields: Fields | undefined;
  readonly rules: LineRules;
}): FieldReaders {
  const { positions, fields, rules } = options;
  const notation = rules.decimalComma ? COMMA_NOTATION : POINT_NOTATION;
  if (fields === undefined) {
    return {
      textOf: (cells, column) => cells[positions[column]] ?? "",
      named: new Set(Object.values(positions)),
      uuid: readUuid,
      time: (text) => readTimestamp(trimBlanks(text), rules.dayStarts),
      total: (text) => readTotal(text, notation),
      leavesOut: () => false,
      isVoid: () => false,
    };
  }
  const { venueId, invoiceId, created, total, venueConstant, conditions } = fields;
  const cellsOf = { venue_id: venueId, invoice_id: invoiceId, datetime_created: created, total };
  const separators = {
    venue_id: "",
    invoice_id: PART_SEPARATOR,
    datetime_created: " ",
    total: PART_SEPARATOR,
  };
  return {
    textOf: (cells, column) => {
      if (column === "venue_id" && venueConstant !== undefined) return venueConstant;
      const [first = -1, ...others] = cellsOf[column];
      const text = cells[first] ?? "";
      if (others.length === 0) return text;
      const parts = cellsOf[column].map((at) => trimBlanks(cells[at] ?? ""));
      return parts.every((part) => part === "") ? "" : parts.join(separators[column]);
    },
    named: new Set(COLUMNS.flatMap((column) => cellsOf[column])),
    uuid: fields.makesUuid ? createUuidMaker(venueConstant) : readUuid,
    time: createTimeJoiner(fields.readTime(rules), created.length),
    total: createSum({ ...notation, ...definedOf(fields.notation) }),
    leavesOut: createCheck(conditions.filter(({ effect }) => effect !== "void")),
    isVoid: createCheck(conditions.filter(({ effect }) => effect === "void")),
  };
}

/** Whether a record has one of the values of any condition, or, of one that keeps records, none of them. */
function createCheck(conditions: Fields["conditions"]): (cells: readonly string[]) => boolean {
  return (cells) =>
    conditions.some(({ at, values, effect }) => {
      const cell = cells[at];
      return cell !== undefined && values.includes(trimBlanks(cell)) === (effect !== "keep");
    });
}

/** Of a time that is joined of several cells none may be blank: a date alone would be read as a whole day. */
function createTimeJoiner(read: TimeReader, cells: number): TimeReader {
  return (text) => {
    const trimmed = trimBlanks(text);
    return cells > 1 && trimmed.length < text.length ? undefined : read(trimmed);
  };
}

function definedOf({ decimal, thousands, cents }: Partial<Notation>): Partial<Notation> {
  return { ...(decimal && { decimal }), ...(thousands && { thousands }), ...(cents && { cents }) };
}

/**
 * Rows of one invoice nearly always follow each other, so the last id is kept.
 *
 * @param venue begins the name where no cell can: registers of two venues give the same numbers
 */
function createUuidMaker(venue: string | undefined): (name: string) => string | undefined {
  const prefix = venue === undefined ? "" : `${trimBlanks(venue)}${PART_SEPARATOR}`;
  let last: { readonly name: string | undefined; readonly uuid: string } = { name: undefined, uuid: "" };
  return (name) => {
    if (name !== last.name && hasBlankPart(name)) return undefined;
    if (name !== last.name) last = { name, uuid: makeUuid(`${prefix}${name}`) };
    return last.uuid;
  };
}

/** A receipt without its number would get the id of all others without one. */
function hasBlankPart(name: string): boolean {
  return name.split(PART_SEPARATOR).includes("");
}

/** Of several, the first in the order of all reasons. */
function firstReason(results: readonly TotalResult[]): BadTotal | undefined {
  const reasons = results.flatMap((result) => (result.kind === "bad" ? [result.reason] : []));
  return BAD_TOTALS.find((reason) => reasons.includes(reason));
}

/** Adds the totals of several cells; a blank one counts as 0, unless all are. */
function createSum(notation: Notation): (text: string) => TotalResult {
  return (text) => {
    if (!text.includes(PART_SEPARATOR)) return readTotal(text, notation);
    const parts = text.split(PART_SEPARATOR).filter((part) => part !== "");
    const results = parts.map((part) => readTotal(part, notation));
    const reason = firstReason(results);
    if (reason !== undefined) return { kind: "bad", reason };
    const texts = results.flatMap((result) => (result.kind === "total" ? [result.text] : []));
    const sum = sumTotals(texts);
    return sum === undefined ? { kind: "bad", reason: "bad_total" } : { kind: "total", text: sum };
  };
}
