/**
 * The careful path: the rules for one record (docs/design.md, "The drop format"). A record is written anew as a
 * row of COPY text, or rejected for the first reason that applies, or, where it is blank, counts for nothing.
 */
import { isUtf8 } from "node:buffer";
import { hasWidth, splitRecord } from "./cells.ts";
import { copyLayout, type Dialect } from "./dialect.ts";
import { createFieldReaders, type FieldReaders } from "./fields.ts";
import { CELL_LENGTH, type Reject, type RejectReason } from "./reject.ts";
import { COLUMNS, type Column, type CopyLayout, NO_TOTAL, ROW, writeRow } from "./row.ts";
import type { LineRules } from "./rules.ts";
import { checkCreated, findOpenSpans, type OpenSpans } from "./spans.ts";
import { PART_SEPARATOR } from "./value/name_based_uuid.ts";
import { checkText, trimBlanks } from "./value/text.ts";
import type { Timestamp } from "./value/timestamp.ts";

const LF = 0x0a;
const CR = 0x0d;

/** All that decides about the lines of one drop, prepared once. */
export interface LineFormat {
  readonly dialect: Dialect;
  readonly copy: CopyLayout;
  readonly rules: LineRules;
  readonly open: OpenSpans;
  readonly readers: FieldReaders;
}

export function lineFormat(options: { readonly dialect: Dialect; readonly rules: LineRules }): LineFormat {
  const { dialect, rules } = options;
  const readers = createFieldReaders({ ...dialect, fields: dialect.fields, rules });
  return { dialect, copy: copyLayout(dialect), rules, open: findOpenSpans(rules), readers };
}

/** The bytes of a record within a batch, without its terminator. */
export interface RecordBytes {
  readonly batch: Buffer;
  /** Offsets in the batch: the first byte, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** True when the whole batch is known to be UTF-8. */
  readonly utf8: boolean;
  /** The number of its first line, from 1, and how many lines it has. */
  readonly line: number;
  readonly lines: number;
  /** True for the first line of a record whose quotes are broken. */
  readonly broken: boolean;
}

/** What a record comes to that the source leaves out. */
export const LEFT_OUT = Symbol("left out");

/** The row of a record that says that its invoice is void: as others, without a total. */
export interface VoidRow {
  readonly row: string;
}

/**
 * Decides one record that is not empty: its row as COPY text (with an LF, in the layout of the format), or the
 * reject; undefined when all cells that are read are blank.
 */
export function validateRecord(options: {
  readonly bytes: RecordBytes;
  readonly format: LineFormat;
}): string | VoidRow | Reject | typeof LEFT_OUT | undefined {
  const { bytes, format } = options;
  const { rules, readers } = format;
  const text = decodeRecord(bytes);
  if (text === undefined) return reject(bytes, "bad_encoding");
  if (bytes.broken) return reject(bytes, "broken_quotes");
  const { delimiter, cells: width } = format.dialect;
  // One cell more than may be there is enough to tell that there are too many.
  const cells = splitRecord(text, delimiter, width + 2);
  if (cells === undefined) return reject(bytes, "broken_quotes");
  if (readers.leavesOut(cells)) return LEFT_OUT;
  if (bytes.lines > 1 && breaksLines(cells, format)) return reject(bytes, "bad_encoding");
  if (!hasWidth(cells, width)) return reject(bytes, "wrong_column_count");
  const values: Values = { texts: { ...NO_TEXTS }, created: undefined };
  const rejectFor = (reason: RejectReason, column: Column) => {
    if ([...readers.named].every((at) => trimBlanks(cells[at] ?? "") === "")) return undefined;
    const total = readers.total(trimBlanks(readers.textOf(cells, "total")));
    return reject(bytes, reason, {
      column,
      cell: readers.textOf(cells, column).replaceAll(PART_SEPARATOR, " ").slice(0, CELL_LENGTH),
      total: total.kind === "total" ? total.text : null,
      created: values.created ?? null,
    });
  };
  const isVoid = readers.isVoid(cells);
  for (const column of COLUMNS) {
    if (isVoid && column === "total") continue;
    const reason = readCell(values, column, readers.textOf(cells, column), readers);
    if (reason !== undefined) return rejectFor(reason, column);
  }
  const { texts, created } = values;
  const reason = created && checkCreated(created, format.open, rules);
  if (reason !== undefined) return rejectFor(reason, "datetime_created");
  return isVoid
    ? { row: writeRow(format.copy, { ...texts, total: NO_TOTAL }) }
    : writeRow(format.copy, texts);
}

