/** Divides the text of a drop into records, and decides each: its row for COPY, or its reject. */
import { isUtf8 } from "node:buffer";
import { collectRows } from "./collect.ts";
import {
  copyLayout,
  DEFAULT_DIALECT,
  type Detection,
  type Dialect,
  detectDialect,
  dialectWithoutHeader,
  NOTHING_DETECTED,
} from "./dialect.ts";
import type { Form } from "./form.ts";
import { findColumns } from "./form_columns.ts";
import type { Unpacked } from "./inflate.ts";
import { createRecogniser, type Recogniser } from "./recognise.ts";
import { findRecordEnd } from "./records.ts";
import { MAX_LINE_BYTES, type RefusedEvent, refuseLongLine } from "./refuse.ts";
import type { Reject } from "./reject.ts";
import type { CopyLayout } from "./row.ts";
import type { LineRules } from "./rules.ts";
import { LEFT_OUT, type LineFormat, lineFormat, validateRecord } from "./validate.ts";

/** Rows and rejects of some 128 KiB of input, each in the order of the file. */
export interface RowsEvent {
  readonly kind: "rows";
  /**
   * Lines of COPY's text format in the layout of the `dialect` event. The reader does not use these bytes
   * again.
   */
  readonly copy: Buffer;
  /** How many lines `copy` holds. */
  readonly rows: number;
  /** The number of the first line of each of these, where that is asked for. */
  readonly lines?: readonly number[] | undefined;
  readonly rejects: readonly Reject[];
  /** How many records the source leaves out. */
  readonly skipped: number;
  /** The numbers of those lines in `copy` that say that their invoice is void: they have no total. */
  readonly voids: readonly number[];
}

export interface DialectEvent {
  readonly kind: "dialect";
  readonly dialect: Dialect;
  readonly copy: CopyLayout;
}

/** The dialect comes first, once; it is the default for a drop that is refused before its first record. */
export type LinesEvent = DialectEvent | RowsEvent | RefusedEvent;

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;
const BYTE_ORDER_MARK = Buffer.from("\ufeff");
/** More than the lines that show the dialect can take, unless millions of empty ones are among them. */
const MAX_HEAD_BYTES = 24 * MAX_LINE_BYTES;
/** Enough to end any line, also one that ends in a CR of its own. */
const TERMINATOR = Buffer.from("\r\n");

/** How far the drop is read, and how its records are decided once the dialect is known. */
interface Reading {
  readonly rules: LineRules;
  readonly form: Form | undefined;
  readonly numbered: boolean;
  /** Lines read so far, empty ones too. */
  line: number;
  known: Known | undefined;
  /** What is known of the head of the drop while its dialect is not. */
  readonly begun: BegunHead;
}

/** How far the head of a drop was looked at: its bytes come again with each batch, until it is decided. */
interface BegunHead {
  seen: Detection;
  /** Where the next line begins, and how many lines are before it. */
  at: number;
  line: number;
  /** Where the first record may begin, and how many lines are before it. */
  from: number;
  linesBefore: number;
}

interface Known {
  readonly format: LineFormat;
  readonly recognise: Recogniser;
  readonly delimiter: number;
  /** The bytes of the header, which count for nothing where they come again. */
  readonly header: Buffer | undefined;
}

/** Decides the records of a drop. The chunks of its text may begin and end anywhere. */
export async function* readLines(options: {
  readonly text: Unpacked;
  readonly rules: LineRules;
  /** How the file is written; default: as the drop format has it. */
  readonly form?: Form | undefined;
  /** Whether the events have the numbers of the lines; default false. */
  readonly numbered?: boolean | undefined;
}): AsyncGenerator<LinesEvent, void, undefined> {
  const { form, numbered = false } = options;
  const rules = { ...options.rules, decimalComma: usesComma(options.rules, form) };
  const begun = { seen: NOTHING_DETECTED, at: 0, line: 0, from: 0, linesBefore: 0 };
  const reading: Reading = { rules, form, numbered, line: 0, known: undefined, begun };
  // The beginning of a line, a record or a head whose end has not come yet, and of these the open line.
  let held: Buffer[] = [];
  let openBytes = 0;
  for await (const chunk of options.text) {
    if (!Buffer.isBuffer(chunk)) {
      yield* withDialect(reading, chunk);
      return;
    }
    const whole = chunk.lastIndexOf(LF) + 1;
    if (whole === 0) {
      held.push(chunk);
      openBytes += chunk.length;
    } else {
      const batch = Buffer.concat([...held, chunk.subarray(0, whole)]);
      const { events, taken } = decideBatch(reading, batch, false);
      for (const event of events) {
        yield event;
        if (event.kind === "refused") return;
      }
      held = [batch.subarray(taken), chunk.subarray(whole)];
      openBytes = chunk.length - whole;
    }
    if (openBytes > MAX_LINE_BYTES + TERMINATOR.length) {
      const batch = Buffer.concat(held);
      yield* refuseOpenLine(reading, batch.subarray(0, batch.length - openBytes));
      return;
    }
  }
  const rest = Buffer.concat(held);
  if (rest.length > 0) {
    const batch = openBytes > 0 ? Buffer.concat([rest, TERMINATOR]) : rest;
    yield* decideBatch(reading, batch, true).events;
  }
  if (reading.known === undefined) yield useDialect(reading, DEFAULT_DIALECT);
}

