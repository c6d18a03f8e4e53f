/**
 * Reads a drop: file, gunzip, lines, and for each line its row for COPY or its reject. No database, and the
 * same memory for any file.
 */
import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { basename } from "node:path";
import { createGunzip, type Gunzip } from "node:zlib";
import { errorState } from "../../db/errors.ts";
import { type CopyLayout, copyLayout, DEFAULT_DIALECT, type Dialect, detectDialect } from "./dialect.ts";
import { READ_BYTES, readFileBytes, throwIfAborted } from "./file.ts";
import { createRecogniser, type Recogniser } from "./recognise.ts";
import { type LineFormat, type LineRules, lineFormat, type Reject, validateLine } from "./validate.ts";

/** The longest line that is read, in bytes without its terminator. */
export const MAX_LINE_BYTES = 1024 * 1024;

/** Why a drop is refused as a whole. */
export type RefusalCode = "bad_header" | "truncated" | "line_too_long" | "inflates_too_far";

/**
 * How far a gzip drop may inflate: to so many bytes in any case, and beyond that to so many times its own. Invoices have random ids, so gzip makes
 * drops some five times smaller; its format allows for a thousand times. Memory is constant anyway: this is for the disk, which has to hold what is
 * staged, and for the hours that it would take.
 */
export interface InflationLimit {
  readonly bytes: number;
  readonly times: number;
}
export const INFLATION_LIMIT: InflationLimit = { bytes: 1024 ** 3, times: 100 };

export interface Refusal {
  readonly kind: "refused";
  readonly code: RefusalCode;
  /** What is wrong and what to do about it. */
  readonly message: string;
  /** The line at fault, from 1, where there is one. */
  readonly line?: number;
}