/** Whether a line break stands where none may: in one of the cells that are read, or in a cell too many. */
function breaksLines(cells: readonly string[], { readers, dialect }: LineFormat): boolean {
  return cells.some(
    (cell, index) => (readers.named.has(index) || index >= dialect.cells) && cell.includes("\n"),
  );
}

/** What was read of a record so far. */
interface Values {
  /** The canonical text of each column. */
  readonly texts: Record<Column, string>;
  created: Timestamp | undefined;
}

const NO_TEXTS = Object.fromEntries(COLUMNS.map((column) => [column, ""])) as Record<Column, string>;

/** Reads one cell into the values; returns the reason when the record is to be rejected for it. */
function readCell(
  values: Values,
  column: Column,
  cell: string,
  readers: FieldReaders,
): RejectReason | undefined {
  const { texts } = values;
  const rule = ROW[column];
  switch (rule.type) {
    case "text": {
      texts[column] = cell;
      return checkText(cell, rule);
    }
    case "uuid": {
      const uuid = readers.uuid(trimBlanks(cell));
      if (uuid === undefined) return "bad_uuid";
      texts[column] = uuid;
      return undefined;
    }
    case "timestamp with time zone": {
      const timestamp = readers.time(cell);
      if (timestamp === undefined) return "bad_timestamp";
      values.created = timestamp;
      texts[column] = timestamp.text;
      return undefined;
    }
    case "numeric(14,2)": {
      const total = readers.total(trimBlanks(cell));
      if (total.kind === "bad") return total.reason;
      texts[column] = total.text;
      return undefined;
    }
  }
}

const NOWHERE = { column: null, cell: null, total: null, created: null };

function reject(
  bytes: RecordBytes,
  reason: RejectReason,
  at: Pick<Reject, "column" | "cell" | "total" | "created"> = NOWHERE,
): Reject {
  // A copy: rejects outlive the batch, and a slice would keep all of it in memory.
  const raw = Buffer.from(bytes.batch.subarray(bytes.from, bytes.to));
  return { line: bytes.line, reason, ...at, raw };
}

const CONTROL = 1;
const NOT_ASCII = 2;
const LINE_BREAK = 4;
/**
 * For each byte: CONTROL for U+0000 to U+001F other than tab and for U+007F, but LINE_BREAK for LF; NOT_ASCII
 * from 0x80 on, else 0.
 */
const BYTE_KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x80) return NOT_ASCII;
  if (byte === LF) return LINE_BREAK;
  return (byte < 0x20 && byte !== 0x09) || byte === 0x7f ? CONTROL : 0;
});

/**
 * The record as text; undefined when it is not UTF-8 or holds control characters. LF, and CR before it, are
 * none: they stand in the record's quotes.
 */
function decodeRecord({ batch, from, to, utf8 }: RecordBytes): string | undefined {
  let kinds = 0;
  for (let at = from; at < to; at++) {
    const byte = batch[at] ?? 0;
    if (byte !== CR || batch[at + 1] !== LF) kinds |= BYTE_KINDS[byte] ?? 0;
  }
  if (kinds & CONTROL) return undefined;
  if (!(kinds & NOT_ASCII)) return batch.toString("latin1", from, to);
  return utf8 || isUtf8(batch.subarray(from, to)) ? batch.toString("utf8", from, to) : undefined;
}