/** Whether in totals comma and point change places: a source knows better than the load. */
export function usesComma(rules: Pick<LineRules, "decimalComma">, form: Form | undefined): boolean {
  return form?.total.decimal === undefined ? rules.decimalComma : form.total.decimal === ",";
}

/** The refusal for a line that is too long, after what is held before it. */
function refuseOpenLine(reading: Reading, before: Buffer): LinesEvent[] {
  if (reading.known !== undefined) {
    const { events } = decideBatch(reading, before, true);
    return [...events, refuseLongLine(reading.line + 1)];
  }
  // All lines before it were looked at for the head.
  return withDialect(reading, refuseLongLine(reading.begun.line + 1));
}

/** What a batch came to. The bytes after `taken` are needed again, before those of the next batch. */
interface Decided {
  readonly events: LinesEvent[];
  readonly taken: number;
}

/**
 * Decides the records of a batch, which ends with LF.
 *
 * @param last whether nothing follows it
 */
function decideBatch(reading: Reading, batch: Buffer, last: boolean): Decided {
  if (batch.length === 0) return { events: [], taken: 0 };
  if (reading.known !== undefined) return decideRecords(reading, batch, { from: 0, to: batch.length, last });
  const head = readHead(reading, batch, last);
  if (head === "undecided") return { events: [], taken: leaveEmptyLines(reading.begun) };
  if (head.kind === "refused") return { events: withDialect(reading, head), taken: batch.length };
  const { dialect, header, from } = head;
  const events: LinesEvent[] = [
    useDialect(reading, dialect, header && batch.subarray(header.from, header.to)),
  ];
  reading.line = head.line;
  // No record reaches over the header.
  const before = header && decideRecords(reading, batch, { from, to: header.from, last: true });
  if (header !== undefined) reading.line++;
  const start = header === undefined ? from : header.next;
  const after = decideRecords(reading, batch, { from: start, to: batch.length, last });
  events.push(...(before?.events ?? []), ...after.events);
  return { events, taken: after.taken };
}

interface Head {
  readonly kind: "head";
  readonly dialect: Dialect;
  /** Where the first record may begin, and how many lines are before it. */
  readonly from: number;
  readonly line: number;
  /** Where the header's content is, and where the next line begins. */
  readonly header: { readonly from: number; readonly to: number; readonly next: number } | undefined;
}

/** Reads delimiter and header from the first lines of a drop; "undecided" where more lines are needed. */
function readHead(reading: Reading, batch: Buffer, last: boolean): Head | RefusedEvent | "undecided" {
  const { begun, form } = reading;
  while (begun.at < batch.length) {
    const { at } = begun;
    const lf = batch[at] === LF ? at : batch.indexOf(LF, at);
    const to = contentEnd(batch, lf);
    const next = lf + 1;
    const line = ++begun.line;
    begun.at = next;
    if (to - at > MAX_LINE_BYTES) return refuseLongLine(line);
    if (to === at || line <= (form?.skip ?? 0)) continue;
    const result =
      form === undefined
        ? detectDialect(batch.toString("latin1", at, to), begun.seen)
        : findColumns(batch.toString("utf8", at, to), form, begun.seen);
    if (result.kind === "refused") return { ...result, message: `line ${line}: ${result.message}`, line };
    if (result.kind === "dialect") {
      const { dialect } = result;
      const header = dialect.header ? { from: at, to, next } : undefined;
      // A form says which line is the header, so lines before it are no records.
      const first =
        form === undefined ? { from: begun.from, line: begun.linesBefore } : { from: at, line: line - 1 };
      return { kind: "head", dialect, ...first, header };
    }
    begun.seen = result;
    if (result.isSeparator) {
      begun.from = next;
      begun.linesBefore = line;
    }
  }
  const { seen, line, from, linesBefore } = begun;
  if (!last) return batch.length > MAX_HEAD_BYTES ? refuseLongHead(line) : "undecided";
  reading.line = line;
  if (seen.lines === 0 || form !== undefined)
    return { kind: "head", dialect: DEFAULT_DIALECT, from: batch.length, line, header: undefined };
  const result = dialectWithoutHeader(seen.delimiter);
  if (result.kind === "refused") return result;
  return { kind: "head", dialect: result.dialect, from, line: linesBefore, header: undefined };
}