/** Rows and rejects of some 128 KiB of input, each in the order of the file. */
export interface RowsEvent {
  readonly kind: "rows";
  /** Lines of COPY's text format in the layout of the `dialect` event, LF ended. Not used again by the reader. */
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

/**
 * What reading tells: the dialect, always first and once (of a drop refused before its first record: the
 * default); then rows; then either that the drop is refused, or the hash and size of the file's own bytes as
 * read this time.
 */
export type ReadEvent =
  | DialectEvent
  | RowsEvent
  | Refusal
  | { readonly kind: "end"; readonly sha256: Buffer; readonly bytes: number };

/**
 * Reads a drop from its file.
 *
 * `gzip`: as its name says. `onBytes` is told how many bytes of the file have been read so far. Throws a
 * `RollbookError`: `file_unreadable`, or `aborted` once the signal says so. The file is closed in any case.
 */
export async function* readDrop(options: {
  readonly path: string;
  /** Whether a symbolic link is followed; default true. */
  readonly follow?: boolean | undefined;
  readonly gzip: boolean;
  readonly rules: LineRules;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((rawBytes: number) => void) | undefined;
}): AsyncGenerator<ReadEvent, void, undefined> {
  const { path, follow, gzip, rules, signal, onBytes } = options;
  const hash = createHash("sha256");
  let bytes = 0;
  const onChunk = (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
    onBytes?.(bytes);
  };
  const raw = watchChunks(readFileBytes({ path, follow, signal }), onChunk);
  for await (const event of readLines({ source: gzip ? inflate(raw) : raw, rules })) {
    throwIfAborted(path, signal);
    if (event.kind === "refused") {
      yield { ...event, message: `${basename(path)}: ${event.message}` };
      return;
    }
    yield event;
  }
  yield { kind: "end", sha256: hash.digest(), bytes };
}

async function* watchChunks(
  chunks: AsyncIterable<Buffer>,
  onChunk: (chunk: Buffer) => void,
): AsyncGenerator<Buffer, void, undefined> {
  for await (const chunk of chunks) {
    onChunk(chunk);
    yield chunk;
  }
}

/** Decompressed bytes, or as the last item that there are no more to be had. */
export type Source = AsyncIterable<Buffer | Refusal>;

/**
 * Inflates a gzip stream, which may have several members. Of a stream that is cut, or is none, all that comes
 * out is yielded, then the refusal; of one that inflates too far, what comes out before.
 *
 * One chunk at a time, because a pipeline throws away what it holds when the stream breaks, more or less of it
 * as the clock has it.
 */
export async function* inflate(
  raw: AsyncIterable<Buffer>,
  limit = INFLATION_LIMIT,
): AsyncGenerator<Buffer | Refusal, void, undefined> {
  const gunzip = createGunzip({ chunkSize: READ_BYTES });
  // An error that nobody listens for would end the process; it is looked up in `errored`.
  gunzip.on("error", () => {});
  let fed = 0;
  let out = 0;
  try {
    for await (const chunk of raw) {
      fed += chunk.length;
      for await (const piece of drain(gunzip, (done) => gunzip.write(chunk, done))) {
        out += piece.length;
        if (out > Math.max(limit.bytes, limit.times * fed)) {
          yield inflatesTooFar(limit);
          return;
        }
        yield piece;
      }
      if (gunzip.errored !== null || gunzip.readableEnded) break;
    }
    if (gunzip.errored === null && !gunzip.readableEnded) yield* drain(gunzip, () => gunzip.end());
    if (gunzip.errored !== null && !isDamage(gunzip.errored)) throw gunzip.errored;
    // After the last member Node ignores bytes that begin with zero: then not all have been taken.
    if (gunzip.errored !== null || gunzip.bytesWritten !== fed) yield truncated(gunzip.errored);
  } finally {
    gunzip.destroy();
  }
}

/** Starts a step of the inflater and yields what comes out of it, until it says `done`, ends or breaks. */
async function* drain(
  gunzip: Gunzip,
  start: (done: () => void) => void,
): AsyncGenerator<Buffer, void, undefined> {
  let settled = false;
  let wake = () => {};
  const onReadable = () => wake();
  const settle = () => {
    settled = true;
    wake();
  };
  gunzip.on("readable", onReadable).on("end", settle).on("error", settle);
  start(settle);
  for (let last = false; !last; ) {
    last = settled;
    for (let out: Buffer | null = gunzip.read(); out !== null; out = gunzip.read()) yield out;
    if (!settled) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  gunzip.off("readable", onReadable).off("end", settle).off("error", settle);
}

/** True when the bytes are at fault, not the machine. Source: zlib.h, return codes of inflate. */
function isDamage(error: Error): boolean {
  const state = errorState(error);
  return state === "Z_DATA_ERROR" || state === "Z_BUF_ERROR" || state === "Z_NEED_DICT";
}

function truncated(error: Error | null): Refusal {
  const detail = error === null ? "bytes follow the end that belong to no stream" : error.message;
  return {
    kind: "refused",
    code: "truncated",
    message: `not a whole gzip stream (${detail}): hand the drop over again, complete`,
  };
}

function inflatesTooFar({ bytes, times }: InflationLimit): Refusal {
  return {
    kind: "refused",
    code: "inflates_too_far",
    message: `inflates to more than ${times} times its size and more than ${bytes} bytes: if it is right, unpack it and hand over the .csv`,
  };
}

const LF = 0x0a;
const CR = 0x0d;
const BYTE_ORDER_MARK = Buffer.from("\ufeff");
/** Enough to end any line, also one that ends in a CR of its own. */
const TERMINATOR = Buffer.from("\r\n");

/** How far the drop is read, and how its lines are decided once the dialect is known. */
interface Progress {
  readonly rules: LineRules;
  /** Lines read so far, empty ones too. */
  line: number;
  known: { readonly format: LineFormat; readonly recognise: Recogniser } | undefined;
}

/** Decides the lines of a drop, wherever the chunks of its bytes begin and end. Says no `end`. */
export async function* readLines(options: {
  readonly source: Source;
  readonly rules: LineRules;
}): AsyncGenerator<DialectEvent | RowsEvent | Refusal, void, undefined> {
  const progress: Progress = { rules: options.rules, line: 0, known: undefined };
  // The beginning of a line whose end has not come yet.
  let held: Buffer[] = [];
  let heldBytes = 0;
  for await (const chunk of options.source) {
    if (!Buffer.isBuffer(chunk)) {
      yield* firstly(progress, chunk);
      return;
    }
    const whole = chunk.lastIndexOf(LF) + 1;
    if (whole > 0) {
      const batch = Buffer.concat([...held, chunk.subarray(0, whole)]);
      held = [];
      heldBytes = 0;
      for (const event of decideBatch(progress, batch)) {
        yield event;
        if (event.kind === "refused") return;
      }
    }
    held.push(chunk.subarray(whole));
    heldBytes += chunk.length - whole;
    if (heldBytes > BYTE_ORDER_MARK.length + MAX_LINE_BYTES + TERMINATOR.length) {
      yield* firstly(progress, lineTooLong(progress.line + 1));
      return;
    }
  }
  if (heldBytes > 0) yield* decideBatch(progress, Buffer.concat([...held, TERMINATOR]));
  if (progress.known === undefined) yield useDialect(progress, DEFAULT_DIALECT);
}

/** Decides the lines of a batch, which ends with a terminator. */
function decideBatch(progress: Progress, batch: Buffer): (DialectEvent | RowsEvent | Refusal)[] {
  const events: (DialectEvent | RowsEvent | Refusal)[] = [];
  let at = progress.line === 0 && startsWithMark(batch) ? BYTE_ORDER_MARK.length : 0;
  if (progress.known === undefined) {
    at = skipEmptyLines(progress, batch, at);
    if (at === batch.length) return [];
    const first = firstLine(progress, batch, at);
    if (first.kind === "refused") return firstly(progress, first);
    events.push(useDialect(progress, first.dialect));
    if (first.dialect.header) {
      progress.line++;
      at = batch.indexOf(LF, at) + 1;
    }
  }
  events.push(...decideLines(progress, batch, at));
  return events;
}

/** The refusal, with the dialect before it when none has been told yet. */
function firstly(progress: Progress, refusal: Refusal): (DialectEvent | Refusal)[] {
  return progress.known === undefined ? [useDialect(progress, DEFAULT_DIALECT), refusal] : [refusal];
}

function useDialect(progress: Progress, dialect: Dialect): DialectEvent {
  const format = lineFormat({ dialect, rules: progress.rules });
  progress.known = { format, recognise: createRecogniser({ format }) };
  return { kind: "dialect", dialect, copy: copyLayout(dialect) };
}

function startsWithMark(batch: Buffer): boolean {
  return batch.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK);
}

/** The offset of the first line that is not empty, counting those before it; the end of the batch when there is none. */
function skipEmptyLines(progress: Progress, batch: Buffer, from: number): number {
  let at = from;
  while (at < batch.length) {
    const lf = batch[at] === LF ? at : batch.indexOf(LF, at);
    if (contentEnd(batch, lf) > at) return at;
    progress.line++;
    at = lf + 1;
  }
  return at;
}

/** The dialect that the line at `at` shows. */
function firstLine(
  progress: Progress,
  batch: Buffer,
  at: number,
): Refusal | { readonly kind: "dialect"; readonly dialect: Dialect } {
  const end = contentEnd(batch, batch.indexOf(LF, at));
  if (end - at > MAX_LINE_BYTES) return lineTooLong(progress.line + 1);
  const result = detectDialect({ firstLine: batch.subarray(at, end) });
  if (result.kind === "dialect") return result;
  const line = progress.line + 1;
  return { ...result, message: `line ${line}: ${result.message}`, line };
}

/** Where the content of a line ends whose LF is at `lf`: one CR before it belongs to the terminator. */
function contentEnd(batch: Buffer, lf: number): number {
  return batch[lf - 1] === CR ? lf - 1 : lf;
}

function lineTooLong(line: number): Refusal {
  return {
    kind: "refused",
    code: "line_too_long",
    message: `line ${line} is longer than ${MAX_LINE_BYTES} bytes: end each record with a line feed`,
    line,
  };
}

/** Decides the lines of a batch from `from` on: their rows and rejects, and the refusal that a line makes. */
function decideLines(progress: Progress, batch: Buffer, from: number): (RowsEvent | Refusal)[] {
  if (progress.known === undefined) throw new Error("lines cannot be decided before the dialect is known");
  const { format, recognise } = progress.known;
  const utf8 = isUtf8(batch);
  const rows = collectRows(batch);
  const rejects: Reject[] = [];
  let refusal: Refusal | undefined;
  for (let at = from; at < batch.length && refusal === undefined; ) {
    progress.line++;
    const next = recognise(batch, at, utf8);
    if (next >= 0) {
      rows.pass(at, next);
      at = next;
      continue;
    }
    const lf = batch[at] === LF ? at : batch.indexOf(LF, at);
    const to = contentEnd(batch, lf);
    if (to - at > MAX_LINE_BYTES) {
      refusal = lineTooLong(progress.line);
    } else if (to > at) {
      const decided = validateLine({ bytes: { batch, from: at, to, utf8, line: progress.line }, format });
      if (typeof decided === "string") rows.write(decided);
      else rejects.push(decided);
    }
    at = lf + 1;
  }
  const { copy, count } = rows.finish();
  const events: (RowsEvent | Refusal)[] = [];
  if (count > 0 || rejects.length > 0) events.push({ kind: "rows", copy, rows: count, rejects });
  if (refusal !== undefined) events.push(refusal);
  return events;
}

interface Rows {
  /** Takes the canonical line from `from` to `next`, which is after its terminator. */
  readonly pass: (from: number, next: number) => void;
  /** Takes a row that was written anew. */
  readonly write: (row: string) => void;
  readonly finish: () => { readonly copy: Buffer; readonly count: number };
}

/**
 * Collects the rows of a batch, in order. Canonical lines are gathered as runs of the batch's own bytes: when
 * all of a batch is one run, nothing is copied.
 */
function collectRows(batch: Buffer): Rows {
  let count = 0;
  // The run of the batch's bytes, and after it the written rows, that are not in `out` yet.
  let runFrom = 0;
  let runTo = 0;
  let written = "";
  let out: Buffer | undefined;
  let used = 0;

  const room = (bytes: number): Buffer => {
    if (out === undefined) out = Buffer.allocUnsafeSlow(Math.max(batch.length + 1024, bytes));
    else if (used + bytes > out.length) out = Buffer.concat([out.subarray(0, used)], 2 * (used + bytes));
    return out;
  };
  const flush = (): void => {
    if (runTo > runFrom) {
      used += batch.copy(room(runTo - runFrom), used, runFrom, runTo);
      runFrom = runTo;
    }
    if (written !== "") {
      const bytes = Buffer.byteLength(written);
      used += room(bytes).write(written, used);
      written = "";
    }
  };
  const extend = (from: number, to: number): void => {
    if (from !== runTo) {
      flush();
      runFrom = from;
    }
    runTo = to;
  };

  return {
    pass(from, next) {
      count++;
      if (batch[next - 2] === CR) {
        // The LF begins the next run: so each line of a CRLF file is copied in one piece.
        extend(from, next - 2);
        extend(next - 1, next);
      } else {
        extend(from, next);
      }
    },
    write(row) {
      count++;
      written += row;
    },
    finish() {
      if (out === undefined && written === "") return { copy: batch.subarray(runFrom, runTo), count };
      flush();
      return { copy: out?.subarray(0, used) ?? Buffer.alloc(0), count };
    },
  };
}
