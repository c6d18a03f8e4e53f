/**
 * What a drop is packed in. The first bytes tell: gzip, UTF-16, or plain UTF-8, whatever the file's name says;
 * and what is no CSV file at all. The rules: docs/design.md, "The drop format".
 */
import { checkUtf8, decodeBytes } from "./encoding.ts";
import { isGzip } from "./file.ts";
import type { Encoding } from "./form.ts";
import { inflate, type Unpacked } from "./inflate.ts";
import { type RefusedEvent, refuseContainer, refuseEncoding, refuseTruncated } from "./refuse.ts";

const LF = 0x0a;
const CR = 0x0d;
const UTF8_MARK = Buffer.from("\ufeff");
const UTF16_LE_MARK = Buffer.from([0xff, 0xfe]);
const UTF16_BE_MARK = Buffer.from([0xfe, 0xff]);
/** Source: APPNOTE.TXT of PKWARE: a file in the archive, an empty archive, a part of one that is split. */
const ZIP = ["PK\u0003\u0004", "PK\u0005\u0006", "PK\u0007\u0008"].map((text) => Buffer.from(text));
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
 * Text that is not in the encoding that is given is refused.
 *
 * @param options.namedGzip whether the file's name ends in `.gz`: an empty file of that name is no whole one
 */
export async function unpack(options: {
  readonly raw: AsyncIterable<Buffer>;
  readonly namedGzip: boolean;
  /** What the text is written in; default: UTF-8, or UTF-16 with a mark. */
  readonly encoding?: Encoding | undefined;
}): Promise<Unpacked> {
  const file = await readHead(options.raw);
  if (file.head.length === 0 && options.namedGzip) {
    return refuse(file, refuseTruncated(new Error("the file is empty")));
  }
  return decode(isGzip(file.head) ? await readHead(inflate(file.from(0))) : file, options.encoding);
}

/** A source of which the beginning is known. */
interface Begun<T> {
  /** Its first bytes: {@link HEAD_BYTES} after the longest mark, or more, or all of it. */
  readonly head: Buffer;
  /** All of it, from an offset on that lies within its first bytes. To be read once. */
  readonly from: (offset: number) => AsyncIterable<T>;
  readonly close: () => Promise<void>;
}

async function readHead<T extends Buffer | RefusedEvent>(source: AsyncIterable<T>): Promise<Begun<T>> {
  const iterator = source[Symbol.asyncIterator]();
  const items: T[] = [];
  let size = 0;
  for (let ended = false; !ended && size < HEAD_BYTES + UTF8_MARK.length; ) {
    const next = await iterator.next();
    if (next.done !== true) items.push(next.value);
    if (next.done !== true && Buffer.isBuffer(next.value)) size += next.value.length;
    else ended = true;
  }
  const buffers = items.filter((item) => Buffer.isBuffer(item));
  const head = Buffer.concat(buffers);
  const close = async () => {
    await iterator.return?.();
  };
  async function* from(offset: number) {
    try {
      if (head.length > offset) yield head.subarray(offset) as T;
      for (const item of items) if (!Buffer.isBuffer(item)) yield item;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
        yield next.value;
    } finally {
      await close();
    }
  }
  return { head, from, close };
}

async function refuse(begun: Begun<unknown>, refusal: RefusedEvent): Promise<Unpacked> {
  await begun.close();
  return (async function* () {
    yield refusal;
  })();
}

function startsWith(bytes: Buffer, mark: Buffer): boolean {
  return bytes.subarray(0, mark.length).equals(mark);
}

const MARKS: readonly { readonly mark: Buffer; readonly encoding: Exclude<Encoding, "utf-16"> }[] = [
  { mark: UTF8_MARK, encoding: "utf-8" },
  { mark: UTF16_LE_MARK, encoding: "utf-16le" },
  { mark: UTF16_BE_MARK, encoding: "utf-16be" },
];

/** What a byte order mark at the beginning says. */
export function readMark(head: Buffer): Exclude<Encoding, "utf-16"> | undefined {
  return MARKS.find(({ mark }) => startsWith(head, mark))?.encoding;
}

/** Passes text on as UTF-8 without its mark, unless its beginning shows that it is no CSV file. */
async function decode(begun: Begun<Buffer | RefusedEvent>, wanted: Encoding | undefined): Promise<Unpacked> {
  const marked = MARKS.find(({ mark }) => startsWith(begun.head, mark));
  const misfit = wanted && findMisfit(wanted, marked?.encoding, begun.head.length === 0);
  if (misfit !== undefined) return refuse(begun, refuseEncoding(misfit));
  const offset = marked?.mark.length ?? 0;
  const encoding = marked?.encoding ?? wanted ?? "utf-8";
  const checked = (text: Unpacked) => (wanted === undefined ? text : checkUtf8(text, encoding));
  switch (encoding) {
    case "utf-16":
    case "utf-16le":
    case "utf-16be":
      return judge(await readHead(checked(decodeUtf16(begun.from(offset), encoding === "utf-16be"))), 0);
    case "utf-8":
      if (wanted === undefined) return judge(begun, offset);
      return judge(await readHead(checked(begun.from(offset))), 0);
    default:
      return judge(await readHead(decodeBytes(begun.from(offset), encoding)), 0);
  }
}

/** Why a byte order mark, or that there is none, does not go with an encoding. */
function findMisfit(wanted: Encoding, marked: Encoding | undefined, isEmpty: boolean): string | undefined {
  const says = `the source says ${wanted}`;
  if (marked === undefined) {
    const lacks = "it has no byte order mark: say utf-16le or utf-16be";
    return wanted === "utf-16" && !isEmpty ? `${says}, but ${lacks}` : undefined;
  }
  if (wanted === marked || (wanted === "utf-16" && marked !== "utf-8")) return undefined;
  return `${says}, but it begins with the byte order mark of ${marked}`;
}

async function judge(begun: Begun<Buffer | RefusedEvent>, offset: number): Promise<Unpacked> {
  const found = findContainer(begun.head.subarray(offset, offset + HEAD_BYTES));
  return found === undefined ? begun.from(offset) : refuse(begun, found);
}

/** Half a surrogate pair, and half a character at the end, become bytes that are no UTF-8. */
async function* decodeUtf16(
  source: Unpacked,
  bigEndian: boolean,
): AsyncGenerator<Buffer | RefusedEvent, void, undefined> {
  let held: Buffer = Buffer.alloc(0);
  for await (const item of source) {
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

function findContainer(head: Buffer): RefusedEvent | undefined {
  if (isGzip(head)) return refuseContainer("a gzip file within a gzip file", "unpack it once");
  if (ZIP.some((signature) => startsWith(head, signature))) {
    return refuseContainer("a zip archive or an .xlsx workbook", "unpack it, or save the sheet as CSV");
  }
  if (head.toString("latin1", 0, 5) === "%PDF-")
    return refuseContainer("a PDF", "export the invoices as CSV");
  if (/^[ \t\r\n]*<(?:!doctype html|html)/i.test(head.toString("latin1"))) {
    const remedy = "it may be a page that asks to log in, or an error of the server: download the file anew";
    return refuseContainer("an HTML page", remedy);
  }
  if (head.includes(CR) && !head.includes(LF)) {
    return refuseContainer("a file whose lines end in CR alone", "save it with LF or CRLF line ends");
  }
  return undefined;
}