/** Lets go of empty lines before all others, so that a file of nothing else takes no memory. */
function leaveEmptyLines(begun: BegunHead): number {
  const taken = begun.seen.lines === 0 ? begun.at : 0;
  if (taken > 0) Object.assign(begun, { at: 0, linesBefore: begun.line });
  return taken;
}

function refuseLongHead(line: number): RefusedEvent {
  const message =
    `the first ${line} lines, nearly all of them empty, show neither header nor record: ` +
    "is this a file of invoices?";
  return { kind: "refused", code: "bad_header", message, line };
}

/** The refusal, after the dialect if that was not sent yet. */
function withDialect(reading: Reading, refusal: RefusedEvent): (DialectEvent | RefusedEvent)[] {
  return reading.known === undefined ? [useDialect(reading, DEFAULT_DIALECT), refusal] : [refusal];
}

function useDialect(reading: Reading, dialect: Dialect, header?: Buffer): DialectEvent {
  const format = lineFormat({ dialect, rules: reading.rules });
  reading.known = {
    format,
    recognise: createRecogniser({ format }),
    delimiter: dialect.delimiter.charCodeAt(0),
    // A copy: it outlives the batch.
    header: header && Buffer.from(header),
  };
  return { kind: "dialect", dialect, copy: copyLayout(dialect) };
}

/** Where the content of a line ends whose LF is at `lf`: one CR before it belongs to the terminator. */
function contentEnd(batch: Buffer, lf: number): number {
  return batch[lf - 1] === CR ? lf - 1 : lf;
}

/** The offset of a byte's next place; infinite where there is none. */
function nextOf(batch: Buffer, byte: number, from: number): number {
  const at = batch.indexOf(byte, from);
  return at < 0 ? Number.POSITIVE_INFINITY : at;
}

/** Whether a line is the header once more, a byte order mark before it allowed. */
function isHeaderAgain(header: Buffer, batch: Buffer, from: number, to: number): boolean {
  const start = to - header.length;
  const mark = start - from;
  if (mark !== 0 && mark !== BYTE_ORDER_MARK.length) return false;
  return (
    header.equals(batch.subarray(start, to)) &&
    BYTE_ORDER_MARK.subarray(0, mark).equals(batch.subarray(from, start))
  );
}

/**
 * Decides the records of a part of a batch, which ends with LF: their rows and rejects, and the refusal that a
 * line makes. A record that the part does not end is not taken, unless nothing follows.
 */
function decideRecords(
  reading: Reading,
  batch: Buffer,
  part: { readonly from: number; readonly to: number; readonly last: boolean },
): Decided {
  if (reading.known === undefined) throw new Error("records cannot be decided before the dialect is known");
  const { format, recognise, delimiter, header } = reading.known;
  const whole = batch.subarray(0, part.to);
  const utf8 = isUtf8(whole);
  const rows = collectRows(whole);
  const rejects: Reject[] = [];
  const voids: number[] = [];
  let skipped = 0;
  const numbers: number[] | undefined = reading.numbered ? [] : undefined;
  let refusal: RefusedEvent | undefined;
  // The next quote, once a line asks for it.
  let quote = -1;
  let at = part.from;
  while (at < whole.length && refusal === undefined) {
    const next = recognise(whole, at, utf8);
    if (next >= 0) {
      reading.line++;
      rows.pass(at, next);
      numbers?.push(reading.line);
      at = next;
      continue;
    }
    let lf = whole[at] === LF ? at : whole.indexOf(LF, at);
    let to = contentEnd(whole, lf);
    let lines = 1;
    let broken = false;
    if (quote < at) quote = nextOf(whole, QUOTE, at);
    if (quote < to) {
      const end = findRecordEnd(whole, at, delimiter);
      if (end.kind === "open" && !part.last) break;
      if (end.kind === "whole") ({ lf, lines } = end);
      else broken = true;
      to = contentEnd(whole, lf);
    }
    const line = reading.line + 1;
    reading.line += lines;
    if (lines === 1 && to - at > MAX_LINE_BYTES) {
      refusal = refuseLongLine(line);
    } else if (to > at && !(header !== undefined && isHeaderAgain(header, whole, at, to))) {
      const bytes = { batch: whole, from: at, to, utf8, line, lines, broken };
      const decided = validateRecord({ bytes, format });
      if (typeof decided === "string") {
        rows.write(decided);
        numbers?.push(line);
      } else if (decided === LEFT_OUT) skipped++;
      else if (decided !== undefined && "row" in decided) {
        rows.write(decided.row);
        numbers?.push(line);
        voids.push(line);
      } else if (decided !== undefined) rejects.push(decided);
    }
    at = lf + 1;
  }
  const { copy, count } = rows.finish();
  const events: LinesEvent[] = [];
  if (count > 0 || rejects.length > 0 || skipped > 0) {
    events.push({ kind: "rows", copy, rows: count, lines: numbers, rejects, skipped, voids });
  }
  if (refusal !== undefined) events.push(refusal);
  return { events, taken: at };
}
