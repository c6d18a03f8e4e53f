/** Divides the bytes of a drop into lines, and decides each: its row for COPY, or its reject. */
import { isUtf8 } from "node:buffer";
import { collectRows } from "./collect.ts";
import { copyLayout, DEFAULT_DIALECT, type Dialect, detectDialect } from "./dialect.ts";
import type { Source } from "./inflate.ts";
import { createRecogniser, type Recogniser } from "./recognise.ts";
import { MAX_LINE_BYTES, type RefusedEvent, refuseLongLine } from "./refuse.ts";
import type { Reject } from "./reject.ts";
import type { CopyLayout } from "./row.ts";
import type { LineRules } from "./rules.ts";
import { type LineFormat, lineFormat, validateLine } from "./validate.ts";

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
  readonly rejects: readonly Reject[];
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
const BYTE_ORDER_MARK = Buffer.from("\ufeff");
/** Enough to end any line, also one that ends in a CR of its own. */
const TERMINATOR = Buffer.from("\r\n");

/** How far the drop is read, and how its lines are decided once the dialect is known. */
interface Reading {
  readonly rules: LineRules;
  /** Lines read so far, empty ones too. */
  line: number;
  known: { readonly format: LineFormat; readonly recognise: Recogniser } | undefined;
}

/** Decides the lines of a drop. The chunks of its bytes may begin and end anywhere. */
export async function* readLines(options: {
  readonly source: Source;
  readonly rules: LineRules;
}): AsyncGenerator<LinesEvent, void, undefined> {
  const reading: Reading = { rules: options.rules, line: 0, known: undefined };
  // The beginning of a line whose end has not come yet.
  let held: Buffer[] = [];
  let heldBytes = 0;
  for await (const chunk of options.source) {
    if (!Buffer.isBuffer(chunk)) {
      yield* withDialect(reading, chunk);
      return;
    }
    const whole = chunk.lastIndexOf(LF) + 1;
    if (whole > 0) {
      const batch = Buffer.concat([...held, chunk.subarray(0, whole)]);
      held = [];
      heldBytes = 0;
      for (const event of decideBatch(reading, batch)) {
        yield event;
        if (event.kind === "refused") return;
      }
    }
    held.push(chunk.subarray(whole));
    heldBytes += chunk.length - whole;
    if (heldBytes > BYTE_ORDER_MARK.length + MAX_LINE_BYTES + TERMINATOR.length) {
      yield* withDialect(reading, refuseLongLine(reading.line + 1));
      return;
    }
  }
  if (heldBytes > 0) yield* decideBatch(reading, Buffer.concat([...held, TERMINATOR]));
  if (reading.known === undefined) yield useDialect(reading, DEFAULT_DIALECT);
}

/** Decides the lines of a batch, which ends with a terminator. */
function decideBatch(reading: Reading, batch: Buffer): LinesEvent[] {
  const events: LinesEvent[] = [];
  let at = reading.line === 0 && startsWithMark(batch) ? BYTE_ORDER_MARK.length : 0;
  if (reading.known === undefined) {
    at = skipEmptyLines(reading, batch, at);
    if (at === batch.length) return [];
    const first = firstLine(reading, batch, at);
    if (first.kind === "refused") return withDialect(reading, first);
    events.push(useDialect(reading, first.dialect));
    if (first.dialect.header) {
      reading.line++;
      at = batch.indexOf(LF, at) + 1;
    }
  }
  events.push(...decideLines(reading, batch, at));
  return events;
}

/** The refusal, after the dialect if that was not sent yet. */
function withDialect(reading: Reading, refusal: RefusedEvent): (DialectEvent | RefusedEvent)[] {
  return reading.known === undefined ? [useDialect(reading, DEFAULT_DIALECT), refusal] : [refusal];
}

function useDialect(reading: Reading, dialect: Dialect): DialectEvent {
  const format = lineFormat({ dialect, rules: reading.rules });
  reading.known = { format, recognise: createRecogniser({ format }) };
  return { kind: "dialect", dialect, copy: copyLayout(dialect) };
}

function startsWithMark(batch: Buffer): boolean {
  return batch.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK);
}

/**
 * The offset of the first line that is not empty, counting those before it; the end of the batch when there
 * is none.
 */
function skipEmptyLines(reading: Reading, batch: Buffer, from: number): number {
  let at = from;
  while (at < batch.length) {
    const lf = batch[at] === LF ? at : batch.indexOf(LF, at);
    if (contentEnd(batch, lf) > at) return at;
    reading.line++;
    at = lf + 1;
  }
  return at;
}

/** The dialect that the line at `at` shows. */
function firstLine(
  reading: Reading,
  batch: Buffer,
  at: number,
): RefusedEvent | { readonly kind: "dialect"; readonly dialect: Dialect } {
  const end = contentEnd(batch, batch.indexOf(LF, at));
  if (end - at > MAX_LINE_BYTES) return refuseLongLine(reading.line + 1);
  const result = detectDialect({ firstLine: batch.subarray(at, end) });
  if (result.kind === "dialect") return result;
  const line = reading.line + 1;
  return { ...result, message: `line ${line}: ${result.message}`, line };
}

/** Where the content of a line ends whose LF is at `lf`: one CR before it belongs to the terminator. */
function contentEnd(batch: Buffer, lf: number): number {
  return batch[lf - 1] === CR ? lf - 1 : lf;
}

/** Decides the lines of a batch from `from` on: their rows and rejects, and the refusal that a line makes. */
function decideLines(reading: Reading, batch: Buffer, from: number): (RowsEvent | RefusedEvent)[] {
  if (reading.known === undefined) throw new Error("lines cannot be decided before the dialect is known");
  const { format, recognise } = reading.known;
  const utf8 = isUtf8(batch);
  const rows = collectRows(batch);
  const rejects: Reject[] = [];
  let refusal: RefusedEvent | undefined;
  for (let at = from; at < batch.length && refusal === undefined; ) {
    reading.line++;
    const next = recognise(batch, at, utf8);
    if (next >= 0) {
      rows.pass(at, next);
      at = next;
      continue;
    }
    const lf = batch[at] === LF ? at : batch.indexOf(LF, at);
    const to = contentEnd(batch, lf);
    if (to - at > MAX_LINE_BYTES) {
      refusal = refuseLongLine(reading.line);
    } else if (to > at) {
      const decided = validateLine({ bytes: { batch, from: at, to, utf8, line: reading.line }, format });
      if (typeof decided === "string") rows.write(decided);
      else rejects.push(decided);
    }
    at = lf + 1;
  }
  const { copy, count } = rows.finish();
  const events: (RowsEvent | RefusedEvent)[] = [];
  if (count > 0 || rejects.length > 0) events.push({ kind: "rows", copy, rows: count, rejects });
  if (refusal !== undefined) events.push(refusal);
  return events;
}
