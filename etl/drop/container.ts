/**
 * What a drop is packed in. The first bytes tell: gzip, UTF-16, or plain UTF-8, whatever the file's name says;
 * and what is no CSV file at all. The rules: docs/design.md, "The drop format".
 */
import { GZIP_BYTES, isGzip } from "./file.ts";
import { inflate, type Source } from "./inflate.ts";
import { type RefusedEvent, refuseContainer, refuseTruncated } from "./refuse.ts";

const LF = 0x0a;
const CR = 0x0d;
const UTF8_MARK = Buffer.from("\ufeff");
const UTF16_LE_MARK = Buffer.from([0xff, 0xfe]);
const UTF16_BE_MARK = Buffer.from([0xfe, 0xff]);
/** Source: APPNOTE.TXT of PKWARE: a file in the archive, an empty archive, a part of one that is split. */
const ZIP = ["PK\u0003\u0004", "PK\u0005\u0006", "PK\u0007\u0008"].map((text) => Buffer.from(text));
/** Enough to tell which of these a file begins with. */
const MARK_BYTES = 3;
/** Half a surrogate pair: with `u`, a regular expression sees a whole one as one character. */
const HALF_CHARACTER = /[\ud800-\udfff]/u;
/** A byte that is no part of UTF-8: it stands for half a character. */
const NOT_UTF8 = Buffer.from([0xff]);
/** How much is looked at to tell line ends and what is no CSV file. */
const HEAD_BYTES = 64 * 1024;

/**
 * The text of a drop, as UTF-8 without a byte order mark. The last item is a refusal where the container is
 * damaged, or is none that can be read.
 *
 * @param options.namedGzip whether the file's name ends in `.gz`: an empty file of that name is no whole one
 */
export async function* unpack(options: {
  readonly raw: AsyncIterable<Buffer>;
  readonly namedGzip: boolean;
}): AsyncGenerator<Buffer | RefusedEvent, void, undefined> {
  const { head, rest } = await splitHead(options.raw, GZIP_BYTES);
  if (head.length === 0 && options.namedGzip) {
    yield refuseTruncated(new Error("the file is empty"));
    return;
  }
  yield* judge(decode(isGzip(head) ? inflate(rest) : rest));
}

/** The first bytes of a source, at least so many where it has them, and the source with them before it. */
async function splitHead<T extends Buffer | RefusedEvent>(
  source: AsyncIterable<T>,
  bytes: number,
): Promise<{ readonly head: Buffer; readonly rest: AsyncIterable<T> }> {
  const iterator = source[Symbol.asyncIterator]();
  const items: T[] = [];
  let size = 0;
  let ended = false;
  while (size < bytes && !ended) {
    const next = await iterator.next();
    if (next.done === true) ended = true;
    else {
      items.push(next.value);
      if (Buffer.isBuffer(next.value)) size += next.value.length;
      else ended = true;
    }
  }
  const head = Buffer.concat(items.filter((item) => Buffer.isBuffer(item)));
  const rest = (async function* () {
    try {
      yield* items;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
        yield next.value;
    } finally {
      await iterator.return?.();
    }
  })();
  return { head, rest };
}

function startsWith(bytes: Buffer, mark: Buffer): boolean {
  return bytes.subarray(0, mark.length).equals(mark);
}

/** UTF-16 as UTF-8; what is UTF-8 passes without its mark. */
async function* decode(source: Source): AsyncGenerator<Buffer | RefusedEvent, void, undefined> {
  const { head, rest } = await splitHead(source, MARK_BYTES);
  if (startsWith(head, UTF16_LE_MARK)) yield* decodeUtf16(rest, false);
  else if (startsWith(head, UTF16_BE_MARK)) yield* decodeUtf16(rest, true);
  else yield* startsWith(head, UTF8_MARK) ? skip(rest, UTF8_MARK.length) : rest;
}

async function* skip(source: Source, bytes: number): AsyncGenerator<Buffer | RefusedEvent, void, undefined> {
  let left = bytes;
  for await (const item of source) {
    const cut = Buffer.isBuffer(item) ? item.subarray(left) : item;
    if (Buffer.isBuffer(item)) left -= Math.min(left, item.length);
    yield cut;
  }
}

/** Half a surrogate pair, and half a character at the end, become bytes that are no UTF-8. */
async function* decodeUtf16(
  source: Source,
  bigEndian: boolean,
): AsyncGenerator<Buffer | RefusedEvent, void, undefined> {
  let held: Buffer = Buffer.alloc(0);
  for await (const item of skip(source, UTF16_LE_MARK.length)) {
    if (!Buffer.isBuffer(item)) {
      yield item;
      return;
    }
    const bytes = Buffer.concat([held, item]);
    let whole = bytes.length - (bytes.length % 2);
    if (whole >= 2 && isHighSurrogate(bytes, whole - 2, bigEndian)) whole -= 2;
    held = bytes.subarray(whole);
    yield encodeUnits(bytes.subarray(0, whole), bigEndian);
  }
  const whole = held.length - (held.length % 2);
  yield encodeUnits(held.subarray(0, whole), bigEndian);
  if (held.length > whole) yield NOT_UTF8;
}

function isHighSurrogate(bytes: Buffer, at: number, bigEndian: boolean): boolean {
  return ((bytes[bigEndian ? at : at + 1] ?? 0) & 0xfc) === 0xd8;
}

function encodeUnits(units: Buffer, bigEndian: boolean): Buffer {
  const text = (bigEndian ? Buffer.from(units).swap16() : units).toString("utf16le");
  if (!HALF_CHARACTER.test(text)) return Buffer.from(text);
  const pieces = text.split(HALF_CHARACTER).map((piece) => Buffer.from(piece));
  return Buffer.concat(pieces.flatMap((piece, index) => (index === 0 ? [piece] : [NOT_UTF8, piece])));
}

/** Passes the text on, unless its beginning shows that it is no CSV file. */
async function* judge(source: Source): AsyncGenerator<Buffer | RefusedEvent, void, undefined> {
  const { head, rest } = await splitHead(source, HEAD_BYTES);
  const found = findContainer(head);
  if (found === undefined) yield* rest;
  else {
    yield found;
    // Begins to read the rest, because only what has begun can be closed: the file, and the inflater.
    for await (const _ of rest) break;
  }
}

function findContainer(head: Buffer): RefusedEvent | undefined {
  if (isGzip(head)) return refuseContainer("a gzip file within a gzip file", "unpack it once");
  if (ZIP.some((signature) => startsWith(head, signature))) {
    return refuseContainer("a zip archive or an .xlsx workbook", "unpack it, or save the sheet as CSV");
  }
  if (head.toString("latin1", 0, 5) === "%PDF-")
    return refuseContainer("a PDF", "export the invoices as CSV");
  const first = head.subarray(0, HEAD_BYTES);
  if (/^[ \t\r\n]*<(?:!doctype html|html)/i.test(first.toString("latin1"))) {
    const remedy = "it may be a page that asks to log in, or an error of the server: download the file anew";
    return refuseContainer("an HTML page", remedy);
  }
  if (first.includes(CR) && !first.includes(LF)) {
    return refuseContainer("a file whose lines end in CR alone", "save it with LF or CRLF line ends");
  }
  return undefined;
}
