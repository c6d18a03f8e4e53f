/** Texts as files of all kinds: UTF-16, what is no CSV at all, and gzip whole and damaged. */
import { constants, deflateRawSync, gzipSync } from "node:zlib";
import { list, type Random } from "../../generator/choices.ts";
import { mutate } from "./bytes.ts";

/** The text as it is, as UTF-16, or as something that is refused, or nearly so. */
export function contain(random: Random, text: Buffer): Buffer {
  switch (random.below(12)) {
    case 0:
    case 1:
      return toUtf16(random, text);
    case 2: {
      const begun = Buffer.concat([Buffer.from(random.pick(BEGINNINGS), "latin1"), text]);
      return random.once(4) ? toUtf16(random, begun) : begun;
    }
    case 3:
      return withReturns(random, text);
    default:
      return text;
  }
}

/** Of zip archives, PDFs and HTML pages, of gzip, and of what looks like them. */
const BEGINNINGS =
  list(`PK\x03\x04·PK\x05\x06·PK\x07\x08·PK\x01\x02·PK·PK\x03·%PDF-1.7\n·%PDF-·%PDF·%pdf-1.7·<!doctype html>·
<!DOCTYPE HTML PUBLIC>\r\n·<html>·<HTML lang=de>·<htmlx·<htm>·<!doctype·<! doctype html>·<!doctype  html>· <html>·
\r\n\t <!DocType Html>·\n\n\n<html>·x<html>·\f<html>·\u00a0<html>·\xef\xbb\xbf<html>·\xef\xbb\xbfPK\x03\x04·\x1f\x8b·\x1f·
\x1f\x8b\x08·\xff·\xfe·\xff\xfe·\xfe\xff·\xef\xbb·\x00\x00\xfe\xff`);

function toUtf16(random: Random, text: Buffer): Buffer {
  const marks = random.pick(["\ufeff", "\ufeff", "\ufeff", "\ufeff", "\ufeff\ufeff", ""]);
  const wide = Buffer.from(marks + text.toString("utf8"), "utf16le");
  if (random.once(3) && wide.length > 2) {
    // Something that is no character, at any place or at the end of a line.
    const at = random.once(2) ? wide.lastIndexOf("\n", random.below(wide.length), "utf16le") : -1;
    const place = at < 2 ? 2 * random.between(1, wide.length / 2 - 1) : at;
    const odd = random.pick(["\ud800", "\udc00", "\ud83d", "\ud83d\ud83d\ude00", "\udfff\ud800", "\0"]);
    const spoiled = Buffer.concat([
      wide.subarray(0, place),
      Buffer.from(odd, "utf16le"),
      wide.subarray(place),
    ]);
    return inOrder(random, random.once(3) ? spoiled.subarray(0, spoiled.length - 1) : spoiled);
  }
  return inOrder(
    random,
    random.once(8) ? wide.subarray(0, Math.max(0, wide.length - random.between(1, 3))) : wide,
  );
}

/** Low byte first, or high byte first. */
function inOrder(random: Random, wide: Buffer): Buffer {
  if (random.once(2)) return wide;
  const even = wide.length - (wide.length % 2);
  return Buffer.concat([Buffer.from(wide.subarray(0, even)).swap16(), wide.subarray(even)]);
}

/** CR instead of LF, in all lines or for about the first 64 KiB. */
function withReturns(random: Random, text: Buffer): Buffer {
  const returned = Buffer.from(text.map((byte) => (byte === 0x0a ? 0x0d : byte)));
  if (random.once(2)) return returned;
  const first = returned.subarray(0, 60_000);
  const filling = Buffer.alloc(65_536 + random.pick([-2, -1, -1, 0, 1]) - first.length, "x");
  if (random.once(2)) filling[filling.length - 1] = 0x0d;
  return Buffer.concat([first, filling, Buffer.from("\n"), text]);
}

/**
 * As gzip: one member or several, written in several ways; cut, followed by something, or with bits turned
 * over.
 */
export function pack(random: Random, text: Buffer): Buffer {
  const cuts = random.once(2) ? [] : someCuts(random, text.length, 4);
  const parts = [0, ...cuts].map((from, index) => text.subarray(from, cuts[index] ?? text.length));
  const whole = Buffer.concat(parts.map((part) => member(random, part)));
  switch (random.below(12)) {
    case 0:
      return whole.subarray(0, random.below(whole.length + 1));
    case 1:
      return whole.subarray(0, Math.max(0, whole.length - random.between(1, 12)));
    case 2:
      return Buffer.concat([
        whole,
        random.pick([
          Buffer.alloc(1),
          Buffer.alloc(700),
          Buffer.from("x"),
          Buffer.from([0x1f]),
          Buffer.from([0x1f, 0x8b]),
          whole.subarray(0, 15),
        ]),
      ]);
    case 3: {
      const damaged = Buffer.from(whole);
      const at = random.below(damaged.length);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << random.below(8));
      return damaged;
    }
    case 4:
      return random.once(3) ? mutate(random, whole, whole) : whole;
    case 5:
      return random.once(5) ? text : whole;
    default:
      return whole;
  }
}

function member(random: Random, part: Buffer): Buffer {
  const level = random.pick([0, 1, 6, 9]);
  const strategy = random.pick([
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_FIXED,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
  ]);
  if (!random.once(4)) return gzipSync(part, { level, strategy });
  // A header with all that it may have.
  const flags = random.below(16) & 0x1d;
  const pieces = [Buffer.from([0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255])];
  if (flags & 4) pieces.push(Buffer.from([3, 0, 1, 2, 3]));
  if (flags & 8) pieces.push(Buffer.from("name.csv\0"));
  if (flags & 16) pieces.push(Buffer.from("a comment\0"));
  const plain = gzipSync(part, { level, strategy });
  return Buffer.concat([
    ...pieces,
    deflateRawSync(part, { level, strategy }),
    plain.subarray(plain.length - 8),
  ]);
}

/** Places in so many bytes, ascending. */
export function someCuts(random: Random, length: number, most: number): number[] {
  const cuts = Array.from({ length: random.below(most + 1) }, () => random.below(length + 1));
  return cuts.sort((a, b) => a - b);
}
